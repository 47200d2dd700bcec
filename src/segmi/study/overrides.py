"""Fields of a study set on the command line: ``training.steps=100``, ``seeds=[0, 1]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmi.errors import UsageError, nearest, together
from segmi.study.strict_yaml import Document, Place, parse_value

_NAMED_BY_THE_FILE = ("methods", "datasets", "networks")
"""Mappings whose keys the file chooses: an override may change what they hold, and misses are likely typos."""


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """The document with ``path.to.field=value`` set, values read as YAML; ``document`` itself is changed and returned.

    Keys that hold dots are reached by their whole name. Whether a field exists is left to the validation of the study,
    except for the names that the file itself gives (methods, datasets, networks, list items).

    Raises:
        UsageError: a malformed override or a name that the file does not have, with the nearest that it has.

    Example:
        >>> from segmi.study.strict_yaml import parse
        >>> apply_overrides(parse("training: {steps: 5}"), ["training.steps=7", "seeds=[0, 1]"]).data
        {'training': {'steps': 7}, 'seeds': [0, 1]}
    """
    problems = []
    for override in overrides:
        try:
            _apply(document, override)
        except UsageError as error:
            problems.append(f"{override}: {error.message}" + (f"; {error.remedy}" if error.remedy else ""))
    if problems:
        raise UsageError(
            f"these overrides cannot be applied:\n{together(problems)}",
            "write path.to.field=value, with the path as `segmi study show FILE` prints it",
        )
    return document


def _apply(document: Document, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise UsageError("expected path.to.field=value")
    if document.data is None:
        document.data = {}
    keys = path.strip().split(".")
    if not all(keys):
        raise UsageError(f"the path {path!r} has an empty part")
    value = parse_value(text)
    place = _descend(document.data, keys, value)
    _set(document.data, place, value)
    _forget(document, place)
    document.set_by[place] = override


def _descend(container: Any, keys: Sequence[str], value: Any) -> Place:
    """The place that ``keys`` mean, creating the optional mappings on the way."""
    place: Place = ()
    while keys:
        key, rest = _next_key(container, keys)
        if isinstance(container, list):
            key = _index(container, str(key), place)
        elif not isinstance(container, dict):
            raise UsageError(f"{_dotted(place)} is {container!r}, which has no fields")
        elif key not in container:
            named = container and place and place[-1] in _NAMED_BY_THE_FILE
            if named and not (not rest and isinstance(value, dict)):
                guess = nearest(str(key), container) or ", ".join(container)
                raise UsageError(f"{_dotted(place)} has no {key!r}", f"did you mean {guess!r}?")
        place = (*place, key)
        if not rest:
            return place
        if isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
        container, keys = container[key], rest
    return place


def _next_key(container: Any, keys: Sequence[str]) -> tuple[str | int, Sequence[str]]:
    """The longest run of parts that is a key of ``container``, else the first part: keys may hold dots."""
    if isinstance(container, dict):
        for length in range(len(keys), 1, -1):
            if ".".join(keys[:length]) in container:
                return ".".join(keys[:length]), keys[length:]
    return keys[0], keys[1:]


def _index(container: list[Any], key: str, place: Place) -> int:
    if not key.isdecimal() or int(key) >= len(container):
        raise UsageError(
            f"{_dotted(place)} is a list of {len(container)}", f"use an index from 0 to {len(container) - 1}"
        )
    return int(key)


def _set(data: Any, place: Place, value: Any) -> None:
    for key in place[:-1]:
        data = data[key]
    data[place[-1]] = value


def _forget(document: Document, place: Place) -> None:
    """Lines below a value that was replaced point at text that no longer counts."""
    for known in [known for known in document.lines if known[: len(place)] == place]:
        del document.lines[known]
    for known in [known for known in document.set_by if known[: len(place)] == place]:
        del document.set_by[known]


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) or "the study"
