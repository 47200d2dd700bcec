"""Runs of a study: dataset × method × seed, each with a typed configuration and a folder whose path is its key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from segmi.datasets.processing import Processing
from segmi.errors import UsageError
from segmi.study.schema import AverageOf, Options, Study, WeightsFrom
from segmi.training.config import Budget, LoggingConfig, OptimizationConfig, RuntimeConfig, training_configs

SCHEMA_VERSION: Final = 1

# Keys that may change between two sessions of a run, because no score depends on them.
NOT_COMPARED: Final = (
    "training.workers", "training.checkpoint_every", "training.log_every", "training.logger", "label", "treatment",
    "baseline", "reasons",
)  # fmt: skip

HELD_OUT: Final = "held-out"  # name of the evaluated split of a trial: the images held out of train
NOT_OF_TRAINING: Final = ("resume", "profile")  # fields of `TrainingSection` that a study file cannot set
_NOT_OF_FIT: Final = ("holdout", "selection_split", "subset", "labeled", "label_noise", *NOT_OF_TRAINING)


@dataclass(frozen=True)
class TrainingSection(Budget, OptimizationConfig, RuntimeConfig, LoggingConfig):
    """The ``training`` section: the settings of `segmi.training.fit`, and the use of the training images."""

    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # fraction of train that is held out to select weights by
    subset: Annotated[float, Field(gt=0, le=1)] = 1.0  # fraction of the rest that is used, drawn by the seed
    selection_split: str | None = None  # split to select weights by, instead of a part of train
    labeled: Annotated[float, Field(gt=0, le=1)] = 1.0  # fraction of the rest whose labels are used
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0  # fraction of these labels that are replaced by wrong ones

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.num_nodes

    def fit_configs(self, *, profile: bool) -> dict[str, Any]:
        """Return the config arguments of `segmi.training.fit`."""
        options = {name: value for name, value in vars(self).items() if name not in _NOT_OF_FIT}
        return training_configs({**options, "profile": profile})


@dataclass(frozen=True)
class EvaluationSection:
    """The ``evaluation`` section; the first six fields are arguments of `segmi.training.evaluate`."""

    protocol: Literal["full", "paper"]  # protocol of Table 1
    passes: int  # number of passes of random crops
    batch_size: int  # images or windows predicted together
    window: int | None  # side of the windows in pixels. None: whole images.
    overlap: int | None  # overlap of neighboring windows in pixels
    threshold: float  # probability above which a network with one logit predicts class 1
    split: str  # evaluated split
    also: Literal["full", "paper"] | None  # a second protocol
    details: bool  # whether to store scores per image

    def protocols(self) -> list[str]:
        """Return the protocols in order, the one of Table 1 first."""
        return list(dict.fromkeys(filter(None, [self.protocol, self.also])))

    def arguments(self, protocol: str) -> dict[str, Any]:
        """Return the arguments of `segmi.training.evaluate` for a protocol; windows are for the main one only."""
        windows = (self.window, self.overlap) if protocol == self.protocol else (None, None)
        common = {"passes": self.passes, "batch_size": self.batch_size, "threshold": self.threshold}
        return {"protocol": protocol, "window": windows[0], "overlap": windows[1], **common}


class RunConfig(BaseModel):
    """Everything that a run depends on; stored as ``config.yaml`` and compared when the run continues."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), ser_json_inf_nan="constants")

    schema_version: int = SCHEMA_VERSION
    study: str
    protocol: str
    dataset: str  # name in the study
    dataset_options: Options  # arguments of the dataset's constructor
    method: str
    seed: int  # seed of every random choice
    # The fields up to ``processing`` are the fields of `segmi.study.schema.Method`.
    label: str
    treatment: str | None
    baseline: str | None
    networks: dict[str, Options]
    loss: dict[str, Options]
    reported: str
    frozen: list[str]
    averages: dict[str, AverageOf]
    ensembles: dict[str, list[str]] = {}
    weights_from: dict[str, WeightsFrom]
    training: TrainingSection
    processing: Processing
    evaluation: EvaluationSection
    samples: int  # number of images stored for the figures
    trial: int | None = None  # number of the trial, for runs of a search
    selected: Options | None = None  # settings chosen by a search, by dotted path
    init_from: str | None = None  # bundle whose weights the reported network starts from
    reasons: list[str] = []  # of the settings, see `segmi.study.recipe`

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> RunConfig:
        """Build the configuration from the data of a ``config.yaml``."""
        return cls.model_validate_json(json.dumps(data))  # in JSON mode a list is valid for a tuple

    def plain(self) -> dict[str, Any]:
        """Return the configuration as plain data for ``config.yaml``."""
        data = self.model_dump(mode="json", exclude={"training": set(NOT_OF_TRAINING)})
        for optional in ("trial", "selected", "init_from", "reasons", "ensembles"):
            if not data[optional] and data[optional] != 0:
                del data[optional]
        return data


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()  # value of a key that one of two configurations does not have


@dataclass(frozen=True)
class Run:
    """One training with its evaluation."""

    config: RunConfig

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.config.study

    @property
    def dataset(self) -> str:
        """Name of the dataset in the study."""
        return self.config.dataset

    @property
    def method(self) -> str:
        """Name of the method, with the number of the trial if the run is one."""
        return self.config.method

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        return self.config.seed

    @property
    def key(self) -> str:
        """``dataset/method/seed0``."""
        return f"{self.dataset}/{self.method}/seed{self.seed}"

    def folder(self, root: Path) -> Path:
        """Return the folder of the run under the folder of all runs."""
        return root / self.study / self.dataset / self.method / f"seed{self.seed}"

    def changed(self, **fields: Any) -> Run:
        """Return the run with other fields of its configuration."""
        return Run(self.config.model_copy(update=fields))


def expand(study: Study, only: Sequence[str] = ()) -> list[Run]:
    """Return the runs of a study in their order of execution, those whose keys match a pattern of ``only`` if given.

    Raises:
        UsageError: if a pattern matches no run.
    """
    runs = [Run(run_config(study, *names)) for names in product(study.datasets, study.methods, study.seeds)]
    for pattern in only:
        if not any(fnmatchcase(run.key, pattern) for run in runs):
            remedy = f"the runs are: {', '.join(run.key for run in runs)}"
            raise UsageError(f"no run matches --only {pattern!r}", remedy)
    return [run for run in runs if not only or any(fnmatchcase(run.key, pattern) for pattern in only)]


def run_config(study: Study, dataset: str, method: str, seed: int) -> RunConfig:
    """Return the configuration of one run of a validated study."""
    names = {"study": study.name, "protocol": study.protocol, "dataset": dataset, "method": method, "seed": seed}
    options = {"dataset_options": study.datasets[dataset], "evaluation": study.evaluation, "samples": study.samples}
    options |= {"reasons": study.reasons}
    return RunConfig.from_plain({**names, **study.methods[method].model_dump(mode="json"), **options})


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys whose values differ, with both values, without the keys of `NOT_COMPARED`."""
    before, after = _flat(old), _flat(new)
    keys = [key for key in {**before, **after} if key not in NOT_COMPARED]
    values = {key: (before.get(key, MISSING), after.get(key, MISSING)) for key in keys}
    return {key: (was, now) for key, (was, now) in values.items() if was != now}


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
