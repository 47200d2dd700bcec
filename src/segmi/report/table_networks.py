"""Every network of every cohort with all score columns, and IoU per class."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from segmi.report.describe import number_range
from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import cell_of, state_text, title_of
from segmi.statistics import SCORES, StudyRuns, best, run_scores, summarize

COLUMNS: Final = {
    "mIoU": "mIoU",
    "pixel_accuracy": "pixel acc.",
    "mean_accuracy": "mean acc.",
    "micro_IoU": "micro IoU",
    "binary_IoU": "binary IoU",
    "binary_accuracy": "binary acc.",
    "absent_classes": "absent",
}

_NOTES: Final = (
    "mIoU and pixel accuracy are the IoU and Acc of Table 1; the network that stands there is marked ●.",
    "mean acc.: recall averaged over classes. micro IoU: intersection over union of all classes' counts together. "
    "binary IoU and acc.: the formulas as printed in the paper, TP / (TP + FP + FN) and (TP + TN) / all, averaged over "
    "classes. absent: classes in neither truth nor prediction, which count in no mean.",
    "Constant prediction: every pixel is the most frequent class of the training images.",
)


def table_networks(study: StudyRuns) -> Table:
    """One row per dataset, model and network, and one per dataset for the constant prediction."""
    scores = run_scores(study)
    by = ("dataset", "method", "network", "protocol")
    summaries = {score: summarize(scores, score, by) for score in SCORES}
    several = scores["protocol"].nunique() > 1
    planned = len(study.plan.seeds)
    rows: list[Row] = []
    for dataset in study.plan.datasets:
        first = len(rows)
        own = scores[scores["dataset"] == dataset]
        for method, label in study.plan.methods.items():
            cells = own[own["method"] == method]
            if cells.empty:
                labels = (title_of(study, dataset), label, state_text(study, dataset, method), "")
                rows.append(Row(labels, tuple(Cell("–") for _ in SCORES)))
            for (network, protocol), group in cells.groupby(["network", "protocol"], sort=False):
                name = _network_label(study, dataset, method, str(network)) + (f", {protocol}" if several else "")
                mark = " ●" if group["reported"].iloc[0] and group["main"].iloc[0] else ""
                key = (dataset, method, network, protocol)
                shown = tuple(
                    _digits(cell_of(summaries[score].loc[key], planned), score)
                    if key in summaries[score].index
                    else Cell()
                    for score in SCORES
                )
                parameters = number_range((_whole(v) for v in group["parameters"]), scale="M")
                rows.append(Row((title_of(study, dataset), label, name + mark, parameters), shown))
        rows += _constant_row(study, dataset)
        if first < len(rows):
            rows[first] = Row(rows[first].labels, rows[first].cells, rows[first].muted, rule=True)
    groups = (("", tuple(COLUMNS[score] for score in SCORES)),)
    title = f"All networks of the study {study.plan.study} with all scores."
    return Table(title, ("dataset", "model", "network", "parameters"), groups, rows, _NOTES)


def table_classes(study: StudyRuns, dataset: str) -> Table:
    """IoU per class of each model's reported network, mean over seeds; a dash where a class is absent."""
    results = {method: study.results_of(dataset, method) for method in study.plan.methods}
    classes: Sequence[str] = next((r["dataset"]["classes"] for rs in results.values() for r in rs), [])
    rows = []
    for index, name in enumerate(classes):
        values = {method: _class_values(found, index) for method, found in results.items()}
        means = {method: statistics.fmean(v) if v else None for method, v in values.items()}
        bold = best(means) if len(set(means.values())) > 1 else set()
        cells = tuple(
            Cell(
                value=means[method],
                sd=statistics.stdev(v) if len(v) > 1 else None,
                n=len(v),
                planned=len(v),
                bold=method in bold,
            )
            for method, v in values.items()
        )
        rows.append(Row((str(name),), cells))
    groups = (("", tuple(study.plan.methods.values())),)
    return Table(f"IoU per class on {title_of(study, dataset)}.", ("class",), groups, rows)


def _class_values(results: Sequence[dict[str, Any]], index: int) -> list[float]:
    values = []
    for result in results:
        entry = result["networks"].get(result.get("reported_network"), {})
        per_class = entry.get("scores", {}).get(result.get("protocol"), {}).get("IoU") or []
        if index < len(per_class) and per_class[index] is not None:
            values.append(float(per_class[index]))
    return values


def _network_label(study: StudyRuns, dataset: str, method: str, network: str) -> str:
    for result in study.results_of(dataset, method):
        if network in result["networks"]:
            return str(result["networks"][network].get("label") or network)
    return network


def _constant_row(study: StudyRuns, dataset: str) -> list[Row]:
    for result in study.results_of(dataset):
        scores = result.get("baseline_constant")
        if scores:
            cells = tuple(
                _digits(Cell(value=float(scores[score])), score) if scores.get(score) is not None else Cell()
                for score in SCORES
            )
            return [Row((title_of(study, dataset), "Constant prediction", "", "0"), cells, muted=True)]
    return []


def _digits(cell: Cell, score: str) -> Cell:
    if score != "absent_classes" or cell.value is None:
        return cell
    whole = cell.value == int(cell.value)
    return Cell(value=cell.value, n=cell.n, planned=cell.planned, digits=0 if whole else 1)


def _whole(value: Any) -> int | None:
    return int(value) if value is not None and value == value else None
