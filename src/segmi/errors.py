"""The errors that segmi raises for its users, one class per exit code.

Every message says what was expected, what came, and what to do. Code that is called from other people's programs
(losses, information, metrics) raises plain ``ValueError`` and ``TypeError`` instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SegmiError(Exception):
    """Anything that ends a command with a message instead of a traceback.

    Args:
        message: what was expected and what came, with the path or the field concerned.
        remedy: what to do about it, as an imperative sentence.
    """

    exit_code = 4

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)  # both, so that the error survives pickling between processes
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  Fix: {self.remedy}" if self.remedy else self.message


class UsageError(SegmiError, ValueError):
    """A command, a study file or an argument that cannot be meant as written."""

    exit_code = 2


class DataError(SegmiError):
    """Data that segmi refuses: unreadable, mismatched or with unknown ids."""

    exit_code = 3


class RunError(SegmiError):
    """A run that failed: non-finite loss, out of memory, a lost worker."""

    exit_code = 4


class Diverged(RunError):
    """A run whose loss or gradient is no number any more; every process of a run sees it at the same update."""


class EnvironmentProblem(SegmiError):
    """The machine stands in the way: disk, permissions, locks, no network, a missing optional package."""

    exit_code = 5


class Interrupted(SegmiError):
    """A signal stopped a run after its checkpoint was written; exits as the shell expects, 128 + signal."""

    def __init__(self, message: str, remedy: str | None = None, *, signal_number: int = 2) -> None:
        super().__init__(message, remedy)
        self.exit_code = 128 + signal_number


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like ``name``, or None if none does."""
    by_folded_name = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), list(by_folded_name), n=1, cutoff=0.5)
    return by_folded_name[matches[0]] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is in no table: names the nearest known one and lists the others."""
    names = sorted(known)
    guess = nearest(name, names)
    listing = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    remedy = f"did you mean {guess!r}? Known: {listing}" if guess else f"use one of: {listing}"
    return UsageError(f"unknown {kind} {name!r}", remedy)


def together(errors: Sequence[str], *, limit: int = 20) -> str:
    """Many one-line problems as one text: the first ``limit`` and the number of the rest."""
    lines = [f"  - {error}" for error in errors[:limit]]
    if len(errors) > limit:
        lines.append(f"  … and {len(errors) - limit} more")
    return "\n".join(lines)
