"""Training histories: the columns of ``metrics.csv`` as quantities, their parts, and a series per method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from segmi.errors import DataError
from segmi.records import RunKey
from segmi.report.describe import read_config
from segmi.statistics import StudyRuns

BUDGET: Final = ("step", "epoch", "learning_rate")
"""Columns that give the position of a row and are not measurements."""

MEAN: Final = "mean over classes"


@dataclass(frozen=True)
class Line:
    """A quantity of one run: steps and values."""

    seed: int
    steps: Sequence[float]
    values: Sequence[float]


@dataclass
class Series:
    """Lines of a method, or of one term of its loss, one per seed."""

    method: str
    variant: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Quantity:
    """Quantity in a column."""

    name: str  # first two parts of the column: ``holdout/mIoU``
    variant: str = ""  # the term of the loss; empty for none
    class_name: str = ""  # the class; empty for none


def quantity_of(column: str, networks: Sequence[str], reported: str, classes: Sequence[str]) -> Quantity | None:
    """Return the quantity of the reported network in a column; None for other networks and for no measurement.

    >>> quantity_of("holdout/mIoU/unet", ["unet", "teacher"], "unet", [])
    Quantity(name='holdout/mIoU', variant='', class_name='')
    >>> quantity_of("train/I_G/rmi_loss/unet/road", ["unet"], "unet", ["road"])
    Quantity(name='train/I_G', variant='rmi_loss', class_name='road')
    >>> quantity_of("holdout/mIoU/teacher", ["unet", "teacher"], "unet", []) is None
    True
    """
    if column in BUDGET or not column:
        return None
    first, _, rest = column.partition("/")
    if not rest:
        return Quantity(first)
    class_name = next((name for name in sorted(classes, key=len, reverse=True) if rest.endswith(f"/{name}")), "")
    parts = rest.removesuffix(f"/{class_name}").split("/") if class_name else rest.split("/")
    name, suffixes = f"{first}/{parts[0]}", parts[1:]
    of_networks = [part for part in suffixes if part in networks]
    if of_networks and reported not in of_networks:
        return None
    variant = "/".join(part for part in suffixes if part not in networks)
    return Quantity(name, variant, class_name)


def histories(study: StudyRuns, dataset: str) -> dict[str, dict[str, list[Series]]]:
    """Return all series of a dataset by quantity and part (``""``, a class, or their mean), including running runs."""
    quantities: dict[str, dict[str, dict[tuple[str, str], Series]]] = {}
    for key, run in study.runs.items():
        if key.dataset != dataset:
            continue
        try:
            rows = run.metrics()
        except DataError:
            continue
        for (name, part, variant), line in _lines(study, key, rows).items():
            series = quantities.setdefault(name, {}).setdefault(part, {})
            series.setdefault((key.method, variant), Series(key.method, variant)).lines.append(line)
    return {name: {part: list(series.values()) for part, series in parts.items()} for name, parts in quantities.items()}


def _lines(study: StudyRuns, key: RunKey, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], Line]:
    # The configuration names the networks before the result exists.
    result, config = study.results.get(key) or {}, read_config(study.runs[key])
    networks = list(result.get("networks") or config.get("networks") or {})
    reported = str(result.get("reported_network") or config.get("reported") or (networks[0] if networks else ""))
    classes = study.classes(key.dataset)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    known = {column: one for column in columns if (one := quantity_of(column, networks, reported, classes))}
    gathered: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        step = row.get("step")
        if not _finite(step):
            continue
        by_class: dict[tuple[str, str], list[float]] = {}
        for column, quantity in known.items():
            value = row.get(column)
            if not _finite(value):
                continue
            gathered.setdefault((quantity.name, quantity.class_name, quantity.variant), []).append((step, value))
            if quantity.class_name:
                by_class.setdefault((quantity.name, quantity.variant), []).append(value)
        for (name, variant), values in by_class.items():
            gathered.setdefault((name, MEAN, variant), []).append((step, statistics.fmean(values)))
    return {part: Line(key.seed, [s for s, _ in points], [v for _, v in points]) for part, points in gathered.items()}


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
