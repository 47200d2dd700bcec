"""Names of classes from the files that annotation tools leave beside masks."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from segmi.data.class_list import FILE_NAME, read_classes
from segmi.data.decode import shown
from segmi.data.palette import Colour
from segmi.data.recognise.survey import Survey

VOID_NAMES: Final = frozenset(
    [
        "void",
        "unlabeled",
        "unlabelled",
        "unlabel",
        "ignore",
        "ignored",
        "ignore_label",
        "unknown",
        "_ignore_",
        "__ignore__",
        "dontcare",
    ]
)

_KNOWN: Final = (
    *(FILE_NAME, "labelmap.txt", "label_colors.txt", "label_colours.txt", "class_dict.csv", "classes.csv"),
    *("labels.txt", "class_names.txt", "codes.txt", "label_names.txt"),
)


class Named(NamedTuple):
    """Classes as a file names them.

    Args:
        names: in its order.
        colours: of the classes; None where it gives none.
        void: the value or place of void in numbers, None if the file says nothing about it.
        void_colour: likewise its colour.
        origin: the file, relative to the folder.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    void: int | None
    void_colour: Colour | None
    origin: str


def class_names(found: Survey) -> Named | None:
    """What the first file of names in a folder says: segmi's, CVAT's, CamVid's, or a table of name, r, g, b.

    Raises:
        DataError: segmi's own ``classes.txt`` cannot be meant.
    """
    for name in _KNOWN:
        for inside in found.lists.get(name, []):
            path = found.root / inside
            if name == FILE_NAME:
                said = read_classes(path)
                return Named(said.names, said.colours, said.void, said.void_colour, inside)
            rows = _rows(path)
            if rows:
                return _named(rows, inside)
    return None


def _rows(path: Path) -> list[tuple[str, Colour | None]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".csv":
        lines = [" ".join(cells) for cells in csv.reader(io.StringIO(text)) if len(cells) >= 2]
    rows = [_row(line) for line in lines]
    return [row for row in rows if row is not None]


def _row(line: str) -> tuple[str, Colour | None] | None:
    """``name r g b``, ``r g b name``, ``name:r,g,b:…`` (CVAT) or a bare name."""
    words = re.split(r"[\s,:;]+", line)
    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word and not word.isdigit()]
    if not names:
        return None
    if len(numbers) >= 3 and all(number <= 255 for number in numbers[:3]):
        return " ".join(names), (numbers[0], numbers[1], numbers[2])
    if [name.lower() for name in names[:2]] in (["name", "r"], ["class", "r"], ["label", "color"]):
        return None  # the head of a table
    return " ".join(names), None


def _named(rows: Iterable[tuple[str, Colour | None]], inside: str) -> Named:
    names: list[str] = []
    colours: list[Colour | None] = []
    void: int | None = None
    void_colour: Colour | None = None
    for place, (name, colour) in enumerate(rows):
        if name.lower() in VOID_NAMES and void is None:
            void, void_colour = place, colour
        elif name not in names:
            names.append(name)
            colours.append(colour)
    whole = [colour for colour in colours if colour is not None]
    return Named(tuple(names), tuple(whole) if len(whole) == len(names) else None, void, void_colour, shown(inside))
