"""From a drawing to an image: average colors, then add textures, light, shadows, sky, haze and camera effects.

Uses only additions, multiplications and Pillow's integer filters, so images agree between machines up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segmi.datasets.scenes.canvas import OVERSAMPLING, TEXTURES, Drawing
from segmi.datasets.scenes.colors import Color
from segmi.randomness import key

# 256 equally likely values of the standard normal distribution: one random byte gives one value of noise.
_NORMAL: Final = np.array([NormalDist().inv_cdf((step + 0.5) / 256) for step in range(256)], dtype=np.float32)


@dataclass(frozen=True)
class Sky:
    """A vertical gradient with clouds, drawn over the pixels of one class."""

    label: int
    top: Color
    bottom: Color  # at the horizon; the class's material must have this color
    cloud: Color
    cover: float  # share of the sky that is cloudy, 0 to 1


@dataclass(frozen=True)
class CameraEffects:
    """Effects of the camera and of the air."""

    vignette: float  # darkening of the corners, as a share
    noise: float  # standard deviation of the sensor noise, in gray levels
    blur: float = 0.0  # radius in pixels
    horizon: float = 0.5  # row where ground and sky end, as a share of the height
    haze: float = 0.0  # 0 (none) to about 1
    sky: Sky | None = None


@lru_cache(maxsize=24)
def texture_bank(name: str, height: int, width: int) -> NDArray[np.float32]:
    """Return one of ``TEXTURES`` as values from -1 to 1, half as large again as H×W; images use windows of it."""
    rng = np.random.default_rng(key("texture", name))
    unit = max(height, 32) / 256  # keeps the size of a texture relative to the image
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
    """Return smooth noise from -1 to 1 with random values every ``across`` columns and ``down`` rows."""
    shape = int(height / max(down, 1)) + 2, int(width / max(across, 1)) + 2
    coarse = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    fine = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return fine.astype(np.float32) / np.float32(127.5) - np.float32(1)


def render(drawing: Drawing, rng: np.random.Generator, effects: CameraEffects) -> NDArray[np.uint8]:
    """Return the image of a drawing, H×W×3; textures, clouds and noise are random."""
    colors = np.take(drawing.colors, drawing.parts, mode="clip")
    canvas = Image.frombuffer("RGBX", (colors.shape[1], colors.shape[0]), colors, "raw", "RGBX", 0, 1)
    pixels = np.asarray(canvas.reduce(OVERSAMPLING))[..., :3].astype(np.float32)
    parts = np.ascontiguousarray(drawing.parts[::OVERSAMPLING, ::OVERSAMPLING])
    ground = np.take(drawing.ground, parts, mode="clip")
    if effects.sky is not None:
        _add_sky(pixels, drawing, rng, effects.sky, effects.horizon)
    pixels *= _brightness(drawing, parts, ground, rng, effects.vignette)[..., None]
    if effects.sky is not None and effects.haze:
        _add_haze(pixels, ground, effects.horizon, effects.haze, effects.sky.bottom)
    # Sensor noise: an index of one byte per channel and pixel.
    levels = _NORMAL * np.float32(effects.noise)
    pixels += np.take(levels, rng.integers(0, 256, pixels.shape, dtype=np.uint8), mode="clip")
    image = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)
    if effects.blur:
        image = np.asarray(Image.fromarray(image).filter(ImageFilter.BoxBlur(effects.blur)))
    return image


def _brightness(
    drawing: Drawing, parts: NDArray[np.int32], ground: NDArray[np.float32], rng: np.random.Generator, vignette: float
) -> NDArray[np.float32]:
    """Return the factor of each pixel from textures, ramps, shadows and the vignette, H×W."""
    height, width = parts.shape
    gain = np.ones((height, width), dtype=np.float32)
    for name, strengths in zip(TEXTURES, drawing.textures.T, strict=True):
        if strengths.any():
            # A random window, so that two images do not share a texture.
            bank = texture_bank(name, height, width)
            top, left = int(rng.integers(height // 2 + 1)), int(rng.integers(width // 2 + 1))
            gain += np.take(strengths, parts, mode="clip") * bank[top : top + height, left : left + width]
    rows = (np.arange(height, dtype=np.float32) / height)[:, None]
    columns = (np.arange(width, dtype=np.float32) / height)[None, :]
    for slope, distance in zip(drawing.ramps.T, (rows, columns, np.float32(1)), strict=True):
        if slope.any():
            gain += np.take(slope, parts, mode="clip") * distance
    if drawing.shadows.any():
        soft = Image.fromarray(drawing.shadows).filter(ImageFilter.BoxBlur(max(1, height // 200)))
        gain *= 1 - ground * (np.asarray(soft, dtype=np.float32) / 255)
    # The vignette grows with the squared distance from the center.
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    gain *= 1 - np.float32(vignette / 2) * (down + across)
    return np.maximum(gain, 0, out=gain)


def _add_sky(pixels: NDArray[np.float32], drawing: Drawing, rng: np.random.Generator, sky: Sky, horizon: float) -> None:
    height, width = pixels.shape[:2]
    rows, unit = max(1, min(height, round(horizon * height))), height / 256
    fade = np.linspace(1, 0, rows, dtype=np.float32)[:, None]
    lumps = np.float32(0.75) * _noise(rng, rows, width, 90 * unit, 34 * unit)
    lumps += np.float32(0.4) * _noise(rng, rows, width, 20 * unit, 8 * unit)
    # Clouds fade into the haze towards the horizon.
    density = np.clip((lumps + np.float32(2 * sky.cover - 1)) * np.float32(1.4), 0, 1) * (0.3 + 0.7 * fade)
    coverage = drawing.coverage(sky.label, rows)
    # Pixels of the sky already have the bottom color: add the differences to the top and to the clouds.
    clear, cloudy = coverage * fade * (1 - density), coverage * density
    for channel, (top, bottom, cloud) in enumerate(zip(sky.top, sky.bottom, sky.cloud, strict=True)):
        pixels[:rows, :, channel] += np.float32(top - bottom) * clear + np.float32(cloud - bottom) * cloudy


def _add_haze(
    pixels: NDArray[np.float32], ground: NDArray[np.float32], horizon: float, haze: float, color: Color
) -> None:
    height = pixels.shape[0]
    first = int(horizon * height)
    # The distance of flat ground is proportional to 1 / (row - horizon).
    below = np.maximum(np.arange(first, height, dtype=np.float32) / height - np.float32(horizon), 0.004)
    share = (np.minimum(np.float32(haze) * 0.1 / below, 0.85)[:, None] * ground[first:])[..., None]
    pixels[first:] += share * (np.array(color, dtype=np.float32) - pixels[first:])
