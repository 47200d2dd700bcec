"""A page per loss, from the docstrings of its function and module and from its measured costs."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

from docstrings import sections
from staging import DOCS

from segmi.losses import LOSSES
from segmi.losses.build import measured_costs

FOLDER = "losses/each"
FIGURES = {
    "pixel": "same-mistakes",
    "rmi": "windows",
    "label_information": "label-information",
    "distillation": "mutual-learning",
    "unsupervised": "unsupervised",
    "representation": "representation",
    "region_permuted_pixels": "shuffles",
    "region_shuffled_labels": "shuffles",
}
"""Figures of docs/figures by family, or by loss."""


def write_loss_pages(source: Path) -> None:
    """Write a page for each of `LOSSES`."""
    folder = source / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if (DOCS / "figures").exists():
        shutil.copytree(DOCS / "figures", source / "figures", dirs_exist_ok=True)
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md")))
    for name in LOSSES:
        (folder / f"{name}.rst").write_text("\n".join(_page(name, texts)) + "\n", encoding="utf-8")


def function_of(name: str) -> Any:
    """Return the function of a loss, or None for the losses on features, which are only classes."""
    found = getattr(inspect.getmodule(LOSSES[name]), name, None)
    return found if inspect.isfunction(found) else None


def _page(name: str, texts: str) -> list[str]:
    kind, function = LOSSES[name], function_of(name)
    summary = sections(inspect.getdoc(function or kind) or "")[0].text.partition("\n\n")[0]
    lines = [name, "=" * len(name), "", summary, "", *_facts(name, kind), "", *_figure(name, kind.family, texts)]
    lines += [".. currentmodule:: segmi.losses", ""]
    if function:
        lines += ["Function", "--------", "", f".. autofunction:: segmi.losses.{name}", ""]
    lines += ["Module", "------", "", f".. autoclass:: segmi.losses.{kind.__name__}", ""]
    members = [one for one in ("as_published", "as_run") if one in vars(kind)]
    if members:
        lines += [f"   :members: {', '.join(members)}", ""]
    return lines


def _facts(name: str, kind: Any) -> list[str]:
    cost = measured_costs().get(name)
    family = kind.family.replace("_", "-")
    uses = [one.text for one in sections(inspect.getdoc(kind) or "") if one.title == "Use"]
    facts = {
        **({"When to use": " ".join(uses[0].split())} if uses else {}),
        "Family": f":doc:`{family.replace('-', ' ')} </losses/{family}>`, with formulas and controls",
        "Requires": ", ".join(kind.requires) or "logits and labels only",
        "Cost": f"{cost['time']} × the time and {cost['memory']} × the memory of cross-entropy, :doc:`measured "
        "</losses/costs>`"
        if cost
        else "not measured",
        "In a study": f"``loss: {{{name}: {{}}}}``, with the arguments below as options",
        "In Python": f"``from segmi.losses import {kind.__name__}``",
    }
    return [f":{key}: {value}" for key, value in facts.items()]


def _figure(name: str, family: str, texts: str) -> list[str]:
    figure = FIGURES.get(name, FIGURES.get(family, ""))
    lines: list[str] = []
    for theme in ("light", "dark"):
        path = next(iter(sorted((DOCS / "figures").glob(f"{figure}-{theme}.*"))), None)
        if path:
            options = [f":class: only-{theme}", f":alt: {_description(path.name, texts)}"]
            lines += [f".. image:: /figures/{path.name}", *(f"   {one}" for one in options), ""]
    return lines


def _description(file: str, texts: str) -> str:
    """Return the alternative text of a figure on the page that shows it."""
    light = re.escape(file.replace("-dark.", "-light."))
    found = re.search(rf"!\[([^\]]+)\]\([^()\s]*{light}\)", texts) or re.search(
        rf'<img(?=[^>]*src="[^"]*{light}")[^>]*alt="([^"]+)"', texts
    )
    return " ".join(found[1].split()) if found else "Figure of this family of losses"
