"""One method of a study checked: its networks, their roles, its loss, its settings against each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from segmi.errors import EnvironmentProblem
from segmi.study import resolve
from segmi.study.binding import bind, describe, validate
from segmi.study.budgets import BUDGETS, budget_of
from segmi.study.problems import Problems, unknown
from segmi.study.provenance import check_averages, with_averages
from segmi.study.schema import Method, check_reference, described
from segmi.study.strict_yaml import Place

OF_THE_STUDY = {
    "holdout": (Annotated[float, Field(ge=0, lt=1)], 0.0),
    "labeled": (Annotated[float, Field(gt=0, le=1)], 1.0),
    "label_noise": (Annotated[float, Field(ge=0, lt=1)], 0.0),
}
"""The part of train to select by, the part of the rest that has labels, and how many of those are wrong: the study
takes them, not the loop."""

MOST_WORKERS = 512
"""Processes that read images; a machine that would gain from more is not built yet."""

_POSITIVE = (
    "steps", "epochs", "images", "minutes", "batch_size", "unlabeled_batch_size", "accumulate", "devices",
    "num_nodes", "threads", "learning_rate", "clip_norm", "validate_every", "checkpoint_every", "log_every", "passes",
)  # fmt: skip


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one: what it is instead was noted where it was read."""
    return value if isinstance(value, dict) else {}


def check_training(options: dict[str, Any], place: Place, problems: Problems) -> dict[str, Any]:
    """Training options with every default, their values in range."""
    bound = bind(
        resolve.training_options(), options, place, problems, leave_out=resolve.NOT_OF_TRAINING, extra=OF_THE_STUDY
    )
    check_positive(options, place, problems)
    workers = options.get("workers")
    if isinstance(workers, int) and not 0 <= workers <= MOST_WORKERS:
        problems.add((*place, "workers"), f"expected 0 to {MOST_WORKERS} processes, got {workers}")
    if options.get("logger") and not problems.touches(*place, "logger"):
        try:
            resolve.check_loggers(bound["logger"])
        except EnvironmentProblem as problem:
            problems.add_error((*place, "logger"), problem)
    return bound


def check_positive(options: Mapping[str, Any], place: Place, problems: Problems) -> None:
    """Note the counts and rates that are not positive."""
    for name in _POSITIVE:
        value = options.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < math.inf:
            problems.add((*place, name), f"expected {'more than 0' if value <= 0 else 'a finite number'}, got {value}")


def check_method(
    name: str, value: Any, training: dict[str, Any], processing: dict[str, Any], problems: Problems
) -> dict[str, Any]:
    """A method with every default, as plain data; what is wrong with it goes to ``problems``.

    Args:
        name: the method's.
        value: what the file says.
        training: the study's training options, complete.
        processing: likewise.
        problems: collects what is wrong.
    """
    place = ("methods", name)
    if not isinstance(value, dict):
        problems.add(place, f"expected a mapping with networks and loss, got {describe(value)}")
        return {}
    method = validate(Method, value, place, problems)
    own_training, own_processing = mapping(method.get("training")), mapping(method.get("processing"))
    bound = check_training(own_training, (*place, "training"), problems)
    method["training"] = {**training, **{key: bound.get(key) for key in own_training}}
    bound = bind(resolve.processing_class(), own_processing, (*place, "processing"), problems)
    method["processing"] = {**processing, **{key: bound.get(key) for key in own_processing}}
    networks = with_averages(method, place, problems)
    method["networks"] = {
        network: _network(spec, (*place, "networks", network), problems) for network, spec in networks.items()
    }
    method["label"] = method.get("label") or name
    _check_roles(method, place, problems)
    check_averages(method, place, problems)
    _check_processing(method, own_processing, place, problems)
    _check_budget(method, own_training, place, problems)
    method["loss"] = _objective(method, place, problems)
    return method


