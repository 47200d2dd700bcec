"""Static forest plot: the difference of every method to its baseline on every dataset, and over all datasets."""

from __future__ import annotations

from matplotlib.figure import Figure

from segmi.report.drawing import COLORS, FAINT, INK, new_figure
from segmi.report.summary import Statement, Summary
from segmi.statistics import LEVEL, PRIMARY

_LINE = 0.24  # inches per row
_MARKERS = {"better": (COLORS[2], "^"), "worse": (COLORS[1], "v"), "same": (FAINT, "o"), "none": (FAINT, "o")}


def forest_figure(summary: Summary) -> Figure | None:
    """Draw a row per dataset below each method, and its mean over datasets; None if nothing is compared."""
    shown = [one for one in (*summary.statements, *summary.pooled) if one.difference is not None]
    if not shown:
        return None
    methods = dict.fromkeys(one.method for one in shown)
    rows: list[Statement | str] = []
    for method in methods:
        rows += [method, *(one for one in shown if one.method == method)]
    figure = new_figure(6.4, _LINE * len(rows) + 0.7)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.8)
    for line, one in enumerate(rows):
        if isinstance(one, str) or one.difference is None:
            continue
        color, marker = _MARKERS[one.kind]
        pooled = any(one is other for other in summary.pooled)
        if one.interval:
            axes.plot(one.interval, (line, line), color=color, linewidth=3.0 if pooled else 1.6, solid_capstyle="butt")
        axes.plot(one.difference, line, color=color, marker="D" if pooled else marker, markersize=6)
    axes.set_yticks(range(len(rows)), [one if isinstance(one, str) else one.dataset for one in rows])
    for label, one in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if isinstance(one, str) else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"difference in {PRIMARY} to the baseline, {100 * (1 - LEVEL):g} % intervals")
    figure.tight_layout()
    return figure
