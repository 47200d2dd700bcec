"""Checks of options that several losses share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from segmi.errors import nearest

_OF_PYTORCH: Final = {
    "reduction": "omit it: a loss is the mean over valid pixels or images, and `terms` gives sums and counts",
    "weight": "for class weights, use segmi.losses.WeightedCrossEntropy or BalancedCrossEntropy",
}
"""Options of PyTorch's losses that segmi's losses lack."""


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the option ``name`` has one of the ``choices`` as its value."""
    if value not in choices:
        *first, last = map(repr, choices)
        raise ValueError(f"{name}: expected {', '.join(first)} or {last}, got {value!r}. Fix: choose one of them.")


def check_positive(**options: float) -> None:
    """Raise ``ValueError`` unless the options, given by name, are numbers above 0; NaN is not."""
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name}: expected a number above 0, got {value!r}. Fix: omit it for the default.")


def check_non_negative(**options: float) -> None:
    """Raise ``ValueError`` unless the options, given by name, are numbers of at least 0; NaN is not."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name}: expected a number of at least 0, got {value!r}. Fix: omit it for the default.")


def unknown_option(name: str, names: Sequence[str]) -> TypeError:
    """Return the error for an option that is none of ``names``."""
    guess = None if name == "reduction" else nearest(name, names)
    fix = f"did you mean {guess!r}?" if guess else _OF_PYTORCH.get(name, f"use one of {', '.join(names)}.")
    return TypeError(f"{name}: expected an option of the loss. Fix: {fix}")


class CheckedOptions:
    """Base of classes whose constructors name unknown options."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            setattr(cls, "__init__", _checked(vars(cls)["__init__"]))  # noqa: B010 — mypy refuses an assignment


def _checked(init: Callable[..., None]) -> Callable[..., None]:
    parameters = list(inspect.signature(init).parameters.values())
    names = [one.name for one in parameters[1:]]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return init

    @functools.wraps(init)
    def checked(*arguments: Any, **options: Any) -> None:
        for name in options:
            if name not in names:
                raise unknown_option(name, names)
        init(*arguments, **options)

    return checked
