"""The layers of an image as small files: photographs as JPEG, masks, errors and confidences as palette PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image

from segmi.report.gallery import IGNORE_INDEX, IGNORED_COLOR

Mask = npt.NDArray[np.uint8]

SMALL: Final = 320
"""Longest side of what the rows show; a click shows the image as the run kept it."""

WRONG: Final = (213, 94, 0)
"""Okabe and Ito's vermilion, which all readers tell from gray."""

IGNORED_GRAY: Final = (128, 128, 128)


def small_size(width: int, height: int) -> tuple[int, int] | None:
    """The size of an image's thumbnail; None where it is small enough itself.

    >>> small_size(640, 480), small_size(360, 240)
    ((320, 240), None)
    """
    scale = SMALL / max(width, height)
    return None if scale > 0.85 else (max(1, round(width * scale)), max(1, round(height * scale)))


def photograph(pixels: Mask) -> Image.Image:
    """A photograph, H×W×3."""
    return Image.fromarray(pixels)


def colored(labels: Mask, palette: Sequence[Sequence[int]]) -> Image.Image:
    """A mask in the dataset's colors; ids without a color are black, ignored is white."""
    table = np.zeros((256, 3), np.uint8)
    for index, color in enumerate(palette[:256]):
        table[index] = color
    table[IGNORE_INDEX] = IGNORED_COLOR
    return _indexed(labels, table)


def errors(truth: Mask, prediction: Mask) -> Image.Image:
    """Where a prediction is wrong; the rest is transparent, so that it lies over the photograph, ignored half so."""
    kinds = np.where(truth == IGNORE_INDEX, 2, np.where(prediction == truth, 0, 1)).astype(np.uint8)
    table = np.zeros((256, 3), np.uint8)
    table[1], table[2] = WRONG, IGNORED_GRAY
    image = _indexed(kinds, table)
    image.info["transparency"] = bytes((0, 235, 170))
    return image


def confidence(levels: Mask) -> Image.Image:
    """Confidences of 0 to 255 in cividis, which color-blind readers see as others do."""
    table = (mpl.colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return _indexed(levels, table)


def save_layer(folder: Path, name: str, image: Image.Image, small: tuple[int, int] | None) -> None:
    """Write ``name.jpg`` or ``name.png``, and its thumbnail into ``small/``."""
    mask = image.mode == "P"
    file = f"{name}.png" if mask else f"{name}.jpg"
    _save(image, folder / file)
    if small is not None:
        method = Image.Resampling.NEAREST if mask else Image.Resampling.LANCZOS
        shrunk = image.resize(small, method)
        shrunk.info.update(image.info)
        _save(shrunk, folder / "small" / file)


def _save(image: Image.Image, path: Path) -> None:
    if image.mode == "P":
        image.save(path, format="PNG", optimize=True, transparency=image.info.get("transparency"))
    else:
        image.save(path, format="JPEG", quality=86)


def _indexed(values: Mask, table: npt.NDArray[np.uint8]) -> Image.Image:
    used = int(values.max()) + 1 if values.size else 1
    image = Image.fromarray(values)
    image.putpalette(table[:used].tobytes())
    return image
