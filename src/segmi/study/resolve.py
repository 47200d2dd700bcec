"""From names and options to datasets, networks, losses: the only place of the study that knows the other rooms.

The rooms are imported when they are needed, because PyTorch takes seconds and a study file with a typo should not.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segmi.errors import UsageError
from segmi.randomness import key
from segmi.study.binding import arguments
from segmi.study.roots import Roots

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from segmi.datasets.cache import Store
    from segmi.datasets.processing import Processing
    from segmi.datasets.reader import DatasetReader, Sample
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.losses.base import Objective
    from segmi.models import SegmentationNetwork
    from segmi.training import Cohort
    from segmi.training.distributed import ProcessGroup

NOT_OF_TRAINING = ("resume", "profile")
NOT_OF_EVALUATION = ("cohort", "images", "seed", "device", "processes", "progress", "diagnostics", "details")
NOT_OF_NETWORKS = ("classes", "in_channels")
NOT_OF_LOSSES = ("self", "networks", "frozen", "name", "weight", "ignore_index")
PROBED_STEPS = 1000
PARALLEL = ("device", "devices", "num_nodes", "strategy")


def dataset_names() -> Sequence[str]:
    """The names of the datasets."""
    from segmi import datasets

    return datasets.dataset_names()


def dataset_class(name: str) -> type[DatasetReader]:
    """The class of a dataset; its constructor is what the dataset's options are bound to."""
    from segmi import datasets

    return datasets.dataset_class(name)


def architectures() -> Sequence[str]:
    """The names of the networks."""
    from segmi.models import list_models

    return [row["name"] for row in list_models()]


def network_options(architecture: str) -> dict[str, Any]:
    """What a network with this architecture can be told beside ``architecture``, with the defaults of its library."""
    from segmi.models import get_architecture

    general = {
        name: parameter.default
        for name, parameter in inspect.signature(build_function()).parameters.items()
        if name in ("one_logit", "normalize", "features", "encoder_weights", "batch_norm_momentum")
    }
    own = {name: parameter.default for name, parameter in get_architecture(architecture).options().items()}
    return {name: _plain(default) for name, default in (general | own).items()}


def _plain(value: Any) -> Any:
    """A default as plain data; None, which stands for the default everywhere, for what is none."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None


def losses() -> Mapping[str, type]:
    """The losses by name."""
    from segmi.losses import known_losses

    return known_losses()


def optimizers() -> Mapping[str, type]:
    """The optimizers by name."""
    from segmi.training import OPTIMIZERS

    return OPTIMIZERS


def schedules() -> Mapping[str, type]:
    """The schedules by name, ``constant`` left out."""
    from segmi.training import SCHEDULES

    return SCHEDULES


def check_loggers(names: Sequence[str]) -> None:
    """Check that the packages of the loggers are installed."""
    from segmi.training.loggers import check_loggers

    check_loggers(names)


def build_function() -> Callable[..., SegmentationNetwork]:
    """What builds networks; its signature is what networks are bound to."""
    from segmi.models import build_network

    return build_network


def training_options() -> type:
    """Return the class whose fields the ``training`` section is bound to."""
    from segmi.training.config import TrainingOptions

    return TrainingOptions


def evaluate_function() -> Callable[..., Any]:
    """What scores; its signature is what ``evaluation`` is bound to."""
    from segmi.training import evaluate

    return evaluate


def threads(count: int | None) -> AbstractContextManager[None]:
    """PyTorch with so many threads inside; as it is, for None."""
    from segmi.training.precision import preserve_threads

    return preserve_threads(count)


def processing_class() -> type[Processing]:
    """What ``processing`` is bound to."""
    from segmi.datasets.processing import Processing

    return Processing


def build_processing(options: Mapping[str, Any]) -> Processing:
    """The processing that bound options describe."""
    kind = processing_class()
    return kind(**arguments(kind, options))


def open_data(name: str, options: Mapping[str, Any], roots: Roots) -> DatasetReader:
    """The dataset of a study under ``name``; ``type`` in its options tells what it is if the name does not."""
    from segmi.datasets import open_dataset

    known = {option: value for option, value in options.items() if option != "type"}
    kind = options.get("type", name)
    bound = arguments(dataset_class(kind), known, ("self", "root"))
    return open_dataset(kind, roots.of(name), **bound)


def kept_and_held(
    samples: Sequence[Sample], training: Mapping[str, Any], *, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Train as it is trained on, and the part held out to select by, the same for every method and seed of a study.

    The part that is held out does not depend on ``training`` beyond its size, so that methods stay comparable.
    """
    from segmi.datasets.holdout import hold_out

    fraction = training.get("holdout") or 0
    return hold_out(samples, fraction, seed) if fraction else (list(samples), [])


