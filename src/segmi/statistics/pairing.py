"""Pairs of runs to compare: a method and its baseline on one dataset, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from segmi.records import RunKey
from segmi.statistics.study_runs import StudyRuns

PRIMARY: Final = "mIoU"
"""The only score that is tested, so that no comparison is won by choosing the score afterwards."""


@dataclass(frozen=True)
class Pairing:
    """A method and its baseline on one dataset.

    Args:
        dataset: the dataset.
        method: the method.
        baseline: the method it is compared with.
        seeds: the seeds that finished with a score in both methods, in the order of the plan.
        left_out: the other seeds of the plan, with the reason.
    """

    dataset: str
    method: str
    baseline: str
    seeds: tuple[int, ...]
    left_out: Mapping[int, str]

    def keys(self, study: StudyRuns) -> Iterator[tuple[RunKey, RunKey]]:
        """Yield the keys of the run of the method and the run of the baseline for each common seed."""
        for seed in self.seeds:
            yield study.key(self.dataset, self.method, seed), study.key(self.dataset, self.baseline, seed)


def pairings(study: StudyRuns) -> list[Pairing]:
    """Return every method of the plan on every dataset with its baseline, in the order of the plan."""
    pairs = []
    for dataset in study.plan.datasets:
        for method in study.plan.methods:
            baseline = study.plan.compared_with(method)
            # A baseline itself has no pairing.
            if baseline is not None:
                reasons = {seed: _missing_scores(study, dataset, (method, baseline), seed) for seed in study.plan.seeds}
                left_out = {seed: reason for seed, reason in reasons.items() if reason}
                seeds = tuple(seed for seed in study.plan.seeds if seed not in left_out)
                pairs.append(Pairing(dataset, method, baseline, seeds, left_out))
    return pairs


def reported_score(result: Mapping[str, Any], score: str) -> Any:
    """Return a score of the reported network under the protocol of Table 1; None if it is missing."""
    entry = result["networks"].get(result.get("reported_network")) or {}
    return (entry.get("scores", {}).get(result.get("protocol")) or {}).get(score)


def score_differences(study: StudyRuns, pairing: Pairing) -> np.ndarray:
    """Return the score of the method minus the score of the baseline, one fraction per common seed."""
    return np.array(
        [
            reported_score(study.results[own], PRIMARY) - reported_score(study.results[other], PRIMARY)
            for own, other in pairing.keys(study)
        ],
        dtype=float,
    )


def _missing_scores(study: StudyRuns, dataset: str, methods: tuple[str, ...], seed: int) -> str:
    """Return which of the methods have no score for a seed, with the reason; empty if all have one."""
    reasons = []
    for method in methods:
        key = study.key(dataset, method, seed)
        if key not in study.results:
            reasons.append(f"{method} is {study.states[key]}")
        elif reported_score(study.results[key], PRIMARY) is None:
            reasons.append(f"{method} has no {PRIMARY}")
    return " and ".join(reasons)
