"""``segmi.toml``: a `Description` as text that people read and change.

TOML, since Python reads it by itself, each key stands once in it, nothing in it can run, and it has comments.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from segmi.datasets.custom.description import KINDS, SPLITS, Affixes, Description, LabelClass, Part, Value
from segmi.datasets.decode import printable
from segmi.datasets.palette import Color, voc_color
from segmi.errors import DataError, nearest, together
from segmi.types import IGNORE_INDEX

FORMAT: Final = 1

_TOP: Final = (
    "format",
    "title",
    "masks",
    "pairs_only",
    "ignored",
    "ignored_color",
    "classes",
    "splits",
    "names",
    "draw",
)
_NAMES: Final = (*Affixes._fields, "group")
_DRAW: Final = ("val", "test", "seed")


def written(description: Description, found: str = "") -> str:
    """The description as the text of a data-set file.

    Args:
        description: what to write.
        found: in words, how it came about; a comment at the head.
    """
    lines = [
        *(f"# {line}".rstrip() for line in found.splitlines()),
        "# Change what is wrong here, then look again: segmi data check FOLDER",
        "",
        f"format = {FORMAT}",
        f"title = {_text(description.title)}",
        f"masks = {_text(description.masks)}  # index: numbers; color: colors; panoptic: segments, with a JSON file",
        *(["pairs_only = true  # what has no counterpart is left out"] if description.pairs_only else []),
        f"ignored = {_value(description.ignored)}  # values that count nowhere",
        f"ignored_color = {_value(description.ignored_color)}",
        "",
        "# In the order of their train ids; `value` may be a list: classes are merged so.",
        "classes = [",
        *(
            f"  {{ name = {_text(one.name)}, value = {_value(one.values if one.values[1:] else one.values[0])}, "
            f"color = {_value(one.color)} }},"
            for one in description.classes
        ),
        "]",
    ]
    for name, part in description.parts.items():
        lines += ["", f"[splits.{name}]"]
        lines += [f"{key} = {_text(value)}" for key, value in part._asdict().items() if value is not None]
    affixes = [f"{key} = {_text(value)}" for key, value in description.affixes._asdict().items() if value]
    if affixes or description.group is not None:
        lines += [
            "",
            "# What stands around the part of the names that an image and its mask share: before it, behind it,",
        ]
        lines += ["# folders between, or the whole name in a folder of its own; group: a regular expression for what"]
        lines += ["# images of one patient, clip, city … have in common.", "[names]", *affixes]
        lines += [f"group = {_text(description.group)}"] if description.group is not None else []
    if description.drawn:
        lines += ["", "# GeneratedImage from train, whole groups, always the same ones for a seed.", "[draw]"]
        lines += [f"{name} = {share}" for name, share in description.drawn.items()] + [f"seed = {description.seed}"]
    return "\n".join(lines) + "\n"


def read_description(path: Path) -> Description:
    """The description in a data-set file.

    Raises:
        DataError: there is none, it is no TOML, or says what cannot be meant; everything wrong is listed.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(
            f"{printable(path)}: expected a data-set file, got none",
            f"write it: segmi data init {printable(path.parent)}",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{printable(path)} is no TOML file: {error}", "mend it, or write it again: segmi data init") from (
            error
        )
    reader = _Reader()
    description = reader.description(data, printable(path.resolve().parent.name))
    if reader.problems or description is None:
        raise DataError(
            f"{printable(path)} cannot be meant as it stands:\n{together(reader.problems)}",
            "mend these, or write the file again: segmi data init --overwrite",
        )
    return description


