"""Static figure of predictions: a row per image with image, ground truth and each model, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from segmi.errors import DataError
from segmi.records import read_image, read_labels
from segmi.report.drawing import FAINT, new_figure
from segmi.report.gallery_files import ImageSet, Mask, image_set
from segmi.statistics import StudyRuns
from segmi.types import IGNORE_INDEX

_TILE, _GAP, _MARGIN, _HEAD, _LINE = 2.1, 0.07, 0.12, 0.34, 0.23  # inches


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a row."""

    title: str  # header of its column
    pixels: Mask | None  # H×W×3; None if it is missing
    reason: str = ""  # the reason for a missing image
    is_mask: bool = True  # draw pixels without smoothing


@dataclass(frozen=True)
class PredictionRows:
    """Rows of image, ground truth and the prediction of each model, with a legend."""

    rows: Sequence[tuple[str, Sequence[Tile]]]  # (name of the image, its tiles)
    legend: Sequence[tuple[str, Sequence[int]]]  # (class, RGB) of the classes in any mask, ignored pixels last
    seed: int  # seed of the predictions


def prediction_rows(study: StudyRuns, dataset: str, *, rows: int = 4, largest: int = 640) -> PredictionRows | None:
    """Return the first ``rows`` images of a dataset with all predictions; None if no run kept any.

    Images with a side above ``largest`` pixels are resized, masks without mixing labels.
    """
    images = image_set(study, dataset)
    if images is None:
        return None
    seen = np.zeros(256, bool)
    shown = []
    for name in images.names[:rows]:
        source = images.source(name)
        tiles = [_photograph(source.image, largest), _mask("Ground truth", source.truth, images, seen, largest)]
        for method, label in study.plan.methods.items():
            sample = images.samples.get(method, {}).get(name)
            path = sample.predictions.get(images.networks[method]) if sample else None
            missing = Tile(label, None, images.states.get(method, "missing"))
            tiles.append(missing if path is None else _mask(label, path, images, seen, largest))
        shown.append((name, tiles))
    named = [*enumerate(images.classes), (IGNORE_INDEX, "ignored")]
    legend = [(name, tuple(images.palette[index].tolist())) for index, name in named if seen[index]]
    return PredictionRows(shown, legend, images.seed)


def predictions_figure(images: PredictionRows) -> Figure:
    """Draw the rows, within `drawing.style`."""
    columns = max(len(tiles) for _, tiles in images.rows)
    heights = [_TILE * _aspect(tiles) for _, tiles in images.rows]
    width = 2 * _MARGIN + columns * _TILE + (columns - 1) * _GAP
    # A legend entry is as wide as its swatch and the longest name, at about 0.065 inches per character.
    longest = max((len(_shortened(name)) for name, _ in images.legend), default=0)
    legend_columns = max(1, int((width - 2 * _MARGIN) / (0.5 + 0.065 * longest)))
    legend_lines = -(-len(images.legend) // legend_columns)
    foot = _LINE * legend_lines + (0.16 if legend_lines else 0)
    height = _HEAD + sum(heights) + _GAP * (len(heights) - 1) + foot + _MARGIN
    figure = new_figure(width, height)
    top = height - _HEAD
    for row, (_, tiles) in enumerate(images.rows):
        for column, tile in enumerate(tiles):
            left = _MARGIN + column * (_TILE + _GAP)
            if row == 0:
                center, above = (left + _TILE / 2) / width, (top + 0.08) / height
                figure.text(center, above, _shortened(tile.title), ha="center", va="bottom", fontsize=9.5)
            _draw(figure, tile, left, top - heights[row], heights[row])
        top -= heights[row] + _GAP
    _draw_legend(figure, images.legend, legend_columns)
    return figure


def _photograph(path: Path, largest: int) -> Tile:
    try:
        return Tile("Image", _resized(read_image(path), largest, Image.Resampling.LANCZOS), is_mask=False)
    except DataError:
        return Tile("Image", None, "unreadable", is_mask=False)


def _mask(title: str, path: Path, images: ImageSet, seen: np.ndarray, largest: int) -> Tile:
    try:
        labels = _resized(read_labels(path), largest, Image.Resampling.NEAREST)
    except DataError:
        return Tile(title, None, "unreadable")
    seen[np.unique(labels)] = True  # for the legend
    return Tile(title, images.palette[labels])


def _resized(pixels: Mask, largest: int, method: Image.Resampling) -> Mask:
    height, width = pixels.shape[:2]
    scale = largest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, method))


def _aspect(tiles: Sequence[Tile]) -> float:
    """Return height over width of the images of a row, at most 1.6."""
    shapes = [tile.pixels.shape for tile in tiles if tile.pixels is not None]
    return min(max((shape[0] / shape[1] for shape in shapes), default=0.75), 1.6)


def _draw(figure: Figure, tile: Tile, left: float, bottom: float, row_height: float) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, _TILE / width, row_height / height))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#c9ced6", linewidth=0.5)
    if tile.pixels is None:
        axes.set_facecolor("#f3f4f6")
        axes.text(0.5, 0.5, tile.reason, ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    axes.imshow(tile.pixels, interpolation="nearest" if tile.is_mask else "antialiased")


def _shortened(text: str, length: int = 30) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _draw_legend(figure: Figure, legend: Sequence[tuple[str, Sequence[int]]], columns: int) -> None:
    width, height = figure.get_size_inches()
    handles = [
        Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor="#8b929c", linewidth=0.5, label=_shortened(name))
        for name, (r, g, b) in legend
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(_MARGIN / width, 0.5 * _MARGIN / height), ncols=columns,
        frameon=False, fontsize=8.5, handlelength=1.6, borderpad=0, borderaxespad=0,
    )  # fmt: skip
