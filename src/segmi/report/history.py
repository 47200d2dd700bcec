"""What runs measured while they trained: the columns of their histories as quantities, parts and series."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from segmi.errors import DataError
from segmi.report.describe import read_config
from segmi.statistics import StudyRuns

BUDGET: Final = ("step", "epoch", "learning_rate")
"""Columns that say where a row stands and are no measurements."""

MEAN: Final = "mean over classes"


@dataclass(frozen=True)
class Line:
    """One quantity of one run: at which steps it was measured, and what came out."""

    seed: int
    steps: Sequence[float]
    values: Sequence[float]


@dataclass
class Series:
    """The lines of one method, or of one term of its loss, one per seed."""

    method: str
    variant: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Quantity:
    """What a column measures.

    Args:
        name: its first two parts, such as ``holdout/mIoU`` or ``train/I_G``.
        variant: the term of the loss that it belongs to; empty for none.
        class_name: the class that it is of; empty for none.
    """

    name: str
    variant: str = ""
    class_name: str = ""


def quantity_of(column: str, networks: Sequence[str], reported: str, classes: Sequence[str]) -> Quantity | None:
    """What a column measures of the reported network; None for other networks' columns and for none of a measurement.

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
    name, further = f"{first}/{parts[0]}", parts[1:]
    named = [part for part in further if part in networks]
    if named and reported not in named:
        return None
    variant = "/".join(part for part in further if part not in networks)
    return Quantity(name, variant, class_name)


def histories(study: StudyRuns, dataset: str) -> dict[str, dict[str, list[Series]]]:
    """All series of a dataset, by quantity and by part of it (``""``, a class, or their mean); runs under way too."""
    found: dict[str, dict[str, dict[tuple[str, str], Series]]] = {}
    for key, run in study.runs.items():
        if key.dataset != dataset:
            continue
        try:
            rows = run.metrics()
        except DataError:
            continue
        for (name, part, variant), line in _lines(study, key, rows).items():
            series = found.setdefault(name, {}).setdefault(part, {})
            series.setdefault((key.method, variant), Series(key.method, variant)).lines.append(line)
    return {name: {part: list(series.values()) for part, series in parts.items()} for name, parts in found.items()}


def _lines(study: StudyRuns, key: Any, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], Line]:
    networks, reported, classes = _context(study, key)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    known = {column: found for column in columns if (found := quantity_of(column, networks, reported, classes))}
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
    return {place: Line(key.seed, [s for s, _ in points], [v for _, v in points]) for place, points in gathered.items()}


def _context(study: StudyRuns, key: Any) -> tuple[list[str], str, list[str]]:
    """Networks, the reported one, and classes, from the result or, before there is one, from the configuration."""
    result, config = study.results.get(key) or {}, read_config(study.runs[key])
    networks = list(result.get("networks") or config.get("networks") or {})
    reported = str(result.get("reported_network") or config.get("reported") or (networks[0] if networks else ""))
    cards = [result, *study.results_of(key.dataset)]
    classes = next(([str(c) for c in (card.get("dataset") or {}).get("classes") or []] for card in cards if card), [])
    return networks, reported, classes


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