class _Reader:
    """Collects everything that is wrong with a file."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def description(self, data: Mapping[str, Any], title: str) -> Description | None:
        self._known(data, _TOP, "")
        if data.get("format") != FORMAT:
            self.problems.append(f"format: expected {FORMAT}, got {data.get('format')!r}; is it of a newer segmi?")
        kind = data.get("masks", "index")
        if kind not in KINDS:
            self.problems.append(f"masks: expected {', '.join(KINDS)}, got {kind!r}")
            return None
        names, draw = self._table(data, "names", _NAMES), self._table(data, "draw", _DRAW)
        texts = {key: self._text(names.get(key, ""), f"names.{key}") for key in Affixes._fields}
        group = self._text(names["group"], "names.group") if "group" in names else None
        shares = {key: self._number(draw.get(key, 0.0), f"draw.{key}") for key in ("val", "test")}
        seed = draw.get("seed", 0)
        if type(seed) is not int:
            self.problems.append(f"draw.seed: expected a whole number, got {seed!r}")
        parts, classes = self._parts(data.get("splits"), kind), self._classes(data.get("classes"), kind)
        ignored = self._values(data.get("ignored", []), kind, "ignored", many=True)
        color = self._color(data.get("ignored_color", list(voc_color(IGNORE_INDEX))), "ignored_color")
        title = self._text(data.get("title", title), "title")
        pairs_only = data.get("pairs_only", False)
        if not isinstance(pairs_only, bool):
            self.problems.append(f"pairs_only: expected true or false, got {pairs_only!r}")
        if self.problems:
            return None
        try:
            return Description(
                title, kind, classes, parts, ignored, color, Affixes(**texts), group, **shares, seed=seed,
                pairs_only=pairs_only,
            )  # fmt: skip
        except DataError as error:
            self.problems.append(f"{error.message}; {error.remedy}")
            return None

    def _known(self, data: Mapping[str, Any], known: Sequence[str], place: str) -> None:
        for key in data:
            if key not in known:
                guess = nearest(key, known)
                hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
                self.problems.append(f"{place}{key}: no such key; {hint}")

    def _table(self, data: Mapping[str, Any], name: str, known: Sequence[str]) -> Mapping[str, Any]:
        table = data.get(name, {})
        if not isinstance(table, dict):
            self.problems.append(f"{name}: expected a table [{name}], got {table!r}")
            return {}
        self._known(table, known, f"{name}.")
        return table

    def _parts(self, splits: Any, kind: str) -> dict[str, Part]:
        if not isinstance(splits, dict) or not splits:
            self.problems.append("splits: expected tables [splits.train], [splits.val], …, got none")
            return {}
        self._known(splits, SPLITS, "splits.")
        parts = {}
        for name in (name for name in SPLITS if name in splits):
            table = self._table(splits, name, Part._fields)
            needed = ("images", "masks", "panoptic") if kind == "panoptic" else ("images", "masks")
            missing = [key for key in needed if key not in table]
            if missing:
                self.problems.append(
                    f"splits.{name}: expected {' and '.join(needed)}, got no {' and no '.join(missing)}"
                )
                continue
            parts[name] = Part(**{key: self._path(value, f"splits.{name}.{key}") for key, value in table.items()})
        return parts

    def _path(self, value: Any, place: str) -> str:
        text = self._text(value, place)
        if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts or "\0" in text:
            self.problems.append(f"{place}: expected a place inside the folder, got {printable(text)!r}")
        return text

    def _classes(self, classes: Any, kind: str) -> tuple[LabelClass, ...]:
        if not isinstance(classes, list) or not classes:
            self.problems.append('classes: expected a list of { name = "…", value = … }, got none')
            return ()
        read = []
        for number, one in enumerate(classes):
            place = f"classes[{number}]"
            if not isinstance(one, dict) or "name" not in one or "value" not in one:
                self.problems.append(f'{place}: expected {{ name = "…", value = … }}, got {one!r}')
                continue
            self._known(one, ("name", "value", "color"), f"{place}.")
            values = self._values(one["value"], kind, f"{place}.value", many=False)
            color = self._color(one.get("color", list(voc_color(number))), f"{place}.color")
            read.append(LabelClass(self._text(one["name"], f"{place}.name"), values, color))
        return tuple(read)

    def _values(self, value: Any, kind: str, place: str, *, many: bool) -> tuple[Value, ...]:
        """One value or a list of them; ``many``: always a list, which may be empty."""
        single = not isinstance(value, list) or (
            kind == "color" and not many and bool(value) and not isinstance(value[0], list)
        )
        items = [value] if single else value
        if kind == "color":
            return tuple(self._color(item, place) for item in items)
        top = IGNORE_INDEX if kind == "index" else 2**31
        wrong = [item for item in items if type(item) is not int or not 0 <= item <= top]
        if wrong or not (items or many):
            self.problems.append(f"{place}: expected numbers from 0 to {top}, got {wrong[0] if wrong else 'none'!r}")
        return tuple(items)

    def _color(self, value: Any, place: str) -> Color:
        whole = isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)
        if not whole:
            self.problems.append(f"{place}: expected a color [r, g, b] of numbers from 0 to 255, got {value!r}")
            return 0, 0, 0
        return value[0], value[1], value[2]

    def _text(self, value: Any, place: str) -> str:
        if not isinstance(value, str):
            self.problems.append(f"{place}: expected text in quotes, got {value!r}")
            return ""
        return value

    def _number(self, value: Any, place: str) -> float:
        if type(value) not in (int, float):
            self.problems.append(f"{place}: expected a number, got {value!r}")
            return 0.0
        return float(value)


def _text(text: str) -> str:
    """As TOML writes it: JSON's escapes are among TOML's, but for one character that TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Value | Iterable[Any]) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(map(_value, value))}]"
