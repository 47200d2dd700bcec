"""Shape of a study: methods × datasets × seeds as plain data, and the presets of the two protocols.

The options of datasets, networks, losses, processing, training and evaluation are defined by the signatures that
receive them, see `segmi.study.validation`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segmi.records.run_folder import is_reserved_name
from segmi.study.search import Space, put

# Options of sections by protocol, which explicit options of a study replace.
PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "paper": {
        "training": {"select_by": "train_loss", "holdout": 0.0, "drop_last": False},
        "evaluation": {"protocol": "paper", "passes": 5},
    },
    "controlled": {
        "training": {"select_by": "holdout_mIoU", "holdout": 0.1, "drop_last": True},
        "evaluation": {"protocol": "full"},
    },
}

# Infinity is kept, to be refused by the validation; as JSON it would become null, which means the default.
_PLAIN = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), ser_json_inf_nan="constants")

Options = dict[str, Any]


def check_folder_name(name: str) -> str:
    """Return a name that becomes a folder on every system: no separators, no hidden files; ValueError for others."""
    if is_reserved_name(name):
        raise ValueError(f"expected a name that Windows accepts for a folder, got {name!r}. Fix: rename it")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        expected = "a name of letters, digits, '-', '_' and '.' that starts with a letter or digit"
        raise ValueError(f"expected {expected}, got {name!r}")
    return name


FolderName = Annotated[str, AfterValidator(check_folder_name)]


def _increasing(rungs: list[float]) -> list[float]:
    if sorted(set(rungs)) != rungs:
        raise ValueError(f"expected increasing fractions, got {rungs}; sort them and remove copies")
    return rungs


def _distinct_folders(named: dict[str, Any]) -> dict[str, Any]:
    counts = Counter(name.casefold() for name in named)
    same = [name for name in named if counts[name.casefold()] > 1]
    if same:
        raise ValueError(f"{', '.join(same)} are one folder on Windows and macOS, which ignore case. Fix: rename them")
    return named


def _distinct(seeds: list[int]) -> list[int]:
    duplicates = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if duplicates:
        raise ValueError(f"duplicate seeds {', '.join(map(str, duplicates))}; remove the copies")
    return seeds


class WeightsFrom(BaseModel):
    """Source of initial weights: a bundle, or the run of another method on the same dataset and seed."""

    model_config = _PLAIN

    bundle: str | None = None  # folder of a bundle
    method: str | None = None  # method of this study, which then runs first
    network: str | None = None  # network of that method. Default: the one it reports.


class AverageOf(BaseModel):
    """Network that is the moving average of another network's weights, see `segmi.training.Average`."""

    model_config = _PLAIN

    of: str
    decay: Annotated[float, Field(gt=0, le=1)] = 0.999


class Method(BaseModel):
    """Cohort of networks and its losses."""

    model_config = _PLAIN

    label: str | None = None  # label in tables. Default: name of the method.
    # The method without its network: methods of one treatment are the same method on several networks.
    treatment: str | None = None
    baseline: str | None = None  # method that this one is compared with. Default: the baseline of the study.
    # By name: arguments of `segmi.models.build_network`, except those that depend on the dataset.
    networks: dict[FolderName, Options] = Field(min_length=1)
    # By name: options and ``weight``. The weighted sum is minimized.
    loss: dict[str, Options | None] = Field(min_length=1)
    reported: str | None = None  # network or ensemble of the method in Table 1. Default: the only network.
    frozen: list[str] = []  # networks that are not trained
    averages: dict[FolderName, AverageOf] = {}  # networks whose weights are averages of the weights of others, by name
    ensembles: dict[FolderName, list[str]] = {}  # networks whose probabilities are averaged in the evaluation, by name
    # sources of initial weights by network. Default: random or pretrained weights.
    weights_from: dict[str, WeightsFrom] = {}
    training: Options | None = None  # replaces settings of the study for this method
    processing: Options | None = None  # settings that replace the processing of the study for this method


