"""Study files are read by a strict YAML reader: plain data, each key once, and the line of every value.

YAML as PyYAML reads it turns ``no`` into False and ``1e-3`` into text, keeps the last of two equal keys, can build
Python objects and can blow a few hundred bytes up into millions of items. Here the scalars follow the YAML 1.2 core
schema, and tags, anchors and aliases do not exist.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from segmi.errors import DataError, UsageError, together

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the keys and list indices that lead to it."""

_LONGEST = 1_000_000
_DEEPEST = 24

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")


@dataclass
class Document:
    """A parsed file.

    Args:
        data: mappings, lists, text, numbers, booleans and None.
        source: the file's name, for messages.
        lines: the line (from 1) of each value by its place.
        set_by: the command-line argument that set the value at a place.
        sources: the file of each value that comes from another one.
    """

    data: Any
    source: str
    lines: dict[Place, int] = field(default_factory=dict)
    set_by: dict[Place, str] = field(default_factory=dict)
    sources: dict[Place, str] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """``file:line``, or the argument that set the value or a part of it; for a missing value, its nearest parent's.

        Example:
            >>> parse("training:\\n  steps: 5\\n", "demo.yaml").where(("training", "steps"))
            'demo.yaml:2'
        """
        if place and place not in self.lines:
            for known, argument in self.set_by.items():
                if known[: len(place)] == place:
                    return f"command line, {argument}"
        for length in range(len(place), -1, -1):
            if place[:length] in self.set_by:
                return f"command line, {self.set_by[place[:length]]}"
            if length and place[:length] in self.lines:
                return f"{self.sources.get(place[:length], self.source)}:{self.lines[place[:length]]}"
        return self.source


def parse(text: str, source: str = "<text>") -> Document:
    """The document in ``text``.

    Raises:
        UsageError: text that is not YAML, or uses what a study file must not: equal keys, tags, anchors, aliases,
            several documents, keys that are not text. All of these are listed, each with its line.

    Example:
        >>> parse("{rate: 1e-3, country: no, name: '1e-3'}").data
        {'rate': 0.001, 'country': 'no', 'name': '1e-3'}
    """
    if len(text) > _LONGEST:
        raise UsageError(
            f"{source} is {len(text):,} characters long; a study file has at most {_LONGEST:,}",
            "give the study file itself",
        )
    try:
        _refuse_what_is_not_plain(text, source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line} is not valid YAML: {error.problem}", "mend the line named above") from None
    except yaml.YAMLError as error:
        raise UsageError(
            f"{source} is not valid YAML: {error}", "save it as UTF-8 text without control signs"
        ) from None
    document = Document(None, source)
    problems: list[str] = []
    if node is not None:
        document.data = _construct(node, (), document, problems)
    if problems:
        raise UsageError(f"{source} cannot be read as it stands:\n{together(problems)}", "mend the lines named above")
    return document


def parse_file(path: str | Path) -> Document:
    """The document in a file.

    Raises:
        UsageError: as `parse`, or no such file.
        DataError: a file that cannot be read as UTF-8 text.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)  # of what has no end, too
        if len(content) > _LONGEST:
            raise UsageError(
                f"{path} has more than {_LONGEST:,} bytes, which no study file needs", "give the study file itself"
            )
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        near = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UsageError(
            f"there is no study file {path}", f"give one that exists, such as {near[0]}" if near else "check the path"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give a readable YAML file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    return parse(text, str(path))


def parse_value(text: str) -> Any:
    """A single value, as on the command line: ``5``, ``1e-3``, ``[0, 1]``, ``{train: 8}``, ``text``."""
    return parse(text, f"value {text!r}").data


def dump(data: Any) -> str:
    """Plain data as YAML that `parse` reads back as the same data, keys in their order.

    Example:
        >>> print(dump({"learning_rate": 1e-5, "label": "no", "version": "1e3"}), end="")
        learning_rate: 1.0e-05
        label: 'no'
        version: '1e3'
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML leaves bare what only the 1.2 schema reads as a number, such as 1e3.
    style = None if isinstance(_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_float(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    text = repr(number) if math.isfinite(number) else {math.inf: ".inf", -math.inf: "-.inf"}.get(number, ".nan")
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)


def _refuse_what_is_not_plain(text: str, source: str) -> None:
    """A pass over the parser's events, before anything is built from them."""
    problems = []
    for line, problem in _oddities(text):
        problems.append(f"{source}:{line + 1}: {problem}")
        if len(problems) > 100:
            break
    if problems:
        raise UsageError(f"{source} uses YAML that is refused:\n{together(problems)}", "write plain values instead")


def _oddities(text: str) -> Iterator[tuple[int, str]]:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield line, "a second document (---); a study file holds one"
        elif isinstance(event, yaml.AliasEvent):
            yield line, f"the alias *{event.anchor}; write the value out"
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                yield line, f"the anchor &{event.anchor}; write the value out where it is used"
            tag = getattr(event, "tag", None)
            if tag not in (None, "!"):
                yield line, f"the tag {tag}; only plain values are read"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                yield line, f"more than {_DEEPEST} levels of nesting"
                return  # composing recurses: no need to find out how deep
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _construct(node: yaml.Node, place: Place, document: Document, problems: list[str]) -> Any:
    document.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, place, document, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*place, index), document, problems) for index, item in enumerate(node.value)]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    try:
        return _scalar(node.value) if plain else node.value
    except ValueError:  # Python refuses integers of more than 4,300 digits
        problems.append(f"{document.source}:{node.start_mark.line + 1}: a number that is too long")
        return None


def _construct_mapping(node: yaml.MappingNode, place: Place, document: Document, problems: list[str]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    first_line: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(key_node.value) if isinstance(key_node, yaml.ScalarNode) and key_node.style is None else None
        if isinstance(key_node, yaml.ScalarNode) and key_node.style is not None:
            key = key_node.value
        if not isinstance(key, str):
            written = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            problems.append(f"{document.source}:{line}: the key {written} is not text; put it in quotes")
            continue
        if key in mapping:
            problems.append(f"{document.source}:{line}: the key {key!r} stands twice (first on line {first_line[key]})")
            continue
        first_line[key] = document.lines[(*place, key)] = line
        mapping[key] = _construct(value_node, (*place, key), document, problems)
    return mapping


def _scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if _NAN.fullmatch(text) else text
