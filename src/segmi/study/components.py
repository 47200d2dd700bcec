"""Build the datasets, networks, losses and optimizers that a study names."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segmi.datasets import dataset_class, open_dataset
from segmi.datasets.folds import Fold, parse_fold
from segmi.datasets.reader import DatasetReader
from segmi.errors import UsageError
from segmi.losses import build_objective, loss_class
from segmi.losses.base import Objective
from segmi.models import SegmentationNetwork, build_network, get_architecture, layer_names
from segmi.models.network import MemoryLimit, MemoryLimitError
from segmi.randomness import key
from segmi.study.binding import arguments
from segmi.study.dataset_context import DataRoots
from segmi.study.environment import memory_gb
from segmi.study.run_config import RunConfig, TrainingSection
from segmi.training import Average, Cohort
from segmi.training.distributed import ProcessGroup, connect
from segmi.training.optimization import TIME_STEPS, build_optimizer, build_schedule

NOT_OF_EVALUATION: Final = (
    "cohort", "images", "seed", "tta", "device", "processes", "progress", "diagnostics", "details",
)  # fmt: skip
OF_ANY_DATASET: Final = ("type", "fold")
NOT_OF_NETWORKS: Final = ("classes", "in_channels")
NOT_OF_LOSSES: Final = ("self", "networks", "frozen", "name", "weight", "ignore_index")
_GENERAL: Final = ("encoder_weights", "one_logit", "normalize", "features", "batch_norm_momentum")
_PARALLEL: Final = ("device", "devices", "num_nodes", "strategy")
_PROBED_STEPS: Final = 1000


def build_components(config: RunConfig, classes: int, in_channels: int = 3) -> tuple[Cohort, Objective]:
    """Build the cohort and the objective of a run for a dataset with this number of classes and of channels."""
    sizes = {"classes": classes, "in_channels": in_channels}
    networks = {name: keyed_network(spec, name, config.seed, **sizes) for name, spec in config.networks.items()}
    averages = {name: Average(average.of, average.decay) for name, average in config.averages.items()}
    objective = method_objective(config.loss, list(networks), config.frozen)
    return Cohort(networks, config.frozen, averages, config.ensembles), objective


def open_data(name: str, options: Mapping[str, Any], roots: DataRoots) -> DatasetReader:
    """Open a dataset of a study, or the ``fold`` of it; its ``type`` is the name unless the options say otherwise."""
    known = {option: value for option, value in options.items() if option not in OF_ANY_DATASET}
    kind = options.get("type", name)
    dataset = open_dataset(kind, roots.of(name), **arguments(dataset_class(kind), known, ("self", "root")))
    return Fold(dataset, *parse_fold(options["fold"])) if "fold" in options else dataset


def keyed_network(
    spec: Mapping[str, Any], network: str, seed: int, *, classes: int = 2, in_channels: int = 3
) -> SegmentationNetwork:
    """Build a network; its initial weights depend on seed and name only, and so agree between methods."""
    bound = arguments(build_network, spec, NOT_OF_NETWORKS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "initial weights", network))
        return build_network(**bound, classes=classes, in_channels=in_channels)


def method_objective(
    losses: Mapping[str, Mapping[str, Any]], networks: Sequence[str], frozen: Sequence[str]
) -> Objective:
    """Build the weighted sum of a method's losses."""
    bound = {}
    for name, options in losses.items():
        own = {option: value for option, value in options.items() if option != "weight"}
        bound[name] = {**arguments(loss_class(name), own, NOT_OF_LOSSES), "weight": options.get("weight", 1.0)}
    return build_objective(bound, networks=networks, frozen=frozen)


def network_options(architecture: str) -> dict[str, Any]:
    """Return the options of an architecture with their defaults, as plain data."""
    general = inspect.signature(build_network).parameters
    options = {name: general[name] for name in _GENERAL} | dict(get_architecture(architecture).options())
    return {name: _plain(parameter.default) for name, parameter in options.items()}


def _plain(value: Any) -> Any:
    """Return a default as plain data, or None, which means the default."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None


def connect_processes(trainings: Sequence[TrainingSection]) -> ProcessGroup:
    """Connect the processes that do these runs together; raises `UsageError` if the runs need different ones."""
    declared = [{name: getattr(training, name) for name in _PARALLEL} for training in trainings]
    if all(training.processes == 1 for training in trainings):
        return connect()
    differing = [name for name in _PARALLEL if any(one[name] != declared[0][name] for one in declared)]
    if differing:
        message = f"the methods of this study differ in {', '.join(differing)}"
        remedy = "set it in the study's training section only, or run the methods separately with --only"
        raise UsageError(f"{message}, but the same processes train all of them", remedy)
    return connect(**declared[0])


class NetworkProbe(NamedTuple):
    """Properties of a network that was built without pretrained weights."""

    stride: int
    needs_batch_of_two: bool
    layers: tuple[str, ...]


def probe_network(spec: Mapping[str, Any]) -> NetworkProbe:
    """Build a network without its weights, to find wrong options before a run starts."""
    return _probe(json.dumps({**spec, "encoder_weights": None, "normalize": "none"}, sort_keys=True))


@cache
def _probe(spec: str) -> NetworkProbe:
    memory = memory_gb()
    # A network that is too large is refused before it is allocated: half of the memory is for the gradient.
    limit = MemoryLimit(int(memory / 2 * 2**30)) if memory is not None else nullcontext()
    try:
        with limit:
            network = keyed_network(json.loads(spec), "probe", 0)
    except MemoryLimitError as error:
        message = f"the weights of the network take {error}; with their gradient that is more than the {memory} GiB"
        raise UsageError(f"{message} of this machine", "make the network narrower") from error
    return NetworkProbe(network.stride, network.needs_batch_of_two, layer_names(network))


def probe_weights(spec: Mapping[str, Any]) -> None:
    """Build a network with its pretrained weights, to find missing weights before a run starts."""
    _probe_weights(json.dumps(dict(spec), sort_keys=True))


@cache
def _probe_weights(spec: str) -> None:
    keyed_network(json.loads(spec), "probe", 0)


def probe_optimizer(training: Mapping[str, Any]) -> Optimizer:
    """Build the optimizer for a small parameter, to check its options."""
    name, rate, options = training["optimizer"], training["learning_rate"], training.get("optimizer_options")
    return build_optimizer([torch.nn.Parameter(torch.zeros(2, 2))], name, rate, options)


def probe_schedule(optimizer: Optimizer, training: Mapping[str, Any]) -> LRScheduler | None:
    """Build the schedule of such an optimizer, to check its options."""
    schedule, warmup = training["schedule"], training["warmup_steps"]
    parts = [] if isinstance(schedule, str) else [part.get("steps") for part in schedule]
    # A budget in epochs or images is known in steps only when the run starts: assume enough of them.
    enough = _PROBED_STEPS + warmup + sum(steps for steps in parts if isinstance(steps, int))
    steps = TIME_STEPS if training.get("minutes") else training.get("steps") or enough
    return build_schedule(optimizer, schedule, steps, training.get("schedule_options"), warmup_steps=warmup)
