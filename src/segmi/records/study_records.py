"""Records of a study: its plan, so that a report can name missing runs, and the settings that its searches chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.records.run_folder import RunFolder, RunKey, is_folder_name
from segmi.records.serialization import damaged, read_record, write_record

PLAN_NAME: Final = "plan.json"
SELECTION_NAME: Final = "selection.json"  # in the folder of a method on a dataset


@dataclass(frozen=True)
class Plan:
    """Grid of a study, in its own order."""

    study: str  # name of the study
    datasets: Mapping[str, str]  # titles by name
    methods: Mapping[str, str]  # labels by name
    seeds: Sequence[int]  # the seeds of every dataset and method
    protocol: str | None = None  # ``paper`` or ``controlled``
    command: str | None = None  # the command that runs the study again
    baseline: str | None = None  # the method that the others are compared with; by default the first
    treatments: Mapping[str, str] = field(default_factory=dict)  # by method, for treatments on several networks
    networks: Mapping[str, str] = field(default_factory=dict)  # the network of each method, in words
    baselines: Mapping[str, str] = field(default_factory=dict)  # of single methods, in place of the study's
    loss_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # options that a report leaves out

    def grid(self) -> list[RunKey]:
        """Return the key of every run."""
        return [RunKey(self.study, d, m, s) for d in self.datasets for m in self.methods for s in self.seeds]

    def compared_with(self, method: str) -> str | None:
        """Return the baseline of a method; None for a baseline, or if its network has no baseline.

        The baseline is the one set for the method, else the one of the study or, if methods share treatments, the
        method with the treatment of the baseline on the same network.

        Example:
            >>> methods = {"ce-unet": "", "mi-unet": "", "ce-fpn": "", "mi-fpn": ""}
            >>> treatments = {name: name[:2] for name in methods}
            >>> networks = {name: name[3:] for name in methods}
            >>> plan = Plan("s", {}, methods, [0], treatments=treatments, networks=networks)
            >>> [plan.compared_with(name) for name in methods]
            [None, 'ce-unet', None, 'ce-fpn']
        """
        if not self.methods:
            return None
        if self.baselines.get(method) in self.methods:
            return self.baselines[method]
        treatment = self.treatment_of(str(self.baseline) if self.baseline in self.methods else next(iter(self.methods)))
        if self.treatment_of(method) == treatment:
            return None
        key = (treatment, self.network_of(method))
        return next((m for m in self.methods if (self.treatment_of(m), self.network_of(m)) == key), None)

    def treatment_of(self, method: str) -> str:
        """Return the treatment of a method, by default its name."""
        return self.treatments.get(method, method)

    def network_of(self, method: str) -> str:
        """Return the network of a method; empty unless the study crosses treatments with networks."""
        return self.networks.get(method, "") if self.crossed else ""

    @property
    def crossed(self) -> bool:
        """Whether a treatment is applied to several networks."""
        return len({self.treatment_of(method) for method in self.methods}) < len(self.methods)


def write_plan(folder: str | Path, plan: Plan) -> Path:
    """Write the plan into the folder of its study.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "demo"
        >>> _ = write_plan(folder, Plan("demo", {"camvid": "CamVid"}, {"model-1": "Model 1"}, [0]))
        >>> read_plan(folder).grid()[0].dataset
        'camvid'
    """
    return write_record(Path(folder) / PLAN_NAME, asdict(plan))


def read_plan(folder: str | Path) -> Plan | None:
    """Return the plan in the folder of a study; None if it is missing. Raises `DataError` if it is damaged."""
    path = Path(folder) / PLAN_NAME
    record = read_record(path)
    if record is None:
        return None
    # Unknown fields of the same schema version are ignored.
    known = {name: record[name] for name in Plan.__dataclass_fields__ if name in record}
    if (problem := _problem(known)) is not None:
        raise damaged(path, problem)
    try:
        return Plan(**known)
    except TypeError as error:
        raise damaged(path, str(error)) from error


def _problem(record: dict[str, Any]) -> str | None:
    """Why the record is not a plan; None if it is."""
    for part in ("datasets", "methods", "treatments", "networks"):
        value = record.get(part, {})
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
            return f"{part} should be names and titles"
    # Names become parts of paths, so ".." and "/" are refused.
    for name in (*record.get("datasets", {}), *record.get("methods", {})):
        if not is_folder_name(name):
            return f"{name!r} cannot name a folder"
    defaults = record.get("loss_defaults", {})
    if not isinstance(defaults, dict) or not all(isinstance(options, dict) for options in defaults.values()):
        return "loss_defaults should be options by loss"
    seeds = record.get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        return "seeds should be integers"
    return None


def guess_plan(study: str, runs: Sequence[RunFolder]) -> Plan:
    """Return the smallest grid that contains all runs of a study without a plan."""
    keys = [run.key for run in runs]
    datasets = {key.dataset: key.dataset for key in keys}
    methods = {key.method: key.method for key in sorted(keys, key=lambda key: key.method)}
    return Plan(study, datasets, methods, sorted({key.seed for key in keys}))


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
    rungs: Sequence[Mapping[str, Any]] = ()  # fraction of the ``budget`` and number of ``trials`` of each rung
    measured_on: str = "images held out of train"  # the images that were scored

    @property
    def steps(self) -> int:
        """Optimizer steps of all trials that did not diverge."""
        return sum(trial.steps or 0 for trial in self.trials)

    def describe_rungs(self) -> str:
        """Return the rungs in words; empty if there is one with the whole budget.

        Example:
            >>> rungs = [{"budget": 0.1, "trials": 9}, {"budget": 0.3, "trials": 3}]
            >>> Selection({}, 0, "unet", None, {}, {}, [], rungs).describe_rungs()
            '9 with 10 % of the budget, then 3 with 30 %'
        """
        if all(rung["budget"] == 1 for rung in self.rungs):
            return ""
        texts = [f"{rung['trials']} with {100 * rung['budget']:.3g} %" for rung in self.rungs]
        return ", then ".join([f"{texts[0]} of the budget", *texts[1:]])


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
        known = {name: record[name] for name in Selection.__dataclass_fields__ if name != "rungs"}
        return Selection(
            **{
                **known,
                "trials": [TrialRecord(**trial) for trial in record["trials"]],
                "rungs": record.get("rungs", ()),
            }
        )
    except (TypeError, KeyError) as error:  # a wrong field, a missing field
        raise damaged(path, f"it is not a selection: {error}") from error
