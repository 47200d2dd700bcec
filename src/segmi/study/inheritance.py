"""A study file that extends another: what it says itself stands over what the other says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from segmi.errors import UsageError
from segmi.study.search import is_search
from segmi.study.strict_yaml import Document, Place, parse_file

KEY: Final = "extends"
_BY_NAME: Final = ("datasets", "methods", "networks", "loss")
"""Mappings from names that a file chooses: null there leaves an inherited entry out."""


def read_study_file(path: str | Path) -> Document:
    """The document in a file, laid over the one that it extends, and so on.

    Mappings are merged key by key; anything else is replaced. Of the datasets, methods, networks and losses that
    are inherited, null leaves one out.

    Raises:
        UsageError: as `parse_file`; a file that extends itself; a path that is not relative.
    """
    return _read(Path(path), ())


def _read(path: Path, before: tuple[Path, ...]) -> Document:
    document = parse_file(path)
    here = path.resolve()
    if here in before:
        chain = " extends ".join(file.name for file in (*before[before.index(here) :], here))
        raise UsageError(f"{path} extends itself: {chain}", f"remove {KEY} from one of them")
    if not isinstance(document.data, dict) or KEY not in document.data:
        return document
    name = document.data.pop(KEY)
    where = document.where((KEY,))
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        raise UsageError(
            f"{where}: {KEY} must name a study file by its path from this one, got {name!r}",
            f"write {KEY}: other.yaml",
        )
    if not (path.parent / name).is_file():
        raise UsageError(f"{where}: there is no study file {path.parent / name}", f"mend the path in {KEY}")
    base = _read(path.parent / name, (*before, here))
    if not isinstance(base.data, dict):
        raise UsageError(f"{where}: {base.source} holds no study", f"mend the path in {KEY}")
    return laid_over(base, document)


def laid_over(base: Document, own: Document) -> Document:
    """``own`` over ``base``; every value keeps the file and line where it stands.

    Example:
        >>> from segmi.study.strict_yaml import parse
        >>> base = parse("{name: a, training: {steps: 5, batch_size: 2}, methods: {x: {}, y: {}}}")
        >>> laid_over(base, parse("{name: b, training: {steps: 7}, methods: {x: null}}")).data
        {'name': 'b', 'training': {'steps': 7, 'batch_size': 2}, 'methods': {'y': {}}}
    """
    merged = Document(
        None, own.source, dict(base.lines), sources={**dict.fromkeys(base.lines, base.source), **base.sources}
    )
    merged.data = _merged(base.data, own.data, (), merged, own)
    return merged


def _merged(base: Any, own: Any, place: Place, merged: Document, document: Document) -> Any:
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)) or is_search(base) or is_search(own):
        _forget(merged, place)
        for inside, line in document.lines.items():
            if inside[: len(place)] == place:
                merged.lines[inside] = line
        return own
    result = dict(base)
    for key, value in own.items():
        inside = (*place, key)
        if value is None and key in base and place and place[-1] in _BY_NAME:
            _forget(merged, inside)
            del result[key]
        else:
            result[key] = _merged(base.get(key), value, inside, merged, document)
    return result


def _forget(merged: Document, place: Place) -> None:
    for known in [known for known in merged.lines if known[: len(place)] == place]:
        del merged.lines[known]
        merged.sources.pop(known, None)
