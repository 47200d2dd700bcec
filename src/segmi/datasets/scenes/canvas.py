"""A canvas of materials: one drawing gives both the image and its mask, so the two always agree.

Each shape is filled with the index of a *material*, which has a class and an appearance. The mask is a look-up of
classes; the image is a look-up of colors at twice the resolution, averaged, textured and lit
(`segmi.datasets.scenes.rendering`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segmi.datasets.scenes.colors import Color, hsv, vary

Point: TypeAlias = tuple[float, float]

# Rows and columns of the canvas per row and column of the image.
OVERSAMPLING: Final = 2
# Brightness fields that a material can have, see `segmi.datasets.scenes.rendering.texture_bank`.
TEXTURES: Final = ("grain", "blotches", "clouds", "rows", "columns", "leaves")


class Material(NamedTuple):
    """Class and appearance of a part of the canvas."""

    label: int  # native class id
    color: Color
    texture: Mapping[str, float] = MappingProxyType({})  # strength by name of TEXTURES, as a share of the brightness
    ramp: tuple[float, float, float] = (0.0, 0.0, 0.0)  # brightness per canvas height down and right, and its offset
    ground: bool = False  # flat on the ground: it receives shadows and vanishes in haze by row


@dataclass(frozen=True)
class Drawing:
    """A finished canvas: the material of each position, and the properties of each material."""

    parts: NDArray[np.int32]  # index of the material, OVERSAMPLING·H × OVERSAMPLING·W
    labels: NDArray[np.uint8]  # by material
    colors: NDArray[np.uint32]  # by material: RGBX bytes as little-endian words
    textures: NDArray[np.float32]  # materials × TEXTURES
    ramps: NDArray[np.float32]  # materials × 3
    ground: NDArray[np.float32]  # by material: 1 or 0
    shadows: NDArray[np.uint8]  # H×W, 0 (none) to 255

    def mask(self) -> NDArray[np.uint8]:
        """Return the class of each pixel, H×W."""
        return self.labels[self.parts[::OVERSAMPLING, ::OVERSAMPLING]]

    def coverage(self, label: int, rows: int) -> NDArray[np.float32]:
        """Return the share of each pixel, 0 to 1, that belongs to a class, for the first rows."""
        member = np.take((self.labels == label).astype(np.uint8), self.parts[: rows * OVERSAMPLING], mode="clip")
        corners = [member[i::OVERSAMPLING, j::OVERSAMPLING] for i in range(OVERSAMPLING) for j in range(OVERSAMPLING)]
        return np.add.reduce(corners, dtype=np.float32) / np.float32(len(corners))


class Canvas:
    """A canvas with OVERSAMPLING times the height and width of the image."""

    def __init__(self, image_height: int, image_width: int) -> None:
        self.height, self.width = image_height * OVERSAMPLING, image_width * OVERSAMPLING
        self._parts = Image.new("I", (self.width, self.height), 0)
        self._draw = ImageDraw.Draw(self._parts)
        self._shadows = Image.new("L", (image_width, image_height), 0)
        self._draw_shadow = ImageDraw.Draw(self._shadows)
        self._materials = [Material(0, (0, 0, 0))]  # index 0 is the empty canvas

    def add(self, material: Material) -> int:
        """Add a material and return its index."""
        self._materials.append(material)
        return len(self._materials) - 1

    def polygon(self, points: Sequence[Point], material: int) -> None:
        """Fill a polygon."""
        self._draw.polygon(points, fill=material)

    def ellipse(self, x: float, y: float, across: float, down: float, material: int) -> None:
        """Fill an upright ellipse with half-axes ``across`` and ``down``."""
        if min(across, down) >= 0.5:
            self._draw.ellipse((x - across, y - down, x + across, y + down), fill=material)

    def box(self, left: float, top: float, right: float, bottom: float, material: int) -> None:
        """Fill an upright rectangle; nothing if it is empty."""
        if right >= left and bottom >= top:
            self._draw.rectangle((left, top, right, bottom), fill=material)

    def line(self, points: Sequence[Point], thickness: float, material: int) -> None:
        """Draw a line, at least one image pixel wide, so that thin classes stay in the mask."""
        self._draw.line(points, fill=material, width=max(OVERSAMPLING, round(thickness)), joint="curve")

    def shadow(self, points: Sequence[Point], strength: float) -> None:
        """Cast a shadow, 0 (none) to 1 (black), on the ground inside a polygon."""
        scaled = [(x / OVERSAMPLING, y / OVERSAMPLING) for x, y in points]
        self._draw_shadow.polygon(scaled, fill=round(255 * strength))

    def finish(self) -> Drawing:
        """Return the canvas as arrays."""
        labels, colors, textures, ramps, ground = zip(*self._materials, strict=True)
        smooth = [0] * len(TEXTURES)
        # RGB as the bytes of one word: a look-up by material then reads one array.
        channels = np.clip(np.array(colors, dtype=np.float64), 0, 255).astype("<u4")
        return Drawing(
            parts=np.asarray(self._parts, dtype=np.int32),
            labels=np.array(labels, dtype=np.uint8),
            colors=channels[:, 0] | channels[:, 1] << 8 | channels[:, 2] << 16,
            textures=np.array([[t.get(name, 0) for name in TEXTURES] if t else smooth for t in textures], np.float32),
            ramps=np.array(ramps, dtype=np.float32),
            ground=np.array(ground, dtype=np.float32),
            shadows=np.asarray(self._shadows, dtype=np.uint8),
        )


def oval(
    x: float, y: float, across: float, down: float, start: float = 0.0, stop: float = 360.0, corners: int = 28
) -> list[Point]:
    """Return points on an ellipse with half-axes ``across`` and ``down``, or on an arc of it.

    Angles are in degrees, 0 to the right, clockwise on a canvas whose y points down. A full ellipse has ``corners``
    points: 3 give a triangle, 4 a diamond.
    """
    steps = max(3, round(corners * abs(stop - start) / 360))
    angles = [math.radians(start + (stop - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def clip(points: Sequence[Point], low: float, high: float, axis: int = 0) -> list[Point]:
    """Return the part of a convex polygon between two values of x (axis 0) or y (axis 1).

    Example:
        >>> clip([(0, 0), (2, 0), (2, 1), (0, 1)], 1, 5)
        [(1.0, 0.0), (2, 0), (2, 1), (1.0, 1.0)]
    """
    # Sutherland-Hodgman: cut at one bound after the other.
    kept = list(points)
    for bound, sign in ((low, 1), (high, -1)):
        result: list[Point] = []
        for first, second in zip(kept, kept[1:] + kept[:1], strict=True):
            a, b = sign * (first[axis] - bound), sign * (second[axis] - bound)
            if a >= 0:
                result.append(first)
            if (a >= 0) != (b >= 0):
                share = a / (a - b)
                result.append((first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1])))
        kept = result
    return kept


class Brush:
    """Draws in coordinates around a center, x to the right and y down, turned clockwise by ``turn`` degrees.

    The unit is ``size`` canvas units. ``stretch`` is width over height; a negative one mirrors left and right.
    ``paint`` adds a material with a color and texture strengths to the canvas.
    """

    def __init__(
        self,
        canvas: Canvas,
        rng: np.random.Generator,
        paint: Callable[[Color, Mapping[str, float]], int],
        center: Point,
        size: float,
        turn: float = 0.0,
        stretch: float = 1.0,
    ) -> None:
        self.canvas, self.rng, self.center, self.size = canvas, rng, center, size
        self._paint, self._upright = paint, turn == 0
        # Stretching keeps the area, so that the share of pixels of a class does not depend on it.
        sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        down = size / math.sqrt(abs(stretch))
        across = down * stretch
        self._axes = (across, down)
        self._matrix = (across * cosine, -down * sine, across * sine, down * cosine)

    def paint(self, color: Color, hue: float = 0.0, strength: float = 0.0, **texture: float) -> int:
        """Add a material; ``hue`` and ``strength`` vary its color, see `colors.vary`."""
        own = vary(self.rng, color, hue=hue, strength=strength) if hue or strength else color
        return self._paint(own, texture)

    def color(self, hue: Point, saturation: Point, value: Point) -> Color:
        """Return a random color between bounds of hue (degrees), saturation and value."""
        return hsv(*(float(self.rng.uniform(*bounds)) for bounds in (hue, saturation, value)))

    def points(self, points: Sequence[Point]) -> list[Point]:
        """Return the canvas positions of points."""
        (left, top), (a, b, c, d) = self.center, self._matrix
        return [(left + a * x + b * y, top + c * x + d * y) for x, y in points]

    def polygon(self, points: Sequence[Point], material: int) -> None:
        """Fill a polygon; nothing if it has fewer than 3 points."""
        if len(points) > 2:
            self.canvas.polygon(self.points(points), material)

    def symmetric(self, right: Sequence[Point], material: int) -> None:
        """Fill a polygon given by its right half, from top to bottom."""
        self.polygon([*right, *[(-x, y) for x, y in reversed(right)]], material)

    def oval(self, x: float, y: float, across: float, down: float, material: int) -> None:
        """Fill an ellipse with half-axes ``across`` and ``down``."""
        if self._upright:  # several times as fast as a polygon
            [(column, row)] = self.points([(x, y)])
            self.canvas.ellipse(column, row, across * abs(self._axes[0]), down * self._axes[1], material)
        else:
            self.polygon(oval(x, y, across, down), material)

    def box(self, left: float, top: float, right: float, bottom: float, material: int) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], material)

    def line(self, points: Sequence[Point], thickness: float, material: int) -> None:
        """Draw a line."""
        self.canvas.line(self.points(points), thickness * self.size, material)
