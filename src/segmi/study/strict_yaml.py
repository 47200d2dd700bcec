"""Strict YAML reader for study files: plain data, unique keys, and the line of every value.

PyYAML alone reads ``no`` as False and ``1e-3`` as text, keeps the last of two equal keys, and expands aliases without
limit. ``ruamel.yaml`` reads ``1_000`` and ``2001-01-01`` as number and date, and accepts anchors, tags and merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from segmi.errors import DataError, UsageError, together

KeyPath: TypeAlias = tuple[str | int, ...]  # the keys and list indices that lead to a value

_LONGEST: Final = 1_000_000  # characters
_DEEPEST: Final = 24  # levels of nesting; the data is built by recursion
_MOST_PROBLEMS: Final = 100

# Plain scalars of the YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution; any other text is a str.
_SCALARS: Final[tuple[tuple[str, Callable[[str], Any]], ...]] = (
    (r"null|Null|NULL|~|", lambda text: None),
    (r"true|True|TRUE", lambda text: True),
    (r"false|False|FALSE", lambda text: False),
    (r"[-+]?[0-9]+", int),
    (r"0o[0-7]+|0x[0-9a-fA-F]+", lambda text: int(text, 0)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)


@dataclass
class Document:
    """Parsed file."""

    data: Any  # mappings, lists, text, numbers, booleans and None
    source: str  # name of the file, for messages
    places: dict[KeyPath, tuple[str, int]] = field(default_factory=dict)  # file and line, from 1, of each value
    set_by: dict[KeyPath, str] = field(default_factory=dict)  # command-line argument that set a value

    def where(self, path: KeyPath) -> str:
        """Return ``file:line`` of a value or of its nearest parent, or the command-line argument that set it."""
        if path and path not in self.places:
            for known, argument in self.set_by.items():
                if known[: len(path)] == path:
                    return f"command line, {argument}"
        for length in range(len(path), -1, -1):
            if path[:length] in self.set_by:
                return f"command line, {self.set_by[path[:length]]}"
            if length and path[:length] in self.places:
                return ":".join(map(str, self.places[path[:length]]))
        return self.source

    def forget_places(self, path: KeyPath) -> None:
        """Remove the places and arguments of a replaced value and of all values in it."""
        for origins in (self.places, self.set_by):
            for known in [known for known in origins if known[: len(path)] == path]:
                del origins[known]


def parse(text: str, source: str = "<text>") -> Document:
    """Parse a YAML document.

    Raises:
        UsageError: if the text is not YAML, or has duplicate keys, tags, anchors, aliases, several documents, or keys
            that are not text. All of these are listed with their lines.

    Example:
        >>> parse("{rate: 1e-3, country: no, name: '1e-3'}").data
        {'rate': 0.001, 'country': 'no', 'name': '1e-3'}
    """
    if len(text) > _LONGEST:
        message = f"{source} has {len(text):,} characters; a study file has at most {_LONGEST:,}"
        raise UsageError(message, "give a study file")
    try:
        # The parser's events are checked before any data is built from them.
        special = [f"{source}:{line + 1}: {problem}" for line, problem in islice(_special_yaml(text), _MOST_PROBLEMS)]
        if special:
            raise UsageError(f"{source} uses YAML that is refused:\n{together(special)}", "write plain values instead")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line} is not valid YAML: {error.problem}", "correct this line") from None
    except yaml.YAMLError as error:
        remedy = "save it as UTF-8 text without control characters"
        raise UsageError(f"{source} is not valid YAML: {error}", remedy) from None
    document, problems = Document(None, source), list[str]()
    if node is not None:
        document.data = _construct(node, (), document, problems)
    if problems:
        raise UsageError(f"{source} cannot be read:\n{together(problems)}", "correct these lines")
    return document


def parse_file(path: str | Path) -> Document:
    """Parse a YAML file; raises `UsageError` as `parse` or if it cannot be opened, `DataError` if it is not UTF-8."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)  # bounded: the path may be a device without an end
        if len(content) > _LONGEST:
            raise UsageError(f"{path} has more than {_LONGEST:,} bytes, too many for a study file", "give a study file")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        near = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        remedy = f"give an existing file, such as {near[0]}" if near else "check the path"
        raise UsageError(f"there is no study file {path}", remedy) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give a readable YAML file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    return parse(text, str(path))


def parse_value(text: str) -> Any:
    """Parse a value of the command line, such as ``5``, ``1e-3``, ``[0, 1]``, ``{train: 8}`` or ``text``."""
    return parse(text, f"value {text!r}").data


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, or an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def dump(data: Any) -> str:
    """Write plain data as YAML that `parse` reads back, keys in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes text such as 1e3 without quotes, which the 1.2 schema reads as a number.
    style = None if isinstance(_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _special_yaml(text: str) -> Iterator[tuple[int, str]]:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield line, "a second document (---); a study file has one"
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
                return  # parsing deeper levels only costs time
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _construct(node: yaml.Node, path: KeyPath, document: Document, problems: list[str]) -> Any:
    document.places.setdefault(path, (document.source, node.start_mark.line + 1))
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, document, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), document, problems) for index, item in enumerate(node.value)]
    try:
        return _node_value(node) if isinstance(node, yaml.ScalarNode) else None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        problems.append(f"{document.source}:{node.start_mark.line + 1}: a number that is too long")
        return None


def _construct_mapping(
    node: yaml.MappingNode, path: KeyPath, document: Document, problems: list[str]
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, scalar = key_node.start_mark.line + 1, isinstance(key_node, yaml.ScalarNode)
        key = _node_value(key_node) if scalar else None
        if not isinstance(key, str):
            written = key_node.value if scalar else "a list or mapping"
            problems.append(f"{document.source}:{line}: the key {written} is not text; put it in quotes")
        elif key in mapping:
            first = document.places[(*path, key)][1]
            problems.append(f"{document.source}:{line}: duplicate key {key!r} (first on line {first})")
        else:
            document.places[(*path, key)] = document.source, line
            mapping[key] = _construct(value_node, (*path, key), document, problems)
    return mapping


def _node_value(node: yaml.ScalarNode) -> Any:
    return node.value if node.style is not None else _scalar(node.value)  # quoted scalars are text


def _scalar(text: str) -> Any:
    convert = next((convert for pattern, convert in _SCALARS if re.fullmatch(pattern, text)), str)
    return convert(text)
