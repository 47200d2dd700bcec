"""Table of all networks with all scores, and tables of the IoU per class."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any, Final

from segmi.report.describe import number_range
from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import cell_of, count_cell, state_text
from segmi.statistics import SCORES, Score, StudyRuns, best, reported_score, run_scores, summarize

_NOTES: Final = (
    *(
        f"{score.label}: {score.description}{f' ({score.table1} in Table 1)' if score.table1 else ''}."
        for score in SCORES
    ),
    "●: the network in Table 1. Constant prediction: every pixel is the most frequent class of the training images.",
)


def table_networks(study: StudyRuns) -> Table:
    """Return a row per dataset, model and network, and one per dataset for the constant prediction."""
    scores = run_scores(study)
    by = ("dataset", "method", "network", "protocol")
    summaries = {score.name: summarize(scores, score.name, by) for score in SCORES}
    several = scores["protocol"].nunique() > 1
    planned = len(study.plan.seeds)
    rows: list[Row] = []
    for dataset in study.plan.datasets:
        first = len(rows)
        of_dataset = scores[scores["dataset"] == dataset]
        for method, label in study.plan.methods.items():
            cells = of_dataset[of_dataset["method"] == method]
            if cells.empty:
                labels = (study.title(dataset), label, state_text(study, dataset, method), "")
                rows.append(Row(labels, tuple(Cell("–") for _ in SCORES)))
            for (network, protocol), group in cells.groupby(["network", "protocol"], sort=False):
                name = _network_label(study, dataset, method, str(network)) + (f", {protocol}" if several else "")
                mark = " ●" if group["reported"].iloc[0] and group["main"].iloc[0] else ""
                key = (dataset, method, network, protocol)
                shown = tuple(
                    cell_of(summaries[score.name].loc[key], planned, score)
                    if key in summaries[score.name].index
                    else Cell()
                    for score in SCORES
                )
                counts = (int(value) for value in group["parameters"] if value is not None and value == value)
                rows.append(Row((study.title(dataset), label, name + mark, number_range(counts, scale="M")), shown))
        rows += _constant_row(study, dataset)
        if first < len(rows):
            rows[first] = replace(rows[first], rule=True)
    groups = (("", tuple(score.label for score in SCORES)),)
    title = f"All networks of the study {study.plan.study} with all scores."
    return Table(title, ("dataset", "model", "network", "parameters"), groups, rows, _NOTES)


def table_classes(study: StudyRuns, dataset: str) -> Table:
    """Return the IoU per class of the reported network of each model, mean over seeds; a dash for an absent class."""
    rows = []
    for index, name in enumerate(study.classes(dataset)):
        values = {method: _class_values(study, dataset, method, index) for method in study.plan.methods}
        means = {method: statistics.fmean(v) if v else None for method, v in values.items()}
        bold = best(means) if len(set(means.values())) > 1 else set()
        cells = (
            Cell(
                value=means[method],
                sd=statistics.stdev(v) if len(v) > 1 else None,
                n=len(v),
                planned=len(v),
                bold=method in bold,
            )
            for method, v in values.items()
        )
        rows.append(Row((name,), tuple(cells)))
    groups = (("", tuple(study.plan.methods.values())),)
    return Table(f"IoU per class on {study.title(dataset)}.", ("class",), groups, rows)


def _class_values(study: StudyRuns, dataset: str, method: str, index: int) -> list[float]:
    lists: list[list[Any]] = [reported_score(result, "IoU") or [] for result in study.results_of(dataset, method)]
    return [float(one[index]) for one in lists if index < len(one) and one[index] is not None]


def _network_label(study: StudyRuns, dataset: str, method: str, network: str) -> str:
    for result in study.results_of(dataset, method):
        if network in result["networks"]:
            return str(result["networks"][network].get("label") or network)
    return network


def _constant_row(study: StudyRuns, dataset: str) -> list[Row]:
    scores = next((r["baseline_constant"] for r in study.results_of(dataset) if r.get("baseline_constant")), None)
    if not scores:
        return []
    cells = tuple(_constant_cell(scores.get(score.name), score) for score in SCORES)
    return [Row((study.title(dataset), "Constant prediction", "", "0"), cells, muted=True)]


def _constant_cell(value: float | None, score: Score) -> Cell:
    cell = Cell() if value is None else Cell(value=float(value))
    return count_cell(cell) if score.is_count and value is not None else cell
