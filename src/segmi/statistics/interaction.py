"""Tests of whether the difference of a method to its baseline depends on the dataset or the network.

The differences of the seeds are compared between contexts (datasets or networks). A method and its baseline share seeds
within a context, so differences are taken first; contexts have different spreads, so no common variance is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from statsmodels.stats.oneway import anova_oneway

from segmi.statistics.paired_tests import LEVEL, Difference, describe_differences, holm
from segmi.statistics.pairing import Pairing, pairings, score_differences
from segmi.statistics.study_runs import StudyRuns

Over = Literal["dataset", "network"]


@dataclass(frozen=True)
class Interaction:
    """Differences of a treatment to the baseline in several contexts.

    Args:
        over: the kind of context.
        treatment: the method, or the treatment that methods on several networks share.
        fixed: the network (over datasets) or the dataset (over networks) that all contexts share.
        differences: by context, in the order of the plan.
        p: p value of equal expected differences in all contexts.
        p_holm: p value adjusted over all treatments with the same kind of context.
        verdict: the conclusion.
    """

    over: Over
    treatment: str
    fixed: str
    differences: Mapping[str, Difference]
    p: float | None
    p_holm: float | None
    verdict: str


def interactions(study: StudyRuns, over: Over) -> list[Interaction]:
    """Test for every treatment whether its difference to the baseline depends on the dataset or the network.

    Returns: one entry per treatment with at least two contexts.
    """
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for pair in pairings(study):
        fixed, context = _fixed_and_context(study, pair, over)
        group = groups.setdefault((study.plan.treatment_of(pair.method), fixed), {})
        group[context] = score_differences(study, pair)
    # A treatment in a single context has no interaction.
    crossed = {key: group for key, group in groups.items() if len(group) > 1}
    p_values = [equal_differences_p(list(group.values())) for group in crossed.values()]
    return [
        Interaction(
            over,
            treatment,
            fixed,
            {context: describe_differences(values) for context, values in group.items()},
            p,
            adjusted,
            _verdict(group, adjusted, over),
        )
        for ((treatment, fixed), group), p, adjusted in zip(crossed.items(), p_values, holm(p_values), strict=True)
    ]


def equal_differences_p(groups: list[np.ndarray]) -> float | None:
    """Return the p value of equal expected differences in all contexts.

    The test is the one-way analysis of variance of Brown and Forsythe with the degrees of freedom of Mehrotra, which
    assumes no common variance and keeps its level with three seeds; with two contexts it is Welch's t test. If contexts
    share seeds (networks on one dataset), the shared order of the images makes the test conservative.

    Args:
        groups: the differences of the seeds in each context.

    Returns: None if a context has fewer than two seeds, or the differences do not vary.

    Example:
        >>> import numpy as np
        >>> round(equal_differences_p([np.array([0.01, 0.02, 0.03]), np.array([-0.01, 0.0, 0.01])]), 4)
        0.0705
    """
    if len(groups) < 2 or any(len(values) < 2 for values in groups):
        return None
    # Without any spread the F statistic is undefined.
    if all(describe_differences(values).p is None for values in groups):
        return None
    return float(anova_oneway(groups, use_var="bf").pvalue)


def _fixed_and_context(study: StudyRuns, pair: Pairing, over: Over) -> tuple[str, str]:
    """Return the factor that is the same in all contexts, and the context of a pairing."""
    network = study.plan.network_of(pair.method)
    return (network, pair.dataset) if over == "dataset" else (pair.dataset, network)


def _verdict(group: Mapping[str, np.ndarray], p: float | None, over: Over) -> str:
    if p is None:
        return "no test: too few seeds" if any(len(v) < 2 for v in group.values()) else "no test: no spread"
    return f"depends on the {over}" if p < LEVEL else "no dependence shown"
