"""What all figures share: no global state of matplotlib, equal bytes for equal records."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from segmi.records import atomic_write

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""One per model, told apart by color-blind readers (Okabe and Ito)."""

DASHES: Final = ((0, ()), (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""One per model too, for prints in gray."""

INK: Final = "#1d2128"
FAINT: Final = "#6b7280"

_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # class names may hold dollars
    "svg.hashsalt": "segmi",
    "svg.fonttype": "path",
}


def style() -> Any:
    """The style as a context, within which figures are both made and saved."""
    return mpl.rc_context(_STYLE)


def figure(width: float, height: float) -> Figure:
    """An empty figure in inches, tied to no window."""
    made = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    return made


def tidy(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#9aa1ab", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def save_png(made: Figure, path: Path, *, dpi: int = 150) -> Path:
    """Write a PNG without date or version in it."""
    data = io.BytesIO()
    FigureCanvasAgg(made)
    made.savefig(data, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return atomic_write(path, data.getvalue())


def svg_text(made: Figure) -> str:
    """The figure as SVG with a transparent ground, without date or version in it."""
    data = io.BytesIO()
    FigureCanvasSVG(made)
    made.savefig(
        data, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return data.getvalue().decode("utf-8")
