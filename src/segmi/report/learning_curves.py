"""Training histories: the columns of ``metrics.csv`` as quantities, and the static figure of the learning curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from segmi.errors import DataError
from segmi.records import RunKey
from segmi.report.describe import read_config
from segmi.report.drawing import COLORS, DASHES, FAINT, new_figure
from segmi.statistics import StudyRuns

BUDGET: Final = ("step", "epoch", "learning_rate")  # columns that are not measurements
MEAN: Final = "mean over classes"

_ROWS: Final = (
    ("train/loss", "training loss"),
    ("holdout/mIoU", "held-out mIoU"),
    ("holdout/mutual_information", "held-out I(Y; Ŷ), nats"),
    ("holdout/barber_agakov_bound", "held-out H(Y) - CE, nats"),
    ("holdout/jensen_shannon_divergence", "held-out I(K; Ŷ|X), nats"),
)
"""Quantities of the figure and their labels; quantities that no run has are left out."""


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
    for key in (key for key in study.runs if key.dataset == dataset):
        with suppress(DataError):  # an unreadable table has no lines
            for (name, part, variant), line in _lines(study, key, study.runs[key].metrics()).items():
                series = quantities.setdefault(name, {}).setdefault(part, {})
                series.setdefault((key.method, variant), Series(key.method, variant)).lines.append(line)
    return {name: {part: list(series.values()) for part, series in parts.items()} for name, parts in quantities.items()}


def _lines(study: StudyRuns, key: RunKey, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], Line]:
    # The configuration names the networks before the result exists.
    result, config = study.results.get(key) or {}, read_config(study.runs[key])
    networks = list(result.get("networks") or {**(config.get("networks") or {}), **(config.get("ensembles") or {})})
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
        for quantity, value in ((quantity, row.get(column)) for column, quantity in known.items()):
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


def learning_curves(study: StudyRuns) -> Figure | None:
    """Draw the learning curves, within `drawing.style`; None if no run has any."""
    datasets, methods = list(study.plan.datasets), list(study.plan.methods)
    by_dataset = {dataset: histories(study, dataset) for dataset in datasets}
    grid = {
        quantity: {d: [s for s in by_dataset[d].get(quantity, {}).get("", []) if not s.variant] for d in datasets}
        for quantity, _ in _ROWS
    }  # the series of a quantity as a whole: no class, no term of a loss
    rows = [(quantity, name) for quantity, name in _ROWS if any(grid[quantity].values())]
    if not rows:
        return None
    width, height = max(4.6, 0.4 + 3.9 * len(datasets)), 0.75 + 2.25 * len(rows)
    figure = new_figure(width, height)
    axes = figure.subplots(len(rows), len(datasets), squeeze=False, sharex="col")
    for j, dataset in enumerate(datasets):
        for i, (quantity, name) in enumerate(rows):
            _draw(axes[i][j], grid[quantity][dataset], methods)
            axes[i][0].set_ylabel(name)
        axes[0][j].set_title(study.title(dataset), fontsize=10, loc="left", pad=8)
        axes[-1][j].set_xlabel("steps")
    legend_columns = min(len(methods), max(2, int(width / 1.5)))
    styles = [_style(index) for index in range(len(methods))]
    handles = [Line2D([], [], color=color, linestyle=dash, linewidth=1.8) for color, dash in styles]
    labels = list(study.plan.methods.values())
    figure.legend(handles, labels, loc="lower center", ncols=legend_columns, frameon=False, handlelength=2.6)
    legend_height = 0.1 + 0.22 * -(-len(methods) // legend_columns)  # inches
    figure.tight_layout(rect=(0, legend_height / height, 1, 1), w_pad=2.0, h_pad=1.2)
    return figure


def _draw(axes: Axes, series: Sequence[Series], methods: Sequence[str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#9aa1ab", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if not series:
        axes.text(0.5, 0.5, "not recorded", ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    for one in sorted(series, key=lambda one: methods.index(one.method)):
        color, dash = _style(methods.index(one.method))
        mean = _mean(one.lines)
        main = len(one.lines) == 1 or mean is None
        for line in one.lines:
            axes.plot(
                line.steps, line.values, color=color, linestyle=dash if main else "-",
                linewidth=1.8 if main else 0.7, alpha=1.0 if main else 0.4,
                marker="o" if len(line.steps) == 1 else None, markersize=4,
            )  # fmt: skip
        if mean is not None:
            axes.plot(one.lines[0].steps, mean, color=color, linestyle=dash, linewidth=1.8)


def _mean(lines: Sequence[Line]) -> list[float] | None:
    """Return the mean over seeds; None for one seed or for seeds that were measured at different steps."""
    if len(lines) < 2 or any(line.steps != lines[0].steps for line in lines):
        return None
    return [sum(values) / len(values) for values in zip(*(line.values for line in lines), strict=True)]


def _style(index: int) -> tuple[str, tuple[int, tuple[float, ...]]]:
    return COLORS[index % len(COLORS)], DASHES[index % len(DASHES)]
