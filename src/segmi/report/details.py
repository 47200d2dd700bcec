"""Scores beyond the mIoU: calibration, boundaries and objects of the reported networks, where runs kept their sums."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from segmi.errors import DataError
from segmi.records import DetailsRecord, RunKey
from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import title_of
from segmi.statistics import PRIMARY, StudyRuns
from segmi.statistics.pairing import reported_score

SMALL, LARGE = 5, 7
"""Objects below 4⁵ = 32² pixels are small, from 4⁷ = 128² pixels on large."""


def details_by_seed(study: StudyRuns, dataset: str, method: str) -> list[DetailsRecord]:
    """The details of a method's reported network, one per finished run that kept some."""
    found = []
    for key, result in study.results.items():
        if (key.dataset, key.method) == (dataset, method):
            try:
                found.append(study.runs[key].details(str(result.get("reported_network")), str(result.get("protocol"))))
            except DataError:
                continue
    return [one for one in found if one.objects.shape == found[0].objects.shape]


def pooled_details(study: StudyRuns, dataset: str, method: str) -> DetailsRecord | None:
    """The same summed over seeds; None without any."""
    found = details_by_seed(study, dataset, method)
    total = found[0] if found else None
    for one in found[1:]:
        total = one if total is None else total + one
    return total


def without_details(study: StudyRuns) -> str:
    """What the page says of finished runs that have none; empty where all have."""
    absent = [key for key in study.results if not _kept(study, key)]
    if not absent:
        return ""
    return (
        f"{len(absent)} of {study.finished} finished runs kept no sums for reliability, boundary IoU and object sizes: "
        "they were scored before segmi collected them, by crops, or with evaluation.details set to false."
    )


def table_beyond(study: StudyRuns) -> Table | None:
    """Every method on every dataset beside its mIoU; None where no run kept what is needed."""
    rows = []
    planned = len(study.plan.seeds)
    for dataset in study.plan.datasets:
        first = True
        for method, label in study.plan.methods.items():
            found = details_by_seed(study, dataset, method)
            if not found:
                continue
            scores = [reported_score(result, PRIMARY) for result in study.results_of(dataset, method)]
            columns: list[Sequence[float | None]] = [
                scores,
                [_mean(one.boundary_iou()) for one in found],
                [_objects(one, 0, SMALL) for one in found],
                [_objects(one, SMALL, LARGE) for one in found],
                [_objects(one, LARGE, one.objects.shape[1]) for one in found],
                [one.calibration_error() for one in found],
            ]
            rows.append(
                Row((title_of(study, dataset), label), tuple(_cell(values, planned) for values in columns), rule=first)
            )
            first = False
    if not rows:
        return None
    notes = (
        "boundary IoU: of the pixels within 2 % of the image's diagonal from an outline, as mIoU otherwise (Cheng et "
        "al. 2021). objects: mean IoU of connected regions of the truth, small below 32² pixels, large from 128² on, "
        "each against the predicted regions of its class that overlap it (Chan et al. 2021). calibration error: by how "
        "much confidence and accuracy differ on average, in 20 bins of confidence; the smaller, the better.",
    )
    groups = (
        ("", (PRIMARY, "boundary IoU")),
        ("objects", ("small", "medium", "large")),
        ("", ("calibration error",)),
    )
    return Table("Beyond the mIoU.", ("dataset", "model"), groups, rows, notes)


def _kept(study: StudyRuns, key: RunKey) -> bool:
    result = study.results[key]
    return study.runs[key].details_path(str(result.get("reported_network")), str(result.get("protocol"))).is_file()


def _cell(values: Sequence[float | None], planned: int) -> Cell:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return Cell(planned=planned)
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Cell(value=statistics.fmean(known), sd=sd, n=len(known), planned=planned)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _objects(one: DetailsRecord, first: int, after: int) -> float:
    number = one.objects[:, first:after].sum()
    return float(one.object_iou[:, first:after].sum() / number) if number else float("nan")
