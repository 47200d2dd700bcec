"""Tables of images and their masks, whose names need no common part."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.layout import Files
from segmi.datasets.reader import Problem
from segmi.errors import DataError

_WHAT: Final = r"(?:[_ ]?(?:file)?[_ ]?(?:path|name|file|id)?)"
_IMAGE_COLUMN: Final = re.compile(rf"(?:sat_)?(?:images?|img|input|photo|picture|file){_WHAT}")
_MASK_COLUMN: Final = re.compile(
    rf"(?:masks?|labels?|gt|ground_?truth|annotations?|segmentations?|seg|targets?){_WHAT}"
)
_SPLIT_COLUMN: Final = re.compile(r"(?:split|subset|set|fold|partition)")
_SPLITS: Final = {"train": "train", "tr": "train", "val": "val", "dev": "val", "test": "test", "ts": "test"}
EXISTING: Final = 0.5  # a text is a table of pairs if at least this share of its rows names two files
LARGEST: Final = 2**24  # bytes


class PairRow(NamedTuple):
    """A row of a table of images and masks."""

    image: str
    mask: str
    split: str  # the text in the column of splits, empty without one


def read_pairs(path: Path) -> list[PairRow]:
    """Return the rows of a table; none if it has no two columns of image and mask files.

    The columns are those called ``image`` and ``mask``, or the first two of a text without header.

    Raises:
        DataError: the file cannot be read as UTF-8 text.
    """
    try:
        if path.stat().st_size > LARGEST:
            return []
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: expected UTF-8 text, got: {error}", "save it as UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t ", key=lambda one: (first.count(one) > 0, one != " ", first.count(one)))
    cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    cells = [row for row in cells if len(row) > 1]
    titles = [title.lower() for title in cells[0]] if cells else []
    images, masks, splits = (
        [number for number, title in enumerate(titles) if pattern.fullmatch(title)]
        for pattern in (_IMAGE_COLUMN, _MASK_COLUMN, _SPLIT_COLUMN)
    )
    if images and masks:
        columns, body = (images[-1], masks[-1], *splits[:1]), cells[1:]  # sat_image_path follows image_id
    elif cells and all(PurePosixPath(cell).suffix.lower() in SUFFIXES for cell in cells[0][:2]):
        columns, body = (0, 1), cells
    else:
        return []
    rows = [[row[number] for number in columns] for row in body if len(row) > max(columns) and row[columns[1]]]
    return [PairRow(row[0], row[1], row[2].lower() if row[2:] else "") for row in rows]


def pair_files(root: Path, table: Path, rows: Sequence[PairRow]) -> tuple[Files, Files]:
    """Return images and masks by the path of the image; every missing file is a problem.

    Paths are relative to the root or to the folder of the table; of others, the longest end that exists is used.
    """
    images, masks = Files(root, {}, []), Files(root, {}, [])
    for row in rows:
        image, mask = _found(root, table, row.image), _found(root, table, row.mask)
        if image is not None and mask is not None:
            stem = image.relative_to(root).with_suffix("").as_posix() if image.is_relative_to(root) else image.stem
            images.by_stem[stem], masks.by_stem[stem] = image, mask
        else:
            missing = row.image if image is None else row.mask
            given = f"expected the files of all rows, {printable(missing)} is missing"
            images.problems.append(Problem(printable(table), given, "add the file, or remove the row"))
    return images, masks


def classify_split(text: str) -> str:
    """Return the split that a text names: ``validation`` is ``val``; any other text is ``train``."""
    return next((split for start, split in _SPLITS.items() if text.startswith(start)), "train")


def share_of_pairs(root: Path, table: Path, rows: Sequence[PairRow]) -> float:
    """Return the share of the rows that name two files."""
    found = pair_files(root, table, rows)[0]
    return len(found.by_stem) / max(len(rows), 1)


def _found(root: Path, table: Path, text: str) -> Path | None:
    parts = PurePosixPath(text.replace("\\", "/").removeprefix("./")).parts
    parts = tuple(part for part in parts if part not in ("/", ".."))
    ends = (parts[start:] for start in range(len(parts)))
    paths = (folder.joinpath(*end) for end in ends for folder in (root, table.parent) if end)
    return next((path for path in paths if path.is_file()), None)
