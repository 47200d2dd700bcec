"""Every setting of every method, as its runs were configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segmi.report.describe import read_config
from segmi.statistics import StudyRuns

_NO_SETTINGS: Final = ("schema_version", "study", "dataset", "method", "seed", "label")
"""What says which run a configuration is of."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        path: as `segmi study show` prints it.
        values: one per method, as text; of runs that differ all of them.
        same: whether all methods have the same.
    """

    path: str
    values: Sequence[str]
    same: bool


@dataclass(frozen=True)
class Settings:
    """The settings of a study, methods as columns."""

    methods: Sequence[str]
    rows: Sequence[Setting]


def settings_table(study: StudyRuns) -> Settings | None:
    """The settings of all methods that have a configuration; None without any."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, run in study.runs.items():
        for path, value in flat({k: v for k, v in read_config(run).items() if k not in _NO_SETTINGS}).items():
            values = found.setdefault(key.method, {}).setdefault(path, [])
            if value not in values:
                values.append(value)
    methods = [method for method in study.plan.methods if method in found]
    if not methods:
        return None
    paths = list(dict.fromkeys(path for method in methods for path in found[method]))
    rows = [
        Setting(path, shown, len(set(shown)) == 1)
        for path in sorted(paths, key=lambda path: path.partition(".")[0] in ("networks", "loss"))
        if (shown := [" or ".join(found[method].get(path, ["–"])) for method in methods])
    ]
    return Settings([study.plan.methods[method] for method in methods], rows)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as paths and texts.

    >>> flat({"training": {"steps": 100, "betas": [0.9, 0.99]}, "loss": {"cross_entropy": {}}})
    {'training.steps': '100', 'training.betas': '0.9, 0.99', 'loss.cross_entropy': 'defaults'}
    """
    result: dict[str, str] = {}
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            result.update(flat(value, f"{path}."))
        else:
            result[path] = _text(value)
    return result


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "defaults"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value)
