"""A contact sheet: some images, the same images under their masks, and what the colors mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segmi.datasets.check import CheckReport
from segmi.datasets.reader import DatasetReader, Pixels, Sample
from segmi.types import IGNORE_INDEX

TILE: Final = 300
"""The longer side of an image on the sheet."""

GAP: Final = 14
TEXT: Final = 15
LINE: Final = 24
PAIRS: Final = 3
"""Pairs beside each other."""

STRENGTH: Final = 0.6
"""Of the colors over an image."""

_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)


def contact_sheet(dataset: DatasetReader, samples: Sequence[tuple[str, Sample]], report: CheckReport) -> Image.Image:
    """Images and their masks in a grid over a legend with the share of each class.

    Args:
        dataset: to read from.
        samples: with their splits.
        report: on the whole dataset.
    """
    tiles = [_tile(dataset, split, sample) for split, sample in samples]
    width = GAP + PAIRS * (2 * TILE + 2 + GAP)
    rows = [tiles[first : first + PAIRS] for first in range(0, len(tiles), PAIRS)]
    heights = [max(tile.height for tile in row) for row in rows]
    legend = _legend(dataset, report, width)
    head = 2 * GAP + LINE
    sheet = Image.new("RGB", (width, head + sum(heights) + GAP * (len(rows) + 1) + legend.height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    counts = ", ".join(f"{split.name} {split.images}" for split in report.splits)
    draw.text((GAP, GAP), f"{report.title}   {counts}", fill=_INK, font=_font(20))
    top = head
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            sheet.paste(tile, (GAP + place * (2 * TILE + 2 + GAP), top))
        top += height + GAP
    sheet.paste(legend, (0, top))
    return sheet


def _tile(dataset: DatasetReader, split: str, sample: Sample) -> Image.Image:
    image, labels = dataset.read(sample)
    scale = min(TILE / max(image.shape[:2]), 1.0) if max(image.shape[:2]) > TILE else TILE // max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    scaled = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    small = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    over = Image.blend(scaled, Image.fromarray(_colored(np.asarray(small), dataset)), STRENGTH)
    tile = Image.new("RGB", (2 * TILE + 2, size[1] + LINE), _PAPER)
    tile.paste(scaled, (0, 0))
    tile.paste(over, (size[0] + 2, 0))
    draw = ImageDraw.Draw(tile)
    font = _font(TEXT)
    draw.text((0, size[1] + 3), _fitting(f"{split}  {sample.name}", font, 2 * TILE), fill=_FAINT, font=font)
    return tile


def _colored(labels: Pixels, dataset: DatasetReader) -> Pixels:
    """The labels in their colors; ignored is hatched, so that it is told from a class of any color."""
    colored = np.array(dataset.info.palette, dtype=np.uint8)[labels]
    rows, columns = np.indices(labels.shape)
    stripes = (labels == IGNORE_INDEX) & ((rows + columns) // 4 % 2 == 0)
    colored[stripes] = (255, 255, 255)
    colored[(labels == IGNORE_INDEX) & ~stripes] = (90, 90, 90)
    return colored


def _legend(dataset: DatasetReader, report: CheckReport, width: int) -> Image.Image:
    pixels = np.array([split.class_pixels for split in report.splits]).sum(0)
    ignored = sum(split.ignored_pixels for split in report.splits)
    whole = max(int(pixels.sum()) + ignored, 1)
    entries = [
        (dataset.info.palette[place], f"{name}  {pixels[place] / whole:.1%}")
        for place, name in enumerate(dataset.info.classes)
    ]
    font = _font(TEXT)
    room = (
        max(int(font.getlength(text)) for _, text in [*entries, (None, f"ignored  {ignored / whole:.1%}")])
        + LINE
        + 2 * GAP
    )
    columns = max((width - GAP) // room, 1)
    lines = -(-(len(entries) + 1) // columns)
    legend = Image.new("RGB", (width, lines * LINE + GAP), _PAPER)
    draw = ImageDraw.Draw(legend)
    for place, (color, text) in enumerate([*entries, (None, f"ignored  {ignored / whole:.1%}")]):
        left, top = GAP + place % columns * room, place // columns * LINE
        box = Image.fromarray(_colored(np.full((16, 16), IGNORE_INDEX, np.uint8), dataset))
        legend.paste(box if color is None else Image.new("RGB", (16, 16), color), (left, top))
        draw.rectangle((left, top, left + 15, top + 15), outline=_FAINT)
        draw.text((left + LINE, top - 1), text, fill=_INK, font=font)
    return legend


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # with a size, Pillow returns this kind


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
