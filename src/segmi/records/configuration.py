"""The configuration that a run was begun with, read as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segmi.records.jsonfile import LARGEST, damaged, refuse_newer


class _Plain(yaml.SafeLoader):
    """No aliases: a few hundred bytes of them stand for millions of items."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which segmi never writes")
        return super().compose_node(parent, index)


def read_configuration(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty if there is no file.

    Raises:
        DataError: it is no YAML mapping, holds more than plain values, or is a newer segmi's.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise damaged(path, f"more than {LARGEST:,} bytes")
        config = yaml.load(content.decode("utf-8"), Loader=_Plain)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(config, dict):
        raise damaged(path, "expected a mapping")
    refuse_newer(path, config.get("schema_version"))
    return config
