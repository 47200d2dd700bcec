"""Class names from the files that annotation tools write beside masks."""

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
    (
        *("ignored", "void", "unlabeled", "unlabelled", "unlabel", "ignore", "ignore_label", "unknown"),
        *("_ignore_", "__ignore__", "dontcare"),
    )
)

_FILES: Final = (
    *(FILE_NAME, "labelmap.txt", "label_colors.txt", "label_colours.txt", "class_dict.csv", "classes.csv"),
    *("_classes.csv", "labels.csv", "labels.txt", "class_names.txt", "codes.txt", "label_names.txt"),
    *("classes.json", "labels.json", "id2label.json", "label_map.json"),
)

_COLUMNS: Final = {
    **dict.fromkeys(("name", "class", "class_name", "label", "label_name"), "name"),
    **dict.fromkeys(("pixel value", "value", "id", "index", "class_id", "label_id", "train_id"), "value"),
    **{"r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b"},
}
"""The column names in the headers of tables."""


class NamedClasses(NamedTuple):
    """Classes as a file names them."""

    names: tuple[str, ...]  # the names in the order of the file
    colors: tuple[Color, ...] | None  # the colors of the classes; None if the file has none
    ignored: int | None  # the ignored value of index masks, None if the file has none
    ignored_color: Color | None  # the ignored color, None if the file has none
    origin: str  # the file, relative to the folder
    # the values of the classes in index masks; None: from 0 in the order of the names, without the ignored
    # value
    explicit_values: tuple[int, ...] | None = None

    @property
    def values(self) -> list[int]:
        """The value of each class in index masks."""
        if self.explicit_values is not None:
            return list(self.explicit_values)
        return [value for value in range(IGNORE_INDEX + 1) if value != self.ignored][: len(self.names)]


class _Row(NamedTuple):
    """A line of such a file."""

    name: str
    value: int | None = None
    color: Color | None = None


def find_class_names(survey: Survey) -> NamedClasses | None:
    """Return the classes of the first file with names: segmi's, CVAT's, CamVid's, or a table with or without header.

    Raises:
        DataError: segmi's own ``classes.txt`` is invalid.
    """
    for name in _FILES:
        json_files = [path for path in survey.json if PurePosixPath(path).name.lower() == name]
        for inside in survey.lists.get(name, json_files):
            path = survey.root / inside
            if name == FILE_NAME:
                classes = read_classes(path)
                return NamedClasses(classes.names, classes.colors, classes.ignored, classes.ignored_color, inside)
            if rows := _rows(path):
                return _named_classes(rows, inside)
    return None


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    if path.suffix.lower() == ".json":
        return _json_rows(text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".csv":
        cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if len(row) >= 2]
        if rows := _table_rows(cells):
            return rows
        lines = [" ".join(row) for row in cells]
    return [row for row in map(_line_row, lines) if row is not None]


def _table_rows(cells: list[list[str]]) -> list[_Row]:
    """Return the rows of a table with a header; none without one."""
    header = cells[0] if cells else []
    columns = {_COLUMNS[title.lower()]: index for index, title in enumerate(header) if title.lower() in _COLUMNS}
    if "name" not in columns or len(columns) < 2:
        return []
    rows = []
    for row in cells[1:]:
        fields = {column: row[index] for column, index in columns.items() if index < len(row)}
        numbers = {column: int(text) for column, text in fields.items() if column != "name" and text.isdigit()}
        colored = all(0 <= numbers.get(channel, -1) <= IGNORE_INDEX for channel in "rgb")
        color = (numbers["r"], numbers["g"], numbers["b"]) if colored else None
        rows.append(_Row(fields.get("name", ""), numbers.get("value"), color))
    return [row for row in rows if row.name]


def _json_rows(text: str) -> list[_Row]:
    """Return the rows of a list of names, of names by number, or of numbers by name."""
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


def _line_row(line: str) -> _Row | None:
    """Return the row of ``name r g b``, ``r g b name``, ``name:r,g,b:…`` (CVAT) or a name."""
    words = re.split(r"[\s,:;]+", line)
    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word and not word.isdigit()]
    if not names:
        return None
    if len(numbers) >= 3 and all(number <= IGNORE_INDEX for number in numbers[:3]):
        return _Row(" ".join(names), None, (numbers[0], numbers[1], numbers[2]))
    if [name.lower() for name in names[:2]] in (["name", "r"], ["class", "r"], ["label", "color"]):
        return None  # a header
    return _Row(" ".join(names))


def _named_classes(rows: Iterable[_Row], inside: str) -> NamedClasses:
    kept: list[_Row] = []
    ignored: int | None = None
    ignored_color: Color | None = None
    for position, row in enumerate(rows):
        if row.name.lower() in IGNORED_NAMES and ignored is None:
            ignored, ignored_color = (position if row.value is None else row.value), row.color
        elif row.name not in [one.name for one in kept]:
            kept.append(row)
    colors = [row.color for row in kept if row.color is not None]
    values = [row.value for row in kept if row.value is not None and row.value <= IGNORE_INDEX]
    return NamedClasses(
        tuple(row.name for row in kept),
        tuple(colors) if len(colors) == len(kept) else None,
        ignored,
        ignored_color,
        printable(inside),
        tuple(values) if len(set(values)) == len(kept) else None,
    )
