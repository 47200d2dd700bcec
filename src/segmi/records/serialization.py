"""Records as JSON and YAML files: one mapping per file with its schema version, written atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from segmi.errors import DataError
from segmi.records.atomic import atomic_write

SCHEMA_VERSION: Final = 1
LARGEST: Final = 2**24  # bytes of the largest JSON or YAML file that is read; files that segmi writes are far smaller


def read_json(path: Path) -> Any:
    """Return the content of an untrusted JSON file; raises `ValueError` if it is malformed or too large."""
    try:
        return json.loads(_read_limited(path).decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None without a file. Raises `DataError` if it is damaged or newer."""
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(record, dict):
        raise damaged(path, f"expected an object, got {type(record).__name__}")
    if type(record.get("schema_version")) is not int:  # not isinstance: True is an instance of int
        raise damaged(path, "it has no schema_version")
    refuse_newer(path, record["schema_version"])
    return record


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the plain mapping in a YAML file; empty without a file. Raises `DataError` if it is damaged or newer."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            # A few hundred bytes of nested aliases expand to millions of items.
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias, which segmi never writes")
            return super().compose_node(parent, index)

    try:
        config = yaml.load(_read_limited(path).decode("utf-8"), Loader=PlainLoader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(config, dict):
        raise damaged(path, "expected a mapping")
    refuse_newer(path, config.get("schema_version"))
    return config


def refuse_newer(path: Path, version: Any, newest: int = SCHEMA_VERSION) -> None:
    """Raise a `DataError` with both versions if a record has a newer schema than this version of segmi knows."""
    if isinstance(version, int) and version > newest:
        raise DataError(f"{path} has schema version {version}, expected at most {newest}", "update segmi")


def write_record(path: Path, record: Mapping[str, Any], *, indent: int | None = 2) -> Path:
    """Write an object atomically, its schema version first; without ``indent`` on one line."""
    record = plain({"schema_version": SCHEMA_VERSION, **record})
    return atomic_write(path, json.dumps(record, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Convert a value to JSON types: NaN and infinities to None, tuples to lists, numpy numbers to Python numbers.

    >>> plain({"IoU": (0.5, float("nan"))})
    {'IoU': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # a numpy array or scalar; numpy itself is not imported here
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def damaged(path: Path, reason: str) -> DataError:
    """Return the error for a record that cannot be read."""
    return DataError(f"{path} is damaged: {reason}", "delete it and run the study again: the run continues")


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    return content


def result_problem(result: Mapping[str, Any]) -> str | None:
    """Return the problem of the content of a ``result.json`` from an untrusted source; None if it is valid."""
    networks = result.get("networks")
    if not isinstance(networks, Mapping) or not networks:
        return "it lists no networks"
    for name, network in networks.items():
        scores = network.get("scores") if isinstance(network, Mapping) else None
        if not isinstance(scores, Mapping) or not all(isinstance(one, Mapping) for one in scores.values()):
            return f"the network {name} has no scores"
        if not all(_is_score(value) for one in scores.values() for value in one.values()):
            return f"the network {name} has scores that are not numbers"
    if "reported_network" in result and result["reported_network"] not in networks:
        return f"the reported network {result['reported_network']!r} is not among its networks"
    for name in ("dataset", "training", "environment", "baseline_constant", "artifacts"):
        if name in result and not isinstance(result[name], Mapping):
            return f"{name} should be an object"
    for name in result.get("artifacts", {}):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return f"the artifact {name!r} is outside the run folder"
    return None


def _is_score(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_score, value))
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))  # None: NaN in JSON
