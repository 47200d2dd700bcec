"""A chart: figures for Plotly, and the choices that select one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from segmi.records import plain
from segmi.report.drawing import COLORS
from segmi.statistics import StudyRuns

Spec: TypeAlias = Mapping[str, Any]
"""``{"data": […], "layout": {…}}``; a color may be ``var(--name)`` or ``var(--name)@0.2`` for an opacity."""

SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "triangle-down")
LINES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_POINTS: Final = 400  # points of a line; longer histories are subsampled to the resolution of a screen


@dataclass(frozen=True)
class Chart:
    """Chart on the page."""

    name: str  # identifier
    title: str  # heading, also read by screen readers
    figures: Mapping[str, Spec]  # figures by the values of the choices, joined with ``|``; ``""`` without choices
    note: str  # sentences below the chart
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # drop-down lists: label → value → text
    height: int = 420  # in pixels


Options: TypeAlias = tuple[tuple[str, str], ...]
"""The option of a figure in every drop-down list, as (value, text)."""


def chart_of(
    name: str, title: str, labels: Sequence[str], figures: Mapping[Options, Spec], note: str, height: int = 420
) -> Chart | None:
    """Return a chart whose drop-down lists have these labels; None without figures."""
    if not figures:
        return None
    choices = {label: dict(options) for label, options in zip(labels, zip(*figures, strict=True), strict=True)}
    by_values = {"|".join(value for value, _ in options): figure for options, figure in figures.items()}
    return Chart(name, title, by_values, note, choices, height)


def chart_data(charts: Sequence[Chart]) -> str:
    """Return all figures as a script, which a page from the disk can load (it cannot load JSON)."""
    return data_script("charts", {chart.name: chart.figures for chart in charts})


def data_script(name: str, data: Any) -> str:
    """Return data as ``window.segmi.<name>``; no text in it can end a script or a comment.

    >>> data_script("charts", ["</script>", float("nan")]).splitlines()[1]
    'window.segmi.charts = ["\\\\u003c/script>",null];'
    """
    text = json.dumps(plain(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    escaped = text.replace("<", "\\u003c")
    return f"window.segmi = window.segmi || {{}};\nwindow.segmi.{name} = {escaped};\n"


class MethodStyle(NamedTuple):
    """Style of a method in all charts; line and marker distinguish it without color."""

    color: str
    dash: str
    symbol: str


def method_style(study: StudyRuns, method: str) -> MethodStyle:
    """Return the style of a method by its position in the plan."""
    index = list(study.plan.methods).index(method)
    dash = LINES[(index // len(COLORS) + index) % len(LINES)]
    return MethodStyle(f"var(--model-{index % len(COLORS)})", dash, SYMBOLS[index % len(SYMBOLS)])


def error_bars(
    centers: Sequence[float], ranges: Sequence[tuple[float, float] | None], color: str, thickness: float = 1.5
) -> dict[str, Any]:
    """Return error bars from centers to (low, high) ranges; None for no bar."""
    pairs = [(center, one or (center, center)) for center, one in zip(centers, ranges, strict=True)]
    above, below = [one[1] - center for center, one in pairs], [center - one[0] for center, one in pairs]
    return {"type": "data", "symmetric": False, "array": rounded(above), "arrayminus": rounded(below),
            "color": color, "thickness": thickness, "width": 0}  # fmt: skip


def plain_text(text: str) -> str:
    """Escape text for Plotly, which formats some HTML tags.

    >>> plain_text("<b>a</b> & b")
    '&lt;b&gt;a&lt;/b&gt; &amp; b'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rounded(values: Sequence[float | None], digits: int = 5) -> list[float | None]:
    """Round values to the significant digits of a chart; None for values that are not finite."""
    return [None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}") for value in values]


def subsample(count: int) -> list[int]:
    """Return the indices of the points to draw: all, or `MOST_POINTS` evenly spaced ones with first and last.

    >>> subsample(3), len(subsample(10_000)), subsample(10_000)[-1]
    ([0, 1, 2], 400, 9999)
    """
    if count <= MOST_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]
