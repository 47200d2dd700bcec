"""Optimizers of PyTorch by name, with options that are checked before training."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from segmi.errors import UsageError, unknown_name

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
    # LBFGS evaluates the loss several times per step, SparseAdam accepts only sparse gradients.
    if name not in ("LBFGS", "SparseAdam")
}


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    name: str,
    learning_rate: float,
    options: Mapping[str, Any] | None = None,
    *,
    fused: bool = True,
) -> Optimizer:
    """Return ``torch.optim.<name>`` over the trainable parameters, with a fused implementation if there is one.

    Args:
        parameters: parameters; those without ``requires_grad`` are left out.
        name: name of the class.
        learning_rate: learning rate of all parameters.
        options: further arguments. ``fused``, ``foreach`` and ``differentiable`` override the choice of implementation.
        fused: whether a fused implementation may be used.

    Raises:
        UsageError: for an unknown name, or for options that the optimizer does not accept.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    kind = OPTIMIZERS[name]
    known = [option for option in inspect.signature(kind).parameters if option not in ("params", "lr")]
    check_options(f"optimizer {name}", options, known)
    arguments = dict(options or {})
    # Optimizers allocate state per parameter, so frozen ones are left out.
    trainable = [p for p in parameters if p.requires_grad]
    if fused and "fused" in known and not arguments.keys() & {"fused", "foreach", "differentiable"}:
        arguments["fused"] = all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in trainable)
    try:
        return kind(trainable, lr=learning_rate, **arguments)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {name} refuses its options: {error}", f"see torch.optim.{name}") from error


def can_be_fused(name: str, device: torch.device, *, precision: str, clipped: bool) -> bool:
    """Return whether a fused optimizer can be used.

    A fused optimizer unscales fp16 gradients itself, so Fabric cannot clip them. There is no fused Adagrad on ``mps``.

    Example:
        >>> can_be_fused("Adam", torch.device("cuda"), precision="bf16", clipped=True)
        True
    """
    return not (clipped and precision == "fp16") and not (name == "Adagrad" and device.type == "mps")


def check_options(owner: str, options: Mapping[str, Any] | None, known: list[str]) -> None:
    """Check the names of the options of an optimizer or scheduler.

    Raises:
        UsageError: for an unknown option.
    """
    for option in options or {}:
        if not known:
            raise UsageError(f"{owner} takes no options, got {option!r}", "remove it")
        if option not in known:
            raise unknown_name(f"option of {owner}:", option, known)
