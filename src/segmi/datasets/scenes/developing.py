"""From a painted canvas to an image: colors averaged, textures, shadows and distance laid over, a camera's flaws.

Only additions, multiplications and Pillow's integer filters: the same image on every machine, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segmi.datasets.scenes.colors import Color
from segmi.datasets.scenes.painting import OVERSAMPLING, TEXTURES, Painted
from segmi.randomness import key

_BELL: Final = np.array([NormalDist().inv_cdf((step + 0.5) / 256) for step in range(256)], dtype=np.float32)
"""Equally likely values of the standard normal distribution: one byte of randomness makes one value."""


@dataclass(frozen=True)
class Sky:
    """What is laid over the pixels of one class: a vertical gradient with clouds.

    Args:
        label: the class.
        top: color at the upper edge.
        bottom: color at ``horizon``; the class's material must have it as its color.
        horizon: where the gradient ends, as a share of the height.
        cloud: color of clouds.
        cover: 0 (clear) to 1 (all cloud).
    """

    label: int
    top: Color
    bottom: Color
    horizon: float
    cloud: Color
    cover: float


@dataclass(frozen=True)
class Film:
    """How the camera sees.

    Args:
        haze: color into which ground vanishes in the distance.
        haze_density: share of it one half-height above the lower edge; 0 for none.
        horizon: the row, as a share of the height, where ground ends.
        vignette: darkening of the corners, as a share.
        noise: spread of the sensor's noise in gray levels.
        blur: radius of the optics' blur in pixels.
    """

    haze: Color = (200.0, 205.0, 210.0)
    haze_density: float = 0.0
    horizon: float = 0.5
    vignette: float = 0.15
    noise: float = 4.0
    blur: float = 0.0


@lru_cache(maxsize=24)
def texture_bank(name: str, height: int, width: int) -> NDArray[np.float32]:
    """One of ``TEXTURES`` as a field between -1 and 1, somewhat larger than H×W; images take windows of it."""
    rng = np.random.default_rng(key("texture", name))
    unit = max(height, 32) / 256  # textures keep their size relative to the image
    across, down = {
        "grain": (1.0, 1.0),
        "blotches": (6 * unit, 6 * unit),
        "clouds": (48 * unit, 26 * unit),
        "rows": (40 * unit, 1.6 * unit),
        "columns": (2.2 * unit, 60 * unit),
        "leaves": (2.6 * unit, 2.6 * unit),
    }[name]
    field = _noise(rng, height + height // 2, width + width // 2, across, down)
    field.flags.writeable = False
    return field


def _noise(rng: np.random.Generator, height: int, width: int, across: float, down: float) -> NDArray[np.float32]:
    """Random values at some distance from each other, with smooth transitions, -1 to 1."""
    cells_high, cells_wide = int(height / max(down, 1)) + 2, int(width / max(across, 1)) + 2
    cells = rng.integers(0, 256, (cells_high, cells_wide), dtype=np.uint8)
    grown = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
    return grown.astype(np.float32) / np.float32(127.5) - np.float32(1)


def _texture(name: str, rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A window of a texture at a random place, perhaps mirrored."""
    bank = texture_bank(name, height, width)
    top, left = int(rng.integers(height // 2 + 1)), int(rng.integers(width // 2 + 1))
    window = bank[top : top + height, left : left + width]
    return window[:, ::-1] if rng.integers(2) else window


def develop(painted: Painted, rng: np.random.Generator, film: Film, sky: Sky | None = None) -> NDArray[np.uint8]:
    """The image, H×W×3 uint8.

    Args:
        painted: the finished canvas.
        rng: where textures, clouds and noise come from.
        film: how the camera sees.
        sky: what is laid over one class.
    """
    pixels = _averaged_colors(painted)
    places = np.ascontiguousarray(painted.places)
    if sky is not None:
        _lay_sky(pixels, painted, rng, sky)
    ground = np.take(painted.ground, places, mode="clip")
    pixels *= _brightness(painted, places, ground, rng, film.vignette)[..., None]
    if film.haze_density:
        _lay_haze(pixels, ground, film)
    if film.noise:
        levels = _BELL * np.float32(film.noise)
        pixels += np.take(levels, rng.integers(0, 256, pixels.shape, dtype=np.uint8), mode="clip")
    np.clip(pixels, 0, 255, out=pixels)
    image = pixels.astype(np.uint8)
    if film.blur:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(film.blur)))
    return image


