"""Colors as RGB triples from 0 to 255: blending, light and variation."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np

Color: TypeAlias = tuple[float, float, float]
T = TypeVar("T")


def blend(first: Color, second: Color, share: float) -> Color:
    """Return ``first`` with ``share`` (0 to 1) of ``second`` in it."""
    kept = 1 - share
    return (
        kept * first[0] + share * second[0],
        kept * first[1] + share * second[1],
        kept * first[2] + share * second[2],
    )


def tint(color: Color, light: Color | float) -> Color:
    """Return the color under a light, given as one factor or one factor per channel."""
    red, green, blue = light if isinstance(light, tuple) else (light, light, light)
    return color[0] * red, color[1] * green, color[2] * blue


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return the color of a hue (degrees), saturation and value (0 to 1, clipped)."""
    red, green, blue = colorsys.hsv_to_rgb((hue / 360) % 1, min(1, max(0, saturation)), min(1, max(0, value)))
    return 255 * red, 255 * green, 255 * blue


def vary(rng: np.random.Generator, color: Color, *, hue: float = 8, strength: float = 0.1) -> Color:
    """Return a random color: hue within ``hue`` degrees, brightness within a share ``strength``, similar saturation."""
    angle, saturation, value = colorsys.rgb_to_hsv(*(min(1, max(0, channel / 255)) for channel in color))
    first, second, third = rng.uniform(-1, 1, 3).tolist()
    return hsv(360 * angle + hue * first, saturation * (1 + 1.5 * strength * second), value * (1 + strength * third))


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]
