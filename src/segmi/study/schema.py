"""The shape of a study: methods × datasets × seeds as plain data.

The options of datasets, networks, losses, processing, training and evaluation are not listed here: they are
bound to the signatures that receive them, see `segmi.study.validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segmi.study.problems import unknown
from segmi.study.search import Space, put

# Infinity stays what it is, to be refused where it is read; as JSON proper it would become null, that is, a default.
_PLAIN = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), ser_json_inf_nan="constants")

Options = dict[str, Any]


def _folder_name(name: str) -> str:
    """Names become folders, so they hold nothing that a file system minds or that leads elsewhere."""
    allowed = all(character.isalnum() or character in "-_." for character in name) and name.isascii()
    if not name or not allowed or not name[0].isalnum() or len(name) > 80:
        raise ValueError(
            f"expected a name of letters, digits, '-', '_' and '.' that starts with a letter or digit, got {name!r}"
        )
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


def _distinct(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ValueError(f"each seed may stand once, {', '.join(map(str, twice))} stands more often; remove the copies")
    return seeds


class WeightsFrom(BaseModel):
    """Where a network's weights come from: a bundle, or the run of another method on the same dataset and seed.

    Args:
        bundle: the folder of a bundle.
        method: a method of this study, which is then done first.
        network: of that method; the one it reports by default.
    """

    model_config = _PLAIN

    bundle: str | None = None
    method: str | None = None
    network: str | None = None


class AverageOf(BaseModel):
    """A network that is the moving average of another's weights, see `segmi.training.Average`."""

    model_config = _PLAIN

    of: str
    decay: Annotated[float, Field(gt=0, le=1)] = 0.999


class Method(BaseModel):
    """A cohort of networks and what it is trained on.

    Args:
        label: as in tables; the method's name by default.
        treatment: what the method is apart from its network; methods of one treatment are one on several networks.
        baseline: the method that this one is compared with; the study's by default.
        networks: the networks by name: the arguments of `segmi.models.build_network`, data-set facts left out.
        loss: losses by name with their options and ``weight``; their weighted sum is minimized.
        reported: the network that stands for the method in Table 1; the only one by default.
        frozen: networks that teach but do not learn.
        averages: networks that are averages of the weights of others, by name; they need not stand among the networks.
        weights_from: where networks have their weights from, by name; drawn or of their library where it is not said.
        training: settings of this method alone, over those of the study.
        processing: likewise.
    """

    model_config = _PLAIN

    label: str | None = None
    treatment: str | None = None
    baseline: str | None = None
    networks: dict[FolderName, Options] = Field(min_length=1)
    loss: dict[str, Options | None] = Field(min_length=1)
    reported: str | None = None
    frozen: list[str] = []
    averages: dict[FolderName, AverageOf] = {}
    weights_from: dict[str, WeightsFrom] = {}
    training: Options | None = None
    processing: Options | None = None


class StudyFile(BaseModel):
    """What stands in a study file.

    Args:
        name: the study's folder under ``runs/``.
        protocol: the presets that apply, see `segmi.study.presets`.
        datasets: the datasets by name, with the options of their constructors; never a root.
        methods: see `Method`.
        seeds: one run per seed, dataset and method.
        baseline: the method that others are compared with; the first by default.
        allow_unequal: whether methods may differ in budget, and in how many trials choose their settings.
        processing: arguments of `segmi.datasets.processing.Processing`.
        training: arguments of `segmi.training.fit`, and ``holdout``, the part of train held out to select by.
        evaluation: arguments of `segmi.training.evaluate`, and ``split``.
        samples: images kept for the figures, evenly spaced over the split that is scored; all where it has fewer.
        search_seed: keys the trials of searches, and is their seed; none of ``seeds``, so that these stay alike.
    """

    model_config = _PLAIN

    name: FolderName
    protocol: Literal["controlled", "paper"] = "controlled"
    datasets: dict[FolderName, Options | None] = Field(min_length=1)
    methods: dict[FolderName, Any] = Field(min_length=1)
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(_distinct)] = [0]
    baseline: str | None = None
    allow_unequal: bool = False
    processing: Options | None = None
    training: Options | None = None
    evaluation: Options | None = None
    samples: Annotated[int, Field(ge=0, le=64)] = 4
    search_seed: Annotated[int, Field(ge=0, lt=2**32)] = 1000


class Study(BaseModel):
    """A validated study with every default written out; made by `segmi.study.load_study`.

    In the place of what is searched for stand values of the search; ``searches`` has the spaces by method.
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
    searches: dict[str, list[Space]] = {}

    def plain(self) -> dict[str, Any]:
        """The study as plain data that reads back as the same study; what all methods share stands once, above them."""
        data = self.model_dump(mode="json", exclude={"searches"})
        methods = data.pop("methods")
        for name, spaces in self.searches.items():
            for space in spaces:
                put(methods[name], space.place, space.spec())
        for section in ("processing", "training"):
            first = next(iter(methods.values()))[section]
            shared = {
                key: value
                for key, value in first.items()
                if all(key in method[section] and method[section][key] == value for method in methods.values())
            }
            data[section] = shared
            for method in methods.values():
                method[section] = {key: value for key, value in method[section].items() if key not in shared}
        return {**data, "methods": methods}


def check_reference(kind: str, name: str, known: list[str]) -> str | None:
    """What to say about a name that should be one of ``known``; None if it is."""
    return None if name in known else unknown(kind, name, known)


def described(spec: Mapping[str, Any]) -> str:
    """A network in a few words.

    Example:
        >>> described({"architecture": "unet", "width": 8, "encoder": None})
        'unet, width 8'
    """
    parts = [str(spec["architecture"])]
    parts += [f"width {spec['width']}"] if spec.get("width") else []
    parts += [str(spec["encoder"])] if spec.get("encoder") else []
    parts += [f"{spec['encoder_weights']} weights"] if spec.get("encoder_weights") else []
    return ", ".join(parts)
