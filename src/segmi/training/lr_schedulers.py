"""Learning-rate schedulers of PyTorch by name, with options that are checked before training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from segmi.errors import UsageError, unknown_name
from segmi.training.optimizers import check_options

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
        check_options("schedule constant", options, [])
        return None
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, [*SCHEDULES, CONSTANT])
    kind = SCHEDULES[name]
    known = [option for option in inspect.signature(kind).parameters if option not in ("optimizer", "last_epoch")]
    check_options(f"schedule {name}", options, known)
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
