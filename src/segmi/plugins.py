"""Losses, datasets and models that other packages add through entry points.

An entry point is a line in the ``pyproject.toml`` of the other package, such as ``tversky = "package:Tversky"`` in the
table ``[project.entry-points."segmi.losses"]``. `GROUPS` lists the tables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from segmi.errors import EnvironmentProblem, first_line

log = logging.getLogger(__name__)

GROUPS: Final = {"segmi.losses": "loss", "segmi.datasets": "dataset", "segmi.models": "model"}
"""The groups of entry points, with the kind of object that each adds."""

_warned: set[str] = set()  # every problem is logged once per process


def plugin_names(group: str) -> list[str]:
    """Return the names that other packages add to a group, without an import of these packages."""
    return sorted({entry.name for entry in entry_points(group=group)})


def plugin_package(group: str, name: str) -> str | None:
    """Return name and version of the package that adds ``name``, None if no other package does."""
    entry = _find(group, name)
    return None if entry is None else _package(entry)


def used_plugins(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return name and version of the package for names by group, such as ``{"loss tversky": "package 1.0"}``.

    Names of segmi are left out.
    """
    packages = {f"{GROUPS[group]} {name}": plugin_package(group, name) for group in names for name in names[group]}
    return {title: package for title, package in packages.items() if package is not None}


def load_plugin(group: str, name: str, accepts: Callable[[Any], bool], expected: str) -> Any | None:
    """Import an object of another package.

    Args:
        group: key of `GROUPS`.
        name: of the entry point.
        accepts: whether an object is of the right kind.
        expected: description of this kind, for the message.
    Returns: The object, or None if no package adds this name.
    Raises: EnvironmentProblem if the object cannot be imported or is of another kind.
    """
    entry = _find(group, name)
    if entry is None:
        return None
    title = f"{GROUPS[group]} {name!r} of the package {_package(entry)}"
    try:
        loaded = entry.load()
    except Exception as error:  # an import of another package can raise any exception
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise EnvironmentProblem(
            f"{title}: {entry.value} cannot be imported ({reason})",
            "install a version of the package that fits, or remove it",
        ) from error
    if not accepts(loaded):
        raise EnvironmentProblem(
            f"{title}: expected {expected}, got {entry.value}, {type(loaded).__name__}",
            "correct the entry point, or report it to the authors of the package",
        )
    return loaded


def load_plugins(group: str, accepts: Callable[[Any], bool], expected: str, own: Container[str]) -> dict[str, Any]:
    """Import all objects of a group, and log a warning for each that cannot be used.

    Args:
        group, accepts, expected: see `load_plugin`.
        own: names of segmi, which other packages cannot replace.
    """
    loaded = {}
    for name in plugin_names(group):
        if name in own:
            title = f"{GROUPS[group]} {name!r} of the package {plugin_package(group, name)}"
            _warn(f"{title} is ignored: segmi has one of the same name. Fix: rename the entry point")
            continue
        try:
            loaded[name] = load_plugin(group, name, accepts, expected)
        except EnvironmentProblem as error:
            _warn(f"{error.message}. Fix: {error.remedy}")
    return loaded


def _find(group: str, name: str) -> EntryPoint | None:
    found = [entry for entry in entry_points(group=group) if entry.name == name]
    packages = [_package(entry) for entry in found]
    if len(set(packages)) > 1:
        _warn(f"{GROUPS[group]} {name!r} is added by several packages: {packages[0]} is used, not {packages[1]}")
    return found[0] if found else None


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value.partition(":")[0]


def _warn(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        log.warning(text)