class StudyFile(BaseModel):
    """Content of a study file."""

    model_config = _PLAIN

    name: FolderName  # the study's folder under ``runs/``
    protocol: Literal["controlled", "paper"] = "controlled"  # selects the presets, see `PRESETS`
    # datasets by name, with the options of their constructors except the root
    datasets: Annotated[dict[FolderName, Options | None], Field(min_length=1), AfterValidator(_distinct_folders)]
    # see `Method`
    methods: Annotated[dict[FolderName, Any], Field(min_length=1), AfterValidator(_distinct_folders)]
    # one run per seed, dataset and method
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(_distinct)] = [0]
    baseline: str | None = None  # method that others are compared with. Default: the first one.
    allow_unequal: bool = False  # allow methods with different budgets or numbers of trials
    processing: Options | None = None  # arguments of `segmi.datasets.processing.Processing`
    training: Options | None = None  # fields of `segmi.study.run_config.TrainingSection`
    # arguments of `segmi.training.evaluate`, and the fields ``split``, ``also`` and ``details``
    evaluation: Options | None = None
    # images stored for the figures, evenly spaced over the evaluated split
    samples: Annotated[int, Field(ge=0, le=64)] = 4
    # seed of the trials of searches; must not be one of ``seeds``
    search_seed: Annotated[int, Field(ge=0, lt=2**32)] = 1000
    # fractions of the budget in the rungs of a search; the best trials of a rung start again in the next one
    search_rungs: Annotated[
        list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1), AfterValidator(_increasing)
    ] = [1.0]
    reasons: list[str] = []  # reasons for the settings, for the reader; `segmi train` writes them


class Study(BaseModel):
    """Validated study with every default written out; made by `segmi.study.load_study`.

    A setting that is searched for has one value of its search; ``searches`` has the spaces by method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    protocol: str
    datasets: dict[str, Options]
    seeds: list[int]
    baseline: str
    allow_unequal: bool
    evaluation: Options
    methods: dict[str, Method]
    samples: int
    search_seed: int
    search_rungs: list[float] = [1.0]
    reasons: list[str] = []
    searches: dict[str, list[Space]] = {}

    def plain(self) -> dict[str, Any]:
        """Return plain data that reads back as the same study; settings common to all methods come first."""
        data = self.model_dump(mode="json", exclude={"searches"})
        methods = data.pop("methods")
        for name, spaces in self.searches.items():
            for space in spaces:
                put(methods[name], space.path, space.spec())
        for section in ("processing", "training"):
            own = [method[section] for method in methods.values()]
            same = [key for key in own[0] if all(key in one and one[key] == own[0][key] for one in own)]
            data[section] = {key: own[0][key] for key in same}
            for method in methods.values():
                method[section] = {key: value for key, value in method[section].items() if key not in same}
        return {**data, "methods": methods}


def with_preset(protocol: Any, section: str, options: Any) -> dict[str, Any]:
    """Return the options of a section merged over the preset of the protocol; malformed values count as empty."""
    preset = PRESETS.get(protocol, {}) if isinstance(protocol, str) else {}
    return {**preset.get(section, {}), **(options if isinstance(options, Mapping) else {})}


def describe_reported(networks: Mapping[str, Options], ensembles: Mapping[str, list[str]], reported: str) -> str:
    """Return a short description of the reported network, or of the different networks of the reported ensemble.

    Example:
        >>> networks = {"a": {"architecture": "unet"}, "b": {"architecture": "unet"}, "c": {"architecture": "pspnet"}}
        >>> describe_reported(networks, {"all": ["a", "b", "c"]}, "all")
        'unet + pspnet'
    """
    members = ensembles.get(reported, [reported])
    return " + ".join(dict.fromkeys(describe_network(networks[member]) for member in members))


def describe_network(spec: Mapping[str, Any]) -> str:
    """Return a short description of a network.

    Example:
        >>> describe_network({"architecture": "unet", "width": 8, "encoder": None})
        'unet, width 8'
    """
    forms = {"architecture": "{}", "width": "width {}", "encoder": "{}", "encoder_weights": "{} weights"}
    return ", ".join(form.format(spec[key]) for key, form in forms.items() if spec.get(key))
