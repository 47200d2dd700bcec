"""The main statement: which methods differ from the baseline in expectation over retraining on these fixed images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from segmi.statistics.paired_tests import LEVEL, Difference, describe_differences, holm
from segmi.statistics.pairing import PRIMARY, Pairing, key_of, pairings, reported_score, score_differences
from segmi.statistics.power import detectable_factor
from segmi.statistics.study_runs import StudyRuns

Verdict = Literal[
    "better", "worse", "not distinguishable", "no test: one seed", "no test: no seed", "no test: no spread"
]


@dataclass(frozen=True)
class Comparison:
    """A method against its baseline on one dataset.

    Args:
        pairing: the runs.
        difference: the seeds' differences and their tests.
        p_holm: p of the t test, adjusted over the study's family of comparisons.
        detectable: the smallest true difference that so many seeds find with `POWER` at the level of Holm's first step.
        verdict: what it comes to, in words.
    """

    pairing: Pairing
    difference: Difference
    p_holm: float | None
    detectable: float | None
    verdict: Verdict


@dataclass(frozen=True)
class CellEstimate:
    """A method's score on one dataset: mean, standard deviation (n - 1) and t interval over seeds."""

    dataset: str
    method: str
    n: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None


def compare(study: StudyRuns) -> list[Comparison]:
    """Every method of a study against its baseline on every dataset, in the plan's order.

    The family over which Holm's procedure runs is all of them together: methods × datasets. What cannot be tested
    (one seed) is no part of it.
    """
    pairs = pairings(study)
    return [
        Comparison(pair, *judged)
        for pair, judged in zip(pairs, judge([score_differences(study, pair) for pair in pairs]), strict=True)
    ]


def judge(family: Sequence[np.ndarray]) -> list[tuple[Difference, float | None, float | None, Verdict]]:
    """Tests of a family, each given by its seeds' differences: (difference, p_holm, detectable, verdict).

    Example:
        >>> judged = judge([np.array([0.031, 0.029, 0.030]), np.array([0.01, -0.02, 0.005]), np.array([0.4])])
        >>> [verdict for *_, verdict in judged]
        ['better', 'not distinguishable', 'no test: one seed']
    """
    differences = [describe_differences(values) for values in family]
    adjusted = holm([difference.p for difference in differences])
    tests = sum(p is not None for p in adjusted)
    return [
        (difference, p, _detectable(difference, tests), verdict_of(difference, p))
        for difference, p in zip(differences, adjusted, strict=True)
    ]


def verdict_of(difference: Difference, p: float | None) -> Verdict:
    """A difference in words, by its adjusted p."""
    if p is None:
        return (
            "no test: no seed"
            if not difference.n
            else "no test: one seed"
            if difference.n == 1
            else "no test: no spread"
        )
    if p >= LEVEL:
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"


def estimates(study: StudyRuns) -> list[CellEstimate]:
    """Mean, standard deviation and interval of every cell of the plan that has a finished run."""
    found = []
    for dataset in study.plan.datasets:
        for method in study.plan.methods:
            keys = [key_of(study, dataset, method, seed) for seed in study.plan.seeds]
            values = [reported_score(study.results[key], PRIMARY) for key in keys if key in study.results]
            values = [value for value in values if value is not None]
            if values:
                found.append(_estimate(dataset, method, np.array(values, dtype=float)))
    return found


def _estimate(dataset: str, method: str, values: np.ndarray) -> CellEstimate:
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return CellEstimate(dataset, method, n, mean, None, None)
    sd = float(values.std(ddof=1))
    low, high = stats.t.interval(1 - LEVEL, n - 1, mean, sd / np.sqrt(n)) if sd else (mean, mean)
    return CellEstimate(dataset, method, n, mean, sd, (float(low), float(high)))


def _detectable(difference: Difference, tests: int) -> float | None:
    """At level / tests: what a difference needs so as to be found whatever the other comparisons come to."""
    if difference.p is None or not difference.sd:
        return None
    return detectable_factor(difference.n, LEVEL / tests) * difference.sd
