"""Learning curves: loss, held-out mIoU and information over steps, a column per dataset, a color per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from segmi.errors import DataError
from segmi.report.drawing import COLORS, DASHES, FAINT, figure, tidy
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns

Curve: TypeAlias = tuple[list[float], list[float]]
"""Updates and values."""

_ROWS = (
    ("train/loss", "training loss"),
    ("holdout/mIoU", "held-out mIoU"),
    ("holdout/mutual_information", "held-out I(Y; Ŷ), nats"),
    ("holdout/barber_agakov_bound", "held-out H(Y) - CE, nats"),
    ("holdout/jensen_shannon_divergence", "held-out I(K; Ŷ|X), nats"),
)
"""Columns of the history, and what they are called; those that no run has are left out."""


def curves_of(study: StudyRuns, dataset: str, quantity: str) -> dict[str, list[Curve]]:
    """The curves of one quantity by method, one per seed; runs still under way are shown as far as they are."""
    curves: dict[str, list[Curve]] = {}
    for key, run in study.runs.items():
        if key.dataset != dataset:
            continue
        try:
            rows = run.metrics()
        except DataError:
            continue
        column = _column(rows, quantity, (study.results.get(key) or {}).get("reported_network"))
        points = [(row["step"], row[column]) for row in rows if _numeric(row.get("step")) and _numeric(row.get(column))]
        if points:
            curves.setdefault(key.method, []).append(([p[0] for p in points], [p[1] for p in points]))
    return curves


def learning_curves(study: StudyRuns) -> Figure | None:
    """Draw them; None if no run has any. Call it within `drawing.style`."""
    grid = {
        quantity: {dataset: curves_of(study, dataset, quantity) for dataset in study.plan.datasets}
        for quantity, _ in _ROWS
    }
    shown = [(quantity, name) for quantity, name in _ROWS if any(grid[quantity].values())]
    if not shown:
        return None
    datasets = list(study.plan.datasets)
    width, height = max(4.6, 0.4 + 3.9 * len(datasets)), 0.75 + 2.25 * len(shown)
    made = figure(width, height)
    axes = made.subplots(len(shown), len(datasets), squeeze=False, sharex="col")
    methods = list(study.plan.methods)
    for i, (quantity, name) in enumerate(shown):
        for j, dataset in enumerate(datasets):
            _draw(axes[i][j], grid[quantity][dataset], methods)
            if i == 0:
                axes[i][j].set_title(title_of(study, dataset), fontsize=10, loc="left", pad=8)
            if j == 0:
                axes[i][j].set_ylabel(name)
            if i == len(shown) - 1:
                axes[i][j].set_xlabel("steps")
    lines = [Line2D([], [], color=_color(m), linestyle=_dash(m), linewidth=1.8) for m in range(len(methods))]
    made.legend(
        lines,
        list(study.plan.methods.values()),
        loc="lower center",
        ncols=min(len(methods), max(2, int(width / 1.5))),
        frameon=False,
        handlelength=2.6,
    )
    legend_lines = -(-len(methods) // min(len(methods), max(2, int(width / 1.5))))
    made.tight_layout(rect=(0, (0.1 + 0.22 * legend_lines) / height, 1, 1), w_pad=2.0, h_pad=1.2)
    return made


def _draw(axes: Axes, curves: Mapping[str, Sequence[Curve]], methods: Sequence[str]) -> None:
    tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if not curves:
        axes.text(0.5, 0.5, "not recorded", ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    for index, method in enumerate(methods):
        seeds = curves.get(method, [])
        mean = _mean(seeds)
        for steps, values in seeds:
            marker = "o" if len(steps) == 1 else None
            alone = len(seeds) == 1 or mean is None
            axes.plot(
                steps,
                values,
                color=_color(index),
                linestyle=_dash(index) if alone else "-",
                linewidth=1.8 if alone else 0.7,
                alpha=1.0 if alone else 0.4,
                marker=marker,
                markersize=4,
            )
        if mean is not None:
            axes.plot(*mean, color=_color(index), linestyle=_dash(index), linewidth=1.8)


def _mean(seeds: Sequence[Curve]) -> Curve | None:
    """The mean over seeds that were measured at the same steps; None for one seed or for different steps."""
    if len(seeds) < 2 or any(steps != seeds[0][0] for steps, _ in seeds):
        return None
    return seeds[0][0], [sum(values) / len(seeds) for values in zip(*(values for _, values in seeds), strict=True)]


def _column(rows: Sequence[Mapping[str, Any]], quantity: str, network: str | None) -> str:
    """The reported network's column of a quantity that is measured per network."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if quantity in names:
        return quantity
    per_network = [name for name in names if name.startswith(f"{quantity}/")]
    wanted = f"{quantity}/{network}"
    return wanted if wanted in per_network else per_network[0] if per_network else quantity


def _numeric(value: Any) -> bool:
    return isinstance(value, float) and value == value and abs(value) != float("inf")


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _dash(index: int) -> Any:
    return DASHES[index % len(DASHES)]
