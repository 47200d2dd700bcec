"""Runs of a study: its plan, the state and result of every run, and the pairs of runs that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from segmi.errors import DataError
from segmi.records import Plan, RunFolder, RunKey, State, find_runs, guess_plan, read_plan, reported_score

PRIMARY: Final = "mIoU"  # the only score that is tested: no comparison is won by choosing the score afterwards


@dataclass(frozen=True)
class StudyRuns:
    """Plan of a study and the state of its runs."""

    folder: Path  # folder of the study
    plan: Plan  # its grid; without a recorded plan, the smallest grid that contains all runs
    runs: Mapping[RunKey, RunFolder]  # every run of the grid, existing or missing
    states: Mapping[RunKey, State]  # the state of every run
    results: Mapping[RunKey, dict[str, Any]]  # the results of the finished runs

    @property
    def finished(self) -> int:
        """Number of finished runs of the grid."""
        return len(self.results)

    def key(self, dataset: str, method: str, seed: int) -> RunKey:
        """Return the key of a run; its study is the name of the folder."""
        return RunKey(self.folder.name, dataset, method, seed)

    def results_of(self, dataset: str, method: str | None = None) -> list[dict[str, Any]]:
        """Return the finished results of a dataset (and method), in the order of methods and seeds of the plan."""
        return [r for key, r in self.results.items() if key.dataset == dataset and method in (None, key.method)]

    def dataset_info(self, dataset: str) -> Mapping[str, Any]:
        """Return title, classes and palette of a dataset from its results; empty before a run is finished."""
        return next((info for result in self.results_of(dataset) if (info := result.get("dataset"))), {})

    def title(self, dataset: str) -> str:
        """Return the title of a dataset, from its results or the plan."""
        return str(self.dataset_info(dataset).get("title") or self.plan.datasets.get(dataset) or dataset)

    def classes(self, dataset: str) -> list[str]:
        """Return the class names of a dataset; empty before a run is finished."""
        return [str(name) for name in self.dataset_info(dataset).get("classes") or ()]


def collect(root: str | Path) -> list[StudyRuns]:
    """Return the studies in a folder (of several studies, or of one), by name.

    Raises:
        UsageError: the folder does not exist.
    """
    root = Path(root)
    runs = find_runs(root)
    # A run is <study>/<dataset>/<method>/seed<k>, so its study is three levels up.
    folders = {run.path.absolute().parents[2] for run in runs}
    # Studies whose runs have not started have only a plan.
    folders |= {path.parent.absolute() for path in [*root.glob("plan.json"), *root.glob("*/plan.json")]}
    return [
        _study(folder, [r for r in runs if r.path.absolute().parents[2] == folder])
        for folder in sorted(folders, key=lambda folder: (folder.name, str(folder)))
    ]


@dataclass(frozen=True)
class Pairing:
    """A method and its baseline on one dataset."""

    dataset: str
    method: str
    baseline: str  # the method it is compared with
    seeds: tuple[int, ...]  # seeds that finished with a score in both methods, in the order of the plan
    left_out: Mapping[int, str]  # the other seeds of the plan, with the reason

    def keys(self, study: StudyRuns) -> Iterator[tuple[RunKey, RunKey]]:
        """Yield the keys of the run of the method and the run of the baseline for each common seed."""
        for seed in self.seeds:
            yield study.key(self.dataset, self.method, seed), study.key(self.dataset, self.baseline, seed)


def pairings(study: StudyRuns) -> list[Pairing]:
    """Return every method of the plan on every dataset with its baseline, in the order of the plan."""
    cells = product(study.plan.datasets, study.plan.methods)
    pairs = ((dataset, method, study.plan.compared_with(method)) for dataset, method in cells)
    # A baseline itself has no pairing.
    return [pairing(study, dataset, method, other) for dataset, method, other in pairs if other is not None]


def pairing(study: StudyRuns, dataset: str, method: str, baseline: str) -> Pairing:
    """Return two methods of the plan on a dataset, to be compared seed by seed."""
    reasons = {seed: _missing_scores(study, dataset, (method, baseline), seed) for seed in study.plan.seeds}
    left_out = {seed: reason for seed, reason in reasons.items() if reason}
    seeds = tuple(seed for seed in study.plan.seeds if seed not in left_out)
    return Pairing(dataset, method, baseline, seeds, left_out)


def score_differences(study: StudyRuns, pairing: Pairing) -> np.ndarray:
    """Return the score of the method minus the score of the baseline, one fraction per common seed."""
    scores = ([reported_score(study.results[key], PRIMARY) for key in keys] for keys in pairing.keys(study))
    return np.array([own - other for own, other in scores], dtype=float)


def _study(folder: Path, runs_on_disk: list[RunFolder]) -> StudyRuns:
    plan = read_plan(folder) or guess_plan(folder.name, runs_on_disk)
    by_key = {run.key: run for run in runs_on_disk}
    keys = [RunKey(folder.name, *key[1:]) for key in plan.grid()]
    runs = {key: by_key.get(key) or RunFolder(folder / key.dataset / key.method / f"seed{key.seed}") for key in keys}
    states = {key: run.state() for key, run in runs.items()}
    results = {key: _result(run) for key, run in runs.items() if states[key] == "finished"}
    return StudyRuns(folder, plan, runs, states, results)


def _result(run: RunFolder) -> dict[str, Any]:
    if (result := run.result()) is None:
        raise DataError(f"{run.path}/result.json was removed while it was read", "run the command again")
    return result


def _missing_scores(study: StudyRuns, dataset: str, methods: tuple[str, ...], seed: int) -> str:
    """Return which of the methods have no score for a seed, with the reason; empty if all have one."""
    reasons = []
    for key in (study.key(dataset, method, seed) for method in methods):
        if key not in study.results:
            reasons.append(f"{key.method} is {study.states[key]}")
        elif reported_score(study.results[key], PRIMARY) is None:
            reasons.append(f"{key.method} has no {PRIMARY}")
    return " and ".join(reasons)
