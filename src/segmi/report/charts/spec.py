"""What a chart is: figures as Plotly takes them, and the choices that lead to one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from segmi.report.drawing import COLORS

Spec: TypeAlias = Mapping[str, Any]
"""``{"data": […], "layout": {…}}``; a color may be ``var(--name)`` or ``var(--name)@0.2`` for a share of it."""

SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "triangle-down")
LINES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LONGEST: Final = 400
"""Points of a line; a longer history is thinned, since no screen shows more."""


@dataclass(frozen=True)
class Choice:
    """A drop-down list above a chart: its label, and (value, text) of what can be chosen."""

    label: str
    options: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Chart:
    """A chart on the page.

    Args:
        name: its identifier.
        title: what it shows, for screen readers too.
        figures: the figures by their choices' values, joined with ``|``; ``""`` where there is no choice.
        choices: the lists above it.
        notes: sentences below it.
        height: in pixels.
        file: a static image of it beside the page, for readers without scripts.
    """

    name: str
    title: str
    figures: Mapping[str, Spec]
    choices: Sequence[Choice] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)
    height: int = 420
    file: str = ""


def chart_data(charts: Sequence[Chart]) -> str:
    """All figures as a script that a page loads from the disk, where JSON could not be fetched."""
    return data_script("charts", {chart.name: chart.figures for chart in charts})


def data_script(name: str, data: Any) -> str:
    """Data as ``window.segmi.<name>``; no text in it can end a script or a comment.

    >>> data_script("charts", ["</script>", float("nan")]).splitlines()[1]
    'window.segmi.charts = ["\\\\u003c/script>",null];'
    """
    text = json.dumps(_finite(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    escaped = text.replace("<", "\\u003c")
    return f"window.segmi = window.segmi || {{}};\nwindow.segmi.{name} = {escaped};\n"


def method_color(index: int, share: float | None = None) -> str:
    """The color of a method by its place in the plan."""
    name = f"var(--model-{index % len(COLORS)})"
    return name if share is None else f"{name}@{share:g}"


def method_line(index: int) -> str:
    """The dash of a method, so that color is not needed to tell methods apart."""
    return LINES[(index // len(COLORS) + index) % len(LINES)]


def method_symbol(index: int) -> str:
    """The mark of a method, likewise."""
    return SYMBOLS[index % len(SYMBOLS)]


def plain_text(text: str) -> str:
    """Text as Plotly shows it: it takes some tags for formatting, and no name is to be one.

    >>> plain_text("<b>a</b> & b")
    '&lt;b&gt;a&lt;/b&gt; &amp; b'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rounded(values: Sequence[float | None], digits: int = 5) -> list[float | None]:
    """Values with as many significant digits as a chart shows; None where there is no finite one."""
    return [None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}") for value in values]


def thinned(count: int) -> list[int]:
    """Which of so many points are drawn: all, or `LONGEST` evenly spaced, the first and the last among them.

    >>> thinned(3), len(thinned(10_000)), thinned(10_000)[-1]
    ([0, 1, 2], 400, 9999)
    """
    if count <= LONGEST:
        return list(range(count))
    return [round(place * (count - 1) / (LONGEST - 1)) for place in range(LONGEST)]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
