"""Generated images of objects: a replacement for PASCAL VOC that needs no download."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from segmi.datasets.reader import IGNORE_INDEX, Pixels
from segmi.datasets.scenes import living_objects as living
from segmi.datasets.scenes import made_objects as made
from segmi.datasets.scenes.backdrops import Backdrop
from segmi.datasets.scenes.canvas import Brush, Canvas, Material, Point, oval
from segmi.datasets.scenes.colors import Color, choose, tint
from segmi.datasets.scenes.generated import RGB, GeneratedScenes, GeneratedSource, generated_info
from segmi.datasets.scenes.rendering import CameraEffects

CLASSES: Final[dict[str, tuple[Callable[[Brush], None], float, float, RGB]]] = {
    # function that draws the class, share of its square that it fills, largest rotation in degrees, palette color
    "aeroplane": (made.draw_aeroplane, 0.30, 35, (156, 176, 196)),
    "ball": (made.draw_ball, 0.71, 180, (194, 208, 72)),
    "balloon": (made.draw_balloon, 0.48, 12, (142, 98, 186)),
    "banana": (living.draw_banana, 0.30, 180, (250, 220, 92)),
    "bird": (living.draw_bird, 0.42, 20, (72, 182, 190)),
    "boat": (made.draw_boat, 0.42, 10, (44, 88, 140)),
    "bottle": (made.draw_bottle, 0.34, 25, (42, 122, 84)),
    "bus": (made.draw_bus, 0.70, 6, (198, 52, 60)),
    "butterfly": (living.draw_butterfly, 0.48, 50, (196, 146, 226)),
    "cactus": (living.draw_cactus, 0.42, 6, (128, 178, 80)),
    "car": (made.draw_car, 0.42, 8, (60, 130, 214)),
    "cat": (living.draw_cat, 0.48, 8, (84, 72, 108)),
    "chair": (made.draw_chair, 0.42, 10, (150, 98, 60)),
    "clock": (made.draw_clock, 0.72, 15, (236, 226, 206)),
    "cup": (made.draw_cup, 0.58, 15, (120, 206, 180)),
    "fish": (living.draw_fish, 0.46, 35, (240, 154, 56)),
    "flower": (living.draw_flower, 0.36, 20, (240, 140, 176)),
    "house": (made.draw_house, 0.58, 4, (172, 78, 60)),
    "mushroom": (living.draw_mushroom, 0.46, 20, (224, 94, 112)),
    "umbrella": (made.draw_umbrella, 0.40, 35, (182, 54, 138)),
}

LIGHTS: Final[tuple[Color, ...]] = (
    (1.0, 1.0, 1.0), (1.06, 1.0, 0.9), (0.95, 1.0, 1.06), (1.1, 1.0, 0.85), (0.84, 0.87, 0.95), (0.92, 0.9, 0.86),
)  # fmt: skip


class ObjectSource(GeneratedSource):
    """An image of objects or its mask."""

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> CameraEffects:
        """Draw a background, one to four objects, and a little clutter before them."""
        light = tint(choose(rng, LIGHTS), float(rng.uniform(0.88, 1.12)))
        backdrop = Backdrop(canvas, rng, light)
        backdrop.draw()
        count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.34, 0.28, 0.18]))
        names = [str(name) for name in rng.choice(list(CLASSES), count, replace=False)]
        if count > 1 and rng.random() < 0.2:  # two of one class
            names[1] = names[0]
        # The objects fill 20 to 46 % of the image, before some are hidden or cut off.
        area = float(rng.uniform(0.2, 0.46)) / count * canvas.height * canvas.width
        sizes = [math.sqrt(area * float(rng.uniform(0.6, 1.4)) / (4 * CLASSES[name][1])) for name in names]
        sizes = [min(size, 0.5 * canvas.height) for size in sizes]
        centers = _centers(rng, canvas, sizes)
        direction = float(rng.uniform(0, 2 * math.pi))
        for name, size, center in sorted(zip(names, sizes, centers, strict=True), key=lambda item: item[2][1]):
            shadow = oval(
                center[0] - 0.06 * math.cos(direction) * size, center[1] + 0.86 * size, 0.8 * size, 0.22 * size
            )
            canvas.shadow(shadow, 0.4)
            _draw_object(canvas, rng, name, center, size, light, direction)
        for _ in range(int(rng.integers(0, 4))):
            backdrop.draw_clutter(float(rng.uniform(2, 5)))
        blur = choose(rng, (0.0, 0.0, 0.35, 0.6))
        return CameraEffects(vignette=float(rng.uniform(0.06, 0.26)), noise=float(rng.uniform(3, 9)), blur=blur)

    def adjust_mask(self, mask: Pixels) -> Pixels:
        """Return the mask with ignored pixels around the objects."""
        return with_ignored_rim(mask)


def _draw_object(
    canvas: Canvas, rng: np.random.Generator, name: str, center: Point, size: float, light: Color, direction: float
) -> None:
    """Draw an object that gets brighter in a direction (radians)."""
    draw, _, largest_turn, _ = CLASSES[name]
    label = 1 + list(CLASSES).index(name)
    # A brightness slope of 0.3 per object size; its offset makes it 0 at the center.
    across, down = (0.15 * canvas.height / size * part for part in (math.cos(direction), math.sin(direction)))
    ramp = (down, across, -(center[0] * across + center[1] * down) / canvas.height)

    def paint(color: Color, texture: Mapping[str, float]) -> int:
        return canvas.add(Material(label, tint(color, light), texture, ramp))

    turn, stretch = float(rng.uniform(-largest_turn, largest_turn)), float(rng.uniform(0.85, 1.18))
    draw(Brush(canvas, rng, paint, center, size, turn, stretch * choose(rng, (-1, 1))))


def _centers(rng: np.random.Generator, canvas: Canvas, sizes: list[float]) -> list[Point]:
    """Return a center per object: of eight random points, the one farthest from the objects so far."""
    centers: list[Point] = []
    for size in sizes:
        margin_x, margin_y = min(0.75 * size, 0.45 * canvas.width), min(0.8 * size, 0.45 * canvas.height)
        drawn = rng.uniform((margin_x, margin_y), (canvas.width - margin_x, canvas.height - margin_y), (8, 2)).tolist()
        # Distance relative to squares that touch, at most 1.
        taken = list(zip(centers, sizes, strict=False))
        rooms = [min([1.0, *(math.dist(point, c) / (size + s) for c, s in taken)]) for point in drawn]
        centers.append(tuple(drawn[rooms.index(max(rooms))]))
    return centers


def with_ignored_rim(mask: Pixels) -> Pixels:
    """Return the mask with ignored pixels around objects and between objects that touch, as in PASCAL VOC.

    The rim is outside the objects, so that thin parts keep their class; it is 1 pixel wide per 120 of height.

    Example:
        >>> with_ignored_rim(np.array([[0, 0, 3, 3], [0, 0, 3, 3]], dtype=np.uint8)).tolist()
        [[0, 255, 3, 3], [0, 255, 3, 3]]
    """
    radius = max(1, round(mask.shape[0] / 120))
    inner = max(1, radius // 2)
    outside = (mask == 0) & (_extreme(mask, radius, np.maximum) > 0)
    # An object pixel is between objects if the largest or the smallest label of the objects nearby is another one.
    smallest = _extreme(np.where(mask == 0, IGNORE_INDEX, mask), inner, np.minimum)
    between = (mask > 0) & ((_extreme(mask, inner, np.maximum) != mask) | (smallest != mask))
    return np.where(outside | between, IGNORE_INDEX, mask).astype(np.uint8)


def _extreme(mask: Pixels, radius: int, extremum: np.ufunc) -> Pixels:
    """Return the extremum over squares of 2·radius + 1 pixels."""
    for axis in (0, 1):
        before = np.moveaxis(mask, axis, 0)
        after = before.copy()
        for shift in range(1, radius + 1):
            extremum(after[shift:], before[:-shift], out=after[shift:])
            extremum(after[:-shift], before[shift:], out=after[:-shift])
        mask = np.moveaxis(after, 0, axis)
    return mask


class ObjectScenes(GeneratedScenes):
    """Images of one to four objects of 20 classes on a busy background, generated; see `GeneratedScenes` for options.

    The background fills about 70 % of the pixels, and a rim of ignored pixels surrounds each object. Each image is its
    own group.

    Example:
        >>> scenes = ObjectScenes(train=20, val=10, height=48, width=64)
        >>> image, mask = scenes.read(scenes.split("val")[3])
        >>> image.shape, mask.shape
        ((48, 64, 3), (48, 64))
    """

    info = generated_info(
        "object-scenes",
        "Object scenes",
        {"background": (34, 36, 44), **{name: color for name, (_, _, _, color) in CLASSES.items()}},
        ignored=(112, 116, 128),
    )
    source = ObjectSource
    prefix = "objects"
