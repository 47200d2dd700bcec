"""The trials that choose a method's settings on a dataset: which are to be done, how they ended, which one won.

A trial is a run like any other, with a folder, records and a lock of its own, but the images held out of train are
scored in the place of the test split. Its seed is none of the study's, so that these stay alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segmi.errors import DataError, Diverged
from segmi.records import RunFolder
from segmi.records.trial_records import Selection, TrialRecord, read_selection, trial_name, write_selection
from segmi.study.expand import HELD_OUT, Run, changed_keys, run_config
from segmi.study.schema import Study
from segmi.study.search import Space, number_of_trials, put
from segmi.study.suggest import steered, suggest


@dataclass(frozen=True)
class Trial:
    """A trial as far as it is known.

    Args:
        run: what is to be done for it.
        record: how it ended; None while it has not.
    """

    run: Run
    record: TrialRecord | None


@dataclass
class Search:
    """The search of one method on one dataset.

    Args:
        study: it is part of.
        dataset: the dataset's name in the study.
        method: the method's name.
        root: the folder of all runs.
        anew: whether what is on the disk counts only where it is in ``done``.
        done: keys of the trials that were done in this call.
        change: applied to every run, such as to start from a bundle.
    """

    study: Study
    dataset: str
    method: str
    root: Path
    anew: bool = False
    done: set[str] = field(default_factory=set)
    change: Callable[[Run], Run] = lambda run: run

    @property
    def spaces(self) -> list[Space]:
        """What is searched for."""
        return self.study.searches[self.method]

    @property
    def total(self) -> int:
        """The number of trials."""
        return number_of_trials(self.spaces)

    @property
    def folder(self) -> Path:
        """Where the selection lies."""
        return self.root / self.study.name / self.dataset / self.method

    def run(self, number: int, values: dict[str, Any] | None = None) -> Run:
        """A trial's run; without its values only its key and its cost are what they will be."""
        config = self._base_config()
        set_values(config, self.spaces, values or {})
        config["evaluation"] = {**config["evaluation"], "split": HELD_OUT}
        config |= {"method": trial_name(self.method, number), "trial": number, "samples": 0}
        return Run(self.study.name, self.dataset, config["method"], self.study.search_seed, config)

    def trials(self) -> list[Trial]:
        """The trials whose values are known: all, or those whose values the scores so far do not steer."""
        found: list[Trial] = []
        for number in range(self.total):
            if steered(self.spaces, number) and any(trial.record is None for trial in found):
                break
            before = [(trial.record.values, trial.record.score) for trial in found if trial.record]
            values = suggest(self.spaces, number, before, self.study.search_seed)
            run = self.run(number, values)
            found.append(Trial(run, self._ended(run, number, values)))
        return found

    def selection(self) -> Selection | None:
        """What was chosen, by the record of it or, without one, by all trials; None while they have not ended."""
        if not self.anew and (stored := self.selection_on_disk()):
            return stored
        records = [trial.record for trial in self.trials() if trial.record]
        if len(records) < self.total:
            return None
        best = max((record for record in records if record.score is not None), key=_score, default=None)
        return Selection(
            self._searched(), self.study.search_seed, self._network(), best.number if best else None,
            best.values if best else {}, self._base_config(), records,
        )  # fmt: skip

    def keep(self) -> None:
        """Write what was chosen beside the runs that rest on it; it counts from then on, trials may be removed."""
        found = self.selection()
        if found is not None and (self.anew or self.selection_on_disk() is None):
            write_selection(self.folder, found)

    def selection_on_disk(self) -> Selection | None:
        """What was chosen before by the same search; None if there is no record of it."""
        stored = read_selection(self.folder)
        if stored is None or (stored.searched, stored.seed) != (self._searched(), self.study.search_seed):
            return None
        return None if changed_keys(stored.config, self._base_config()) else stored

    def _searched(self) -> dict[str, Any]:
        return {space.name: space.spec() for space in self.spaces}

    def _base_config(self) -> dict[str, Any]:
        seed = self.study.search_seed
        config = deepcopy(run_config(self.study, self.dataset, self.method, seed))
        return self.change(Run(self.study.name, self.dataset, self.method, seed, config)).config

    def _network(self) -> str:
        method = self.study.methods[self.method]
        return (method.training or {}).get("select_network") or method.reported or ""

    def _ended(self, run: Run, number: int, values: dict[str, Any]) -> TrialRecord | None:
        if self.anew and run.key not in self.done:
            return None
        folder = RunFolder(run.folder(self.root))
        state = folder.state()
        if state == "finished":
            result = folder.result() or {}
            spent = result.get("training", {})
            return TrialRecord(
                number, values, _score_of(result, self._network()),
                **{name: spent.get(name) for name in ("steps", "images", "wall_seconds")},
            )  # fmt: skip
        failure = folder.failure() if state == "failed" else None
        if failure is not None and failure.get("type") == Diverged.__name__:
            return TrialRecord(number, values, None, failure=str(failure.get("message", "")))
        return None


def set_values(config: dict[str, Any], spaces: Collection[Space], values: dict[str, Any]) -> None:
    """Put chosen values where they belong in the configuration of a run."""
    for space in spaces:
        if space.name in values:
            put(config, space.place, values[space.name])


def chosen(run: Run, spaces: Collection[Space], selection: Selection) -> Run:
    """A run of the study with the values that its search has chosen."""
    config = deepcopy(run.config)
    set_values(config, spaces, dict(selection.values))
    config["selected"] = dict(selection.values)
    return Run(run.study, run.dataset, run.method, run.seed, config)


def _score(record: TrialRecord) -> tuple[float, int]:
    return (record.score or 0.0, -record.number)


def _score_of(result: dict[str, Any], network: str) -> float | None:
    try:
        score = result["networks"][network]["scores"][result["protocol"]]["mIoU"]
    except KeyError as error:
        raise DataError(
            f"the result of trial {result.get('method')} holds no mIoU of {network}: {error}",
            "remove the folder of the trial and run the study again",
        ) from error
    return None if score is None else float(score)
