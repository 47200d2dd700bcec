"""Pages of the API reference: the public names of each public package."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docstrings import restructured
from loss_pages import FOLDER, function_of
from sphinx.pycode import ModuleAnalyzer

from segmi.losses import LOSSES

PACKAGES = (
    "segmi",
    "segmi.losses",
    "segmi.information",
    "segmi.metrics",
    "segmi.datasets",
    "segmi.models",
    "segmi.training",
    "segmi.statistics",
    "segmi.report",
    "segmi.deploy",
    "segmi.testing",
    "segmi.study",
    "segmi.records",
    "segmi.types",
    "segmi.errors",
)
"""Packages in the order of the index; those that this version lacks are left out."""


def write_api_pages(source: Path) -> None:
    """Write the index of the reference and a page for each package."""
    folder = source / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    packages = {name: package for name in PACKAGES if (package := _package(name))}
    for name, package in packages.items():
        (folder / f"{name}.rst").write_text("\n".join(_page(name, package)) + "\n", encoding="utf-8")
    rows = [(f":doc:`{name} </reference/{name}>`", _summary("", name, package)) for name, package in packages.items()]
    index = ["API reference", "=============", "", "The public names of each package.", "", *_table(rows)]
    (folder / "index.rst").write_text("\n".join(index) + "\n", encoding="utf-8")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _page(name: str, package: Any) -> list[str]:
    on_loss_pages = _loss_pages() if name == "segmi.losses" else {}
    members = {one: getattr(package, one) for one in _public_names(package)}
    rows = []
    for one, value in sorted(members.items(), key=lambda item: item[0].lower()):
        loss = on_loss_pages.get(one)
        link = f":doc:`{one} </{FOLDER}/{loss}>`" if loss else f":py:obj:`{one} <{name}.{one}>`"
        rows.append((link, _summary(name, one, value)))
    lines = [f"{name}", "=" * len(name), "", f".. py:module:: {name}", "", *_table(rows), ""]
    for one, value in members.items():
        if one not in on_loss_pages:
            lines += _directive(name, one, value)
    return lines


def _public_names(package: Any) -> list[str]:
    """Return the names in ``__all__``, otherwise those that a module defines."""
    listed = getattr(package, "__all__", None)
    if listed is None:
        defined = [one for one, value in vars(package).items() if getattr(value, "__module__", "") == package.__name__]
        listed = [*_attribute_docs(package.__name__), *defined]
    return [one for one in listed if not (one.startswith("_") or inspect.ismodule(getattr(package, one)))]


def _attribute_docs(module: str) -> dict[str, str]:
    """Return the texts that follow the constants of a module."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {name: "\n".join(lines).strip() for (owner, name), lines in found.items() if not owner}


def _constant_doc(package: str, name: str, value: Any) -> str:
    """Return the text of a constant from the module that defines it."""
    inside = [module for module in sys.modules if module == package or module.startswith(f"{package}.")]
    for module in inside:
        if getattr(sys.modules[module], name, None) is value and (text := _attribute_docs(module).get(name)):
            return text
    return ""


def _entries(value: Any) -> str:
    """Return the names in a table or list that has no text."""
    names = [one for one in value if isinstance(one, str)] if isinstance(value, Mapping | tuple | list) else []
    return f"Names: {', '.join(f'``{one}``' for one in names)}." if names else ""


def _loss_pages() -> dict[str, str]:
    """Return the loss page of each function and module."""
    modules = {kind.__name__: name for name, kind in LOSSES.items()}
    return modules | {name: name for name in LOSSES if function_of(name)}


def _directive(package: str, name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {package}.{name}", "   :members:", "   :member-order: bysource", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {package}.{name}", ""]
    text = restructured(_constant_doc(package, name, value) or _entries(value))
    return [f".. py:data:: {name}", "", *(f"   {line}".rstrip() for line in text), ""]


def _summary(package: str, name: str, value: Any) -> str:
    documented = inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
    text = (inspect.getdoc(value) if documented else _constant_doc(package, name, value)) or ""
    return " ".join(" ".join(restructured(text)).partition("  ")[0].split())


def _table(rows: list[tuple[str, str]]) -> list[str]:
    lines = [".. list-table::", "   :widths: 30 70", ""]
    return [*lines, *(line for first, second in rows for line in (f"   * - {first}", f"     - {second}"))]
