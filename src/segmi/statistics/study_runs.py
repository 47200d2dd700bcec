"""From run folders to one table: a row per run, network and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from segmi.errors import DataError
from segmi.records import Plan, RunFolder, RunKey, State, find_runs, guess_plan, read_plan

SCORES: Final = (
    "mIoU",
    "pixel_accuracy",
    "mean_accuracy",
    "micro_IoU",
    "binary_IoU",
    "binary_accuracy",
    "absent_classes",
)
"""The scalar scores of a result, as fractions (``absent_classes`` is a count)."""


@dataclass(frozen=True)
class StudyRuns:
    """A study's plan and what became of each of its runs.

    Args:
        folder: the study's folder.
        plan: its grid; the smallest that holds all runs if the study left none.
        runs: every run of the grid, there or not.
        states: what became of it.
        results: the results of the finished ones.
        strays: runs on disk that the plan does not hold (any more).
    """

    folder: Path
    plan: Plan
    runs: Mapping[RunKey, RunFolder]
    states: Mapping[RunKey, State]
    results: Mapping[RunKey, dict[str, Any]]
    strays: tuple[RunFolder, ...] = ()

    @property
    def finished(self) -> int:
        """How many runs of the grid are finished."""
        return len(self.results)

    def results_of(self, dataset: str, method: str | None = None) -> list[dict[str, Any]]:
        """The finished results of a cell (or of all methods), by the plan's methods and seeds."""
        return [r for key, r in self.results.items() if key.dataset == dataset and method in (None, key.method)]


def collect(root: str | Path) -> list[StudyRuns]:
    """The studies under a folder (of several studies, or of one), by name.

    Raises:
        UsageError: the folder does not exist.
    """
    root = Path(root)
    runs = find_runs(root)
    folders = {run.path.absolute().parents[2] for run in runs}
    folders |= {path.parent.absolute() for path in [*root.glob("plan.json"), *root.glob("*/plan.json")]}
    return [
        _study(folder, [r for r in runs if r.path.absolute().parents[2] == folder])
        for folder in sorted(folders, key=lambda folder: (folder.name, str(folder)))
    ]


def run_scores(study: StudyRuns) -> pd.DataFrame:
    """Every network of every finished run: one row per run, network and protocol; scores as fractions.

    Columns: study, dataset, method, seed, network, reported, main (the protocol of Table 1), protocol, architecture,
    parameters, and `SCORES`.
    """
    rows = []
    for key, result in study.results.items():
        for network, entry in result["networks"].items():
            for protocol, scores in entry.get("scores", {}).items():
                rows.append(
                    {
                        **key._asdict(),
                        "network": network,
                        "reported": network == result.get("reported_network"),
                        "main": protocol == result.get("protocol"),
                        "protocol": protocol,
                        "architecture": entry.get("architecture"),
                        "parameters": entry.get("parameters"),
                        **{name: scores.get(name) for name in SCORES},
                    }
                )
    columns = [*RunKey._fields, "network", "reported", "main", "protocol", "architecture", "parameters", *SCORES]
    frame = pd.DataFrame(rows, columns=columns)
    frame[list(SCORES)] = frame[list(SCORES)].astype(float)
    return frame


def _study(folder: Path, found: list[RunFolder]) -> StudyRuns:
    plan = read_plan(folder) or guess_plan(folder.name, found)
    by_key = {run.key: run for run in found}
    keys = [RunKey(folder.name, *key[1:]) for key in plan.grid()]
    runs = {key: by_key.get(key) or RunFolder(folder / key.dataset / key.method / f"seed{key.seed}") for key in keys}
    states: dict[RunKey, State] = {}
    results: dict[RunKey, dict[str, Any]] = {}
    for key, run in runs.items():
        states[key] = run.state()
        if states[key] == "finished":
            results[key] = _result(run)
    strays = tuple(run for key, run in by_key.items() if key not in runs)
    return StudyRuns(folder, plan, runs, states, results, strays)


def _result(run: RunFolder) -> dict[str, Any]:
    result = run.result()
    if result is None:
        raise DataError(f"{run.path}/result.json vanished while it was read", "run the command again")
    return result
