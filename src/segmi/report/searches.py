"""In words what was searched for, what was chosen, and what the search cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmi.errors import DataError
from segmi.records.trial_records import Selection, TrialRecord, read_selection
from segmi.report.describe import duration
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns


def describe_searches(study: StudyRuns) -> list[tuple[str, str]]:
    """(method and dataset, what was chosen among what) of every search of a study that has ended."""
    entries = []
    for dataset in study.plan.datasets:
        for method, label in study.plan.methods.items():
            try:
                found = read_selection(study.folder / dataset / method)
            except DataError as error:
                entries.append((f"{label} on {title_of(study, dataset)}", error.message))
                continue
            if found is not None:
                entries.append((f"{label} on {title_of(study, dataset)}", _describe(found)))
    return entries


def _describe(found: Selection) -> str:
    spaces = "; ".join(f"{name} among {_space(spec)}" for name, spec in found.searched.items())
    if found.winner is None:
        return f"{spaces}: none of {len(found.trials)} trials ended with a score"
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in found.values.items())
    scores = ", ".join(_score(trial) for trial in found.trials)
    return (
        f"{chosen}, by trial {found.winner} of {len(found.trials)}, numbered from 0 ({spaces}). Their mIoU on "
        f"{found.measured_on}: {scores}. {_cost(found.trials)}"
    )


def _space(spec: dict[str, Any]) -> str:
    if "grid" in spec:
        return ", ".join(map(_short, spec["grid"]))
    kind = "log_uniform" if "log_uniform" in spec else "uniform"
    low, high = spec[kind]
    return f"{_short(low)} to {_short(high)} ({kind.replace('_', '-')})"


def _score(trial: TrialRecord) -> str:
    return "diverged" if trial.failure else "none" if trial.score is None else f"{trial.score:.4f}"


def _cost(trials: Sequence[TrialRecord]) -> str:
    steps = sum(trial.steps or 0 for trial in trials)
    images = sum(trial.images or 0 for trial in trials)
    seconds = sum(trial.wall_seconds or 0 for trial in trials)
    return f"Together {steps:,} steps, {images:,} images seen, {duration(seconds)}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
