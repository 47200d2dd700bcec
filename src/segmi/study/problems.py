"""Collection of everything that is wrong with a study, so that it is reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError, nearest
from segmi.study.strict_yaml import Document, KeyPath


@dataclass(frozen=True)
class Problem:
    """One problem."""

    path: str  # dotted path in the study
    where: str  # file and line, or command-line argument
    message: str  # expectation, value and fix, in one line
    kind: type[SegmiError] = UsageError

    def __str__(self) -> str:
        return f"{self.path}: {self.message}  ({self.where})"


@dataclass
class Problems:
    """List of problems that every check appends to."""

    document: Document
    found: list[Problem] = field(default_factory=list)

    def add(self, path: KeyPath, message: str, kind: type[SegmiError] = UsageError) -> None:
        """Append a problem, unless it is already listed."""
        text = " ".join(message.split())
        problem = Problem(".".join(map(str, path)) or "study", self.document.where(path), text, kind)
        if problem not in self.found:
            self.found.append(problem)

    def add_error(self, path: KeyPath, error: Exception) -> None:
        """Append an error raised by another package."""
        kind = type(error) if isinstance(error, DataError | EnvironmentProblem) else UsageError
        text = f"{error.message}; {error.remedy}" if isinstance(error, SegmiError) and error.remedy else str(error)
        if not isinstance(error, SegmiError | ValueError):
            text = f"{type(error).__name__}: {text}"
        self.add(path, text, kind)

    def touches(self, *path: str | int) -> bool:
        """Return whether a problem is known at or below ``path``."""
        dotted = ".".join(map(str, path))
        return any(problem.path == dotted or problem.path.startswith(f"{dotted}.") for problem in self.found)

    def raise_if_any(self) -> None:
        """Raise one error with all problems: `UsageError`, else `DataError`, else `EnvironmentProblem`."""
        if not self.found:
            return
        kinds = {problem.kind for problem in self.found}
        kind = next(kind for kind in (UsageError, DataError, EnvironmentProblem) if kind in kinds)
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        listing = "\n".join(f"  - {problem}" for problem in self.found)
        raise kind(f"{self.document.source} has {count}, nothing was started:\n{listing}")


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return a one-line message about an unknown name, with the nearest known one."""
    names = sorted(known)
    guess = nearest(str(name), names)
    listing = ", ".join(names[:24]) + (f", … ({len(names)} in total)" if len(names) > 24 else "")
    hint = f", did you mean {guess!r}?" if guess else ";"
    return f"unknown {kind} {name!r}{hint} Known: {listing or 'none'}"
