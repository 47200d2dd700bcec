"""Optimizers and schedules of PyTorch by name, with their options checked before training starts."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from segmi.errors import UsageError, unknown_name

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
    # LBFGS evaluates the loss several times a step, SparseAdam takes sparse gradients only.
    if name not in ("LBFGS", "SparseAdam")
}

SCHEDULES: dict[str, type[LRScheduler]] = {
    name: kind
    for name, kind in vars(lr_scheduler).items()
    if inspect.isclass(kind) and issubclass(kind, LRScheduler) and kind is not LRScheduler
    # These take other schedules or a metric as an argument, which no plain option can be.
    if name not in ("ReduceLROnPlateau", "SequentialLR", "ChainedScheduler", "LambdaLR", "MultiplicativeLR")
}

CONSTANT = "constant"
LENGTHS = ("total_iters", "T_max", "total_steps")
"""The arguments by which PyTorch's schedules name their length; filled in with the number of steps."""


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    name: str,
    learning_rate: float,
    options: Mapping[str, Any] | None = None,
    *,
    fused: bool = True,
) -> Optimizer:
    """The optimizer ``torch.optim.<name>`` over the parameters that learn, fused into one pass where it can be.

    Args:
        parameters: what is optimized, frozen ones left out.
        name: of the class.
        learning_rate: the same for all.
        options: its further arguments; one of ``fused``, ``foreach`` and ``differentiable`` decides how it is computed.
        fused: whether it may be fused where the options leave it open.

    Raises:
        UsageError: for an unknown name or an option that the optimizer does not take.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    kind = OPTIMIZERS[name]
    known = [option for option in inspect.signature(kind).parameters if option not in ("params", "lr")]
    _check_options(f"optimizer {name}", options, known)
    given = dict(options or {})
    learning = [p for p in parameters if p.requires_grad]
    if fused and "fused" in known and not given.keys() & {"fused", "foreach", "differentiable"}:
        given["fused"] = all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in learning)
    try:
        return kind(learning, lr=learning_rate, **given)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {name} refuses its options: {error}", f"see torch.optim.{name}") from error


def may_be_fused(name: str, device: torch.device, *, precision: str, clipped: bool) -> bool:
    """Whether nothing in a run stands against a fused step.

    Fabric does not clip what a fused optimizer unscales by itself, and on ``mps`` there is no fused Adagrad.

    Example:
        >>> may_be_fused("Adam", torch.device("cuda"), precision="bf16", clipped=True)
        True
    """
    return not (clipped and precision == "fp16") and not (name == "Adagrad" and device.type == "mps")


def build_schedule(
    optimizer: Optimizer, name: str, steps: int | None, options: Mapping[str, Any] | None = None
) -> LRScheduler | None:
    """The schedule ``torch.optim.lr_scheduler.<name>``, stepped once per step; None for ``constant``.

    The length of the schedule is the number of steps unless the options say otherwise.

    Raises:
        UsageError: for an unknown name, an option that the schedule does not take, or a schedule whose length nobody
            says, where ``steps`` is None because time ends the run.
    """
    if name == CONSTANT:
        _check_options("schedule constant", options, [])
        return None
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, [*SCHEDULES, CONSTANT])
    kind = SCHEDULES[name]
    known = [option for option in inspect.signature(kind).parameters if option not in ("optimizer", "last_epoch")]
    _check_options(f"schedule {name}", options, known)
    lengths = {length: steps for length in LENGTHS if length in known}
    if steps is None:
        unsaid = [length for length in lengths if length not in (options or {})]
        if unsaid and not (name == "OneCycleLR" and {"epochs", "steps_per_epoch"} <= (options or {}).keys()):
            raise UsageError(
                f"schedule {name} needs to know how many steps there will be, which a budget in minutes does not say",
                f"use schedule: constant, or set schedule_options: {{{unsaid[0]}: …}}",
            )
        lengths = {}
    if name == "OneCycleLR":
        lengths["max_lr"] = optimizer.param_groups[0]["lr"]
    try:
        return kind(optimizer, **{**lengths, **(options or {})})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"schedule {name} refuses its options: {error}", f"see torch.optim.lr_scheduler.{name}"
        ) from error


def _check_options(what: str, options: Mapping[str, Any] | None, known: list[str]) -> None:
    for option in options or {}:
        if option not in known:
            raise (
                unknown_name(f"option of {what}:", option, known)
                if known
                else UsageError(f"{what} takes no options, got {option!r}", "remove it")
            )
