"""The lines of files with class names: texts, tables, JSON and YAML."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from segmi.datasets.decode import printable
from segmi.datasets.palette import Color, from_hex
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

IGNORED_NAMES: Final = frozenset(
    (
        *("ignored", "void", "unlabeled", "unlabelled", "unlabel", "ignore", "ignore_label", "unknown"),
        *("_ignore_", "__ignore__", "dontcare"),
    )
)

_COLUMNS: Final = {
    **dict.fromkeys(("name", "class", "class_name", "label", "label_name", "readable", "title"), "name"),
    **dict.fromkeys(("pixel value", "value", "id", "index", "idx", "class_id", "label_id", "train_id"), "value"),
    **dict.fromkeys(("png_index", "pixel_value", "gray", "grey", "category_id", "class_value"), "value"),
    **dict.fromkeys(("color", "colour", "class_color", "rgb", "color_rgb", "hex"), "color"),
    **{"r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b"},
}
"""The column names in the headers of tables, and the keys of JSON objects."""

_NESTED: Final = (
    *("labels", "classes", "categories", "names", "id2label", "label2id", "label_classes", "class_names"),
    *("class_list", "label_map", "labelmap", "id2name", "id_to_name"),
)
"""The keys of JSON files under which the classes can be."""

DEEPEST: Final = 4  # nested objects that are searched for classes
LARGEST: Final = 2**24  # bytes of the largest JSON or YAML file that is searched


class ClassRow(NamedTuple):
    """A line of such a file."""

    name: str
    value: int | None = None
    color: Color | None = None
    line: str = ""  # the whole line without the color, which is the name if the lines have no distinct numbers


def class_rows(path: Path, *, known: bool) -> list[ClassRow]:
    """Return the classes in a file; none if it lists none.

    ``known``: the name of the file says that it lists classes; of other JSON and YAML files, only the entries under
    keys such as ``classes`` are read.

    Raises:
        DataError: the file is not UTF-8.
    """
    suffix = path.suffix.lower()
    structured = suffix in (".json", ".yaml", ".yml")
    try:
        if structured and path.stat().st_size > LARGEST:
            return []
        text = path.read_text(encoding="utf-8-sig")
    except OSError:
        return []
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: expected UTF-8 text, got other bytes", "save it as UTF-8") from error
    if structured:
        try:
            data = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
            return (_json_rows(data) if known else []) or _nested_rows(data)
        except (ValueError, TypeError, RecursionError, yaml.YAMLError):
            return []
    comment = re.compile(r"#(?![0-9a-fA-F]{6}\b)")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not comment.match(line.strip())]
    lines = [re.sub(r"\s+#\s.*", "", line) for line in lines]
    if suffix in (".csv", ".tsv"):
        delimiter = max(",;\t", key=text.count)
        cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
        cells = [row for row in cells if len(row) >= 2]
        if rows := _table_rows(cells):
            return rows
        lines = [" ".join(row) for row in cells]
    if (listed := _rows_of_one_text(" ".join(lines), len(lines))) is not None:
        return listed
    return _numbered([row for row in map(_line_row, lines) if row is not None])


def _rows_of_one_text(text: str, lines: int) -> list[ClassRow] | None:
    """Return the rows of a text that is a list or dictionary, or one line of names with commas; None for others.

    Example:
        >>> _rows_of_one_text("{0: 'sky', 1: 'road'}", 1)[1][:2], _rows_of_one_text("sky, road", 1)[1].name
        (('road', 1), 'road')
    """
    if text[:1] in ("[", "{"):
        with suppress(yaml.YAMLError, TypeError, ValueError):
            return _json_rows(yaml.safe_load(text)) or None
    names = [name.strip() for name in re.split("[,;]", text)]
    if lines != 1 or len(names) < 2 or not all(re.search(r"[^\W\d]", name) for name in names):
        return None
    return _numbered([row for row in map(_line_row, names) if row is not None])


def _nested_rows(data: Any, depth: int = 0) -> list[ClassRow]:
    """Return the first classes under a key such as ``classes``, or of nnU-Net's overlapping regions."""
    if not isinstance(data, dict) or depth > DEEPEST:
        return []
    if "regions_class_order" in data and isinstance(data.get("labels"), dict):
        return _region_rows(data["labels"])
    found = (_json_rows(data[key]) for key in _NESTED if isinstance(data.get(key), list | dict))
    deeper = (_nested_rows(value, depth + 1) for value in data.values())
    return next((rows for rows in (*found, *deeper) if rows), [])


def _region_rows(labels: Mapping[str, Any]) -> list[ClassRow]:
    """Return a class for each value of overlapping regions, with the name of the smallest region that holds it.

    Example:
        >>> [row[:2] for row in _region_rows({"background": 0, "whole": [1, 2], "core": 2})]
        [('background', 0), ('whole', 1), ('core', 2)]
    """
    regions = {name: [values] if isinstance(values, int) else list(values) for name, values in labels.items()}
    order = sorted(regions, key=lambda name: len(regions[name]))
    smallest = {value: next(name for name in order if value in regions[name]) for v in regions.values() for value in v}
    several = [name for name in regions if list(smallest.values()).count(name) > 1]
    return [ClassRow(f"{name} {value}" if name in several else name, value) for value, name in sorted(smallest.items())]


