"""The classes of a `Folder` dataset, from its options or from ``classes.txt``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from segmi.datasets.decode import printable
from segmi.datasets.palette import Color, full_palette, voc_color
from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

FILE_NAME: Final = "classes.txt"

_IGNORED_NAMES: Final = ("ignored", "void")  # many published class lists use "void"
_FORM: Final = "one class per line, `name` or `name r g b`; `ignored`, `ignored 255` or `ignored r g b` for ignored"


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their mask values.

    The values are 0, 1, 2 … in order, without the ignored value: with ``ignored=0`` the classes are 1, 2 …
    """

    names: tuple[str, ...]  # at least one, all different
    colors: tuple[Color, ...] | None = None  # one per class, all different; None if masks hold values only
    ignored: int | None = None  # the value of ignored pixels, None if there are none
    ignored_color: Color | None = None  # the color of ignored pixels in color masks
    origin: str = "classes"  # the file or option that defines the list, for messages

    def __post_init__(self) -> None:
        ignored, count = self.ignored, len(self.names)
        self._check(1 <= count <= 255, "expected 1 to 255 classes", f"{count}")
        self._check_distinct("class names", self.names)
        self._check(ignored is None or 0 <= ignored <= 255, "expected ignored to be 0 to 255", f"{ignored}")
        if self.colors is not None:
            given = f"{len(self.colors)} colors for {count} classes"
            self._check(len(self.colors) == count, "expected a color for every class or for none", given)
            colors = self.colors if self.ignored_color is None else (*self.colors, self.ignored_color)
            self._check_distinct("colors", [" ".join(map(str, color)) for color in colors])

    @property
    def values(self) -> tuple[int, ...]:
        """The mask value of each class."""
        return tuple(value for value in range(256) if value != self.ignored)[: len(self.names)]

    @property
    def color_values(self) -> tuple[list[Color], list[int]]:
        """The declared colors and the mask value of each; ignored is included only if its color is declared."""
        colors, values = list(self.colors or ()), list(self.values)
        if self.ignored_color is not None and self.ignored is not None:
            colors, values = [*colors, self.ignored_color], [*values, self.ignored]
        return colors, values

    def info(self, title: str) -> DatasetInfo:
        """Return the facts of a `Folder` dataset with these classes."""
        ignored = {} if self.ignored is None else {self.ignored: IGNORE_INDEX}
        lookup = lookup_of({value: train_id for train_id, value in enumerate(self.values)} | ignored)
        colors = self.colors or tuple(voc_color(index) for index in range(len(self.names)))
        palette = full_palette(colors, self.ignored_color or voc_color(IGNORE_INDEX))
        return DatasetInfo("folder", title, self.names, palette, self.ignored, lookup)

    def _check(self, condition: bool, expected: str, given: str) -> None:
        if not condition:
            raise DataError(f"{self.origin}: {expected}, got {given}", f"write {_FORM}")

    def _check_distinct(self, kind: str, values: Sequence[str]) -> None:
        repeated = sorted({value for value in values if values.count(value) > 1})
        self._check(not repeated, f"expected distinct {kind}", f"twice: {', '.join(repeated)}")


def class_list_of(
    root: Path,
    classes: Sequence[str] | None,
    colors: Sequence[Sequence[int]] | None,
    ignored: int | None,
    ignored_color: Sequence[int] | None,
) -> ClassList:
    """Return the classes of the options; the defaults come from ``classes.txt`` in ``root``.

    Raises:
        DataError: neither names classes, or their colors and values contradict each other.
    """
    path = root / FILE_NAME
    if classes is None and not path.is_file():
        raise DataError(
            f"{printable(path)}: expected the class names in this file or in the option `classes`, got neither",
            f"write {printable(path)}: {_FORM}",
        )
    base = read_classes(path) if classes is None else ClassList(tuple(map(str, classes)))
    colors_ = base.colors if colors is None else tuple(map(_color_option, colors))
    ignored_color_ = base.ignored_color if ignored_color is None else _color_option(ignored_color)
    ignored_ = base.ignored if ignored is None else ignored
    if ignored_ is None and ignored_color_ is not None:
        ignored_ = IGNORE_INDEX  # color masks have no stored values; any unused value will do
    return ClassList(base.names, colors_, ignored_, ignored_color_, base.origin)


