"""Class names from the files that annotation tools write beside masks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.class_list import FILE_NAME, read_classes
from segmi.datasets.decode import printable
from segmi.datasets.detection.class_files import IGNORED_NAMES, ClassRow, class_rows
from segmi.datasets.detection.mask_values import MaskValues
from segmi.datasets.detection.survey import Survey
from segmi.datasets.palette import Color
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

UNSHIFTED_NAME: Final = "__ignore__"  # labelme's name of ignored pixels, which counts before the first class

_FILES: Final = (
    *(FILE_NAME, "labelmap.txt", "label_colors.txt", "label_colours.txt", "class_dict.csv", "classes.csv"),
    *("_classes.csv", "labels.csv", "labels.txt", "class_names.txt", "codes.txt", "label_names.txt"),
    *("classes.json", "labels.json", "id2label.json", "label_map.json", "class_list.json", "dataset.json"),
    *("obj_class_to_machine_color.json", "label_classes.json", "config.json", "label2id.json"),
    *("class_dict_seg.csv", "class_mapping.csv", "data.yaml", "data.yml", "dataset.yaml", "dataset.yml"),
    *("classes.yaml", "classes.yml", "labels.yaml", "labels.yml", "obj.names", "classes.names"),
)
"""Names of files with class names; the first one wins if several are equally near to the masks."""

_MIXED: Final = re.compile(r"(config.*|dataset)\.json")  # files with much other content
_SPEAKING: Final = re.compile(r"class|label|colou?r|legend|palette|categor|ontology")
FEW_FILES: Final = 4  # a folder with more JSON files has one per image


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


def find_class_names(
    survey: Survey, folders: Sequence[str] = (".",), masks: MaskValues | None = None
) -> NamedClasses | None:
    """Return the classes of the file with names that is nearest to the folders of masks.

    The files are segmi's, CVAT's, CamVid's, tables with or without header, and JSON and YAML lists and objects. Other
    files that speak of classes, or hold them under a key such as ``categories``, are read if they have the numbers or
    colors of all values of the masks.

    Raises:
        DataError: segmi's own ``classes.txt`` is invalid, or a list is not UTF-8.
    """
    json_per_folder = Counter(PurePosixPath(path).parent for path in survey.json)
    by_name = {name: list(paths) for name, paths in survey.lists.items()}
    for path in survey.json:
        by_name.setdefault(PurePosixPath(path).name.lower(), []).append(path)
    orders = {name: order for order, name in enumerate(_FILES)}
    found, others = [], []
    for name, paths in by_name.items():
        order = orders.get("config.json" if _MIXED.fullmatch(name) else name)
        for path in paths:
            parent = PurePosixPath(path).parent
            if order is not None:
                near = min(_distance(parent, PurePosixPath(folder)) for folder in folders)
                found.append((near, order, path))
            elif _SPEAKING.search(name) or (path.endswith((".json", ".yaml")) and json_per_folder[parent] <= FEW_FILES):
                others.append(path)
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
    name = path.name.lower()
    try:
        rows = class_rows(path, known=not _MIXED.fullmatch(name) and (name in _FILES or bool(_SPEAKING.search(name))))
    except DataError:
        if name not in _FILES:
            return None
        raise
    numbered = any(row.value is not None or row.name == UNSHIFTED_NAME for row in rows)
    if name == FILE_NAME and not numbered:
        classes = read_classes(path)
        ignored = classes.ignored is None and {row.name.lower() for row in rows} & IGNORED_NAMES
        # names in one line, or a list of Python
        if rows and (ignored or not {row.name for row in rows} & {*classes.names}):
            return _named_classes(rows, inside)
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


def _named_classes(rows: Iterable[ClassRow], inside: str) -> NamedClasses:
    rows = list(rows)
    kept: list[ClassRow] = []
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