def _table_rows(cells: list[list[str]]) -> list[ClassRow]:
    """Return the rows of a table with a header; none without one."""
    titles = [title.lower() for title in cells[0]] if cells else []
    if len([title for title in titles if title in _COLUMNS]) < 2:
        return []
    rows = [_object_row(dict(zip(titles, row, strict=False))) for row in cells[1:]]
    return [row for row in rows if row is not None]


def _object_row(fields: Mapping[str, Any]) -> ClassRow | None:
    """Return the row of the fields of a table or JSON object, None without a name."""
    known: dict[str, Any] = {}
    for title, value in fields.items():
        column = _COLUMNS.get(str(title).lower())
        if column is not None and (column != "value" or str(value).isdigit()):  # ids can be texts, beside an index
            known.setdefault(column, value)
    name, value = known.get("name"), str(known.get("value", known.get("color", "")))
    if not isinstance(name, str) or not name:
        return None
    name = "unlabeled" if fields.get("evaluate") is False else name  # Mapillary Vistas
    channels = [known.get(channel) for channel in "rgb"]
    color = known.get("color") if channels == [None] * 3 else channels
    return ClassRow(name, int(value) if value.isdigit() else None, _color_of(color))


def _color_of(given: Any) -> Color | None:
    """Return a color given as three numbers, also in one text or ``rgb()``, or as ``#rrggbb`` or ``#rgb``; or None."""
    if isinstance(given, str) and re.fullmatch(r"#[0-9a-fA-F]{3}", given.strip()):
        given = "#" + "".join(2 * digit for digit in given.strip()[1:])
    if isinstance(given, str) and (hexadecimal := re.fullmatch(r"#([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?", given.strip())):
        return from_hex(hexadecimal[1])[0]
    if isinstance(given, str) and re.fullmatch(r"(?:rgba?)?[\[(]?\s*\d+(?:[\s,;]+\d+){2,3}\s*[\])]?", given.strip()):
        given = re.findall(r"\d+", given)
    if (
        not isinstance(given, list | tuple)
        or len(given) not in (3, 4)
        or not all(str(v).strip().isdigit() for v in given)
    ):
        return None
    red, green, blue = (int(one) for one in given[:3])  # a fourth number is alpha
    return (red, green, blue) if max(red, green, blue) <= IGNORE_INDEX else None


def _json_rows(data: Any) -> list[ClassRow]:
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
    for key, value in ((str(key), value) for key, value in data.items()):
        if isinstance(value, str) and key.isdigit():
            rows.append(ClassRow(value, int(key)))
        elif isinstance(value, str) and (color := _color_of(key)) is not None:
            rows.append(ClassRow(value, None, color))
        elif type(value) is int or (isinstance(value, str) and value.isdigit()):
            rows.append(ClassRow(key, int(value)))
        elif (color := _color_of(value)) is not None:
            rows.append(ClassRow(key, None, color))
        elif isinstance(value, dict) and (row := _object_row({"name": key, **value})) is not None:
            rows.append(row._replace(value=int(key)) if row.value is None and key.isdigit() else row)
        else:
            return []
    mixed = len({(row.color is None, row.value is None) for row in rows}) > 1  # as in lists of regions
    return [] if mixed else rows


def _line_row(line: str) -> ClassRow | None:
    """Return the row of a name with a number before or after it, with a color before or after it, or both.

    Example:
        >>> _line_row("3 traffic sign 128 64 0"), _line_row("0: null")[:2]
        (ClassRow(name='traffic sign', value=3, color=(128, 64, 0), line='3 traffic sign'), ('null', 0))
    """
    expanded = re.sub(r"#([0-9a-fA-F]{6})\b", lambda m: " ".join(map(str, from_hex(m[1])[0])), line)
    words = [word for word in re.split(r"[\s,:;=]+", expanded) if word]
    if not re.search(r"\d", expanded):
        header = [word.lower() for word in words[:2]] in (["name", "r"], ["class", "r"], ["label", "color"])
        return None if header else ClassRow(line.strip(" \t:,;"), line=line.strip(" \t:,;"))
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
    return ClassRow(" ".join(rest), value, color, whole) if value is not None else ClassRow(whole, None, color, whole)


def _numbered(rows: list[ClassRow]) -> list[ClassRow]:
    """Return rows with whole lines as names, unless every line has another number and name."""
    counted = [row for row in rows if row.name.lower() not in IGNORED_NAMES]
    values, names = [row.value for row in counted], [row.name for row in counted]
    if None not in values and len({*values}) == len({*names}) == len(counted):
        return rows
    return [row._replace(name=row.line, value=None) for row in rows]
