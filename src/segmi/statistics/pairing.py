"""Which runs are compared with which: a method with its baseline on one dataset, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from segmi.records import RunKey
from segmi.statistics.study_runs import StudyRuns

PRIMARY: Final = "mIoU"
"""The score that is compared; one, so that no comparison is won by choosing the score afterwards."""


@dataclass(frozen=True)
class Pairing:
    """A method and what it is compared with, on one dataset.

    Args:
        dataset: the dataset.
        method: the method.
        baseline: the method that it is compared with.
        seeds: the seeds that both finished with a score, in the plan's order; only these are compared.
        left_out: seed and reason of every other seed of the plan.
    """

    dataset: str
    method: str
    baseline: str
    seeds: tuple[int, ...]
    left_out: Mapping[int, str]

    def keys(self, study: StudyRuns) -> Iterator[tuple[RunKey, RunKey]]:
        """The runs of each common seed: the method's and the baseline's."""
        for seed in self.seeds:
            yield key_of(study, self.dataset, self.method, seed), key_of(study, self.dataset, self.baseline, seed)


def pairings(study: StudyRuns) -> list[Pairing]:
    """Every method of the plan on every dataset beside the one it is compared with, in the plan's order."""
    found = []
    for dataset in study.plan.datasets:
        for method in study.plan.methods:
            baseline = study.plan.compared_with(method)
            if baseline is not None:
                reasons = {seed: _absent(study, dataset, (method, baseline), seed) for seed in study.plan.seeds}
                left_out = {seed: reason for seed, reason in reasons.items() if reason}
                seeds = tuple(seed for seed in study.plan.seeds if seed not in left_out)
                found.append(Pairing(dataset, method, baseline, seeds, left_out))
    return found


def key_of(study: StudyRuns, dataset: str, method: str, seed: int) -> RunKey:
    """The key of a run within its study, which goes by its folder."""
    return RunKey(study.folder.name, dataset, method, seed)


def reported_score(result: Mapping[str, Any], score: str) -> Any:
    """A score of the network that stands for the method, under the protocol of Table 1; None if it is not there."""
    entry = result["networks"].get(result.get("reported_network")) or {}
    return (entry.get("scores", {}).get(result.get("protocol")) or {}).get(score)


def score_differences(study: StudyRuns, pairing: Pairing) -> np.ndarray:
    """The method's score less the baseline's, one value per common seed; scores are fractions."""
    return np.array(
        [
            reported_score(study.results[own], PRIMARY) - reported_score(study.results[other], PRIMARY)
            for own, other in pairing.keys(study)
        ],
        dtype=float,
    )


def _absent(study: StudyRuns, dataset: str, methods: tuple[str, ...], seed: int) -> str:
    """Which of the methods have no score for this seed, and why; empty if all have one."""
    reasons = []
    for method in methods:
        key = key_of(study, dataset, method, seed)
        if key not in study.results:
            reasons.append(f"{method} is {study.states[key]}")
        elif reported_score(study.results[key], PRIMARY) is None:
            reasons.append(f"{method} has no {PRIMARY}")
    return " and ".join(reasons)
