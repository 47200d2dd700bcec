"""Checks of options that several losses share."""

from __future__ import annotations

from collections.abc import Sequence


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that the option ``name`` has one of the ``choices`` as its value.

    Raises:
        ValueError: any other value.
    """
    if value not in choices:
        *first, last = map(repr, choices)
        raise ValueError(f"{name}: expected {', '.join(first)} or {last}, got {value!r}. Fix: choose one of them.")
