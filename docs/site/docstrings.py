"""Parts of the docstrings of segmi, and their form in reStructuredText.

A docstring is a sentence, paragraphs, and sections that start with a title and a colon: *Args*, *Unit and sign*,
*Source*, *Example* and others.
"""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

TITLES = (
    "Args", "Arguments", "Assumes", "Assumptions", "Attributes", "Cost", "Degenerate solutions", "Example", "Examples",
    "Fields", "Invariances", "Note", "Notes", "Raises", "Reference", "References", "Returns", "Shape", "Shapes",
    "Source", "Sources", "Unit", "Unit and sign", "Use", "Warns", "Yields",
)  # fmt: skip
LABELS = {"Args": "Arguments", "Assumes": "Assumptions", "Use": "When to use"}
DEFINED = ("Args", "Arguments", "Attributes", "Fields", "Raises", "Shapes")
ITEM = re.compile(r"^([\w*,. `|\[\]]+?): (.*)$")
HEAD = re.compile(rf"^({'|'.join(TITLES)}):(?: +|$)")


class Section(NamedTuple):
    """A part of a docstring; ``title`` is empty for paragraphs."""

    title: str
    text: str


def sections(docstring: str) -> list[Section]:
    """Split a docstring with normalized indentation into its sections."""
    found: list[tuple[str, list[str]]] = [("", [])]
    ended = False
    for line in docstring.splitlines():
        head = HEAD.match(line)
        if head:
            found.append((head[1], [line[head.end() :]]))
        elif ended and line and not line.startswith(" ") and found[-1][0]:
            found.append(("", [line]))
        else:
            found[-1][1].append(line)
        ended = not line.strip()
    return [Section(title, text) for title, lines in found if (text := _dedented(lines)) or title]


def _dedented(lines: list[str]) -> str:
    return "\n".join([*lines[:1], *textwrap.dedent("\n".join(lines[1:])).splitlines()]).strip("\n")


def restructured(docstring: str) -> list[str]:
    """Return the lines of a docstring in reStructuredText."""
    lines: list[str] = []
    for section in sections(docstring):
        body = _body(section)
        if not section.title:
            lines += [*body, ""]
            continue
        lines += [f":{LABELS.get(section.title, section.title)}:", *(f"    {line}".rstrip() for line in body), ""]
    return lines


def _body(section: Section) -> list[str]:
    heads = [line for line in section.text.splitlines() if line and not line.startswith(" ")]
    if heads and section.title in DEFINED and all(ITEM.match(line) for line in heads):
        return _definitions(section.text)
    lines: list[str] = []
    in_example = False
    for line in section.text.splitlines():
        starts = line.lstrip().startswith((">>>", "..."))
        if starts and not in_example and lines and lines[-1]:
            lines.append("")
        in_example = bool(line.strip()) and (in_example or starts)
        if in_example:
            lines.append(line)
        elif line.startswith(" ") and lines and lines[-1] and not section.title.startswith("Example"):
            lines[-1] += f" {_escaped(line.strip())}"
        else:
            lines.append(_escaped(line))
    return lines


def _definitions(text: str) -> list[str]:
    """Return ``name: meaning`` items as a definition list."""
    lines: list[str] = []
    for line in text.splitlines():
        item = None if line.startswith(" ") else ITEM.match(line)
        if item:
            names = ", ".join(f"``{name.strip('` ')}``" for name in item[1].split(","))
            lines += [names, f"    {_escaped(item[2])}"]
        elif line.strip():
            lines.append(f"    {_escaped(line.strip())}")
    return lines


def _escaped(line: str) -> str:
    """Escape bars and the asterisks of arguments, which are markup in reStructuredText, outside of literals."""
    parts = re.split(r"(``.+?``|`[^`]+`)", line)
    return "".join(
        part if index % 2 else re.sub(r"\||\*+(?=[a-z_]+\b)(?!\w[^*]*\*)", r"\\\g<0>", part)
        for index, part in enumerate(parts)
    )
