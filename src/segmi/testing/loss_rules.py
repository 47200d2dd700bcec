"""The contract of losses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from segmi.testing import loss_structure as structure
from segmi.testing import loss_values as values
from segmi.testing.contract import Rule, check, rules_of
from segmi.testing.loss_subject import CLASSES, LossSubject

__all__ = ["LOSS_RULES", "check_loss"]

LOSS_RULES: Final[dict[str, Rule[LossSubject]]] = rules_of(
    values.scalar,
    values.derivative,
    values.precision,
    values.extremes,
    values.all_ignored,
    values.empty_batch,
    values.repeatable,
    values.nan_logits,
    structure.ignore_values,
    structure.label_types,
    structure.ignored_pixels,
    structure.invalid_labels,
    structure.memory_layout,
    structure.image_order,
    structure.half_batches,
    structure.invariances,
    structure.denominators,
)
"""The rules by name; the first line of the docstring of each states it."""


def check_loss(
    loss: Any, *, rules: Iterable[str] | None = None, channels: Iterable[int] = (1, CLASSES), name: str | None = None
) -> None:
    """Check that a loss keeps the contract that training relies on.

    Args:
        loss: a module, its class, or a function that returns a module; or a function ``loss(logits, labels) → scalar``.
            Classes and functions that accept ``ignore_index`` are checked with several values of it. An `Objective` is
            given two networks, ``net`` and the frozen network ``peer``, both with a layer ``body``.
        rules: keys of `LOSS_RULES`; None: all that apply.
        channels: numbers of channels that the gradient is checked for; leave out 1 for losses without a binary form.
        name: in messages; None: the name of the class or function.
    Raises: AssertionError with every violated rule, the value, the expected value and the fix.
    Example:
        >>> from torch import nn
        >>> from segmi.losses import Dice
        >>> check_loss(Dice)
        >>> check_loss(nn.CrossEntropyLoss(), rules=["all_ignored"])
        Traceback (most recent call last):
        ...
        AssertionError: CrossEntropyLoss violates 1 of 1 rules:
          all_ignored: expected ...
    """
    subject = LossSubject(loss, name, channels)
    check(subject, subject.title, LOSS_RULES, rules)