def _network(spec: Any, place: Place, problems: Problems) -> dict[str, Any]:
    if not isinstance(spec, dict):
        return {}
    architecture = spec.get("architecture")
    known = resolve.architectures()
    taken: dict[str, Any] = {}
    if isinstance(architecture, str) and architecture not in known:
        problems.add((*place, "architecture"), unknown("architecture", architecture, known))
    elif isinstance(architecture, str):
        taken = {"architecture": architecture, **resolve.network_options(architecture)}
        for option in spec:
            if option not in taken:
                problems.add((*place, option), unknown(f"option of {architecture}", option, taken))
    bound = bind(resolve.build_function(), spec, place, problems, leave_out=resolve.NOT_OF_NETWORKS)
    given = {name: value for name, value in bound.items() if value is not None}
    bound = {name: given.get(name, default) for name, default in taken.items()}
    if not problems.touches(*place):
        try:
            resolve.probe_network(bound)
        except Exception as error:  # whatever the libraries of networks raise is about these options
            problems.add_error(place, error)
    return bound


def _check_roles(method: dict[str, Any], place: Place, problems: Problems) -> None:
    networks = list(method["networks"])
    frozen = method.get("frozen") if isinstance(method.get("frozen"), list) else []
    for index, network in enumerate(frozen or []):
        if message := check_reference("network", network, networks):
            problems.add((*place, "frozen", index), message)
    learning = [network for network in networks if network not in (frozen or [])]
    if networks and not learning:
        problems.add((*place, "frozen"), "every network is frozen; leave at least one to be trained")
    reported = method.get("reported")
    if reported is None:
        if len(networks) > 1:
            problems.add((*place, "reported"), f"is missing; say which of {', '.join(networks)} stands in Table 1")
        method["reported"] = next(iter(networks), None)
    elif isinstance(reported, str) and (message := check_reference("network", reported, networks)):
        problems.add((*place, "reported"), message)
    selecting = method["training"].get("select_network")
    if selecting is None:
        method["training"]["select_network"] = method["reported"] if method["reported"] in learning else None
    elif isinstance(selecting, str) and (message := check_reference("network", selecting, networks)):
        problems.add((*place, "training", "select_network"), message)


def check_baselines(methods: Mapping[str, dict[str, Any]], problems: Problems) -> None:
    """Where methods name what they are compared with, that is another method, and none is one of several networks."""
    for name, method in methods.items():
        other, place = method.get("baseline"), ("methods", name, "baseline")
        if not isinstance(other, str):
            continue
        if message := check_reference("method", other, list(methods)):
            problems.add(place, message)
        elif other == name:
            problems.add(place, f"{name} cannot be compared with itself; name another method or leave it out")
        elif any(method.get("treatment") for method in methods.values()):
            problems.add(
                place, "where methods have a treatment, it tells what they are compared with; leave out one of the two"
            )


def check_treatments(methods: Mapping[str, dict[str, Any]], baseline: str, problems: Problems) -> None:
    """Where methods share treatments, each stands on a network of its own, and the baseline's stands on all of them."""
    treatments = {name: method.get("treatment") or name for name, method in methods.items()}
    if len(set(treatments.values())) == len(methods) or problems.found:
        return
    networks = {name: described(method["networks"][method["reported"]]) for name, method in methods.items()}
    taken: dict[tuple[str, str], str] = {}
    for name in methods:
        first = taken.setdefault((treatments[name], networks[name]), name)
        if first != name:
            problems.add(
                ("methods", name, "treatment"),
                f"{treatments[name]!r} stands on {networks[name]} in {first} already; "
                "give it another network or treatment",
            )
        elif (treatments[baseline], networks[name]) not in {(treatments[m], networks[m]) for m in methods}:
            problems.add(
                ("methods", name, "treatment"),
                f"nothing to compare with: no method of the baseline's treatment {treatments[baseline]!r} has the "
                f"network {networks[name]}; add one",
            )


def _owner(key: str, own: Mapping[str, Any], section: str, place: Place) -> Place:
    """Where a setting of a method was made: in the method or in the study."""
    return (*place, section, key) if key in own else (section, key)


def _check_processing(method: dict[str, Any], own: Mapping[str, Any], place: Place, problems: Problems) -> None:
    if problems.touches("processing") or problems.touches(*place, "processing"):
        return
    crop_place = _owner("crop", own, "processing", place)
    try:
        processing = resolve.build_processing(method["processing"])
    except ValueError as error:
        problems.add_error(_owner("crop" if "crop" in str(error) else "scale", own, "processing", place), error)
        return
    for network, spec in method["networks"].items():
        if problems.touches(*place, "networks", network):
            continue
        stride = resolve.probe_network(spec).stride
        if processing.crop % stride:
            nearest = max(stride, round(processing.crop / stride) * stride)
            problems.add(
                crop_place,
                f"{processing.crop} is no multiple of {stride}, as {network} of {place[-1]} needs; use {nearest}",
            )


