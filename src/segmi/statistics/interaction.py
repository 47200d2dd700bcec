"""Tests of whether the difference to the baseline depends on the dataset or the network, and ranks over datasets.

The differences of the seeds are compared between contexts (datasets or networks). A method and its baseline share seeds
within a context, so differences are taken first; contexts have different spreads, so no common variance is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.oneway import anova_oneway

from segmi.statistics.differences import estimates
from segmi.statistics.paired_tests import LEVEL, Difference, describe_differences, holm
from segmi.statistics.study_runs import StudyRuns, pairings, score_differences

Over = Literal["dataset", "network"]

FEWEST: Final = 3  # datasets, and methods, that Friedman's test requires


@dataclass(frozen=True)
class Interaction:
    """Differences of a treatment to the baseline in several contexts."""

    over: Over  # kind of context
    treatment: str  # the method, or the treatment that methods on several networks share
    fixed: str  # the network (over datasets) or the dataset (over networks) that all contexts share
    differences: Mapping[str, Difference]  # by context, in the order of the plan
    p: float | None  # p value of equal expected differences in all contexts
    p_holm: float | None  # p value adjusted over all treatments with the same kind of context
    verdict: str


@dataclass(frozen=True)
class Ranks:
    """Ranks of the mean scores, 1 is the best; equal means share their ranks."""

    by_dataset: Mapping[str, Mapping[str, float]]  # method → rank, where all methods have a score
    mean: Mapping[str, float]  # method → mean rank over these datasets
    p: float | None  # p value of Friedman's test; None if it cannot be computed
    reason: str | None  # the reason for a missing p value


def interactions(study: StudyRuns, over: Over) -> list[Interaction]:
    """Test for every treatment in at least two contexts whether its difference to the baseline depends on them."""
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for pair in pairings(study):
        network = study.plan.network_of(pair.method)
        fixed, context = (network, pair.dataset) if over == "dataset" else (pair.dataset, network)
        group = groups.setdefault((study.plan.treatment_of(pair.method), fixed), {})
        group[context] = score_differences(study, pair)
    # A treatment in a single context has no interaction.
    crossed = {key: group for key, group in groups.items() if len(group) > 1}
    p_values = [equal_differences_p(list(group.values())) for group in crossed.values()]
    tested = []
    for (key, group), p, p_holm in zip(crossed.items(), p_values, holm(p_values), strict=True):
        differences = {context: describe_differences(values) for context, values in group.items()}
        tested.append(Interaction(over, *key, differences, p, p_holm, _verdict(group, p_holm, over)))
    return tested


def equal_differences_p(groups: list[np.ndarray]) -> float | None:
    """Return the p value of equal expected differences in all contexts, from one array of differences per context.

    The test is the one-way analysis of variance of Brown and Forsythe with the degrees of freedom of Mehrotra, which
    assumes no common variance and keeps its level with three seeds; with two contexts it is Welch's t test. If contexts
    share seeds (networks on one dataset), the shared order of the images makes the test conservative.
    The result is None if a context has fewer than two seeds, or the differences do not vary.

    Example:
        >>> import numpy as np
        >>> round(equal_differences_p([np.array([0.01, 0.02, 0.03]), np.array([-0.01, 0.0, 0.01])]), 4)
        0.0705
    """
    few = len(groups) < 2 or any(len(values) < 2 for values in groups)
    # Without any spread the F statistic is undefined.
    if few or all(describe_differences(values).p is None for values in groups):
        return None
    return float(anova_oneway(groups, use_var="bf").pvalue)


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
    # Rank 1 is the highest score; ties get their mean rank.
    ranks = pd.DataFrame.from_dict(means, orient="index").rank(axis=1, ascending=False)
    by_dataset, mean = ranks.to_dict("index"), ranks.mean().to_dict()
    if min(ranks.shape) < FEWEST:
        got = f"{ranks.shape[0]} and {ranks.shape[1]}"
        return Ranks(by_dataset, mean, None, f"Friedman's test needs {FEWEST} datasets and {FEWEST} methods, got {got}")
    # Friedman's statistic is undefined if all ranks are equal.
    if not np.ptp(ranks.to_numpy()):
        return Ranks(by_dataset, mean, None, "all methods are equal")
    return Ranks(by_dataset, mean, float(stats.friedmanchisquare(*-ranks.to_numpy().T).pvalue), None)


def _verdict(group: Mapping[str, np.ndarray], p: float | None, over: Over) -> str:
    if p is None:
        return "no test: too few seeds" if any(len(v) < 2 for v in group.values()) else "no test: no spread"
    return f"depends on the {over}" if p < LEVEL else "no dependence shown"
