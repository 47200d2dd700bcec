"""Style and files of static figures: no global state of matplotlib, equal bytes for equal records."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from segmi.records import atomic_write

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""One color per model, distinguishable for color-blind readers (Okabe and Ito)."""

DASHES: Final = ((0, ()), (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""One line style per model, for black-and-white prints."""

INK: Final = "#1d2128"
FAINT: Final = "#6b7280"

_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",  # part of matplotlib, so figures are the same on every machine
    "text.parse_math": False,  # class names may contain dollar signs
    "font.size": 9, "axes.linewidth": 0.7, "svg.hashsalt": "segmi", "svg.fonttype": "path",
    "text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT,
}  # fmt: skip


def style() -> Any:
    """Return a context manager that applies the style to figures."""
    return mpl.rc_context(_STYLE)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, without a window."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> Path:
    """Write a PNG without date and version."""
    data = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return atomic_write(path, data.getvalue())


def svg_text(figure: Figure) -> str:
    """Return the figure as SVG with a transparent background, without date and version."""
    data = io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(
        data, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return data.getvalue().decode("utf-8")