def _averaged_colors(painted: Painted) -> NDArray[np.float32]:
    colors = np.take(painted.colors, painted.parts, mode="clip")
    canvas = Image.frombuffer("RGBX", (colors.shape[1], colors.shape[0]), colors, "raw", "RGBX", 0, 1)
    return np.asarray(canvas.reduce(OVERSAMPLING))[..., :3].astype(np.float32)


def _brightness(
    painted: Painted, places: NDArray[np.int32], ground: NDArray[np.float32], rng: np.random.Generator, vignette: float
) -> NDArray[np.float32]:
    """What textures, ramps, shadows and the lens make of the brightness, 1 where nothing changes it."""
    height, width = places.shape
    gain = np.ones((height, width), dtype=np.float32)

    def of(strengths: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.take(strengths, places, mode="clip")

    for column, name in enumerate(TEXTURES):
        strengths = painted.textures[:, column]
        if strengths.any():
            gain += of(strengths) * _texture(name, rng, height, width)
    if painted.ramps.any():
        rows = (np.arange(height, dtype=np.float32) / height)[:, None]
        columns = (np.arange(width, dtype=np.float32) / height)[None, :]
        for slope, distance in zip(painted.ramps.T, (rows, columns, np.float32(1)), strict=True):
            if slope.any():
                gain += of(slope) * distance
    if painted.shadows.any():
        softened = Image.fromarray(painted.shadows).filter(ImageFilter.BoxBlur(max(1, height // 200)))
        gain *= 1 - ground * (np.asarray(softened, dtype=np.float32) / 255)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    gain *= 1 - np.float32(vignette / 2) * (rows + columns)
    return np.maximum(gain, 0, out=gain)


def _lay_sky(pixels: NDArray[np.float32], painted: Painted, rng: np.random.Generator, sky: Sky) -> None:
    height, width = pixels.shape[:2]
    rows = max(1, min(height, round(sky.horizon * height)))
    fall = np.linspace(1, 0, rows, dtype=np.float32)[:, None, None]
    bottom = np.array(sky.bottom, dtype=np.float32)
    layer = (np.array(sky.top, dtype=np.float32) - bottom) * fall
    if sky.cover:
        unit = height / 256
        lumps = 0.75 * _noise(rng, rows, width, 90 * unit, 34 * unit) + 0.35 * _noise(
            rng, rows, width, 24 * unit, 9 * unit
        )
        lumps += 0.15 * _noise(rng, rows, width, 7 * unit, 4 * unit)
        density = np.clip((lumps + np.float32(2 * sky.cover - 1)) * np.float32(1.4), 0, 1)[..., None]
        density *= 0.3 + 0.7 * fall
        cloud = np.array(sky.cloud, dtype=np.float32) - bottom
        layer = layer + density * (cloud - layer)
    pixels[:rows] += layer * painted.coverage(sky.label, rows)[..., None]


def _lay_haze(pixels: NDArray[np.float32], ground: NDArray[np.float32], film: Film) -> None:
    height = pixels.shape[0]
    first = int(film.horizon * height)
    below = np.maximum(np.arange(first, height, dtype=np.float32) / height - np.float32(film.horizon), 0.004)
    share = np.minimum(np.float32(film.haze_density) * 0.1 / below, 0.85)[:, None]
    share = (share * ground[first:])[..., None]
    lower = pixels[first:]
    lower *= 1 - share
    lower += share * np.array(film.haze, dtype=np.float32)
