"""Study files: reading one, the file it extends, and the fields set on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import UsageError, nearest, together
from segmi.study.search import is_search, put
from segmi.study.shipped import find_study
from segmi.study.strict_yaml import Document, KeyPath, parse_file, parse_value

if TYPE_CHECKING:
    from segmi.study.dataset_context import DataRoots
    from segmi.study.schema import Study

KEY: Final = "extends"
# Mappings with names chosen by the file. A null in one of them removes the inherited entry.
_REMOVABLE: Final = ("datasets", "methods", "networks", "loss")
# Mappings with names chosen by the file. An override of an unknown name is likely a typo.
_NAMED_BY_FILE: Final = ("methods", "datasets", "networks")


def load_study(path: str | Path, overrides: Sequence[str] = (), *, roots: DataRoots | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: a YAML file, or the name of a shipped study.
        overrides: ``path.to.field=value``.
        roots: folders of the datasets. None: check the study without opening its datasets.

    Returns:
        The study with every default filled in.

    Raises:
        UsageError: with everything that is wrong with the study.
        DataError: if only data is missing.
    """
    document = apply_overrides(read_study_file(path), overrides)
    from segmi.study.validation import validated  # imports PyTorch; errors of syntax are reported without it

    return validated(document, roots=roots)


def read_study_file(path: str | Path, before: tuple[Path, ...] = ()) -> Document:
    """Read a study file and merge it over the files it extends; ``before`` are the files that extend it.

    Mappings are merged key by key; other values are replaced. A null removes an inherited dataset, method, network or
    loss. Raises `UsageError` as `parse_file`, or if a file extends itself or names no relative path.
    """
    path = find_study(path)
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
        message = f"{where}: {KEY} expects the path of a study file, relative to this one, got {name!r}"
        raise UsageError(message, f"write {KEY}: other.yaml")
    if not (path.parent / name).is_file():
        raise UsageError(f"{where}: there is no study file {path.parent / name}", f"correct the path in {KEY}")
    base = read_study_file(path.parent / name, (*before, here))
    if not isinstance(base.data, dict):
        raise UsageError(f"{where}: {base.source} is not a study", f"correct the path in {KEY}")
    return merge(base, document)


def merge(base: Document, own: Document) -> Document:
    """Merge ``own`` over ``base``; every value keeps its file and line."""
    merged = Document(None, own.source, dict(base.places))
    merged.data = _merge_values(base.data, own.data, (), merged, own)
    return merged


def _merge_values(base: Any, own: Any, path: KeyPath, merged: Document, document: Document) -> Any:
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)) or is_search(base) or is_search(own):
        merged.forget_places(path)
        merged.places |= {inside: place for inside, place in document.places.items() if inside[: len(path)] == path}
        return own
    result = dict(base)
    for key, value in own.items():
        inside = (*path, key)
        if value is None and key in base and path and path[-1] in _REMOVABLE:
            merged.forget_places(inside)
            del result[key]
        else:
            result[key] = _merge_values(base.get(key), value, inside, merged, document)
    return result


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """Set ``path.to.field=value`` in a document in place, with values parsed as YAML, and return the document.

    A key that contains dots is written unchanged. Unknown fields are reported by the validation of the study; unknown
    names of methods, datasets and networks, and list indices, are reported here.

    Raises:
        UsageError: if an override is malformed or has an unknown name.

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
        remedy = "write path.to.field=value, with the path as printed by `segmi study show FILE`"
        raise UsageError(f"these overrides cannot be applied:\n{together(problems)}", remedy)
    return document


def _apply(document: Document, override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UsageError("expected path.to.field=value")
    if document.data is None:
        document.data = {}
    keys = name.strip().split(".")
    if not all(keys):
        raise UsageError(f"the path {name!r} has an empty part")
    value = parse_value(text)
    path = _descend(document.data, keys, value)
    put(document.data, path, value)
    document.forget_places(path)
    document.set_by[path] = override


def _descend(container: Any, keys: Sequence[str], value: Any) -> KeyPath:
    """Return the path that ``keys`` name, and create missing mappings on the way."""
    new_entry = isinstance(value, dict)
    path: KeyPath = ()
    while True:
        key, keys = _next_key(container, keys)
        if isinstance(container, list):
            if not str(key).isdecimal() or int(key) >= len(container):
                remedy = f"use an index from 0 to {len(container) - 1}"
                raise UsageError(f"{_dotted(path)} is a list of {len(container)}", remedy)
            key = int(key)
        elif not isinstance(container, dict):
            raise UsageError(f"{_dotted(path)} is {container!r}, which has no fields")
        elif container and path and path[-1] in _NAMED_BY_FILE and key not in container and (keys or not new_entry):
            guess = nearest(str(key), container) or ", ".join(container)
            raise UsageError(f"{_dotted(path)} has no {key!r}", f"did you mean {guess!r}?")
        path = (*path, key)
        if not keys:
            return path
        if isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
        container = container[key]


def _next_key(container: Any, keys: Sequence[str]) -> tuple[str | int, Sequence[str]]:
    """Return the longest run of parts that is a key of ``container``, else the first part."""
    lengths = range(len(keys), 1, -1) if isinstance(container, dict) else ()
    length = next((length for length in lengths if ".".join(keys[:length]) in container), 1)
    return ".".join(keys[:length]), keys[length:]


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "the study"