def read_classes(path: Path) -> ClassList:
    """Read ``classes.txt``: one class per line in the order of the mask values, ``name`` or ``name r g b`` (0–255).

    Empty lines, lines that begin with ``#`` and comments after a ``#`` between spaces are skipped; names may have
    spaces. A line ``ignored`` (or ``void``) is not a class: it assigns ignored pixels the value of its position
    (``ignored`` first: 0, after 11 classes: 11), or the value it gives (``ignored 255``), and, with three numbers, a
    color (``ignored 0 0 0``, ``ignored 255 0 0 0``). Lines can begin with their values (``0 background``), in the same
    order.

    Raises:
        DataError: the file is not UTF-8 text, or a line has another form; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{printable(path)}: expected a UTF-8 text file, got: {error}", "save it as UTF-8") from error
    names: list[str] = []
    colors: list[Color] = []
    ignored: int | None = None
    ignored_color: Color | None = None
    for number, line in _without_values(text.splitlines(), path):
        words = line.split()
        numbers = _trailing_numbers(words)
        if len(numbers) == len(words) or (len(numbers) < 3 and all(word.isdigit() for word in words[-3:])):
            raise _bad_line(path, number, line)  # a color without a name, or with a number above 255
        if words[0].lower() in _IGNORED_NAMES and len(numbers) == len(words) - 1:
            if ignored is not None or len(numbers) not in (0, 1, 3, 4):
                raise _bad_line(path, number, line)
            ignored = numbers[0] if len(numbers) in (1, 4) else len(names)
            ignored_color = _color(numbers[-3:]) if len(numbers) >= 3 else None
        elif len(numbers) >= 3:
            names.append(" ".join(words[:-3]))
            colors.append(_color(numbers[-3:]))
        else:
            names.append(" ".join(words))
    return ClassList(tuple(names), tuple(colors) or None, ignored, ignored_color, origin=printable(path))


def _without_values(lines: Sequence[str], path: Path) -> list[tuple[int, str]]:
    """Return the lines with their numbers, and without the values that all of them begin with.

    Raises:
        DataError: the values differ from the order of the lines.
    """
    numbered = ((number, re.sub(r"\s+#\s.*", "", line)) for number, line in enumerate(lines, start=1))
    kept = [(number, line) for number, line in numbered if line.strip() and line.strip()[0] != "#"]
    matches = [re.fullmatch(r"\s*(\d+)\s*[:,;\t ]\s*(\D.*)", line) for _, line in kept]
    rows = [(int(match[1]), match[2]) for match in matches if match]
    if len(rows) < max(len(kept), 2) or len({value for value, _ in rows}) < len(rows):
        return kept
    ignored = {value: name for value, name in rows if name.split()[0].lower() in _IGNORED_NAMES}
    expected = (value for value in range(256) if value not in ignored)
    given = next((value for value, _ in rows if value not in ignored and value != next(expected)), None)
    if given is not None:
        raise DataError(
            f"{printable(path)}: expected values in their order from 0, got a line for {given} out of order",
            f"write {_FORM}, or a line for every value from 0, such as `0 background`; `segmi data init` reads others",
        )
    names = (f"{name.split()[0]} {v} {' '.join(name.split()[1:])}" if v in ignored else name for v, name in rows)
    return [(number, name) for (number, _), name in zip(kept, names, strict=True)]


def _trailing_numbers(words: Sequence[str]) -> list[int]:
    fitting = takewhile(lambda word: word.isascii() and word.isdigit() and int(word) <= 255, reversed(words))
    return [int(word) for word in fitting][::-1]


def _color(values: Sequence[int]) -> Color:
    red, green, blue = values
    return red, green, blue


def _color_option(values: Sequence[int]) -> Color:
    if len(values) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
        raise DataError(f"expected a color of three numbers 0–255, got {list(values)}", "write it as [r, g, b]")
    return _color(values)


def _bad_line(path: Path, number: int, line: str) -> DataError:
    return DataError(
        f"{printable(path)}: line {number}: expected a class or ignored, got {printable(line)!r}", f"write {_FORM}"
    )
