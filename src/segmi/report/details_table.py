"""Table of calibration, boundary IoU and IoU by object size of the reported networks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from segmi.errors import DataError
from segmi.records import DetailsRecord, RunKey
from segmi.report.table import Cell, Row, Table
from segmi.statistics import PRIMARY, StudyRuns, reported_score

_MEDIUM, _LARGE = 5, 7
"""Size indices (powers of 4): medium objects have at least 4⁵ = 32² pixels, large ones at least 4⁷ = 128²."""


def details_by_seed(study: StudyRuns, dataset: str, method: str) -> list[DetailsRecord]:
    """Return the details of the reported network of a method, one per finished run that has some."""
    records = []
    for key in study.results:
        if (key.dataset, key.method) == (dataset, method):
            try:
                records.append(study.runs[key].details(*_network_and_protocol(study, key)))
            except DataError:
                continue
    return [one for one in records if one.objects.shape == records[0].objects.shape]


def pooled_details(study: StudyRuns, dataset: str, method: str) -> DetailsRecord | None:
    """Return the sum over seeds; None without any."""
    records = details_by_seed(study, dataset, method)
    total = records[0] if records else None
    for one in records[1:]:
        total = one if total is None else total + one
    return total


def missing_details_note(study: StudyRuns) -> str:
    """Return a note about finished runs without details; empty if all have some."""
    missing = sum(not study.runs[k].details_path(*_network_and_protocol(study, k)).is_file() for k in study.results)
    if not missing:
        return ""
    return (
        f"{missing} of {study.finished} finished runs have no details (calibration, boundary IoU, object sizes): they "
        "were evaluated on crops or with evaluation.details set to false."
    )


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
                [_mean(one.boundary_iou()) for one in records],
                [_object_iou(one, 0, _MEDIUM) for one in records],
                [_object_iou(one, _MEDIUM, _LARGE) for one in records],
                [_object_iou(one, _LARGE, one.objects.shape[1]) for one in records],
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


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _object_iou(one: DetailsRecord, first: int, stop: int) -> float:
    number = one.objects[:, first:stop].sum()
    return float(one.object_iou[:, first:stop].sum() / number) if number else float("nan")
