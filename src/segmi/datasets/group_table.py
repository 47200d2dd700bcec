"""Files with the group of each image: its patient, scene, clip or slide."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from segmi.datasets.layout import Files, read_list, stem_of

_ID: Final = r"(?:[ _]?(?:id|name|number|no|nr|code))?"
_GROUPS: Final = (
    *("groups?", "patients?", "subjects?", "persons?", "cases?", "lesions?", "slides?", "clips?", "videos?"),
    *("sequences?", "recordings?", "drives?", "scenes?", "locations?", "sites?", "places?"),
)
_NAMES: Final = re.compile(r"(?:image|img|photo|picture|file|sample|mask)?s?[ _]?(?:file)?[ _]?(?:name|path|id)?")


def group_column(path: Path) -> str | None:
    """Return the title of the column of a table that holds groups, None if it has none or no names of images."""
    return _column(path, [group + _ID for group in _GROUPS])


def split_column(path: Path) -> str | None:
    """Return the title of the column of a table that holds splits, None if it has none or no names of images."""
    return _column(path, [r"(?:data)?(?:split|subset|set|partition|phase)", "usage"])


def _column(path: Path, patterns: Sequence[str]) -> str | None:
    titles = _titles(path)[0]
    if not any(title and _NAMES.fullmatch(title.lower()) for title in titles):
        return None
    return next((title for one in patterns for title in titles if re.fullmatch(one, title.lower())), None)


def group_names(path: Path, images: Files) -> dict[str, str]:
    """Return the group of each image stem from a file.

    The file is a table with a column such as ``patient`` or ``scene``, or has lines ``name group``, separated by a
    space, tab or comma.

    Raises:
        DataError: the file cannot be read.
    """
    lines, _ = read_list(path, folders_allowed=True)
    if (column := group_column(path)) is not None:
        titles, delimiter = _titles(path)
        group = titles.index(column)
        name = next(n for n, title in enumerate(titles) if title and n != group and _NAMES.fullmatch(title.lower()))
        cells = csv.reader([line.text for line in lines[1:]], delimiter=delimiter)
        rows = [[row[name].strip(), row[group].strip()] for row in cells if len(row) > max(name, group)]
    else:
        rows = [re.split(r"\s*[,;\t]\s*|\s+(?=\S+$)", line.text, maxsplit=1) for line in lines]
    return {stem_of(row[0], images): row[1].strip() for row in rows if len(row) == 2 and row[1].strip()}


def _titles(path: Path) -> tuple[list[str], str]:
    """Return the cells of the first line of a table, and its delimiter."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return [], ","
    delimiter = max(",;\t", key=first.count)
    return [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])], delimiter
