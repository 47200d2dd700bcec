"""Mean difference of a method to its baseline over datasets, for a dataset of the same kind.

Datasets are the sample: each dataset has a separate expected difference, and these vary around the mean by τ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from statsmodels.stats.meta_analysis import combine_effects

from segmi.statistics.differences import Verdict, verdict_of
from segmi.statistics.paired_tests import Difference, describe_differences, holm
from segmi.statistics.study_runs import StudyRuns, pairings, score_differences

FEWEST_DATASETS: Final = 3


@dataclass(frozen=True)
class PooledDifference:
    """Differences of a treatment to the baseline over several datasets."""

    treatment: str  # the method, or the treatment that methods on several networks share
    network: str  # the network that all runs share
    differences: Mapping[str, Difference]  # by dataset, in the order of the plan
    pooled: Difference  # of the means of the datasets, each with the same weight
    tau: float  # standard deviation of the expected differences between datasets (Paule and Mandel)
    i2: float  # share of the variance between the means of the datasets that the seeds do not explain
    p_holm: float | None  # p value of the mean difference, adjusted over all treatments
    verdict: Verdict


def pool_datasets(study: StudyRuns) -> list[PooledDifference]:
    """Pool the differences of every treatment over the datasets with at least two seeds, if there are three of them."""
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for pair in pairings(study):
        values = score_differences(study, pair)
        if describe_differences(values).p is not None:
            group = groups.setdefault((study.plan.treatment_of(pair.method), study.plan.network_of(pair.method)), {})
            group[pair.dataset] = values
    groups = {key: group for key, group in groups.items() if len(group) >= FEWEST_DATASETS}
    pooled = [pool(list(group.values())) for group in groups.values()]
    adjusted = holm([mean.p for mean, _, _ in pooled])
    return [
        PooledDifference(
            *key, {name: describe_differences(values) for name, values in group.items()}, mean, tau, i2, p,
            verdict_of(mean, p),
        )
        for (key, group), (mean, tau, i2), p in zip(groups.items(), pooled, adjusted, strict=True)
    ]  # fmt: skip


def pool(groups: Sequence[np.ndarray]) -> tuple[Difference, float, float]:
    """Return the mean over datasets with its t interval, τ and I², from one array of differences per dataset.

    All datasets have equal weight. Weights by the inverse variance, usual in meta-analysis, need variances, which are
    estimated from a few seeds: in simulations with 3 to 6 datasets and 3 to 10 seeds, their intervals cover the mean in
    only 86 to 95 % of studies, the interval with equal weights in 94 to 99 %.

    Example:
        >>> mean, tau, i2 = pool([np.array([0.01, 0.02, 0.03]) + shift for shift in (0.0, -0.01, 0.04)])
        >>> round(mean.mean, 3), round(tau, 3), round(i2, 2)
        (0.03, 0.026, 0.95)
    """
    effects = np.array([values.mean() for values in groups])
    variances = np.array([values.var(ddof=1) / len(values) for values in groups])
    with np.errstate(divide="ignore"):  # I² of equal means is 1 - 1/0
        combined = combine_effects(effects, variances, method_re="iterated")
    return describe_differences(effects), float(np.sqrt(max(combined.tau2, 0.0))), float(max(combined.i2, 0.0))
