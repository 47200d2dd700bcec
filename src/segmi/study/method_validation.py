"""Validation of one method: its networks, their roles, its losses, and its settings against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from segmi.datasets.processing import Processing
from segmi.errors import EnvironmentProblem, UsageError
from segmi.losses import known_losses, loss_class
from segmi.models import build_network, get_architecture, list_models
from segmi.study.binding import bind, describe, validate
from segmi.study.components import (
    NOT_OF_LOSSES,
    NOT_OF_NETWORKS,
    method_objective,
    network_options,
    probe_network,
    probe_optimizer,
    probe_schedule,
)
from segmi.study.initial_weights import check_averages, unknown_network, with_averages
from segmi.study.problems import Problems, unknown
from segmi.study.run_config import NOT_OF_TRAINING, TrainingSection
from segmi.study.schema import Method
from segmi.study.strict_yaml import KeyPath, mapping
from segmi.training import OPTIMIZERS, SCHEDULES
from segmi.training.cohort import check_ensemble
from segmi.training.config import BUDGETS, Budget, check_comparisons, check_divisible, check_selection
from segmi.training.loggers import check_loggers

MOST_WORKERS: Final = 512  # upper bound on processes that load images; no machine gains from more

_POSITIVE: Final = (
    *BUDGETS, "batch_size", "unlabeled_batch_size", "accumulate", "devices", "num_nodes", "threads", "learning_rate",
    "clip_norm", "validate_every", "patience", "checkpoint_every", "log_every", "passes",
)  # fmt: skip
_OPTIMIZER: Final = ("optimizer", "optimizer_options", "learning_rate", "schedule", "schedule_options", "warmup_steps")
_UNLABELED: Final = {"unlabeled images", "two views"}


def check_training(options: dict[str, Any], path: KeyPath, problems: Problems) -> dict[str, Any]:
    """Return training options with every default, and check the range of each value."""
    bound = bind(TrainingSection, options, path, problems, leave_out=NOT_OF_TRAINING)
    check_positive(options, path, problems)
    workers = options.get("workers")
    if isinstance(workers, int) and not 0 <= workers <= MOST_WORKERS:
        problems.add((*path, "workers"), f"expected 0 to {MOST_WORKERS} processes, got {workers}")
    if options.get("logger") and not problems.touches(*path, "logger"):
        try:
            check_loggers(bound["logger"])
        except EnvironmentProblem as problem:
            problems.add_error((*path, "logger"), problem)
    return bound


def check_positive(options: Mapping[str, Any], path: KeyPath, problems: Problems) -> None:
    """Check that counts and rates are positive and finite."""
    for name in _POSITIVE:
        value = options.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < math.inf:
            problems.add((*path, name), f"expected {'more than 0' if value <= 0 else 'a finite number'}, got {value}")


def check_method(
    name: str, value: Any, training: dict[str, Any], processing: dict[str, Any], problems: Problems
) -> dict[str, Any]:
    """Return a method with every default, as plain data.

    ``training`` and ``processing`` are the complete options of the study.
    """
    path = ("methods", name)
    if not isinstance(value, dict):
        problems.add(path, f"expected a mapping with networks and loss, got {describe(value)}")
        return {}
    method = validate(Method, value, path, problems)
    own_training, own_processing = mapping(method.get("training")), mapping(method.get("processing"))
    bound = check_training(own_training, (*path, "training"), problems)
    method["training"] = {**training, **{key: bound.get(key) for key in own_training}}
    bound = bind(Processing, own_processing, (*path, "processing"), problems)
    method["processing"] = {**processing, **{key: bound.get(key) for key in own_processing}}
    networks = with_averages(method, path, problems)
    method["networks"] = {key: _network(spec, (*path, "networks", key), problems) for key, spec in networks.items()}
    method["label"] = method.get("label") or name
    check = _MethodCheck(method, path, {"training": own_training, "processing": own_processing}, problems)
    check.ensembles()
    check.roles()
    check_averages(method, path, problems)
    check.processing()
    check.training()
    method["loss"] = check.losses()
    return method


def _network(spec: Any, path: KeyPath, problems: Problems) -> dict[str, Any]:
    """Return the options of a network with every default of its architecture."""
    if not isinstance(spec, dict):
        return {}
    architecture = spec.get("architecture")
    defaults: dict[str, Any] = {}
    if isinstance(architecture, str) and _is_known(architecture, (*path, "architecture"), problems):
        defaults = {"architecture": architecture, **network_options(architecture)}
        for option in spec:
            if option not in defaults:
                problems.add((*path, option), unknown(f"option of {architecture}", option, defaults))
    bound = bind(build_network, spec, path, problems, leave_out=NOT_OF_NETWORKS)
    given = {name: value for name, value in bound.items() if value is not None}
    bound = {name: given.get(name, default) for name, default in defaults.items()}
    if not problems.touches(*path):
        try:
            probe_network(bound)
        except Exception as error:  # the libraries of networks raise errors of any type
            problems.add_error(path, error)
    return bound


def _is_known(architecture: str, path: KeyPath, problems: Problems) -> bool:
    try:
        get_architecture(architecture)
    except UsageError:
        problems.add(path, unknown("architecture", architecture, [row["name"] for row in list_models()]))
    except EnvironmentProblem as problem:  # of another package
        problems.add_error(path, problem)
    return not problems.touches(*path)


@dataclass(frozen=True)
class _MethodCheck:
    """Checks of a method whose options have passed one by one."""

    method: dict[str, Any]  # every default is filled in; completed in place
    path: KeyPath
    own: Mapping[str, Mapping[str, Any]]  # sections that the method sets itself
    problems: Problems

    def owner(self, section: str, key: str) -> KeyPath:
        """Return the path of a setting: in the method if it sets it, else in the study."""
        return (*self.path, section, key) if key in self.own[section] else (section, key)

    def ensembles(self) -> None:
        """Check the networks of ensembles."""
        for name, members in mapping(self.method.get("ensembles")).items():
            try:
                check_ensemble(name, members, self.method["networks"])
            except UsageError as error:
                self.problems.add_error((*self.path, "ensembles", name), error)

    def roles(self) -> None:
        """Check the networks that are frozen, reported, and used for selection."""
        method, path, problems = self.method, self.path, self.problems
        networks, training = list(method["networks"]), method["training"]
        frozen: list[Any] = method["frozen"] if isinstance(method.get("frozen"), list) else []
        references: dict[KeyPath, Any] = {("frozen", index): network for index, network in enumerate(frozen)}
        references |= {("reported",): method.get("reported")}
        references |= {("training", "select_network"): training.get("select_network")}
        ensembles = list(mapping(method.get("ensembles")))
        for where, network in references.items():
            known = [*networks, *ensembles] if where == ("reported",) else networks
            if where == ("reported",) and problems.touches(*path, "ensembles"):
                continue  # it may be the name of one of them
            if isinstance(network, str) and network not in known:
                problems.add((*path, *where), unknown_network(network, known, method))
        trained = [network for network in networks if network not in frozen]
        if networks and not trained:
            problems.add((*path, "frozen"), "every network is frozen; leave at least one to be trained")
        if method.get("reported") is None:
            if len(networks) > 1:
                choice = ", ".join([*networks, *ensembles])
                problems.add((*path, "reported"), f"is missing; choose one of {choice} for Table 1")
            method["reported"] = next(iter(networks), None)
        if training.get("select_network") is None:
            training["select_network"] = method["reported"] if method["reported"] in trained else None
            if method["reported"] in ensembles and training.get("select_by") == "holdout_mIoU":
                message = f"expected a network to select weights by, reported is the ensemble {method['reported']!r}"
                remedy = f"set training.select_network of the method to {' or '.join(trained)}, or select_by: last"
                problems.add(self.owner("training", "select_by"), f"{message}; {remedy}")

    def processing(self) -> None:
        """Check that the processing is possible, and that crops fit the strides of the networks."""
        problems, path = self.problems, self.path
        if problems.touches("processing") or problems.touches(*path, "processing"):
            return
        try:
            crop = Processing(**self.method["processing"]).crop
        except ValueError as error:
            problems.add_error(self.owner("processing", "crop" if "crop" in str(error) else "scale"), error)
            return
        for network, spec in self.method["networks"].items():
            known = not problems.touches(*path, "networks", network)
            if known and crop % (stride := probe_network(spec).stride):
                nearest = max(stride, round(crop / stride) * stride)
                message = f"{crop} is not a multiple of {stride}, the stride of {network} of {path[-1]}; use {nearest}"
                problems.add(self.owner("processing", "crop"), message)

    def training(self) -> None:
        """Check budget, selection, batch size, optimizer and schedule, each by the function that training uses."""
        training, problems, owner = self.method["training"], self.problems, partial(self.owner, "training")

        def attempt(path: KeyPath, check: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return check(*arguments, **options)
            except (ValueError, TypeError) as error:
                problems.add_error(path, error)

        given = {unit: training[unit] for unit in BUDGETS if training.get(unit) is not None}
        if not any(problems.touches(*owner(unit)) for unit in BUDGETS):
            attempt(owner(list(given)[-1]) if given else ("training", "steps"), Budget, **given)
        held_out, split = training.get("holdout"), training.get("selection_split")
        attempt(owner("holdout"), check_selection, training.get("select_by"), holdout=bool(held_out or split))
        if held_out and split:
            message = f"weights are selected by {split}, but holdout: {held_out} also takes images from train"
            problems.add(owner("selection_split"), f"{message}; set holdout: 0")
        compared = {name: training.get(name) for name in ("patience", "weight_average")}
        attempt(owner("select_by"), check_comparisons, training.get("select_by"), **compared)
        counts = [training.get(name) for name in ("batch_size", "devices", "num_nodes")]
        if all(isinstance(count, int) and count > 0 for count in counts):  # other values are reported already
            batch_size, devices, nodes = counts
            attempt(owner("batch_size"), check_divisible, "batch_size", batch_size, devices * nodes)
        if any(problems.touches(*owner(key)) for key in _OPTIMIZER):
            return
        known = training.get("optimizer") in OPTIMIZERS
        optimizer = attempt(owner("optimizer_options" if known else "optimizer"), probe_optimizer, training)
        if optimizer is None:
            return
        named = isinstance(training["schedule"], str) and training["schedule"] in SCHEDULES
        key = owner("schedule_options" if named else "schedule")
        # First without warm-up, so that an error is attributed to the setting that causes it.
        attempt(key, probe_schedule, optimizer, {**training, "warmup_steps": 0})
        if not problems.touches(*key):
            attempt(owner("warmup_steps"), probe_schedule, optimizer, training)

    def losses(self) -> dict[str, Any]:
        """Return the losses with every default, and check that they fit the networks."""
        method, problems = self.method, self.problems
        path, bound = (*self.path, "loss"), {}
        signature: dict[str, Any] = {"leave_out": NOT_OF_LOSSES, "extra": {"weight": (float, 1.0)}}
        for name, options in mapping(method.get("loss")).items():
            try:
                bound[name] = bind(loss_class(name), options, (*path, name), problems, **signature)
            except UsageError:
                problems.add((*path, name), unknown("loss", name, known_losses()))
            except EnvironmentProblem as problem:  # of another package
                problems.add_error((*path, name), problem)
        if not method["networks"] or problems.touches(*path) or problems.touches(*self.path, "frozen"):
            return bound
        try:
            objective = method_objective(bound, list(method["networks"]), method.get("frozen") or [])
        except (ValueError, TypeError) as error:
            problems.add_error(path if len(bound) != 1 else (*path, next(iter(bound))), error)
            return bound
        if _UNLABELED & set(objective.requires) and method["training"].get("labeled", 1) == 1:
            problems.add(path, "needs unlabeled images; set training.labeled to the fraction of labeled images")
        for network, layers in objective.layers().items():
            if not problems.touches(*self.path, "networks", network):
                there = probe_network(method["networks"][network]).layers
                for layer in [layer for layer in layers if layer not in there]:
                    problems.add(path, unknown(f"layer of {network}:", layer, there))
        return bound
