"""Contracts: rules by name, and one error for all rules that a subject violates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from segmi.errors import first_line, unknown_name

Subject = TypeVar("Subject")
Rule: TypeAlias = Callable[[Subject], Iterator[str]]
"""Yields each violation as ``expected …, got …. Fix: …``."""


def rules_of(*rules: Rule[Subject]) -> dict[str, Rule[Subject]]:
    """Return rules by the names of their functions."""
    return {rule.__name__: rule for rule in rules}


def check(subject: Subject, title: str, known: Mapping[str, Rule[Subject]], rules: Iterable[str] | None) -> None:
    """Raise one AssertionError with every violation of ``rules``, all of ``known`` by default.

    A violation of the first rule ends the check.

    Raises:
        UsageError: a rule is unknown.
        AssertionError: a rule is violated, or the subject raises an exception where the rule expects none.
    """
    chosen = list(known if rules is None else rules)
    for name in chosen:
        if name not in known:
            raise unknown_name("rule", name, known)
    broken: dict[str, list[str]] = {}  # the rules that each problem violates
    for name in chosen:
        for problem in _problems(subject, known[name]):
            broken.setdefault(problem, []).append(name)
        if broken and name == next(iter(known)):
            break  # all rules rely on the first one
    if broken:
        count = len({name for names in broken.values() for name in names})
        lines = [f"  {', '.join(dict.fromkeys(names))}: {problem}" for problem, names in broken.items()]
        raise AssertionError("\n".join([f"{title} violates {count} of {len(chosen)} rules:", *lines]))


def _problems(subject: Subject, rule: Rule[Subject]) -> Iterator[str]:
    try:
        yield from rule(subject)
    except Exception as error:  # the subject is the code of another package
        yield f"expected no exception, got {type(error).__name__}: {first_line(error)}. Fix: accept this input"
