"""Checks of options that several losses share."""

from __future__ import annotations

from collections.abc import Sequence


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
