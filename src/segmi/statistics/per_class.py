"""Differences to the baseline class by class: exploratory, with a family of their own per dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmi.statistics.differences import Verdict, judge
from segmi.statistics.paired_tests import Difference
from segmi.statistics.pairing import Pairing, pairings, reported_score
from segmi.statistics.study_runs import StudyRuns


@dataclass(frozen=True)
class ClassComparison:
    """One class of one comparison.

    Args:
        pairing: the runs.
        name: the class.
        difference: of its IoU, over the seeds in which both methods have one.
        p_holm: adjusted over all classes and methods of the dataset.
        verdict: in words.
    """

    pairing: Pairing
    name: str
    difference: Difference
    p_holm: float | None
    verdict: Verdict


def compare_classes(study: StudyRuns, dataset: str) -> list[ClassComparison]:
    """Every class of a dataset, method by method; Holm's procedure runs over all of them.

    They say where a difference lies, not whether there is one: that is what the comparison of mIoU is for.
    """
    pairs = [pair for pair in pairings(study) if pair.dataset == dataset and pair.seeds]
    names = [(pair, index, name) for pair in pairs for index, name in enumerate(_classes(study, pair))]
    judged = judge([_class_differences(study, pair, index) for pair, index, _ in names])
    return [
        ClassComparison(pair, name, difference, p, verdict)
        for (pair, _, name), (difference, p, _, verdict) in zip(names, judged, strict=True)
    ]


def _classes(study: StudyRuns, pairing: Pairing) -> list[str]:
    own, _ = next(pairing.keys(study))
    return [str(name) for name in (study.results[own].get("dataset") or {}).get("classes") or []]


def _class_differences(study: StudyRuns, pairing: Pairing, index: int) -> np.ndarray:
    values = [
        [(reported_score(study.results[key], "IoU") or {})[index] for key in pair] for pair in pairing.keys(study)
    ]
    return np.array([own - other for own, other in values if own is not None and other is not None], dtype=float)
