"""Reading and writing ``segmi.toml``.

TOML, since Python has a parser for it, keys cannot repeat, nothing in it is executed, and it has comments.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, get_args

from segmi.datasets.custom.dataset_config import (
    KINDS,
    NO_AFFIXES,
    SPLITS,
    Affixes,
    CustomConfig,
    LabelClass,
    SplitFolders,
    Value,
)
from segmi.datasets.decode import printable
from segmi.datasets.image_format import ImageFormat, Orientation
from segmi.datasets.palette import Color, voc_color
from segmi.datasets.transforms import check_transforms
from segmi.errors import DataError, EnvironmentProblem, UsageError, nearest, together
from segmi.types import IGNORE_INDEX

FORMAT: Final = 1

_TOP: Final = (
    *("format", "title", "root", "masks", "threshold", "pairs_only", "ignored", "ignored_color", "classes"),
    *("splits", "names", "draw", "bands", "value_range", "shown_bands", "exif_orientation", "transforms"),
)
_NAMES: Final = (*Affixes._fields, "group", "groups")
_DRAW: Final = ("val", "test", "seed", "contiguous")
_NAMES_COMMENT: Final = """\
# The affixes of the names that an image and its mask share: prefixes, suffixes, folders, or the whole
# name; a split can have its own. group: a regular expression for the shared part of the names of
# dependent images, such as all images of one patient, clip or city. groups: a file with lines
# `name group`, or a table with a column such as patient, instead.
"""


def format_config(config: CustomConfig, comment: str = "") -> str:
    """Return the text of ``segmi.toml``; the first lines are a comment, such as how the content was detected."""
    lines = [
        *(f"# {line}".rstrip() for line in comment.splitlines()),
        "# Correct this file if necessary, then check it: segmi data check FOLDER",
        "",
        f"format = {FORMAT}",
        f"title = {_text(config.title)}",
        *([] if config.root is None else [f"root = {_text(config.root)}  # the folder of the images and masks"]),
        f"masks = {_text(config.masks)}  # index: values; color: colors; panoptic: segments, with a JSON file",
        *([] if config.threshold is None else [f"threshold = {config.threshold}  # 255 from this level on, 0 below"]),
        *(["pairs_only = true  # unmatched images and masks are left out"] if config.pairs_only else []),
        *_image_lines(config.images),
        f"ignored = {_value(config.ignored)}  # values of ignored pixels",
        f"ignored_color = {_value(config.ignored_color)}",
        "",
        "# In the order of their train ids. A list of values merges classes.",
        "classes = [",
        *(
            f"  {{ name = {_text(one.name)}, value = {_value(one.values if one.values[1:] else one.values[0])}, "
            f"color = {_value(one.color)} }},"
            for one in config.classes
        ),
        "]",
    ]
    for name, part in config.parts.items():
        lines += ["", f"[splits.{name}]"]
        own = NO_AFFIXES if part.affixes is None else part.affixes
        named = {key: value for key, value in part._replace(affixes=None)._asdict().items() if value is not None}
        named |= {key: value for key, value in own._asdict().items() if value}
        lines += [f"{key} = {_text(value)}" for key, value in named.items()]
    affixes = [f"{key} = {_text(value)}" for key, value in config.affixes._asdict().items() if value]
    named = {"group": config.group, "groups": config.groups}
    affixes += [f"{key} = {_text(value)}" for key, value in named.items() if value is not None]
    if affixes:
        lines += ["", *_NAMES_COMMENT.splitlines(), "[names]", *affixes]
    if config.drawn:
        how = "the last images of each group" if config.contiguous else "drawn in whole groups; a function of the seed"
        lines += ["", f"# Shares of train, {how}.", "[draw]"]
        lines += [f"{name} = {share}" for name, share in config.drawn.items()] + [f"seed = {config.seed}"]
        lines += ["contiguous = true"] if config.contiguous else []
    for spec in config.transforms:
        lines += ["", "[[transforms]]", *(f"{key} = {json.dumps(value)}" for key, value in spec.items())]
    return "\n".join(lines) + "\n"


def _image_lines(images: ImageFormat) -> list[str]:
    comments = {
        "bands": "bands of the files, from 1, that the network sees",
        "value_range": 'become 0 and 1: a pair, one pair per band, "type" or "percentiles" of the training images',
        "shown_bands": "bands in figures: gray, or red, green and blue",
        "exif_orientation": '"apply" turns images and masks by their EXIF tag, "ignore" reads the stored pixels',
    }
    names = {"shown": "shown_bands", "orientation": "exif_orientation"}
    given = {names.get(key, key): value for key, value in images.plain().items()}
    return [f"{key} = {_given(given[key])}  # {comment}" for key, comment in comments.items() if key in given]


def read_config(path: Path) -> CustomConfig:
    """Read ``segmi.toml``.

    Raises:
        DataError: the file is missing, is not TOML, or has invalid entries; all of them are listed.
    """
    folder = printable(path.parent)
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        message = f"{printable(path)}: expected a description of the folder, got no file"
        raise DataError(message, f"write it: segmi data init {folder}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{printable(path)}: expected a TOML file, got: {error}",
            f"correct it, or write it again: segmi data init {folder} --overwrite",
        ) from error
    parser = _Parser()
    config = parser.config(data, printable(path.resolve().parent.name))
    if parser.problems or config is None:
        raise DataError(
            f"{printable(path)} has invalid entries:\n{together(parser.problems)}",
            f"correct them, or write the file again: segmi data init {folder} --overwrite",
        )
    return config


class _Parser:
    """Validates the data of a file, collecting all problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def config(self, data: Mapping[str, Any], title: str) -> CustomConfig | None:
        self._check_keys(data, _TOP, "")
        given = data.get("format")
        self._check(given == FORMAT, "format", f"{FORMAT}; does a newer segmi write it?", given)
        kind = data.get("masks", "index")
        if not self._check(kind in KINDS, "masks", ", ".join(KINDS), kind):
            return None
        names, draw = self._table(data, "names", _NAMES), self._table(data, "draw", _DRAW)
        affixes = {key: self._text(names.get(key, ""), f"names.{key}") for key in Affixes._fields}
        group = self._text(names["group"], "names.group") if "group" in names else None
        groups = self._path(names["groups"], "names.groups") if "groups" in names else None
        root = self._text(data["root"], "root") if "root" in data else None
        self._check(type(level := data.get("threshold", 1)) is int and level > 0, "threshold", "an integer > 0", level)
        self._check(isinstance(last := draw.get("contiguous", False), bool), "draw.contiguous", "true or false", last)
        shares = {key: self._number(draw.get(key, 0.0), f"draw.{key}") for key in ("val", "test")}
        self._check(type(seed := draw.get("seed", 0)) is int, "draw.seed", "an integer", seed)
        parts, classes = self._parts(data.get("splits"), kind), self._classes(data.get("classes"), kind)
        ignored = self._values(data.get("ignored", []), kind, "ignored", many=True)
        color = self._color(data.get("ignored_color", list(voc_color(IGNORE_INDEX))), "ignored_color")
        title = self._text(data.get("title", title), "title")
        self._check(isinstance(only := data.get("pairs_only", False), bool), "pairs_only", "true or false", only)
        images = self._images(data)
        if self.problems:
            return None
        rest: dict[str, Any] = {**shares, "seed": seed, "pairs_only": only, "threshold": data.get("threshold")}
        rest |= {"groups": groups, "contiguous": last, "root": root, "transforms": tuple(data.get("transforms", []))}
        try:
            check_transforms(rest["transforms"])
            rest["images"] = ImageFormat.from_plain(images)
            return CustomConfig(title, kind, classes, parts, ignored, color, Affixes(**affixes), group, **rest)
        except (DataError, UsageError, EnvironmentProblem) as error:
            self.problems.append(f"{error.message}; {error.remedy}")
            return None

    def _images(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bands, their value range and orientation as `ImageFormat.from_plain` reads them."""
        images: dict[str, Any] = {}
        for key, name in (("bands", "bands"), ("shown_bands", "shown")):
            if key in data:
                valid = isinstance(data[key], list) and all(type(number) is int for number in data[key])
                self._check(valid and data[key], key, "a list of band numbers from 1, such as [1, 2, 3]", data[key])
                images[name] = data[key]
        if "exif_orientation" in data:
            given = data["exif_orientation"]
            self._check(given in get_args(Orientation), "exif_orientation", '"apply" or "ignore"', given)
            images["orientation"] = given
        if "value_range" in data:
            given = data["value_range"]
            pairs = [given] if isinstance(given, list) and given and not isinstance(given[0], list) else given
            valid = given in ("type", "percentiles") or (
                isinstance(pairs, list)
                and all(isinstance(p, list) and len(p) == 2 and {*map(type, p)} <= {int, float} for p in pairs)
            )
            self._check(valid, "value_range", '"type", "percentiles", [low, high] or one such pair per band', given)
            images["value_range"] = pairs
        return images

    def _check(self, valid: bool, key: str, expected: str, given: Any) -> bool:
        if not valid:
            self.problems.append(f"{key}: expected {expected}, got {given!r}")
        return valid

    def _check_keys(self, data: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
        for key in data:
            if key not in known:
                guess = nearest(key, known)
                hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
                self.problems.append(f"{prefix}{key}: no such key; {hint}")

    def _table(self, data: Mapping[str, Any], name: str, known: Sequence[str]) -> Mapping[str, Any]:
        table = data.get(name, {})
        if not self._check(isinstance(table, dict), name, f"a table [{name}]", table):
            return {}
        self._check_keys(table, known, f"{name}.")
        return dict(table)

    def _parts(self, splits: Any, kind: str) -> dict[str, SplitFolders]:
        if not isinstance(splits, dict) or not splits:
            self.problems.append("splits: expected tables [splits.train], [splits.val], …, got none")
            return {}
        self._check_keys(splits, SPLITS, "splits.")
        parts = {}
        for name in (name for name in SPLITS if name in splits):
            table = self._table(splits, name, (*SplitFolders._fields[:-1], *Affixes._fields))
            needed = ("images", "masks", "panoptic") if kind == "panoptic" else ("images", "masks")
            if missing := " and no ".join(key for key in needed if key not in table):
                self.problems.append(f"splits.{name}: expected {' and '.join(needed)}, got no {missing}")
                continue
            paths = {key: self._path(value, f"splits.{name}.{key}") for key, value in table.items()}
            own = {key: paths.pop(key) for key in Affixes._fields if key in paths}
            parts[name] = SplitFolders(**paths, affixes=Affixes(**own) if own else None)
        return parts

    def _path(self, value: Any, key: str) -> str:
        text = self._text(value, key)
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or "\0" in text:
            self.problems.append(f"{key}: expected a path inside the folder, got {printable(text)!r}")
        return text

    def _classes(self, classes: Any, kind: str) -> tuple[LabelClass, ...]:
        form = '{ name = "…", value = … }'
        if not isinstance(classes, list) or not classes:
            self.problems.append(f"classes: expected a list of {form}, got none")
            return ()
        read = []
        for number, one in enumerate(classes):
            key = f"classes[{number}]"
            if not self._check(isinstance(one, dict) and {"name", "value"} <= one.keys(), key, form, one):
                continue
            self._check_keys(one, ("name", "value", "color"), f"{key}.")
            values = self._values(one["value"], kind, f"{key}.value", many=False)
            color = self._color(one.get("color", list(voc_color(number))), f"{key}.color")
            read.append(LabelClass(self._text(one["name"], f"{key}.name"), values, color))
        return tuple(read)

    def _values(self, value: Any, kind: str, key: str, *, many: bool) -> tuple[Value, ...]:
        """Return one value or a list of them; ``many``: always a list, possibly empty."""
        single = not isinstance(value, list) or (
            kind == "color" and not many and bool(value) and not isinstance(value[0], list)
        )
        items = [value] if single else value
        if kind == "color":
            return tuple(self._color(item, key) for item in items)
        top = IGNORE_INDEX if kind == "index" else 2**31
        wrong = [item for item in items if type(item) is not int or not 0 <= item <= top]
        if wrong or not (items or many):
            self.problems.append(f"{key}: expected integers from 0 to {top}, got {wrong[0] if wrong else 'none'!r}")
        return tuple(items)

    def _color(self, value: Any, key: str) -> Color:
        valid = isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)
        if not self._check(valid, key, "a color [r, g, b] of integers from 0 to 255", value):
            return 0, 0, 0
        return value[0], value[1], value[2]

    def _text(self, value: Any, key: str) -> str:
        return value if self._check(isinstance(value, str), key, "text in quotes", value) else ""

    def _number(self, value: Any, key: str) -> float:
        return float(value) if self._check(type(value) in (int, float), key, "a number", value) else 0.0


def _text(text: str) -> str:
    """Return a TOML string: JSON's escapes are valid in TOML, which also requires one for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _given(value: Any) -> str:
    return json.dumps(value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) else value)


def _value(value: Value | Iterable[Any]) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(map(_value, value))}]"
