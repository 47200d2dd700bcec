"""Class names from the files that annotation tools write beside masks."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from segmi.datasets.class_list import FILE_NAME, read_classes
from segmi.datasets.decode import printable
from segmi.datasets.detection.mask_values import MaskValues
from segmi.datasets.detection.survey import Survey
from segmi.datasets.palette import Color, from_hex
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

IGNORED_NAMES: Final = frozenset(
    (
        *("ignored", "void", "unlabeled", "unlabelled", "unlabel", "ignore", "ignore_label", "unknown"),
        *("_ignore_", "__ignore__", "dontcare"),
    )
)

UNSHIFTED_NAME: Final = "__ignore__"  # labelme's name of ignored pixels, which counts before the first class

_FILES: Final = (
    *(FILE_NAME, "labelmap.txt", "label_colors.txt", "label_colours.txt", "class_dict.csv", "classes.csv"),
    *("_classes.csv", "labels.csv", "labels.txt", "class_names.txt", "codes.txt", "label_names.txt"),
    *("classes.json", "labels.json", "id2label.json", "label_map.json", "class_list.json", "dataset.json"),
    *("obj_class_to_machine_color.json", "label_classes.json", "config.json", "label2id.json"),
)
"""Names of files with class names; the first one wins if several are equally near to the masks."""

_SPEAKING: Final = re.compile(r"class|label|colou?r|legend|palette|categor|ontology")

_COLUMNS: Final = {
    **dict.fromkeys(("name", "class", "class_name", "label", "label_name", "readable", "title"), "name"),
    **dict.fromkeys(("pixel value", "value", "id", "index", "class_id", "label_id", "train_id", "png_index"), "value"),
    **{"r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b", "color": "color", "colour": "color"},
}
"""The column names in the headers of tables, and the keys of JSON objects."""

_NESTED: Final = ("labels", "classes", "categories", "names", "id2label", "label2id")
"""The keys of JSON files under which the classes can be."""

_ONLY_NESTED: Final = ("config.json", "dataset.json")  # files with much other content


class NamedClasses(NamedTuple):
    """Classes as a file names them."""

    names: tuple[str, ...]  # the names in the order of the file
    colors: tuple[Color, ...] | None  # the colors of the classes; None if the file has none
    ignored: int | None  # the ignored value of index masks, None if the file has none
    ignored_color: Color | None  # the ignored color, None if the file has none
    origin: str  # the file, relative to the folder
    # the values of the classes in index masks; None: from 0 in the order of the names, without the ignored value
    explicit_values: tuple[int, ...] | None = None
    others: tuple[str, ...] = ()  # files of the same kind that have other names, and are not used

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
    line: str = ""  # the whole line without the color, which is the name if the lines have no distinct numbers


def find_class_names(
    survey: Survey, folders: Sequence[str] = (".",), masks: MaskValues | None = None
) -> NamedClasses | None:
    """Return the classes of the file with names that is nearest to the folders of masks.

    The files are segmi's, CVAT's, CamVid's, tables with or without header, and JSON lists and objects. Files of other
    names that speak of classes are read if they have the numbers or colors of all values of the masks.

    Raises:
        DataError: segmi's own ``classes.txt`` is invalid, or a list is not UTF-8.
    """
    by_name = {name: list(paths) for name, paths in survey.lists.items()}
    for path in survey.json:
        by_name.setdefault(PurePosixPath(path).name.lower(), []).append(path)
    orders = {name: order for order, name in enumerate(_FILES)}
    found = [
        (min(_distance(PurePosixPath(path).parent, PurePosixPath(folder)) for folder in folders), orders[name], path)
        for name, paths in by_name.items()
        if name in orders
        for path in paths
    ]
    others = [
        path for name, paths in by_name.items() if name not in orders and _SPEAKING.search(name) for path in paths
    ]
    for path in [path for _, _, path in sorted(found)] + sorted(others):
        named = _classes_of(survey.root / path, path)
        if named is not None and (path not in others or (masks is not None and _has_all(named, masks))):
            return named._replace(others=_contradicting(survey, named, [path for _, _, path in sorted(found)]))
    return None


def _contradicting(survey: Survey, named: NamedClasses, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files that have other names than the one that is used, or the same in another order."""
    lists = [_classes_of(survey.root / path, path) for path in paths]
    names = [name.lower() for name in named.names]
    return tuple(one.origin for one in lists if one is not None and [n.lower() for n in one.names] != names)


