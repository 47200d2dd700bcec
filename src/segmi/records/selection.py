"""How the settings of a method on a dataset were chosen: every trial with its score, and the winner.

It lies beside the runs that were trained with what was chosen, as ``<study>/<dataset>/<method>/selection.json``. Its
trials are runs themselves, in folders of their own: ``<study>/<dataset>/<method>+trial<n>/seed<k>/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.records.jsonfile import damaged, read_record, write_record

SELECTION_NAME: Final = "selection.json"
TRIAL_MARK: Final = "+trial"
"""In the name of the folder of a trial, where no method's name can have it."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Args:
        number: from 0.
        values: by the names of the settings.
        score: mIoU on the held-out images; None where it diverged.
        steps: optimizer steps taken.
        images: images seen.
        wall_seconds: of training and validation.
        failure: why it has no score.
    """

    number: int
    values: Mapping[str, Any]
    score: float | None
    steps: int | None = None
    images: int | None = None
    wall_seconds: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Selection:
    """What was searched for and what was found.

    Args:
        searched: the spaces as in the study file, by the names of the settings.
        seed: of the trials.
        network: whose score decides.
        winner: the number of the trial with the highest score, the first of equals; None where none has a score.
        values: of the winner.
        config: what all trials have in common.
        trials: all of them.
        measured_on: the images that the scores are of.
    """

    searched: Mapping[str, Any]
    seed: int
    network: str
    winner: int | None
    values: Mapping[str, Any]
    config: Mapping[str, Any] = field(repr=False)
    trials: Sequence[TrialRecord]
    measured_on: str = "images held out of train"


def trial_name(method: str, number: int) -> str:
    """The method part of a trial's key.

    Example:
        >>> trial_name("model-1", 3)
        'model-1+trial3'
    """
    return f"{method}{TRIAL_MARK}{number}"


def is_trial(method: str) -> bool:
    """Whether the method part of a run's key is that of a trial."""
    return TRIAL_MARK in method


def write_selection(folder: str | Path, selection: Selection) -> Path:
    """Write a selection into the folder of its method on its dataset.

    Example:
        >>> import tempfile
        >>> trials = [TrialRecord(0, {"training.learning_rate": 0.01}, 0.4)]
        >>> found = Selection({}, 1000, "unet", 0, trials[0].values, {}, trials)
        >>> _ = write_selection(folder := tempfile.mkdtemp(), found)
        >>> read_selection(folder) == found
        True
    """
    return write_record(Path(folder) / SELECTION_NAME, asdict(selection))


def read_selection(folder: str | Path) -> Selection | None:
    """The selection in the folder of a method on a dataset; None if it holds none.

    Raises:
        DataError: it is damaged, or written by a newer segmi.
    """
    path = Path(folder) / SELECTION_NAME
    record = read_record(path)
    if record is None:
        return None
    try:
        known = {name: record[name] for name in Selection.__dataclass_fields__}
        return Selection(**{**known, "trials": [TrialRecord(**trial) for trial in record["trials"]]})
    except (TypeError, KeyError) as error:
        raise damaged(path, f"it is no selection: {error}") from error
