"""Trials that choose the settings of a method on a dataset: their values, their scores, and the best one.

A trial is a run that is scored on images held out of train. The runs on disk are the only record of a search: an Optuna
study is rebuilt from them for every trial, so a killed search continues exactly.

A search may have several rungs (synchronous successive halving): all values are tried with a fraction of the budget,
and the best of them again with a larger fraction. Each trial is a complete training with its schedule, so a promoted
trial starts again instead of continuing from a checkpoint with another schedule. All searches of a study cost the same.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import DataError, Diverged
from segmi.randomness import key
from segmi.records import RunFolder
from segmi.records.run_folder import trial_name
from segmi.records.study_records import Selection, TrialRecord, read_selection, write_selection
from segmi.study.run_config import HELD_OUT, Run, RunConfig, changed_keys, run_config
from segmi.study.schema import Study
from segmi.study.search import Space, put, rung_sizes
from segmi.training.config import BUDGETS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Number of trials that are spread evenly over the ranges; later ones depend on the scores of those before them.
SPREAD: Final = 10


@dataclass(frozen=True)
class Trial:
    """A trial."""

    run: Run
    record: TrialRecord | None  # None until the trial has ended


@dataclass
class Search:
    """Search of one method on one dataset."""

    study: Study
    dataset: str
    method: str
    root: Path  # folder of all runs
    restart: bool = False  # ignore results on disk, except from runs in ``done``
    done: set[str] = field(default_factory=set)  # keys of the trials that were done in this call
    init_from: str | None = None  # bundle that the trials start from

    @property
    def spaces(self) -> list[Space]:
        """Settings that are searched for."""
        return self.study.searches[self.method]

    @property
    def sizes(self) -> list[int]:
        """Number of trials of each rung."""
        return rung_sizes(self.spaces, self.study.search_rungs)

    @property
    def total(self) -> int:
        """Number of trials in all rungs."""
        return sum(self.sizes)

    def rung(self, number: int) -> int:
        """Return the rung of a trial, from 0; the trials are numbered through all rungs."""
        return next(rung for rung, end in enumerate(itertools.accumulate(self.sizes)) if number < end)

    @property
    def folder(self) -> Path:
        """Folder of the selection."""
        return self.root / self.study.name / self.dataset / self.method

    def run(self, number: int, values: dict[str, Any] | None = None) -> Run:
        """Return the run of a trial; without values, its key and its cost are correct."""
        config = self._base_config().plain()
        set_values(config, self.spaces, values or {})
        config["training"] |= shortened(config["training"], self.study.search_rungs[self.rung(number)])
        config["evaluation"]["split"] = HELD_OUT
        config |= {"method": trial_name(self.method, number), "trial": number, "samples": 0}
        return Run(RunConfig.from_plain(config))

    def trials(self) -> list[Trial]:
        """Return the trials whose values are known: all, or those that wait for no score."""
        trials: list[Trial] = []
        rung: list[Trial] = []
        for size in self.sizes:
            ended = [trial.record for trial in rung if trial.record]
            if len(ended) < len(rung):  # a rung waits for all trials of the rung before it
                break
            promoted = sorted(ended, key=_rank)[:size]  # stable: the first of equal scores
            rung = self._trials_of_rung(len(trials), size, promoted)
            trials += rung
        return trials

    def _trials_of_rung(self, first: int, size: int, promoted: Sequence[TrialRecord]) -> list[Trial]:
        trials: list[Trial] = []
        for number in range(first, first + size):
            before = [(trial.record.values, trial.record.score) for trial in trials if trial.record]
            if promoted:
                values = dict(promoted[number - first].values)
            elif depends_on_scores(self.spaces, number) and len(before) < number:
                break
            else:
                values = suggest(self.spaces, number, before, self.study.search_seed)
            run = self.run(number, values)
            trials.append(Trial(run, self._record(run, number, values)))
        return trials

    def selection(self) -> Selection | None:
        """Return the chosen settings from their record or from the trials; None until all trials have ended."""
        if not self.restart and (stored := self.selection_on_disk()):
            return stored
        records = [trial.record for trial in self.trials() if trial.record]
        if len(records) < self.total:
            return None
        # The last rung with a score decides. Of equal scores, the first trial wins.
        scored = [record for record in records if record.score is not None]
        best = min(scored, key=lambda record: (-self.rung(record.number), _rank(record)), default=None)
        return Selection(
            self._searched(), self.study.search_seed, self._network(), best.number if best else None,
            best.values if best else {}, self._base_config().plain(), records, rungs=self._rungs(),
        )  # fmt: skip

    def write_selection(self) -> None:
        """Write the chosen settings; from then on the folders of the trials may be removed."""
        selection = self.selection()
        if selection is not None and (self.restart or self.selection_on_disk() is None):
            write_selection(self.folder, selection)

    def selection_on_disk(self) -> Selection | None:
        """Return the settings that the same search has chosen before; None without a record."""
        stored = read_selection(self.folder)
        if stored is None or (stored.searched, stored.seed) != (self._searched(), self.study.search_seed):
            return None
        if stored.rungs != self._rungs():
            return None
        return None if changed_keys(stored.config, self._base_config().plain()) else stored

    def _searched(self) -> dict[str, Any]:
        return {space.name: space.spec() for space in self.spaces}

    def _rungs(self) -> list[dict[str, Any]]:
        return [
            {"budget": fraction, "trials": size}
            for fraction, size in zip(self.study.search_rungs, self.sizes, strict=True)
        ]

    def _base_config(self) -> RunConfig:
        config = run_config(self.study, self.dataset, self.method, self.study.search_seed)
        return config.model_copy(update={"init_from": self.init_from})

    def _network(self) -> str:
        method = self.study.methods[self.method]
        reported = method.reported or ""
        return reported if reported in method.ensembles else (method.training or {}).get("select_network") or reported

    def _record(self, run: Run, number: int, values: dict[str, Any]) -> TrialRecord | None:
        if self.restart and run.key not in self.done:
            return None
        folder = RunFolder(run.folder(self.root))
        state = folder.state()
        if state == "finished":
            result = folder.result() or {}
            cost = result.get("training", {})
            return TrialRecord(
                number, values, _score_of(result, self._network()),
                **{name: cost.get(name) for name in ("steps", "images", "wall_seconds")},
            )  # fmt: skip
        failure = folder.failure() if state == "failed" else None
        if failure is not None and failure.get("type") == Diverged.__name__:
            return TrialRecord(number, values, None, failure=str(failure.get("message", "")))
        return None


def shortened(training: Mapping[str, Any], fraction: float) -> dict[str, Any]:
    """Return the budget of a training section times a fraction, with warm-up and sequence of schedules in proportion.

    Counts are rounded, and at least 1. Lengths in ``schedule_options`` are kept.

    Example:
        >>> shortened({"steps": 1000, "epochs": None, "warmup_steps": 50, "schedule": "PolynomialLR"}, 0.1)
        {'steps': 100, 'warmup_steps': 5}
    """
    amounts = {unit: training[unit] * fraction for unit in BUDGETS if training.get(unit)}
    fields: dict[str, Any] = {
        unit: most if unit == "minutes" else max(1, round(most)) for unit, most in amounts.items()
    }
    if training.get("warmup_steps"):
        fields["warmup_steps"] = round(training["warmup_steps"] * fraction)
    if not isinstance(training.get("schedule"), str | None):
        parts = training["schedule"]
        fields["schedule"] = [
            {**part, "steps": max(1, round(part["steps"] * fraction))} if "steps" in part else part for part in parts
        ]
    return fields


def set_values(config: dict[str, Any], spaces: Collection[Space], values: Mapping[str, Any]) -> None:
    """Set chosen values in the plain configuration of a run."""
    for space in spaces:
        if space.name in values:
            put(config, space.path, values[space.name])


def selected_run(run: Run, spaces: Collection[Space], selection: Selection) -> Run:
    """Return a run of the study with the settings that its search has chosen."""
    config = run.config.plain()
    set_values(config, spaces, selection.values)
    return Run(RunConfig.from_plain({**config, "selected": dict(selection.values)}))


def _rank(record: TrialRecord) -> float:
    """Return a key that is lower for higher scores, and highest for a diverged trial."""
    return math.inf if record.score is None or math.isnan(record.score) else -record.score


def _score_of(result: dict[str, Any], network: str) -> float | None:
    try:
        score = result["networks"][network]["scores"][result["protocol"]]["mIoU"]
    except KeyError as error:
        message = f"the result of trial {result.get('method')} has no mIoU of {network}: {error}"
        raise DataError(message, "remove the folder of the trial and run the study again") from error
    return None if score is None else float(score)


def depends_on_scores(spaces: Sequence[Space], number: int) -> bool:
    """Return whether the values of a trial depend on the scores of the trials before it."""
    return number >= SPREAD and any(space.grid is None for space in spaces)


def suggest(
    spaces: Sequence[Space], number: int, before: Sequence[tuple[Mapping[str, Any], float | None]], seed: int
) -> dict[str, Any]:
    """Return the values of trial ``number`` (from 0) by the names of the spaces, a pure function of the arguments.

    Grids are tried in every combination. With a range, Optuna samples the first `SPREAD` trials from a scrambled Sobol
    sequence, and the others with its tree-structured Parzen estimator from ``before``: the values and the score of the
    trials before, None for a failed one.

    Example:
        >>> rate, radius = (Space(path=(name,), grid=values) for name, values in (("a", (1, 2)), ("b", (3, 5))))
        >>> [suggest([rate, radius], number, [], 0) for number in range(3)]
        [{'a': 1, 'b': 3}, {'a': 1, 'b': 5}, {'a': 2, 'b': 3}]
    """
    if all(space.grid is not None for space in spaces):
        combinations = itertools.product(*(space.grid or () for space in spaces))
        values = next(itertools.islice(combinations, number, None))
        return dict(zip((space.name for space in spaces), values, strict=True))
    params = _sampled(spaces, number, before, seed)
    return {space.name: space.grid[params[space.name]] if space.grid else params[space.name] for space in spaces}


def _sampled(
    spaces: Sequence[Space], number: int, before: Sequence[tuple[Mapping[str, Any], float | None]], seed: int
) -> dict[str, Any]:
    """Return values that Optuna samples, for a grid the index of the value."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, BaseDistribution] = {
        space.name: CategoricalDistribution(range(len(space.grid)))  # indices: values may be lists
        if space.grid
        else FloatDistribution(space.end_points[0], space.end_points[1], log=space.log_uniform is not None)
        for space in spaces
    }
    sampler: optuna.samplers.BaseSampler
    if depends_on_scores(spaces, number):
        sampler = optuna.samplers.TPESampler(seed=key(seed, "trial", number) % 2**32, n_startup_trials=1)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for values, score in before:
            params = {s.name: s.grid.index(values[s.name]) if s.grid else values[s.name] for s in spaces}
            end = {"state": optuna.trial.TrialState.FAIL} if score is None or math.isnan(score) else {"value": score}
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, **end))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sobol: dict[str, Any] = {"scramble": True, "warn_independent_sampling": False}
            sampler = optuna.samplers.QMCSampler(seed=key(seed, "trials") % 2**32, **sobol)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        # The sampler takes its search space from the first finished trial.
        first = {space.name: 0 if space.grid else space.end_points[0] for space in spaces}
        study.add_trial(optuna.create_trial(params=first, distributions=distributions, value=0.0))
        for _ in range(number):
            study.tell(study.ask(distributions), 0.0)
    return study.ask(distributions).params
