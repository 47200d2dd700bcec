"""Runs of a study: its plan, and the state and result of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmi.errors import DataError
from segmi.records import Plan, RunFolder, RunKey, State, find_runs, guess_plan, read_plan


@dataclass(frozen=True)
class StudyRuns:
    """Plan of a study and the state of its runs.

    Args:
        folder: folder of the study.
        plan: its grid; without a recorded plan, the smallest grid that contains all runs.
        runs: every run of the grid, existing or missing.
        states: the state of every run.
        results: the results of the finished runs.
    """

    folder: Path
    plan: Plan
    runs: Mapping[RunKey, RunFolder]
    states: Mapping[RunKey, State]
    results: Mapping[RunKey, dict[str, Any]]

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
        """Return title, classes and palette of a dataset from its first result; empty before a run is finished."""
        return next((result.get("dataset") or {} for result in self.results_of(dataset)), {})

    def title(self, dataset: str) -> str:
        """Return the title of a dataset, from its results or the plan."""
        titles = [(result.get("dataset") or {}).get("title") for result in self.results_of(dataset)]
        return str(next(filter(None, titles), None) or self.plan.datasets.get(dataset) or dataset)

    def classes(self, dataset: str) -> list[str]:
        """Return the class names of a dataset; empty before a run is finished."""
        lists = [(result.get("dataset") or {}).get("classes") for result in self.results_of(dataset)]
        return [str(name) for name in next(filter(None, lists), ())]


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


def _study(folder: Path, runs_on_disk: list[RunFolder]) -> StudyRuns:
    plan = read_plan(folder) or guess_plan(folder.name, runs_on_disk)
    by_key = {run.key: run for run in runs_on_disk}
    keys = [RunKey(folder.name, *key[1:]) for key in plan.grid()]
    runs = {key: by_key.get(key) or RunFolder(folder / key.dataset / key.method / f"seed{key.seed}") for key in keys}
    states = {key: run.state() for key, run in runs.items()}
    results = {key: _result(run) for key, run in runs.items() if states[key] == "finished"}
    return StudyRuns(folder, plan, runs, states, results)


def _result(run: RunFolder) -> dict[str, Any]:
    result = run.result()
    if result is None:
        raise DataError(f"{run.path}/result.json was removed while it was read", "run the command again")
    return result
