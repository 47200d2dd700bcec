"""Static figure of the learning curves: quantities as rows, datasets as columns, a color per model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from segmi.report.drawing import COLORS, DASHES, FAINT, new_figure
from segmi.report.history import Line, Series, histories
from segmi.statistics import StudyRuns

_ROWS: Final = (
    ("train/loss", "training loss"),
    ("holdout/mIoU", "held-out mIoU"),
    ("holdout/mutual_information", "held-out I(Y; Ŷ), nats"),
    ("holdout/barber_agakov_bound", "held-out H(Y) - CE, nats"),
    ("holdout/jensen_shannon_divergence", "held-out I(K; Ŷ|X), nats"),
)
"""Quantities and their labels; quantities that no run has are left out."""


def learning_curves(study: StudyRuns) -> Figure | None:
    """Draw the learning curves, within `drawing.style`; None if no run has any."""
    datasets, methods = list(study.plan.datasets), list(study.plan.methods)
    by_dataset = {dataset: histories(study, dataset) for dataset in datasets}
    grid = {
        quantity: {d: [s for s in by_dataset[d].get(quantity, {}).get("", []) if not s.variant] for d in datasets}
        for quantity, _ in _ROWS
    }
    rows = [(quantity, name) for quantity, name in _ROWS if any(grid[quantity].values())]
    if not rows:
        return None
    width, height = max(4.6, 0.4 + 3.9 * len(datasets)), 0.75 + 2.25 * len(rows)
    figure = new_figure(width, height)
    axes = figure.subplots(len(rows), len(datasets), squeeze=False, sharex="col")
    for i, (quantity, name) in enumerate(rows):
        for j, dataset in enumerate(datasets):
            _draw(axes[i][j], grid[quantity][dataset], methods)
            if i == 0:
                axes[i][j].set_title(study.title(dataset), fontsize=10, loc="left", pad=8)
            if j == 0:
                axes[i][j].set_ylabel(name)
            if i == len(rows) - 1:
                axes[i][j].set_xlabel("steps")
    legend_columns = min(len(methods), max(2, int(width / 1.5)))
    handles = [Line2D([], [], color=_color(m), linestyle=_dash(m), linewidth=1.8) for m in range(len(methods))]
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
        index = methods.index(one.method)
        mean = _mean(one.lines)
        main = len(one.lines) == 1 or mean is None
        for line in one.lines:
            axes.plot(
                line.steps, line.values, color=_color(index), linestyle=_dash(index) if main else "-",
                linewidth=1.8 if main else 0.7, alpha=1.0 if main else 0.4,
                marker="o" if len(line.steps) == 1 else None, markersize=4,
            )  # fmt: skip
        if mean is not None:
            axes.plot(one.lines[0].steps, mean, color=_color(index), linestyle=_dash(index), linewidth=1.8)


def _mean(lines: Sequence[Line]) -> list[float] | None:
    """Return the mean over seeds; None for one seed or for seeds that were measured at different steps."""
    if len(lines) < 2 or any(line.steps != lines[0].steps for line in lines):
        return None
    return [sum(values) / len(values) for values in zip(*(line.values for line in lines), strict=True)]


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _dash(index: int) -> tuple[int, tuple[float, ...]]:
    return DASHES[index % len(DASHES)]
