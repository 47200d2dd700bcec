"""Errors of commands, one class per exit code.

Every message states the value, the expectation and the fix. The packages losses, information and metrics, which are
called from other programs, raise plain ``ValueError`` and ``TypeError`` instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SegmiError(Exception):
    """Error that ends a command with a message instead of a traceback.

    Args:
        message: the value and the expectation, with the path or the field.
        remedy: the fix, as an imperative sentence.
    """

    exit_code = 4

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)  # both arguments, so that the error can be pickled between processes
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  Fix: {self.remedy}" if self.remedy else self.message


class UsageError(SegmiError, ValueError):
    """Invalid command, study file or argument."""

    exit_code = 2


class DataError(SegmiError):
    """Invalid data: unreadable, mismatched or with unknown ids."""

    exit_code = 3


class RunError(SegmiError):
    """Failed run: non-finite loss, out of memory, a crashed worker."""

    exit_code = 4


class Diverged(RunError):
    """Run whose loss or gradient is NaN or infinite; every process of a run raises it at the same step."""


class EnvironmentProblem(SegmiError):
    """Problem of the machine: disk, permissions, locks, network, a missing optional package."""

    exit_code = 5


class Interrupted(SegmiError):
    """Run stopped by a signal after its checkpoint was written; the exit code is 128 + signal, as in shells."""

    def __init__(self, message: str, remedy: str | None = None, *, signal_number: int = 2) -> None:
        super().__init__(message, remedy)
        self.exit_code = 128 + signal_number


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its type without a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "image"), counted(9, "image")
        ('1 image', '9 images')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to ``name``, or None if no name is similar."""
    by_folded_name = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), list(by_folded_name), n=1, cutoff=0.5)
    return by_folded_name[matches[0]] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the nearest known name and a list of the others."""
    names = sorted(known)
    guess = nearest(name, names)
    listing = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    remedy = f"did you mean {guess!r}? Known: {listing}" if guess else f"use one of: {listing}"
    return UsageError(f"unknown {kind} {name!r}", remedy)


def together(errors: Sequence[str], *, limit: int = 20) -> str:
    """Return one-line problems as a list: the first ``limit``, and the number of the others."""
    lines = [f"  - {error}" for error in errors[:limit]]
    if len(errors) > limit:
        lines.append(f"  … and {len(errors) - limit} more")
    return "\n".join(lines)
