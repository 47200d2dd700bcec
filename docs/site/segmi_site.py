"""Sphinx extension of the site: docstrings, links from names in the text, and formulas as MathML."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import ziamath
from docstrings import restructured
from docutils import nodes
from latex2mathml.converter import convert
from loss_pages import FOLDER
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from segmi.losses import LOSSES

FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)


class NameLinks(SphinxPostTransform):
    """Link literals that are the name of a loss or of a documented object."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Replace the literals of a page."""
        here = self.env.docname
        objects = self.env.domains.python_domain.objects
        by_name = {name.rpartition(".")[2]: name for name in objects}
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext().removesuffix("()")
            inside = literal.parent
            while inside is not None and not isinstance(inside, (nodes.reference, addnodes.pending_xref, nodes.title)):
                inside = inside.parent
            if inside is not None:
                continue
            if name in LOSSES and here != f"{FOLDER}/{name}":
                self._link(literal, f"{FOLDER}/{name}")
            elif name in objects:
                self._link(literal, objects[name].docname, objects[name].node_id)
            elif re.fullmatch(r"[A-Z]\w*[a-z]\w*", name) and name in by_name and objects[by_name[name]].docname != here:
                self._link(literal, objects[by_name[name]].docname, objects[by_name[name]].node_id)

    def _link(self, literal: nodes.literal, page: str, anchor: str = "") -> None:
        here = self.env.docname
        address = f"#{anchor}" if page == here else self.app.builder.get_relative_uri(here, page)
        if anchor and page != here:
            address += f"#{anchor}"
        reference = nodes.reference("", "", internal=True, refuri=address)
        literal.replace_self(reference)
        reference += literal


def _docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured("\n".join(lines))


def _math(writer: Any, node: nodes.Element) -> None:
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext().strip(), display="block" if block else "inline")
    writer.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _accessible(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Correct two faults of the markup: headings of the sidebar without a level, and lists in signatures."""
    if "furo_navigation_tree" in context:
        tree = context["furo_navigation_tree"]
        context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    if "body" in context:
        context["body"] = SIGNATURE.sub(_without_list, context["body"])


def _without_list(signature: re.Match[str]) -> str:
    text = signature[0].replace("<dl>", '<span class="sig-lines">').replace("</dl>", "</span>")
    return text.replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def _copy_font(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        shutil.copy2(FONT, Path(app.outdir) / "_static" / FONT.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_post_transform(NameLinks)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("html-page-context", _accessible, priority=900)
    app.connect("build-finished", _copy_font)
    app.add_html_math_renderer("mathml", inline_renderers=(_math, None), block_renderers=(_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