def _check_budget(method: dict[str, Any], own: Mapping[str, Any], place: Place, problems: Problems) -> None:
    training = method["training"]

    def owner(key: str) -> Place:
        return _owner(key, own, "training", place)

    given = budget_of(training)
    if len(given) > 1:
        problems.add(
            owner(list(given)[-1]),
            f"both {' and '.join(f'{unit} ({amount})' for unit, amount in given.items())} are given; keep one, set the "
            "other to null",
        )
    wrong = any(problems.touches(*owner(unit)) for unit in BUDGETS)
    if not given and not wrong:
        problems.add(
            ("training", "steps"),
            "is missing: give the budget as training.steps, training.epochs, training.images or training.minutes",
        )
    if training.get("select_by") == "holdout_mIoU" and not training.get("holdout"):
        problems.add(
            owner("holdout"),
            "select_by holdout_mIoU needs a part of train; set holdout: 0.1, or select_by: last",
        )
    _check_division(training, owner, problems)
    settings = ("optimizer", "optimizer_options", "learning_rate", "schedule", "schedule_options", "warmup_steps")
    if not any(problems.touches(*owner(key)) for key in settings):
        _check_optimizer(training, owner, problems)


def _check_division(training: dict[str, Any], owner: Callable[[str], Place], problems: Problems) -> None:
    batch, devices, nodes = (training.get(name) for name in ("batch_size", "devices", "num_nodes"))
    if not (isinstance(batch, int) and isinstance(devices, int) and isinstance(nodes, int) and devices * nodes > 0):
        return  # which is noted elsewhere
    if batch % (devices * nodes):
        problems.add(
            owner("batch_size"),
            f"{batch}, the images of all processes together, does not divide by devices × num_nodes = {devices} × "
            f"{nodes}; use a multiple of {devices * nodes}",
        )


def _check_optimizer(training: dict[str, Any], owner: Callable[[str], Place], problems: Problems) -> None:
    named = training.get("optimizer") in resolve.optimizers()
    try:
        optimizer = resolve.probe_optimizer(training)
    except (ValueError, TypeError) as error:
        problems.add_error(owner("optimizer_options" if named else "optimizer"), error)
        return
    known = isinstance(training["schedule"], str) and training["schedule"] in resolve.schedules()
    # First without warm-up, so that an error is attributed to the setting that causes it.
    for key, warmup in (("schedule_options" if known else "schedule", 0), ("warmup_steps", training["warmup_steps"])):
        try:
            resolve.probe_schedule(optimizer, {**training, "warmup_steps": warmup})
        except (ValueError, TypeError) as error:
            problems.add_error(owner(key), error)
            return


def _objective(method: dict[str, Any], place: Place, problems: Problems) -> dict[str, Any]:
    place = (*place, "loss")
    known = resolve.losses()
    bound = {}
    for name, options in mapping(method.get("loss")).items():
        if name not in known:
            problems.add((*place, name), unknown("loss", name, known))
        else:
            bound[name] = bind(
                known[name], options, (*place, name), problems, leave_out=resolve.NOT_OF_LOSSES,
                extra={"weight": (float, 1.0)},
            )  # fmt: skip
    if method["networks"] and not problems.touches(*place) and not problems.touches(*place[:-1], "frozen"):
        try:
            objective = resolve.build_method_objective(bound, list(method["networks"]), method.get("frozen") or [])
            if {"unlabeled images", "two views"} & set(objective.requires) and method["training"].get(
                "labeled", 1
            ) == 1:
                problems.add(place, "asks for images without labels; set training.labeled to the part that has some")
        except (ValueError, TypeError) as error:
            problems.add_error(place if len(bound) != 1 else (*place, next(iter(bound))), error)
        else:
            _check_layers(method["networks"], objective, place, problems)
    return bound


def _check_layers(networks: Mapping[str, Any], objective: Any, place: Place, problems: Problems) -> None:
    """Layers that the loss looks at are there, before any run begins."""
    for network, layers in objective.layers().items():
        if problems.touches(*place[:-1], "networks", network):
            continue
        known = resolve.probe_network(networks[network]).layers
        for layer in layers:
            if layer not in known:
                problems.add(place, unknown(f"layer of {network}:", layer, known))
