"""The contact sheet: images, the same images under their masks, and a legend of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segmi.datasets.check import CheckReport
from segmi.datasets.reader import DatasetReader, Pixels, Sample
from segmi.types import IGNORE_INDEX

TILE: Final = 300  # the longer side of an image on the sheet, in pixels
GAP: Final = 14
TEXT: Final = 15
LINE: Final = 24
PAIRS: Final = 3  # pairs per row
OPACITY: Final = 0.6  # the opacity of the mask over an image

_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)


def contact_sheet(dataset: DatasetReader, samples: Sequence[tuple[str, Sample]], report: CheckReport) -> Image.Image:
    """Draw the images and masks of (split, sample) pairs in a grid, and a legend with the share of each class."""
    tiles = [_tile(dataset, split, sample) for split, sample in samples]
    width = GAP + PAIRS * (2 * TILE + 2 + GAP)
    rows = [tiles[first : first + PAIRS] for first in range(0, len(tiles), PAIRS)]
    heights = [max(tile.height for tile in row) for row in rows]
    legend = _legend(dataset, report, width)
    top = 2 * GAP + LINE
    sheet = Image.new("RGB", (width, top + sum(heights) + GAP * (len(rows) + 1) + legend.height), _PAPER)
    counts = ", ".join(f"{split.name} {split.images}" for split in report.splits)
    ImageDraw.Draw(sheet).text((GAP, GAP), f"{report.title}   {counts}", fill=_INK, font=_font(20))
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (2 * TILE + 2 + GAP), top))
        top += height + GAP
    sheet.paste(legend, (0, top))
    return sheet


def _tile(dataset: DatasetReader, split: str, sample: Sample) -> Image.Image:
    image, labels = dataset.read(sample)
    side = max(image.shape[:2])
    scale = TILE / side if side > TILE else TILE // side  # small images are enlarged by an integer factor
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    shown = Image.fromarray(dataset.image_format.to_rgb(image))
    scaled = shown.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    small = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    overlay = Image.blend(scaled, Image.fromarray(_colored(np.asarray(small), dataset)), OPACITY)
    tile = Image.new("RGB", (2 * TILE + 2, size[1] + LINE), _PAPER)
    tile.paste(scaled, (0, 0))
    tile.paste(overlay, (size[0] + 2, 0))
    font = _font(TEXT)
    text = _shortened(f"{split}  {sample.name}", font, 2 * TILE)
    ImageDraw.Draw(tile).text((0, size[1] + 3), text, fill=_FAINT, font=font)
    return tile


def _colored(labels: Pixels, dataset: DatasetReader) -> Pixels:
    """Return the labels in color; ignored pixels are hatched, which no class is."""
    colored = np.array(dataset.info.palette, dtype=np.uint8)[labels]
    rows, columns = np.indices(labels.shape)
    stripes = (labels == IGNORE_INDEX) & ((rows + columns) // 4 % 2 == 0)
    colored[stripes] = (255, 255, 255)
    colored[(labels == IGNORE_INDEX) & ~stripes] = (90, 90, 90)
    return colored


def _legend(dataset: DatasetReader, report: CheckReport, width: int) -> Image.Image:
    pixels = np.array([split.class_pixels for split in report.splits]).sum(0)
    ignored = sum(split.ignored_pixels for split in report.splits)
    total = max(int(pixels.sum()) + ignored, 1)
    hatched = Image.fromarray(_colored(np.full((16, 16), IGNORE_INDEX, np.uint8), dataset))
    entries = [
        (Image.new("RGB", (16, 16), dataset.info.palette[index]), f"{name}  {pixels[index] / total:.1%}")
        for index, name in enumerate(dataset.info.classes)
    ]
    entries.append((hatched, f"ignored  {ignored / total:.1%}"))
    font = _font(TEXT)
    column_width = max(int(font.getlength(text)) for _, text in entries) + LINE + 2 * GAP
    columns = max((width - GAP) // column_width, 1)
    lines = -(-len(entries) // columns)
    legend = Image.new("RGB", (width, lines * LINE + GAP), _PAPER)
    draw = ImageDraw.Draw(legend)
    for index, (box, text) in enumerate(entries):
        left, top = GAP + index % columns * column_width, index // columns * LINE
        legend.paste(box, (left, top))
        draw.rectangle((left, top, left + 15, top + 15), outline=_FAINT)
        draw.text((left + LINE, top - 1), text, fill=_INK, font=font)
    return legend


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # Pillow returns this type if a size is given


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
