"""Result of a search for settings: every trial with its score, and the winner, in ``selection.json``.

The file is in the folder of the method; the trials are runs in ``<study>/<dataset>/<method>+trial<n>/seed<k>/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.records.serialization import damaged, read_record, write_record

SELECTION_NAME: Final = "selection.json"
TRIAL_MARK: Final = "+trial"  # part of the folder name of a trial; method names cannot contain it


@dataclass(frozen=True)
class TrialRecord:
    """Result of one trial."""

    number: int  # from 0
    values: Mapping[str, Any]  # the settings, by name
    score: float | None  # mIoU on the held-out images; None if the trial diverged
    steps: int | None = None  # optimizer steps taken
    images: int | None = None  # images seen
    wall_seconds: float | None = None  # time of training and validation
    failure: str | None = None  # the reason for a missing score


@dataclass(frozen=True)
class Selection:
    """Result of a search."""

    searched: Mapping[str, Any]  # the search spaces as in the study file, by setting
    seed: int  # the seed of the trials
    network: str  # the network whose score is compared
    winner: int | None  # the number of the first trial with the highest score; None if no trial has a score
    values: Mapping[str, Any]  # the settings of the winner
    config: Mapping[str, Any] = field(repr=False)  # the configuration that all trials share
    trials: Sequence[TrialRecord]
    measured_on: str = "images held out of train"  # the images that were scored


def trial_name(method: str, number: int) -> str:
    """Return the method part of the key of a trial."""
    return f"{method}{TRIAL_MARK}{number}"


def is_trial(method: str) -> bool:
    """Return whether the method part of a key belongs to a trial."""
    return TRIAL_MARK in method


def write_selection(folder: str | Path, selection: Selection) -> Path:
    """Write a selection into the folder of its method and dataset."""
    return write_record(Path(folder) / SELECTION_NAME, asdict(selection))


def read_selection(folder: str | Path) -> Selection | None:
    """Return the selection in the folder of a method and dataset; None if missing. Raises `DataError` if damaged."""
    path = Path(folder) / SELECTION_NAME
    record = read_record(path)
    if record is None:
        return None
    try:
        known = {name: record[name] for name in Selection.__dataclass_fields__}
        return Selection(**{**known, "trials": [TrialRecord(**trial) for trial in record["trials"]]})
    except (TypeError, KeyError) as error:  # a wrong field, a missing field
        raise damaged(path, f"it is not a selection: {error}") from error
