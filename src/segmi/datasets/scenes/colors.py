"""Colors as RGB triples from 0 to 255: mixing, varying, and the palette of a dataset."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Color: TypeAlias = tuple[float, float, float]


def mixed(first: Color, second: Color, share: float) -> Color:
    """``first`` with ``share`` (0 to 1) of ``second`` in it.

    Example:
        >>> mixed((0, 0, 0), (100, 200, 40), 0.25)
        (25.0, 50.0, 10.0)
    """
    kept = 1 - share
    return (
        kept * first[0] + share * second[0],
        kept * first[1] + share * second[1],
        kept * first[2] + share * second[2],
    )


def scaled(color: Color, factor: float) -> Color:
    """The color, brighter or darker."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def filtered(color: Color, light: Color) -> Color:
    """The color under a light, whose channels are shares."""
    return color[0] * light[0], color[1] * light[1], color[2] * light[2]


def of_hue(hue: float, saturation: float, value: float) -> Color:
    """A color from hue (degrees), saturation and value (0 to 1).

    Example:
        >>> of_hue(120, 1, 0.5)
        (0.0, 127.5, 0.0)
    """
    red, green, blue = colorsys.hsv_to_rgb((hue / 360) % 1, min(1, max(0, saturation)), min(1, max(0, value)))
    return 255 * red, 255 * green, 255 * blue


def varied(rng: np.random.Generator, color: Color, *, hue: float = 8, strength: float = 0.1) -> Color:
    """A color near ``color``: hue moved by up to ``hue`` degrees, saturation and brightness by ``strength``."""
    angle, saturation, value = colorsys.rgb_to_hsv(*(min(1, max(0, channel / 255)) for channel in color))
    moves = rng.uniform(-1, 1, 3)
    return of_hue(
        360 * angle + hue * moves[0], saturation * (1 + 1.5 * strength * moves[1]), value * (1 + strength * moves[2])
    )


def palette_of(
    colors: Sequence[tuple[int, int, int]], ignored: tuple[int, int, int]
) -> tuple[tuple[int, int, int], ...]:
    """256 entries: the classes' colors, black, and ignored's color at 255."""
    return (*colors, *[(0, 0, 0)] * (255 - len(colors)), ignored)
