"""Records as JSON: one object per file, its schema version first, written atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from segmi.errors import DataError
from segmi.records.atomic import atomic_write

SCHEMA_VERSION: Final = 1

LARGEST: Final = 2**24
"""Bytes of the largest JSON file that is read; what segmi writes is far smaller."""


def read_json(path: Path) -> Any:
    """What stands in a JSON file, of anybody's making.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or absurdly large or deeply nested.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_record(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file with a schema version; None if there is no file.

    Raises:
        DataError: it is damaged, or written by a newer segmi.
    """
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(record, dict):
        raise damaged(path, f"expected an object, got {type(record).__name__}")
    version = record.get("schema_version")
    if type(version) is not int:
        raise damaged(path, "it has no schema_version")
    refuse_newer(path, version)
    return record


def refuse_newer(path: Path, version: Any) -> None:
    """Refuse the schema version of a record that this segmi does not know yet.

    Raises:
        DataError: naming both versions.
    """
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, expected at most {SCHEMA_VERSION}", "update segmi")


def write_record(path: Path, record: Mapping[str, Any]) -> Path:
    """Write an object atomically, its schema version first."""
    text = json.dumps(
        plain({"schema_version": SCHEMA_VERSION, **record}), indent=2, ensure_ascii=False, allow_nan=False
    )
    return atomic_write(path, text + "\n")


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinities as None, tuples as lists, numpy's numbers as Python's.

    >>> plain({"IoU": (0.5, float("nan"))})
    {'IoU': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy, without importing it for those who do not use it
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def damaged(path: Path, reason: str) -> DataError:
    """The error for a record that cannot be read."""
    return DataError(
        f"{path} is damaged: {reason}", "delete it and run the study again: the run is taken up where it stopped"
    )
