"""Does a method's gain depend on where it is measured: on the dataset, or on the network?

The seeds' differences to the baseline are compared between the contexts. Within a context a method and its baseline
share seeds, which is why differences are taken first; datasets are independent of each other, and their differences
have spreads of their own, which is why no common variance is assumed.
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
    """A treatment's differences to the baseline in several contexts.

    Args:
        over: what the contexts are.
        treatment: the method, or what methods on several networks have in common.
        fixed: the network (over datasets) or the dataset (over networks) that is the same throughout.
        differences: by context, in the plan's order.
        p: of the test that the expected difference is the same in all contexts.
        p_holm: adjusted over all treatments with the same kind of contexts.
        verdict: in words.
    """

    over: Over
    treatment: str
    fixed: str
    differences: Mapping[str, Difference]
    p: float | None
    p_holm: float | None
    verdict: str


def interactions(study: StudyRuns, over: Over) -> list[Interaction]:
    """Treatment by treatment, whether its difference to the baseline depends on the dataset, or on the network.

    Returns: nothing where there is one context only.
    """
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for pair in pairings(study):
        fixed, context = _places(study, pair, over)
        group = groups.setdefault((study.plan.treatment_of(pair.method), fixed), {})
        group[context] = score_differences(study, pair)
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
    """p of the hypothesis that the differences have the same expectation in all contexts.

    Brown and Forsythe's one-way analysis of variance with Mehrotra's degrees of freedom, which assumes no common
    variance and keeps its level with three seeds; with two contexts it is Welch's t test. Where contexts share seeds
    (networks on one dataset), what the shared order of the images adds to all of them makes the test cautious.

    Args:
        groups: the seeds' differences of each context.

    Returns: None if a context has fewer than two seeds, or no differences vary.

    Example:
        >>> import numpy as np
        >>> round(equal_differences_p([np.array([0.01, 0.02, 0.03]), np.array([-0.01, 0.0, 0.01])]), 4)
        0.0705
    """
    if len(groups) < 2 or any(len(values) < 2 for values in groups):
        return None
    if all(describe_differences(values).p is None for values in groups):
        return None
    return float(anova_oneway(groups, use_var="bf").pvalue)


def _places(study: StudyRuns, pair: Pairing, over: Over) -> tuple[str, str]:
    """What stays the same and what the context is."""
    network = study.plan.network_of(pair.method)
    return (network, pair.dataset) if over == "dataset" else (pair.dataset, network)


def _verdict(group: Mapping[str, np.ndarray], p: float | None, over: Over) -> str:
    if p is None:
        return "no test: too few seeds" if any(len(v) < 2 for v in group.values()) else "no test: no spread"
    return f"depends on the {over}" if p < LEVEL else "no dependence shown"
