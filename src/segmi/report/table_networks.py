"""Tables of the networks: all scores, IoU per class, and boundaries, objects and calibration."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from typing import Any, Final, TypeVar

import numpy as np

from segmi.errors import DataError
from segmi.records import DetailsRecord, RunFolder, RunKey
from segmi.records.evaluation_counts import SIZES
from segmi.report.describe import number_range
from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import cell_of, count_cell, mark_best, state_text
from segmi.statistics import PRIMARY, SCORES, StudyRuns, reported_score, run_scores, summarize

T = TypeVar("T")

_NOTES: Final = (
    *(f"{one.label}: {one.description}{f' ({one.table1} in Table 1)' if one.table1 else ''}." for one in SCORES),
    "●: the network in Table 1. Constant prediction: every pixel is the most frequent class of the training images.",
)


def table_networks(study: StudyRuns) -> Table:
    """Return a row per dataset, model and network, and one per dataset for the constant prediction."""
    scores = run_scores(study)
    by = ("dataset", "method", "network", "protocol")
    summaries = [(score, summarize(scores, score.name, by)) for score in SCORES]
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
                    cell_of(summary.loc[key], planned, score) if key in summary.index else Cell()
                    for score, summary in summaries
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
        cells = {method: _cell(one, len(one)) for method, one in values.items()}
        differ = len({cell.value for cell in cells.values()}) > 1
        rows.append(Row((name,), tuple((mark_best(cells) if differ else cells).values())))
    groups = (("", tuple(study.plan.methods.values())),)
    return Table(f"IoU per class on {study.title(dataset)}.", ("class",), groups, rows)


def _class_values(study: StudyRuns, dataset: str, method: str, index: int) -> list[float]:
    lists: list[list[Any]] = [reported_score(result, "IoU") or [] for result in study.results_of(dataset, method)]
    return [float(one[index]) for one in lists if index < len(one) and one[index] is not None]


def _network_label(study: StudyRuns, dataset: str, method: str, network: str) -> str:
    entries = (result["networks"].get(network) for result in study.results_of(dataset, method))
    return str((next(filter(None, entries), None) or {}).get("label") or network)


def _constant_row(study: StudyRuns, dataset: str) -> list[Row]:
    scores = next((r["baseline_constant"] for r in study.results_of(dataset) if r.get("baseline_constant")), None)
    if not scores:
        return []
    values = [scores.get(score.name) for score in SCORES]
    cells = [Cell(value=None if value is None else float(value)) for value in values]
    shown = tuple(count_cell(c) if score.is_count else c for score, c in zip(SCORES, cells, strict=True))
    return [Row((study.title(dataset), "Constant prediction", "", "0"), shown, muted=True)]


def reported_records(study: StudyRuns, dataset: str, method: str, read: Callable[[RunFolder, str, str], T]) -> list[T]:
    """Return the records of the reported network of a method, one per finished run with a readable one."""
    records = []
    for key in study.results:
        if (key.dataset, key.method) == (dataset, method):
            with suppress(DataError):
                records.append(read(study.runs[key], *_network_and_protocol(study, key)))
    return records


def details_by_seed(study: StudyRuns, dataset: str, method: str) -> list[DetailsRecord]:
    """Return the details of the reported network of a method, one per finished run that has some."""
    records = reported_records(study, dataset, method, RunFolder.details)
    return [one for one in records if one.objects.shape == records[0].objects.shape]


def pooled_details(study: StudyRuns, dataset: str, method: str) -> DetailsRecord | None:
    """Return the sum over seeds; None without any."""
    records = details_by_seed(study, dataset, method)
    return reduce(operator.add, records) if records else None


def missing_details_note(study: StudyRuns) -> str:
    """Return a note about finished runs without details; empty if all have some."""
    missing = sum(not study.runs[k].details_path(*_network_and_protocol(study, k)).is_file() for k in study.results)
    note = (
        f"{missing} of {study.finished} finished runs have no details (calibration, boundary IoU, object sizes): they "
        "were evaluated on crops or with evaluation.details set to false."
    )
    return note if missing else ""


def table_details(study: StudyRuns) -> Table | None:
    """Return a row per dataset and method; None if no run has details."""
    rows = []
    planned = len(study.plan.seeds)
    for dataset in study.plan.datasets:
        first = True
        for method, label in study.plan.methods.items():
            records = details_by_seed(study, dataset, method)
            if not records:
                continue
            columns: list[Sequence[float | None]] = [
                [reported_score(result, PRIMARY) for result in study.results_of(dataset, method)],
                [one.mean_boundary_iou() for one in records],
                *([one.mean_object_iou(size) for one in records] for size in SIZES),
                [one.calibration_error() for one in records],
            ]
            cells = tuple(_cell(values, planned) for values in columns)
            rows.append(Row((study.title(dataset), label), cells, rule=first))
            first = False
    if not rows:
        return None
    notes = (
        "boundary IoU: mIoU of the pixels within 2 % of the image diagonal from an outline (Cheng et al. 2021).",
        "objects: mean IoU of the connected regions of the truth against the overlapping predicted regions of their "
        "class (Chan et al. 2021); small: below 32² pixels, large: at least 128² pixels.",
        "calibration error: mean difference between confidence and accuracy in 20 bins of confidence; less is better.",
    )
    groups = (("", (PRIMARY, "boundary IoU")), ("objects", ("small", "medium", "large")), ("", ("calibration error",)))
    return Table("Boundaries, objects and calibration.", ("dataset", "model"), groups, rows, notes)


def _network_and_protocol(study: StudyRuns, key: RunKey) -> tuple[str, str]:
    result = study.results[key]
    return str(result.get("reported_network")), str(result.get("protocol"))


def _cell(values: Sequence[float | None], planned: int) -> Cell:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return Cell(planned=planned)
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Cell(value=statistics.fmean(known), sd=sd, n=len(known), planned=planned)
