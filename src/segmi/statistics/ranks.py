"""Ranks of the methods on every dataset, and Friedman's test of their agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from segmi.statistics.differences import estimates
from segmi.statistics.study_runs import StudyRuns

FEWEST: Final = 3
"""Friedman's test requires this number of datasets and of methods."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of the mean scores, 1 is the best; equal means share their ranks.

    Args:
        by_dataset: method → rank, for every dataset on which all methods have a score.
        mean: method → mean rank over these datasets.
        p: p value of Friedman's test; None if it cannot be computed.
        reason: the reason for a missing p value.
    """

    by_dataset: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]
    p: float | None
    reason: str | None


def rank_methods(study: StudyRuns) -> Ranks:
    """Rank the methods of a study by their mean score over seeds, on the datasets where all have a score."""
    means: dict[str, dict[str, float]] = {}
    for cell in estimates(study):
        means.setdefault(cell.dataset, {})[cell.method] = cell.mean
    return ranks_of({dataset: row for dataset, row in means.items() if len(row) == len(study.plan.methods)})


def ranks_of(means: Mapping[str, Mapping[str, float]]) -> Ranks:
    """Rank methods from mean scores by dataset and method; every dataset has the same methods.

    Example:
        >>> result = ranks_of({"a": {"m": 0.5, "n": 0.6}, "b": {"m": 0.2, "n": 0.3}})
        >>> result.mean, result.reason
        ({'m': 2.0, 'n': 1.0}, "Friedman's test needs 3 datasets and 3 methods, got 2 and 2")
    """
    methods = list(next(iter(means.values()), {}))
    table = np.array([[row[method] for method in methods] for row in means.values()]).reshape(len(means), len(methods))
    # Negative scores: rank 1 is the highest score; ties get their mean rank.
    ranks = stats.rankdata(-table, axis=1) if table.size else table
    by_dataset = {
        name: dict(zip(methods, map(float, row), strict=True)) for name, row in zip(means, ranks, strict=True)
    }
    mean = dict(zip(methods, map(float, ranks.mean(axis=0)), strict=True)) if table.size else {}
    if len(means) < FEWEST or len(methods) < FEWEST:
        reason = f"Friedman's test needs {FEWEST} datasets and {FEWEST} methods, got {len(means)} and {len(methods)}"
        return Ranks(by_dataset, mean, None, reason)
    # Friedman's statistic is undefined if all ranks are equal.
    if not np.ptp(ranks):
        return Ranks(by_dataset, mean, None, "all methods are equal")
    return Ranks(by_dataset, mean, float(stats.friedmanchisquare(*table.T).pvalue), None)
