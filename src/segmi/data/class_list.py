"""The classes of a folder of one's own, as options say or as ``classes.txt`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from segmi.data.base import VOID, DataSetInfo, lookup_of
from segmi.data.decode import shown
from segmi.data.palette import Colour, full_palette, voc_colour
from segmi.errors import DataError

FILE_NAME: Final = "classes.txt"

_FORM: Final = "one class per line, `name` or `name r g b`; `void`, `void 255` or `void r g b` for void"


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their native ids.

    The ids are 0, 1, 2 … in order, leaving out the id of void: with void 0 the classes are 1, 2 …

    Args:
        names: at least one, all different.
        colours: one per class, all different; None where masks hold ids alone.
        void: the id of void pixels, None if there are none.
        void_colour: the colour of void pixels in colour masks.
        origin: the file or option that says so, for messages.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None
    void: int | None = None
    void_colour: Colour | None = None
    origin: str = "classes"

    def __post_init__(self) -> None:
        self._refuse_if(not 1 <= len(self.names) <= 255, "expected 1 to 255 classes", f"{len(self.names)}")
        self._refuse_repeated("class names", self.names)
        self._refuse_if(
            self.void is not None and not 0 <= self.void <= 255, "expected void to be 0 to 255", f"{self.void}"
        )
        if self.colours is None:
            return
        count = f"{len(self.colours)} colours for {len(self.names)} classes"
        self._refuse_if(len(self.colours) != len(self.names), "expected a colour for every class or for none", count)
        void = () if self.void_colour is None else (self.void_colour,)
        self._refuse_repeated("colours", [" ".join(map(str, colour)) for colour in (*self.colours, *void)])

    @property
    def ids(self) -> tuple[int, ...]:
        """The native id of each class."""
        return tuple(value for value in range(256) if value != self.void)[: len(self.names)]

    @property
    def colour_ids(self) -> tuple[list[Colour], list[int]]:
        """The declared colours, and the native id of each; void is there only if its colour is declared."""
        colours, ids = list(self.colours or ()), list(self.ids)
        if self.void_colour is not None and self.void is not None:
            colours, ids = [*colours, self.void_colour], [*ids, self.void]
        return colours, ids

    def info(self, title: str) -> DataSetInfo:
        """The facts of a ``folder`` data set with these classes."""
        void = {} if self.void is None else {self.void: VOID}
        lookup = lookup_of({native: train for train, native in enumerate(self.ids)} | void)
        colours = self.colours or tuple(voc_colour(index) for index in range(len(self.names)))
        palette = full_palette(colours, self.void_colour or voc_colour(VOID))
        return DataSetInfo("folder", title, self.names, palette, self.void, lookup)

    def _refuse_if(self, wrong: bool, expected: str, got: str) -> None:
        if wrong:
            raise DataError(f"{self.origin}: {expected}, got {got}", f"write {_FORM}")

    def _refuse_repeated(self, kind: str, values: Sequence[str]) -> None:
        repeated = sorted({value for value in values if values.count(value) > 1})
        self._refuse_if(bool(repeated), f"expected {kind} that differ", f"twice: {', '.join(repeated)}")


def class_list_of(
    root: Path,
    classes: Sequence[str] | None,
    colours: Sequence[Sequence[int]] | None,
    void: int | None,
    void_colour: Sequence[int] | None,
) -> ClassList:
    """The classes as the options say, and where they do not, as ``classes.txt`` in ``root`` says.

    Raises:
        DataError: neither names classes, or what they say contradicts itself.
    """
    path = root / FILE_NAME
    if classes is None and not path.is_file():
        raise DataError(
            f"{shown(path)}: expected the names of the classes there or in the option `classes`, got neither",
            f"write {shown(path)}: {_FORM}",
        )
    read = read_classes(path) if classes is None else ClassList(tuple(map(str, classes)))
    chosen_colours = read.colours if colours is None else tuple(map(_colour_option, colours))
    chosen_void_colour = read.void_colour if void_colour is None else _colour_option(void_colour)
    chosen_void = read.void if void is None else void
    if chosen_void is None and chosen_void_colour is not None:
        chosen_void = VOID  # a colour mask has no ids of its own; any that no class has will do
    return ClassList(read.names, chosen_colours, chosen_void, chosen_void_colour, read.origin)


def read_classes(path: Path) -> ClassList:
    """``classes.txt``: one class per line in the order of the ids, ``name`` or ``name r g b`` (0–255).

    Empty lines and lines that begin with ``#`` do not count; names may have spaces. The name ``void`` is no class: its
    line gives pixels that count nowhere the id of its place (``void`` first: id 0, ``void`` after 11 classes: 11), or
    the id it says (``void 255``), and, with three numbers, a colour (``void 0 0 0``, ``void 255 0 0 0``).

    Raises:
        DataError: the file is no UTF-8 text, or a line cannot be meant; the text names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{shown(path)}: expected a text file in UTF-8, got: {error}", "save it as UTF-8") from error
    names: list[str] = []
    colours: list[Colour] = []
    void: int | None = None
    void_colour: Colour | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        numbers = _trailing_numbers(words)
        if len(numbers) == len(words) or (len(numbers) < 3 and all(word.isdigit() for word in words[-3:])):
            raise _bad_line(path, number, line)  # a colour without a name, or with a number above 255
        if words[0].lower() == "void" and len(numbers) == len(words) - 1:
            if void is not None or len(numbers) not in (0, 1, 3, 4):
                raise _bad_line(path, number, line)
            void = numbers[0] if len(numbers) in (1, 4) else len(names)
            void_colour = _colour(numbers[-3:]) if len(numbers) >= 3 else None
        elif len(numbers) >= 3:
            names.append(" ".join(words[:-3]))
            colours.append(_colour(numbers[-3:]))
        else:
            names.append(" ".join(words))
    return ClassList(tuple(names), tuple(colours) or None, void, void_colour, origin=shown(path))


def _trailing_numbers(words: Sequence[str]) -> list[int]:
    numbers: list[int] = []
    for word in reversed(words):
        if not (word.isascii() and word.isdigit() and int(word) <= 255):
            break
        numbers.insert(0, int(word))
    return numbers


def _colour(values: Sequence[int]) -> Colour:
    red, green, blue = values
    return red, green, blue


def _colour_option(values: Sequence[int]) -> Colour:
    if len(values) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
        raise DataError(f"expected a colour of three numbers 0–255, got {list(values)}", "write it as [r, g, b]")
    return _colour(values)


def _bad_line(path: Path, number: int, line: str) -> DataError:
    return DataError(f"{shown(path)}: line {number}: expected a class or void, got {shown(line)!r}", f"write {_FORM}")
