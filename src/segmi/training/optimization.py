"""PyTorch's optimizers and learning-rate schedulers by name, with options that are checked before training."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, SequentialLR

from segmi.errors import UsageError, unknown_name

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
    # LBFGS evaluates the loss several times per step, SparseAdam accepts only sparse gradients.
    if name not in ("LBFGS", "SparseAdam")
}

CONSTANT: Final = "constant"

SCHEDULES: dict[str, type[LRScheduler]] = {
    name: kind
    for name, kind in vars(lr_scheduler).items()
    if inspect.isclass(kind) and issubclass(kind, LRScheduler) and kind is not LRScheduler and name[0] != "_"
    # The arguments of these are schedulers, functions or a metric, which plain data cannot express.
    if name not in ("ReduceLROnPlateau", "SequentialLR", "ChainedScheduler", "LambdaLR", "MultiplicativeLR")
}

TIME_STEPS: Final = 1000
"""Steps of the schedule of a run with a budget in minutes, spread evenly over the time."""

LENGTHS: Final = ("total_iters", "T_max", "total_steps")
"""Arguments of PyTorch's schedulers for their length in steps."""

NOT_IN_SEQUENCE: Final = ("OneCycleLR", "CyclicLR")
"""These overwrite the initial learning rate, on which the other schedulers of a sequence depend."""


def build_optimizer(
    parameters: Iterable[nn.Parameter], name: str, learning_rate: float, options: Mapping[str, Any] | None = None, *,
    fused: bool = True,
) -> Optimizer:  # fmt: skip
    """Return ``torch.optim.<name>`` over the trainable parameters, with a fused implementation if there is one.

    Args:
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
        return kind(trainable, lr=learning_rate, **arguments)  # type: ignore[call-arg]  # of the subclass
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
    """Raise a UsageError for an unknown option of an optimizer or scheduler."""
    for option in options or {}:
        if not known:
            raise UsageError(f"{owner} takes no options, got {option!r}", "remove it")
        if option not in known:
            raise unknown_name(f"option of {owner}:", option, known)


def build_schedule(
    optimizer: Optimizer, schedule: str | Sequence[Mapping[str, Any]], steps: int,
    options: Mapping[str, Any] | None = None, *, warmup_steps: int = 0,
) -> LRScheduler | None:  # fmt: skip
    """Return the learning-rate scheduler of a run, to be stepped once per optimizer step; None if it is constant.

    The length of a scheduler is the rest of the run, or its number of ``steps`` in a sequence, unless its options say
    otherwise. In warm-up, optimizer step ``t = 1, 2, …`` has the learning rate ``t / (warmup_steps + 1)`` times
    ``learning_rate``; step ``warmup_steps + 1`` is the first one of the schedule.

    Args:
        optimizer: its learning rates are scheduled.
        schedule, options, warmup_steps: see `segmi.training.OptimizationConfig`.
        steps: optimizer steps of the run; `TIME_STEPS` for a budget in minutes.

    Raises:
        UsageError: for an unknown name or option, or a schedule that is longer than the run.

    Example:
        >>> from torch import nn, optim
        >>> optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
        >>> scheduler = build_schedule(optimizer, "PolynomialLR", 5, warmup_steps=3)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(scheduler.get_last_lr()[0])
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [0.25, 0.5, 0.75, 1.0, 0.5]
    """
    parts: list[tuple[str, dict[str, Any], int | None]]
    if isinstance(schedule, str):
        parts = [(schedule, dict(options or {}), None)]
    elif options:
        raise UsageError(
            f"schedule_options is for a single scheduler, got a sequence of {len(schedule)}",
            "write the options into the entries of schedule",
        )
    else:
        parts = [_parse(index, entry, len(schedule)) for index, entry in enumerate(schedule)]
    if not parts:
        raise UsageError("schedule: expected at least one scheduler, got an empty sequence", "use schedule: constant")
    if warmup_steps < 0:
        raise UsageError(f"expected at least 0, got {warmup_steps}", "use warmup_steps: 0 for no warm-up")
    if warmup_steps:
        # LinearLR starts at its first factor, so with 1 / (n + 1) no step is wasted on a learning rate of 0.
        parts.insert(0, ("LinearLR", {"start_factor": 1 / (warmup_steps + 1)}, warmup_steps))
    if len(parts) == 1:
        name, arguments, _ = parts[0]
        return None if name == CONSTANT and not arguments else _build(optimizer, name, arguments, steps)
    return _sequence(optimizer, parts, steps)


def _parse(index: int, entry: Mapping[str, Any], count: int) -> tuple[str, dict[str, Any], int | None]:
    """Return name, arguments and number of steps of an entry of a sequence."""
    arguments = dict(entry)
    name, steps = arguments.pop("name", None), arguments.pop("steps", None)
    if not isinstance(name, str):
        raise UsageError(f"scheduler {index + 1} of {count}: expected a name, got {name!r}", "set name: PolynomialLR")
    last = index == count - 1
    if last and steps is not None:
        raise UsageError(f"scheduler {name}: the last one ends with the run, got steps: {steps}", "remove its steps")
    if not last and (not isinstance(steps, int) or steps < 1):
        raise UsageError(f"scheduler {name}: expected steps of at least 1, got {steps!r}", "set steps: 500")
    return name, arguments, steps


def _sequence(optimizer: Optimizer, parts: Sequence[tuple[str, dict[str, Any], int | None]], steps: int) -> LRScheduler:
    # Each constructor changes the learning rate of the optimizer; SequentialLR resets it at the end.
    schedulers: list[LRScheduler] = []
    ends: list[int] = []
    for name, arguments, length in parts:
        start = ends[-1] if ends else 0
        if name in NOT_IN_SEQUENCE:
            raise UsageError(
                f"schedule {name} sets the initial learning rate, so it does not work with a warm-up or in a sequence",
                "use it alone, with warmup_steps: 0",
            )
        if start >= steps:
            raise UsageError(
                f"schedule {name} starts after step {start}, but the run has only {steps} steps",
                "reduce warmup_steps or the steps of the schedulers before, or set a larger budget",
            )
        schedulers.append(_build(optimizer, name, arguments, steps - start if length is None else length))
        ends += [] if length is None else [start + length]
    # A scheduler starts at its own step 0, with its closed form, so the rounding of the ones before has no effect.
    return SequentialLR(optimizer, schedulers, milestones=ends)


def _build(optimizer: Optimizer, name: str, arguments: Mapping[str, Any], steps: int) -> LRScheduler:
    if name == CONSTANT:
        check_options("schedule constant", arguments, [])
        # A sequence needs a scheduler object also for a constant learning rate.
        return ConstantLR(optimizer, factor=1.0, total_iters=1)
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, [*SCHEDULES, CONSTANT])
    kind = SCHEDULES[name]
    known = [option for option in inspect.signature(kind).parameters if option not in ("optimizer", "last_epoch")]
    check_options(f"schedule {name}", arguments, known)
    # The schedule spans the run by default.
    defaults: dict[str, Any] = {length: steps for length in LENGTHS if length in known}
    if name == "OneCycleLR":
        defaults["max_lr"] = optimizer.param_groups[0]["lr"]
    try:
        return kind(optimizer, **{**defaults, **arguments})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"schedule {name} refuses its options: {error}", f"see torch.optim.lr_scheduler.{name}"
        ) from error
