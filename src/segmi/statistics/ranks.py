"""Methods ranked on every dataset, and Friedman's test of whether the ranks agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from segmi.statistics.differences import estimates
from segmi.statistics.study_runs import StudyRuns

FEWEST: Final = 3
"""Friedman's test needs so many datasets and as many methods."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of the methods' mean scores, 1 the best; equal means share their ranks.

    Args:
        by_dataset: method → rank, for every dataset on which all methods have a score.
        mean: method → mean rank over those.
        p: of Friedman's test; None where it cannot be made.
        reason: why not.
    """

    by_dataset: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]
    p: float | None
    reason: str | None


def rank_methods(study: StudyRuns) -> Ranks:
    """The methods of a study by their mean score over seeds; datasets on which one has none are left out."""
    means: dict[str, dict[str, float]] = {}
    for cell in estimates(study):
        means.setdefault(cell.dataset, {})[cell.method] = cell.mean
    return ranks_of({dataset: row for dataset, row in means.items() if len(row) == len(study.plan.methods)})


def ranks_of(means: Mapping[str, Mapping[str, float]]) -> Ranks:
    """Ranks from mean scores by dataset and method; every dataset holds the same methods.

    Example:
        >>> found = ranks_of({"a": {"m": 0.5, "n": 0.6}, "b": {"m": 0.2, "n": 0.3}})
        >>> found.mean, found.reason
        ({'m': 2.0, 'n': 1.0}, "Friedman's test needs 3 datasets and 3 methods, there are 2 and 2")
    """
    methods = list(next(iter(means.values()), {}))
    table = np.array([[row[method] for method in methods] for row in means.values()]).reshape(len(means), len(methods))
    ranks = stats.rankdata(-table, axis=1) if table.size else table
    by_dataset = {
        name: dict(zip(methods, map(float, row), strict=True)) for name, row in zip(means, ranks, strict=True)
    }
    mean = dict(zip(methods, map(float, ranks.mean(axis=0)), strict=True)) if table.size else {}
    if len(means) < FEWEST or len(methods) < FEWEST:
        reason = (
            f"Friedman's test needs {FEWEST} datasets and {FEWEST} methods, there are {len(means)} and {len(methods)}"
        )
        return Ranks(by_dataset, mean, None, reason)
    if not np.ptp(ranks):
        return Ranks(by_dataset, mean, None, "all methods are equal")
    return Ranks(by_dataset, mean, float(stats.friedmanchisquare(*table.T).pvalue), None)