def labeled_and_not(
    samples: Sequence[Sample], training: Mapping[str, Any], *, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """What is trained on with labels, and the part whose labels are hidden, the same for every method and seed."""
    from segmi.datasets.holdout import hold_out

    share = training.get("labeled", 1.0)
    return hold_out(samples, 1 - share, seed) if share < 1 else (list(samples), [])


def images(
    dataset: DatasetReader,
    samples: Sequence[Sample],
    processing: Processing,
    *,
    seed: int,
    prepared: Store | None = None,
    labels: Store | None = None,
) -> SegmentationDataset:
    """Samples with their processing, from cache entries where there are some."""
    from segmi.datasets.segmentation_dataset import SegmentationDataset

    return SegmentationDataset(dataset, samples, processing, seed=seed, prepared=prepared, labels=labels)


def prepared(
    cache: Path,
    dataset: DatasetReader,
    split: str,
    samples: Sequence[Sample],
    processing: Processing | None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Store | None:
    """The cache entry of samples at a working scale or, without one, of their labels; None if there can be none.

    Raises:
        EnvironmentProblem: there is no room for it, or it may not be written.
    """
    from segmi.datasets.cache import IMAGES, LABELS, entry_key, prepare

    if processing is None:
        key_ = entry_key(dataset, split, samples, LABELS)
    else:
        key_ = entry_key(
            dataset, split, samples, IMAGES, resize=processing.resize, resize_mode=processing.resize_mode
        )
    return None if key_ is None else prepare(cache, dataset, samples, key_, progress=progress)


def build_network(spec: Mapping[str, Any], network: str, classes: int, seed: int) -> SegmentationNetwork:
    """A network with initial weights keyed by (seed, network): the same in every method that has this network."""
    bound = arguments(build_function(), spec, NOT_OF_NETWORKS)
    with _keyed(key(seed, "initial weights", network)):
        return build_function()(**bound, classes=classes)


def build_cohort(method: Mapping[str, Any], classes: int, seed: int) -> Cohort:
    """The networks of a method."""
    from segmi.training import Average, Cohort

    networks = {name: build_network(spec, name, classes, seed) for name, spec in method["networks"].items()}
    averages = {name: Average(**average) for name, average in method["averages"].items()}
    return Cohort(networks, method["frozen"], averages)


def build_method_objective(
    specification: Mapping[str, Mapping[str, Any]], networks: Sequence[str], frozen: Sequence[str]
) -> Objective:
    """The weighted sum of a method's losses."""
    from segmi.losses import build_objective

    known = losses()
    bound = {
        name: {
            **arguments(known[name], {k: v for k, v in options.items() if k != "weight"}, NOT_OF_LOSSES),
            "weight": options.get("weight", 1.0),
        }
        for name, options in specification.items()
    }
    return build_objective(bound, networks=networks, frozen=frozen)


def connect(trainings: Sequence[Mapping[str, Any]]) -> ProcessGroup:
    """The processes that do all these runs together, once all of them are there.

    Raises:
        UsageError: if the runs want different ones, or if other ones were started.
    """
    from segmi.training.distributed import connect

    declared = [{name: training[name] for name in PARALLEL} for training in trainings]
    if all(one["devices"] * one["num_nodes"] == 1 for one in declared):
        return connect()
    differing = [name for name in PARALLEL if any(one[name] != declared[0][name] for one in declared)]
    if differing:
        raise UsageError(
            f"the methods of this study differ in {', '.join(differing)}, but the same processes do them all",
            "set it in the study's training section only, or run the methods apart with --only",
        )
    return connect(**declared[0])


class Gpu(NamedTuple):
    """What is asked of a GPU beside its computing."""

    uuid: str | None
    peak_memory: Callable[[], int]


def gpu(device: str, processes: ProcessGroup) -> Gpu | None:
    """The GPU of a run, the peak of its memory set to begin anew; None for a run without one."""
    import torch

    from segmi.training.launchers import resolve_device

    target = processes.device or resolve_device(device)
    if target.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(target)
    uuid = getattr(torch.cuda.get_device_properties(target), "uuid", None)
    return Gpu(f"GPU-{uuid}" if uuid else None, lambda: torch.cuda.max_memory_allocated(target))


class Probe(NamedTuple):
    """What building a network without its weights tells."""

    stride: int
    needs_batch_of_two: bool
    layers: tuple[str, ...]


def probe_network(spec: Mapping[str, Any]) -> Probe:
    """Build a network without its weights, to find options that cannot be meant before any run starts."""
    return _probe(json.dumps({**spec, "encoder_weights": None, "normalize": "none"}, sort_keys=True))


@cache
def _probe(spec: str) -> Probe:
    from segmi.models import layer_names

    with _within_memory():
        network = build_network(json.loads(spec), "probe", 2, 0)
    return Probe(int(network.stride), bool(getattr(network, "needs_batch_of_two", False)), layer_names(network))


def probe_weights(spec: Mapping[str, Any]) -> None:
    """Build a network with its pretrained weights, to find out before any run starts that they cannot be had."""
    _with_weights(json.dumps(dict(spec), sort_keys=True))


@cache
def _with_weights(spec: str) -> None:
    build_network(json.loads(spec), "probe", 2, 0)


def probe_optimizer(training: Mapping[str, Any]) -> Optimizer:
    """The optimizer over a stand-in for the weights, to see whether its options can be meant."""
    import torch

    from segmi.training.optimizers import build_optimizer

    return build_optimizer(
        [torch.nn.Parameter(torch.zeros(2, 2))],
        training["optimizer"],
        training["learning_rate"],
        training.get("optimizer_options"),
    )


def probe_schedule(optimizer: Optimizer, training: Mapping[str, Any]) -> None:
    """Build the schedule of such an optimizer, to check its options."""
    from segmi.training.lr_schedulers import build_schedule

    schedule, warmup = training["schedule"], training["warmup_steps"]
    parts = [] if isinstance(schedule, str) else [part.get("steps") for part in schedule]
    # A budget in epochs or images is known in steps only when the run starts: assume enough of them.
    enough = PROBED_STEPS + warmup + sum(steps for steps in parts if isinstance(steps, int))
    steps = None if training.get("minutes") else training.get("steps") or enough
    build_schedule(optimizer, schedule, steps, training.get("schedule_options"), warmup_steps=warmup)


@contextmanager
def _within_memory() -> Iterator[None]:
    """Refuse networks whose weights and gradient alone are more than the machine's memory.

    Raises:
        UsageError: before the memory is taken.
    """
    from segmi.models.memory_limit import MemoryLimit, MemoryLimitError
    from segmi.study.environment import memory_gb

    memory = memory_gb()
    if memory is None:
        yield
        return
    try:
        with MemoryLimit(int(memory / 2 * 2**30)):
            yield
    except MemoryLimitError as error:
        raise UsageError(
            f"the weights of the network take {error}; with their gradient that is beyond the {memory} GiB of this "
            "machine",
            "make the network narrower",
        ) from error


@contextmanager
def _keyed(seed: int) -> Iterator[None]:
    """PyTorch's generator seeded inside, as it was outside."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
