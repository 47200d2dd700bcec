"""Names of classes from the files that annotation tools leave beside masks."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.class_list import FILE_NAME, read_classes
from segmi.datasets.decode import printable
from segmi.datasets.detection.survey import Survey
from segmi.datasets.palette import Color
from segmi.types import IGNORE_INDEX

IGNORED_NAMES: Final = frozenset(
    [
        "ignored",
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
    *("_classes.csv", "labels.csv", "labels.txt", "class_names.txt", "codes.txt", "label_names.txt"),
    *("classes.json", "labels.json", "id2label.json", "label_map.json"),
)

_COLUMNS: Final = {
    **dict.fromkeys(("name", "class", "class_name", "label", "label_name"), "name"),
    **dict.fromkeys(("pixel value", "value", "id", "index", "class_id", "label_id", "train_id"), "value"),
    **{"r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b"},
}
"""What the heads of tables are called."""


class Named(NamedTuple):
    """Classes as a file names them.

    Args:
        names: in its order.
        colors: of the classes; None where it gives none.
        ignored: the value or place of ignored in numbers, None if the file says nothing about it.
        ignored_color: likewise its color.
        origin: the file, relative to the folder.
        values: of the classes in masks of numbers; None: those from 0 on in the order of the names, ignored left out.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None
    ignored: int | None
    ignored_color: Color | None
    origin: str
    values: tuple[int, ...] | None = None

    @property
    def places(self) -> list[int]:
        """The value of each class in masks of numbers."""
        if self.values is not None:
            return list(self.values)
        return [value for value in range(IGNORE_INDEX + 1) if value != self.ignored][: len(self.names)]


class _Row(NamedTuple):
    """A line of such a file."""

    name: str
    value: int | None = None
    color: Color | None = None


def class_names(found: Survey) -> Named | None:
    """What the first file of names in a folder says: segmi's, CVAT's, CamVid's, or a table with a head or without.

    Raises:
        DataError: segmi's own ``classes.txt`` cannot be meant.
    """
    for name in _KNOWN:
        beside = [path for path in found.json if PurePosixPath(path).name.lower() == name]
        for inside in found.lists.get(name, beside):
            path = found.root / inside
            if name == FILE_NAME:
                said = read_classes(path)
                return Named(said.names, said.colors, said.ignored, said.ignored_color, inside)
            if rows := _rows(path):
                return _named(rows, inside)
    return None


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    if path.suffix.lower() == ".json":
        return _rows_of_json(text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".csv":
        cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if len(row) >= 2]
        if rows := _rows_under_a_head(cells):
            return rows
        lines = [" ".join(row) for row in cells]
    return [row for row in map(_row, lines) if row is not None]


def _rows_under_a_head(cells: list[list[str]]) -> list[_Row]:
    """Of a table whose first line names its columns; none where it does not."""
    columns = {
        _COLUMNS[head.lower()]: place
        for place, head in enumerate(cells[0] if cells else [])
        if head.lower() in _COLUMNS
    }
    if "name" not in columns or len(columns) < 2:
        return []
    rows = []
    for row in cells[1:]:
        said = {column: row[place] for column, place in columns.items() if place < len(row)}
        numbers = {column: int(text) for column, text in said.items() if column != "name" and text.isdigit()}
        colored = all(0 <= numbers.get(channel, -1) <= IGNORE_INDEX for channel in "rgb")
        color = (numbers["r"], numbers["g"], numbers["b"]) if colored else None
        rows.append(_Row(said.get("name", ""), numbers.get("value"), color))
    return [row for row in rows if row.name]


def _rows_of_json(text: str) -> list[_Row]:
    """A list of names, or names by number, either way round."""
    try:
        data = json.loads(text)
    except ValueError:
        return []
    if isinstance(data, list) and data and all(isinstance(name, str) for name in data):
        return [_Row(name) for name in data]
    if not isinstance(data, dict) or not data:
        return []
    if all(isinstance(name, str) and key.isdigit() for key, name in data.items()):
        return [_Row(name, int(key)) for key, name in data.items()]
    if all(type(number) is int for number in data.values()):
        return [_Row(name, number) for name, number in data.items()]
    return []


def _row(line: str) -> _Row | None:
    """``name r g b``, ``r g b name``, ``name:r,g,b:…`` (CVAT) or a bare name."""
    words = re.split(r"[\s,:;]+", line)
    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word and not word.isdigit()]
    if not names:
        return None
    if len(numbers) >= 3 and all(number <= IGNORE_INDEX for number in numbers[:3]):
        return _Row(" ".join(names), None, (numbers[0], numbers[1], numbers[2]))
    if [name.lower() for name in names[:2]] in (["name", "r"], ["class", "r"], ["label", "color"]):
        return None  # the head of a table
    return _Row(" ".join(names))


def _named(rows: Iterable[_Row], inside: str) -> Named:
    kept: list[_Row] = []
    ignored: int | None = None
    ignored_color: Color | None = None
    for place, row in enumerate(rows):
        if row.name.lower() in IGNORED_NAMES and ignored is None:
            ignored, ignored_color = (place if row.value is None else row.value), row.color
        elif row.name not in [one.name for one in kept]:
            kept.append(row)
    colors = [row.color for row in kept if row.color is not None]
    values = [row.value for row in kept if row.value is not None and row.value <= IGNORE_INDEX]
    return Named(
        tuple(row.name for row in kept),
        tuple(colors) if len(colors) == len(kept) else None,
        ignored,
        ignored_color,
        printable(inside),
        tuple(values) if len(set(values)) == len(kept) else None,
    )