def _classes_of(path: Path, inside: str) -> NamedClasses | None:
    rows = _rows(path)
    numbered = any(row.value is not None or row.name == UNSHIFTED_NAME for row in rows)
    if path.name.lower() == FILE_NAME and not numbered:
        classes = read_classes(path)
        return NamedClasses(classes.names, classes.colors, classes.ignored, classes.ignored_color, inside)
    return _named_classes(rows, inside) if rows else None


def _has_all(named: NamedClasses, masks: MaskValues) -> bool:
    """Return whether a list has all colors of color masks, or all numbers of others; ignored values may be missing."""
    if masks.colored or (named.colors is not None and named.explicit_values is None):
        return masks.colors <= {*(named.colors or ()), named.ignored_color}
    numbers = {*(named.explicit_values or ()), named.ignored, 0, IGNORE_INDEX}
    return named.explicit_values is not None and {*masks.values} <= numbers


def _distance(one: PurePosixPath, other: PurePosixPath) -> int:
    """Return the number of steps between two folders, up and down."""
    common = sum(1 for a, b in zip(one.parts, other.parts, strict=False) if a == b)
    return len(one.parts) + len(other.parts) - 2 * common


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError:
        return []
    except UnicodeDecodeError as error:
        if path.name.lower() not in _FILES:
            return []
        raise DataError(f"{printable(path)}: expected UTF-8 text, got other bytes", "save it as UTF-8") from error
    if path.suffix.lower() == ".json":
        try:
            data = json.loads(text)
            nested = path.name.lower() in _ONLY_NESTED
            return _json_rows({key: data[key] for key in _NESTED if key in data} if nested else data)
        except (ValueError, TypeError):
            return []
    comment = re.compile(r"#(?![0-9a-fA-F]{6}\b)")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not comment.match(line)]
    if path.suffix.lower() == ".csv":
        delimiter = max(",;\t", key=text.count)
        cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
        cells = [row for row in cells if len(row) >= 2]
        if rows := _table_rows(cells):
            return rows
        lines = [" ".join(row) for row in cells]
    return _numbered([row for row in map(_line_row, lines) if row is not None])


def _table_rows(cells: list[list[str]]) -> list[_Row]:
    """Return the rows of a table with a header; none without one."""
    titles = [title.lower() for title in cells[0]] if cells else []
    if len([title for title in titles if title in _COLUMNS]) < 2:
        return []
    rows = [_object_row(dict(zip(titles, row, strict=False))) for row in cells[1:]]
    return [row for row in rows if row is not None]


def _object_row(fields: Mapping[str, Any]) -> _Row | None:
    """Return the row of the fields of a table or JSON object, None without a name."""
    known: dict[str, Any] = {}
    for title, value in fields.items():
        if (column := _COLUMNS.get(str(title).lower())) is not None:
            known.setdefault(column, value)
    name, value = known.get("name"), str(known.get("value", ""))
    if not isinstance(name, str) or not name:
        return None
    name = "unlabeled" if fields.get("evaluate") is False else name  # Mapillary Vistas
    channels = [known.get(channel) for channel in "rgb"]
    color = known.get("color") if channels == [None] * 3 else channels
    return _Row(name, int(value) if value.isdigit() else None, _color_of(color))


def _color_of(given: Any) -> Color | None:
    """Return a color given as three numbers or as ``#rrggbb``; None for anything else."""
    if isinstance(given, str) and (hexadecimal := re.fullmatch(r"#([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?", given.strip())):
        return from_hex(hexadecimal[1])[0]
    if not isinstance(given, list | tuple) or len(given) != 3 or not all(str(one).strip().isdigit() for one in given):
        return None
    red, green, blue = (int(one) for one in given)
    return (red, green, blue) if max(red, green, blue) <= IGNORE_INDEX else None


