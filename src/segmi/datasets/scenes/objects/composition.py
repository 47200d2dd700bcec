"""Which objects an image shows, how large and where; and the ignored rim around them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from segmi.datasets.reader import Pixels
from segmi.datasets.scenes.colors import Color
from segmi.datasets.scenes.developing import Film
from segmi.datasets.scenes.objects import creatures, things
from segmi.datasets.scenes.objects.backdrops import Backdrop
from segmi.datasets.scenes.objects.brush import Brush, oval
from segmi.datasets.scenes.objects.classes import CLASSES
from segmi.datasets.scenes.painting import Painted, Painting, Point
from segmi.randomness import key
from segmi.types import IGNORE_INDEX

DRAWERS: Final[dict[str, tuple[Callable[[Brush], None], float, float]]] = {
    # what draws a class, the share of its square that it fills, and by how many degrees it may be turned
    "aeroplane": (things.draw_aeroplane, 0.30, 35),
    "ball": (things.draw_ball, 0.71, 180),
    "balloon": (things.draw_balloon, 0.48, 12),
    "banana": (creatures.draw_banana, 0.30, 180),
    "bird": (creatures.draw_bird, 0.42, 20),
    "boat": (things.draw_boat, 0.42, 10),
    "bottle": (things.draw_bottle, 0.34, 25),
    "bus": (things.draw_bus, 0.70, 6),
    "butterfly": (creatures.draw_butterfly, 0.48, 50),
    "cactus": (creatures.draw_cactus, 0.42, 6),
    "car": (things.draw_car, 0.42, 8),
    "cat": (creatures.draw_cat, 0.48, 8),
    "chair": (things.draw_chair, 0.42, 10),
    "clock": (things.draw_clock, 0.72, 15),
    "cup": (things.draw_cup, 0.58, 15),
    "fish": (creatures.draw_fish, 0.46, 35),
    "flower": (creatures.draw_flower, 0.36, 20),
    "house": (things.draw_house, 0.58, 4),
    "mushroom": (creatures.draw_mushroom, 0.46, 20),
    "umbrella": (things.draw_umbrella, 0.40, 35),
}

LIGHTS: Final[tuple[Color, ...]] = (
    (1.0, 1.0, 1.0), (1.06, 1.0, 0.9), (0.95, 1.0, 1.06), (1.1, 1.0, 0.85), (0.84, 0.87, 0.95), (0.92, 0.9, 0.86),
)  # fmt: skip

SHARE_OF_OBJECTS: Final = (0.2, 0.46)
"""Between these shares of an image its objects would fill, were none hidden or cut off."""


@lru_cache(maxsize=2)  # an image and its mask are asked for one after the other
def painted_objects(seed: int, split: str, index: int, height: int, width: int) -> Painted:
    """The canvas of one image."""
    rng = np.random.default_rng(key(seed, "objects", split, index))
    painting = Painting(height, width)
    base, factor = LIGHTS[int(rng.integers(len(LIGHTS)))], float(rng.uniform(0.88, 1.12))
    light = (base[0] * factor, base[1] * factor, base[2] * factor)
    backdrop = Backdrop(painting, rng, light)
    backdrop.draw()
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.34, 0.28, 0.18]))
    names = [str(name) for name in rng.choice(CLASSES[1:], count, replace=False)]
    if count > 1 and rng.random() < 0.2:  # two of a kind
        names[1] = names[0]
    direction = float(rng.uniform(0, 2 * math.pi))
    slope = (0.3 * math.cos(direction), 0.3 * math.sin(direction))
    share = float(rng.uniform(*SHARE_OF_OBJECTS)) / count
    sizes = [
        math.sqrt(share * float(rng.uniform(0.6, 1.4)) * painting.height * painting.width / (4 * DRAWERS[name][1]))
        for name in names
    ]
    sizes = [min(size, 0.5 * painting.height) for size in sizes]
    centers = _places(rng, painting, sizes)
    for name, size, center in sorted(zip(names, sizes, centers, strict=True), key=lambda item: item[2][1]):
        draw, _, turn = DRAWERS[name]
        painting.shadow(oval(center[0] - 0.2 * slope[0] * size, center[1] + 0.86 * size, 0.8 * size, 0.22 * size), 0.4)
        draw(
            Brush(
                painting,
                rng,
                CLASSES.index(name),
                center=center,
                size=size,
                turn=float(rng.uniform(-turn, turn)),
                mirrored=bool(rng.random() < 0.5),
                stretch=float(rng.uniform(0.85, 1.18)),
                light=light,
                slope=slope,
            )
        )
    for _ in range(int(rng.integers(0, 4))):  # some clutter lies before the objects
        backdrop.clutter(float(rng.uniform(2, 5)))
    return painting.finish()


def _places(rng: np.random.Generator, painting: Painting, sizes: list[float]) -> list[Point]:
    """A center for each object, of several drawn the one with most room; objects may be cut off a little."""
    centers: list[Point] = []
    for size in sizes:
        margin_x, margin_y = min(0.75 * size, 0.45 * painting.width), min(0.8 * size, 0.45 * painting.height)
        drawn = [
            (float(x), float(y))
            for x, y in zip(
                rng.uniform(margin_x, painting.width - margin_x, 8),
                rng.uniform(margin_y, painting.height - margin_y, 8),
                strict=True,
            )
        ]
        centers.append(max(drawn, key=lambda place: _room(place, size, centers, sizes)))
    return centers


def _room(place: Point, size: float, centers: list[Point], sizes: list[float]) -> float:
    """The distance to the nearest object, in units in which touching squares have 1, at most 1."""
    gaps = [math.dist(place, other) / (size + extent) for other, extent in zip(centers, sizes, strict=False)]
    return min([1.0, *gaps])


def film_of(rng: np.random.Generator) -> Film:
    """The camera of one image."""
    return Film(
        vignette=float(rng.uniform(0.06, 0.26)),
        noise=float(rng.uniform(3, 9)),
        blur=float(rng.choice([0.0, 0.0, 0.4, 0.7])),
    )


def with_rim(mask: Pixels) -> Pixels:
    """The mask with ignored around objects and between objects that touch, as VOC's annotators drew it.

    The rim lies outside the objects, so that thin parts keep their class; it is 1 pixel wide per 120 of height.

    Example:
        >>> with_rim(np.array([[0, 0, 3, 3], [0, 0, 3, 3]], dtype=np.uint8)).tolist()
        [[0, 255, 3, 3], [0, 255, 3, 3]]
    """
    radius = max(1, round(mask.shape[0] / 120))
    highest = _upcast(mask, radius, np.maximum)
    lowest = _upcast(np.where(mask == 0, IGNORE_INDEX, mask).astype(np.uint8), max(1, radius // 2), np.minimum)
    nearby = _upcast(mask, max(1, radius // 2), np.maximum)
    outside = (mask == 0) & (highest > 0)
    between = (mask > 0) & ((nearby != mask) | (lowest != mask))
    return np.where(outside | between, IGNORE_INDEX, mask).astype(np.uint8)


def _upcast(mask: Pixels, radius: int, extremum: np.ufunc) -> Pixels:
    """The extremum over squares of 2·radius + 1 pixels."""
    result = mask
    for axis in (0, 1):
        turned = np.moveaxis(result, axis, 0)
        grown = turned.copy()
        for shift in range(1, radius + 1):
            extremum(grown[shift:], turned[:-shift], out=grown[shift:])
            extremum(grown[:-shift], turned[shift:], out=grown[:-shift])
        result = np.moveaxis(grown, 0, axis)
    return result
