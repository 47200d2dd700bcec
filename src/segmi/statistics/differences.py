"""Main comparison: the difference of each method to its baseline, expected over retraining on fixed images.

`compare` tests the mIoU; `compare_classes` tests the IoU of single classes, which is exploratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy import stats

from segmi.records import reported_score
from segmi.statistics.paired_tests import LEVEL, Difference, describe_differences, detectable_factor, holm
from segmi.statistics.study_runs import PRIMARY, Pairing, StudyRuns, pairings, score_differences

Verdict = Literal[
    "better", "worse", "not distinguishable", "no test: one seed", "no test: no seed", "no test: no spread"
]


@dataclass(frozen=True)
class Comparison:
    """A method compared with its baseline on one dataset."""

    pairing: Pairing
    difference: Difference  # the differences of the seeds and their tests
    p_holm: float | None  # p value of the t test, adjusted over all comparisons of the study
    detectable: float | None  # smallest true difference found by as many new seeds with `POWER`, at Holm's first step
    verdict: Verdict


@dataclass(frozen=True)
class ClassComparison:
    """A method compared with its baseline on one class."""

    pairing: Pairing
    name: str  # the class
    difference: Difference  # in its IoU, over the seeds where both methods have one
    p_holm: float | None  # p value adjusted over all classes and methods of the dataset
    verdict: Verdict


@dataclass(frozen=True)
class CellEstimate:
    """Score of a method on a dataset: mean, standard deviation (n - 1) and t interval over seeds."""

    dataset: str
    method: str
    n: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None


def compare(study: StudyRuns) -> list[Comparison]:
    """Compare every method with its baseline on every dataset, in the order of the plan.

    Holm's procedure runs over all comparisons (methods × datasets) that can be tested; one seed cannot.
    """
    pairs = pairings(study)
    judged = judge([score_differences(study, pair) for pair in pairs])
    return [Comparison(pair, *one) for pair, one in zip(pairs, judged, strict=True)]


def compare_classes(study: StudyRuns, dataset: str) -> list[ClassComparison]:
    """Compare the IoU of every class of a dataset, method by method; Holm's procedure runs over all of them.

    The result shows which classes differ; whether a method differs is decided by `compare`.
    """
    classes = study.classes(dataset)
    pairs = [pair for pair in pairings(study) if pair.dataset == dataset and pair.seeds]
    cases = [(pair, index, name) for pair in pairs for index, name in enumerate(classes)]
    judged = judge([_class_differences(study, pair, index) for pair, index, _ in cases])
    return [
        ClassComparison(pair, name, difference, p, verdict)
        for (pair, _, name), (difference, p, _, verdict) in zip(cases, judged, strict=True)
    ]  # the detectable difference is not part of the exploratory table


def judge(family: Sequence[np.ndarray]) -> list[tuple[Difference, float | None, float | None, Verdict]]:
    """Test a family of comparisons (the differences of the seeds): (difference, p_holm, detectable, verdict) of each.

    Example:
        >>> judged = judge([np.array([0.031, 0.029, 0.030]), np.array([0.01, -0.02, 0.005]), np.array([0.4])])
        >>> [verdict for *_, verdict in judged]
        ['better', 'not distinguishable', 'no test: one seed']
    """
    differences = [describe_differences(values) for values in family]
    adjusted = holm([difference.p for difference in differences])
    # Size of the family, for the level of Holm's first step.
    tests = sum(p is not None for p in adjusted)
    return [
        (difference, p, _detectable(difference, tests), verdict_of(difference, p))
        for difference, p in zip(differences, adjusted, strict=True)
    ]


def verdict_of(difference: Difference, p: float | None) -> Verdict:
    """Return the verdict on a difference from its adjusted p value."""
    if p is None and difference.n < 2:
        return "no test: one seed" if difference.n else "no test: no seed"
    if p is None or p >= LEVEL:
        return "no test: no spread" if p is None else "not distinguishable"
    return "better" if difference.mean > 0 else "worse"


def estimates(study: StudyRuns) -> list[CellEstimate]:
    """Return mean, standard deviation and interval of every dataset and method with a finished run."""
    cells = []
    for dataset, method in product(study.plan.datasets, study.plan.methods):
        keys = [study.key(dataset, method, seed) for seed in study.plan.seeds]
        values = [reported_score(study.results[key], PRIMARY) for key in keys if key in study.results]
        values = [value for value in values if value is not None]
        if values:
            cells.append(_estimate(dataset, method, np.array(values, dtype=float)))
    return cells


def _estimate(dataset: str, method: str, values: np.ndarray) -> CellEstimate:
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return CellEstimate(dataset, method, n, mean, None, None)
    sd = float(values.std(ddof=1))
    # scipy returns NaN for a scale of 0 (identical scores).
    low, high = stats.t.interval(1 - LEVEL, n - 1, mean, sd / np.sqrt(n)) if sd else (mean, mean)
    return CellEstimate(dataset, method, n, mean, sd, (float(low), float(high)))


def _detectable(difference: Difference, tests: int) -> float | None:
    # LEVEL / tests: at Holm's first step a difference is found regardless of the other comparisons.
    if difference.p is None or not difference.sd:
        return None
    return detectable_factor(difference.n, LEVEL / tests) * difference.sd


def _class_differences(study: StudyRuns, pairing: Pairing, index: int) -> np.ndarray:
    lists = ([reported_score(study.results[key], "IoU") or {} for key in keys] for keys in pairing.keys(study))
    values = ((own[index], other[index]) for own, other in lists)
    return np.array([own - other for own, other in values if own is not None and other is not None], dtype=float)
