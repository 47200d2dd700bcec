"""What is wrong with a study, collected so that its author sees everything at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError, nearest
from segmi.study.strict_yaml import Document, Place


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        place: the dotted path in the study.
        where: the file and line, or the command-line argument.
        message: what was expected, what came, what to do; one line.
        kind: the error that this problem alone would be.
    """

    place: str
    where: str
    message: str
    kind: type[SegmiError] = UsageError

    def __str__(self) -> str:
        return f"{self.place}: {self.message}  ({self.where})"


@dataclass
class Problems:
    """The list that every check adds to."""

    document: Document
    found: list[Problem] = field(default_factory=list)

    def add(self, place: Place, message: str, kind: type[SegmiError] = UsageError) -> None:
        """Note a problem; the same one at the same place only once."""
        text = " ".join(message.split())
        problem = Problem(".".join(map(str, place)) or "study", self.document.where(place), text, kind)
        if problem not in self.found:
            self.found.append(problem)

    def add_error(self, place: Place, error: Exception) -> None:
        """Note what another room refused."""
        kind = type(error) if isinstance(error, DataError | EnvironmentProblem) else UsageError
        text = f"{error.message}; {error.remedy}" if isinstance(error, SegmiError) and error.remedy else str(error)
        if not isinstance(error, SegmiError | ValueError):
            text = f"{type(error).__name__}: {text}"
        self.add(place, text, kind)

    def touches(self, *place: str | int) -> bool:
        """Whether something at or below ``place`` is known to be wrong."""
        dotted = ".".join(map(str, place))
        return any(problem.place == dotted or problem.place.startswith(f"{dotted}.") for problem in self.found)

    def raise_if_any(self) -> None:
        """One error with every problem.

        Raises:
            UsageError: if the study itself is at fault.
            DataError: if it is not, but data are missing.
            EnvironmentProblem: if only the machine lacks something.
        """
        if not self.found:
            return
        kinds = {problem.kind for problem in self.found}
        kind = next(kind for kind in (UsageError, DataError, EnvironmentProblem) if kind in kinds)
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        listing = "\n".join(f"  - {problem}" for problem in self.found)
        raise kind(f"{self.document.source} has {count}, nothing was started:\n{listing}")


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One line about a name that is in no table: the nearest, and what there is.

    Example:
        >>> unknown("key", "sede", ["seeds", "name"])
        "unknown key 'sede', did you mean 'seeds'? Known: name, seeds"
    """
    names = sorted(known)
    guess = nearest(str(name), names)
    listing = ", ".join(names[:24]) + (f", … ({len(names)} in all)" if len(names) > 24 else "")
    hint = f", did you mean {guess!r}?" if guess else ";"
    return f"unknown {kind} {name!r}{hint} Known: {listing or 'none'}"