def _json_rows(data: Any) -> list[_Row]:
    """Return the rows of lists of names or objects, and of objects between names, numbers and colors."""
    if isinstance(data, list):
        named = [{"name": one} if isinstance(one, str) else one for one in data]
        items = [_object_row(one) for one in named if isinstance(one, dict)]
        return [row for row in items if row is not None] if None not in items and len(items) == len(data) else []
    if not isinstance(data, dict) or not data:
        return []
    for key in _NESTED:
        if isinstance(data.get(key), list | dict) and (rows := _json_rows(data[key])):
            return rows
    rows = []
    for key, value in data.items():
        if isinstance(value, str) and key.isdigit():
            rows.append(_Row(value, int(key)))
        elif isinstance(value, str) and (color := _color_of(key)) is not None:
            rows.append(_Row(value, None, color))
        elif type(value) is int or (isinstance(value, str) and value.isdigit()):
            rows.append(_Row(key, int(value)))
        elif (color := _color_of(value)) is not None:
            rows.append(_Row(key, None, color))
        elif isinstance(value, dict) and (row := _object_row({"name": key, **value})) is not None:
            rows.append(row._replace(value=int(key)) if row.value is None and key.isdigit() else row)
        else:
            return []
    mixed = len({(row.color is None, row.value is None) for row in rows}) > 1  # as in lists of regions
    return [] if mixed else rows


def _line_row(line: str) -> _Row | None:
    """Return the row of a name with a number before or after it, with a color before or after it, or both.

    Example:
        >>> _line_row("3 traffic sign 128 64 0"), _line_row("0: null")[:2]
        (_Row(name='traffic sign', value=3, color=(128, 64, 0), line='3 traffic sign'), ('null', 0))
    """
    expanded = re.sub(r"#([0-9a-fA-F]{6})\b", lambda m: " ".join(map(str, from_hex(m[1])[0])), line)
    words = [word for word in re.split(r"[\s,:;]+", expanded) if word]
    if not re.search(r"\d", expanded):
        header = [word.lower() for word in words[:2]] in (["name", "r"], ["class", "r"], ["label", "color"])
        return None if header else _Row(line.strip(" \t:,;"), line=line.strip(" \t:,;"))
    before = list(takewhile(str.isdigit, words))
    after = list(takewhile(str.isdigit, words[::-1]))[::-1]
    rest = words[len(before) : len(words) - len(after)]
    if not rest:
        return None
    color, value = None, None
    if len(after) >= 3 and (color := _color_of(after[-3:])) is not None:
        after = after[:-3]
    elif len(before) >= 3 and (color := _color_of(before[-3:])) is not None:
        before = before[:-3]
    if len(before) == 1 and not after:
        value = int(before[0])
    elif len(after) == 1 and not before:
        value = int(after[0])
    whole = " ".join([*before, *rest, *after])
    return _Row(" ".join(rest), value, color, whole) if value is not None else _Row(whole, None, color, whole)


def _numbered(rows: list[_Row]) -> list[_Row]:
    """Return rows with whole lines as names, unless every line has another number and name."""
    counted = [row for row in rows if row.name.lower() not in IGNORED_NAMES]
    values, names = [row.value for row in counted], [row.name for row in counted]
    if None not in values and len({*values}) == len({*names}) == len(counted):
        return rows
    return [row._replace(name=row.line, value=None) for row in rows]


def _named_classes(rows: Iterable[_Row], inside: str) -> NamedClasses:
    rows = list(rows)
    kept: list[_Row] = []
    ignored: int | None = None
    ignored_color: Color | None = None
    background = len({row.name.lower() for row in rows} - IGNORED_NAMES) < 2 or inside.endswith("_classes.csv")
    position = 0
    for row in rows:
        unlabeled = background and row.value == 0  # exports of one class name the background so
        if row.name.lower() in IGNORED_NAMES and ignored is None and not unlabeled:
            first = IGNORE_INDEX if row.name.lower() == UNSHIFTED_NAME else position
            ignored, ignored_color = (first if row.value is None else row.value), row.color
            position += row.name.lower() != UNSHIFTED_NAME
        elif row.name not in [one.name for one in kept]:
            kept.append(row)
            position += 1
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
