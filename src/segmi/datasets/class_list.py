"""The classes of a folder of one's own, as options say or as ``classes.txt`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from segmi.datasets.decode import printable
from segmi.datasets.palette import Color, full_palette, voc_color
from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

FILE_NAME: Final = "classes.txt"

_IGNORED_NAMES: Final = ("ignored", "void")
"""Names that mark ignored pixels in ``classes.txt``; many published lists use "void"."""

_FORM: Final = "one class per line, `name` or `name r g b`; `ignored`, `ignored 255` or `ignored r g b` for ignored"


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their native ids.

    The ids are 0, 1, 2 … in order, leaving out the id of ignored: with ignored 0 the classes are 1, 2 …

    Args:
        names: at least one, all different.
        colors: one per class, all different; None where masks hold ids alone.
        ignored: the id of ignored pixels, None if there are none.
        ignored_color: the color of ignored pixels in color masks.
        origin: the file or option that says so, for messages.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None = None
    ignored: int | None = None
    ignored_color: Color | None = None
    origin: str = "classes"

    def __post_init__(self) -> None:
        self._refuse_if(not 1 <= len(self.names) <= 255, "expected 1 to 255 classes", f"{len(self.names)}")
        self._refuse_repeated("class names", self.names)
        self._refuse_if(
            self.ignored is not None and not 0 <= self.ignored <= 255,
            "expected ignored to be 0 to 255",
            f"{self.ignored}",
        )
        if self.colors is None:
            return
        count = f"{len(self.colors)} colors for {len(self.names)} classes"
        self._refuse_if(len(self.colors) != len(self.names), "expected a color for every class or for none", count)
        ignored = () if self.ignored_color is None else (self.ignored_color,)
        self._refuse_repeated("colors", [" ".join(map(str, color)) for color in (*self.colors, *ignored)])

    @property
    def ids(self) -> tuple[int, ...]:
        """The native id of each class."""
        return tuple(value for value in range(256) if value != self.ignored)[: len(self.names)]

    @property
    def color_ids(self) -> tuple[list[Color], list[int]]:
        """The declared colors, and the native id of each; ignored is there only if its color is declared."""
        colors, ids = list(self.colors or ()), list(self.ids)
        if self.ignored_color is not None and self.ignored is not None:
            colors, ids = [*colors, self.ignored_color], [*ids, self.ignored]
        return colors, ids

    def info(self, title: str) -> DatasetInfo:
        """The facts of a ``folder`` dataset with these classes."""
        ignored = {} if self.ignored is None else {self.ignored: IGNORE_INDEX}
        lookup = lookup_of({native: train for train, native in enumerate(self.ids)} | ignored)
        colors = self.colors or tuple(voc_color(index) for index in range(len(self.names)))
        palette = full_palette(colors, self.ignored_color or voc_color(IGNORE_INDEX))
        return DatasetInfo("folder", title, self.names, palette, self.ignored, lookup)

    def _refuse_if(self, wrong: bool, expected: str, got: str) -> None:
        if wrong:
            raise DataError(f"{self.origin}: {expected}, got {got}", f"write {_FORM}")

    def _refuse_repeated(self, kind: str, values: Sequence[str]) -> None:
        repeated = sorted({value for value in values if values.count(value) > 1})
        self._refuse_if(bool(repeated), f"expected {kind} that differ", f"twice: {', '.join(repeated)}")


def class_list_of(
    root: Path,
    classes: Sequence[str] | None,
    colors: Sequence[Sequence[int]] | None,
    ignored: int | None,
    ignored_color: Sequence[int] | None,
) -> ClassList:
    """The classes as the options say, and where they do not, as ``classes.txt`` in ``root`` says.

    Raises:
        DataError: neither names classes, or what they say contradicts itself.
    """
    path = root / FILE_NAME
    if classes is None and not path.is_file():
        raise DataError(
            f"{printable(path)}: expected the names of the classes there or in the option `classes`, got neither",
            f"write {printable(path)}: {_FORM}",
        )
    read = read_classes(path) if classes is None else ClassList(tuple(map(str, classes)))
    chosen_colors = read.colors if colors is None else tuple(map(_color_option, colors))
    chosen_ignored_color = read.ignored_color if ignored_color is None else _color_option(ignored_color)
    chosen_ignored = read.ignored if ignored is None else ignored
    if chosen_ignored is None and chosen_ignored_color is not None:
        chosen_ignored = IGNORE_INDEX  # a color mask has no ids of its own; any that no class has will do
    return ClassList(read.names, chosen_colors, chosen_ignored, chosen_ignored_color, read.origin)


def read_classes(path: Path) -> ClassList:
    """``classes.txt``: one class per line in the order of the ids, ``name`` or ``name r g b`` (0–255).

    Empty lines and lines that begin with ``#`` do not count; names may have spaces. The name ``ignored`` is no class: its
    line gives pixels that count nowhere the id of its place (``ignored`` first: id 0, ``ignored`` after 11 classes: 11), or
    the id it says (``ignored 255``), and, with three numbers, a color (``ignored 0 0 0``, ``ignored 255 0 0 0``).

    Raises:
        DataError: the file is no UTF-8 text, or a line cannot be meant; the text names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{printable(path)}: expected a text file in UTF-8, got: {error}", "save it as UTF-8") from error
    names: list[str] = []
    colors: list[Color] = []
    ignored: int | None = None
    ignored_color: Color | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
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


def _trailing_numbers(words: Sequence[str]) -> list[int]:
    numbers: list[int] = []
    for word in reversed(words):
        if not (word.isascii() and word.isdigit() and int(word) <= 255):
            break
        numbers.insert(0, int(word))
    return numbers


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
