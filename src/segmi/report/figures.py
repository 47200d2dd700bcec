"""Predictions as a figure: a row per image, with image, truth and each model side by side, and a legend below."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from segmi.report.drawing import FAINT, INK, figure
from segmi.report.gallery import Gallery, Tile

_TILE, _GAP, _MARGIN, _HEAD, _LINE = 2.1, 0.07, 0.12, 0.34, 0.23  # inches
_SMALL = 8.5  # points


def predictions_figure(images: Gallery) -> Figure:
    """Draw a gallery; call it within `drawing.style`."""
    columns = max(len(tiles) for _, tiles in images.rows)
    heights = [_TILE * _aspect(tiles) for _, tiles in images.rows]
    width = 2 * _MARGIN + columns * _TILE + (columns - 1) * _GAP
    legend = _legend_lines(images.legend, width - 2 * _MARGIN)
    foot = _LINE * len(legend) + (0.16 if legend else 0)
    height = _HEAD + sum(heights) + _GAP * (len(heights) - 1) + foot + _MARGIN
    made = figure(width, height)
    top = height - _HEAD
    for row, (_, tiles) in enumerate(images.rows):
        for column, tile in enumerate(tiles):
            left = _MARGIN + column * (_TILE + _GAP)
            if row == 0:
                middle = (left + _TILE / 2) / width
                made.text(middle, (top + 0.08) / height, _fitted(tile.title), ha="center", va="bottom", fontsize=9.5)
            _draw(made, tile, left, top - heights[row], heights[row])
        top -= heights[row] + _GAP
    _draw_legend(made, legend)
    return made


def _aspect(tiles: Sequence[Tile]) -> float:
    """Height over width of a row's images, kept within reason."""
    shapes = [tile.pixels.shape for tile in tiles if tile.pixels is not None]
    return min(max((shape[0] / shape[1] for shape in shapes), default=0.75), 1.6)


def _draw(made: Figure, tile: Tile, left: float, bottom: float, row_height: float) -> None:
    width, height = made.get_size_inches()
    axes = made.add_axes((left / width, bottom / height, _TILE / width, row_height / height))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#c9ced6", linewidth=0.5)
    if tile.pixels is None:
        axes.set_facecolor("#f3f4f6")
        axes.text(0.5, 0.5, tile.reason, ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    axes.imshow(tile.pixels, interpolation="nearest" if tile.exact else "antialiased")


def _fitted(text: str, length: int = 30) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _legend_lines(
    legend: Sequence[tuple[str, tuple[int, int, int]]], room: float
) -> list[list[tuple[float, str, tuple[int, int, int]]]]:
    """The legend broken into lines: (left edge in inches, class, color)."""
    lines: list[list[tuple[float, str, tuple[int, int, int]]]] = []
    used = room
    for name, color in legend:
        shown = _fitted(name)
        needed = 0.47 + _inches(shown)
        if used + needed > room or not lines:
            lines.append([])
            used = 0.0
        lines[-1].append((used, shown, color))
        used += needed
    return lines


def _inches(text: str) -> float:
    return float(TextPath((0, 0), text, size=_SMALL, usetex=False).get_extents().width) / 72 if text.strip() else 0.0


def _draw_legend(made: Figure, lines: list[list[tuple[float, str, tuple[int, int, int]]]]) -> None:
    width, height = made.get_size_inches()
    for index, line in enumerate(lines):
        middle = _MARGIN + _LINE * (len(lines) - index - 0.5)
        for left, name, color in line:
            made.add_artist(
                Rectangle(
                    ((_MARGIN + left) / width, (middle - 0.065) / height),
                    0.19 / width,
                    0.13 / height,
                    facecolor=tuple(channel / 255 for channel in color),
                    edgecolor="#8b929c",
                    linewidth=0.5,
                    transform=made.transFigure,
                )
            )
            made.text(
                (_MARGIN + left + 0.25) / width, middle / height, name, va="center_baseline", fontsize=_SMALL, color=INK
            )
