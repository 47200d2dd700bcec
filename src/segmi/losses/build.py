"""The table of losses by name with their measured costs, and the construction of losses from plain data."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from torch import nn

from segmi.errors import UsageError, nearest, unknown_name
from segmi.losses import distillation, label_information, pixel, representation, rmi, unsupervised
from segmi.losses.base import Loss, Objective, PerNetwork, snake_case
from segmi.losses.weighted_sum import WeightedSum
from segmi.plugins import load_plugin, load_plugins, plugin_names

__all__ = ["LOSSES", "build_objective", "known_losses", "loss_class"]

_FAMILIES: Final = (pixel, rmi, label_information, distillation, unsupervised, representation)


LOSSES: Final[dict[str, type[Loss] | type[Objective]]] = {
    snake_case(name): kind
    for family in _FAMILIES
    for name, kind in vars(family).items()
    if isinstance(kind, type) and issubclass(kind, Loss | Objective)
}
"""The losses by name, which is the class name in snake case, in the order of the imports in the ``__init__`` of each
family. A `Loss` applies to every trained network, an `Objective` to all together."""

_PLUGINS: Final = (
    "segmi.losses",
    lambda kind: isinstance(kind, type) and issubclass(kind, nn.Module),
    "a module class",
)
_NOT_OPTIONS: Final = ("name", "weight", "frozen")


def known_losses() -> dict[str, type[nn.Module]]:
    """Return `LOSSES` and the losses of installed packages, entry points of the group ``segmi.losses``.

    A warning is logged for each that cannot be used, see `segmi.plugins`.
    """
    return {**load_plugins(*_PLUGINS, own=LOSSES), **LOSSES}


def loss_class(name: str) -> type[nn.Module]:
    """Return the class of a loss.

    Raises:
        UsageError: no loss has this name.
        EnvironmentProblem: it belongs to another package, and cannot be used.
    """
    if name in LOSSES:
        return LOSSES[name]
    kind: type[nn.Module] | None = load_plugin(_PLUGINS[0], name, *_PLUGINS[1:])
    if kind is None:
        raise unknown_name("loss", name, [*LOSSES, *plugin_names(_PLUGINS[0])])
    return kind


def build_objective(
    specification: Mapping[str, Mapping[str, Any] | None], *, networks: Sequence[str], frozen: Sequence[str] = ()
) -> Objective:
    """Build the losses that plain data describes.

    Args:
        specification: by name in `known_losses`, the options of the loss and, optionally, its ``weight``.
        networks: names of all networks of the cohort.
        frozen: names of the networks that are not trained.
    Returns: A `WeightedSum`, in the order of the specification.
    Raises: UsageError for an unknown name or option, an invalid value, or missing networks.
    Example:
        >>> both = {"cross_entropy": {}, "rmi_loss": {"weight": 0.1, "radius": 5}}
        >>> [part.loss for part in build_objective(both, networks=["unet"]).losses]
        [CrossEntropy(), RMILoss(
          (region): RegionMutualInformation()
        )]
    """
    if not specification:
        raise UsageError("loss: expected at least one loss, got none", "name one, such as cross_entropy")
    unknown = [name for name in frozen if name not in networks]
    if unknown:
        raise UsageError(f"frozen: expected networks of the cohort, got {', '.join(unknown)}", f"use {list(networks)}")
    if set(networks) <= set(frozen):
        raise UsageError("frozen: expected a network that is trained, got none", "remove one from frozen")
    return WeightedSum([_built(name, dict(options or {}), networks, frozen) for name, options in specification.items()])


def _built(name: str, options: dict[str, Any], networks: Sequence[str], frozen: Sequence[str]) -> Objective:
    kind = loss_class(name)
    weight = options.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UsageError(f"loss {name}, weight: expected a number, got {weight!r}", "omit it for 1")
    _check_options(name, kind, options)
    if issubclass(kind, Objective):
        _check_networks(name, kind, networks, frozen)
    try:
        if issubclass(kind, Objective):
            objective = kind(name=name, weight=float(weight), frozen=tuple(frozen), **options)
            _check_layers(name, objective, networks)
            return objective
        # a stateful loss is copied for each of these
        trained = [network for network in networks if network not in frozen]
        return PerNetwork(kind(**options), name, weight=float(weight), frozen=tuple(frozen), networks=trained)
    except (TypeError, ValueError) as error:
        raise UsageError(f"loss {name}: {error}") from error


def _check_networks(name: str, kind: type[Objective], networks: Sequence[str], frozen: Sequence[str]) -> None:
    if "peers" in kind.requires and len(networks) < 2:
        raise UsageError(f"loss {name}: expected two or more networks, got {list(networks)}", "add a network")
    if "teacher" in kind.requires and not frozen:
        raise UsageError(
            f"loss {name}: expected a frozen network as the teacher, got only trained ones: {list(networks)}",
            "name the teacher under frozen",
        )


def _check_layers(name: str, objective: Objective, networks: Sequence[str]) -> None:
    # Check that layers are of known networks, with a trained one and, if required, a teacher among them
    layers = objective.layers()
    for network in layers:
        if network not in networks:
            raise unknown_name(f"network under layers of {name}:", network, networks)
    trained, teachers = ([m for m in layers if (m in objective.frozen) is role] for role in (False, True))
    if "features" in objective.requires and not trained:
        raise UsageError(f"layers: expected a layer of a trained network, got layers of {list(layers)}")
    if layers and "teacher" in objective.requires and not teachers:
        raise UsageError(f"layers: expected a layer of the teacher too, got layers of {list(layers)}")


def _check_options(name: str, kind: type[nn.Module], options: Mapping[str, Any]) -> None:
    accepted = [option for option in inspect.signature(kind).parameters if option not in _NOT_OPTIONS]
    for option in options:
        if option not in accepted:
            guess = nearest(option, accepted)
            remedy = (f"did you mean {guess!r}? " if guess else "") + f"Known: weight, {', '.join(accepted)}"
            raise UsageError(f"loss {name}: unknown option {option!r}", remedy)


COSTS_FILE: Final = "measured_costs.csv"
"""Written by ``benchmarks/catalog.py`` next to this module; its first line has date and machine."""


def measured_costs() -> dict[str, dict[str, str]]:
    """Return time and memory of forward and backward as multiples of cross-entropy's, by loss name, as rounded text.

    Memory is what autograd keeps between forward and backward, including the logits, not temporary buffers. Losses that
    have not been measured are missing.

    Example:
        >>> measured_costs()["cross_entropy"]
        {'time': '1.0', 'memory': '1.0'}
    """
    lines = files("segmi.losses").joinpath(COSTS_FILE).read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["loss"]: {"time": row["time"], "memory": row["memory"]} for row in rows}
