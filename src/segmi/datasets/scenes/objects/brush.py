"""A frame of reference for one object: shapes around (0, 0) appear turned, mirrored and lit at the object's place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segmi.datasets.scenes.colors import Color, filtered, varied
from segmi.datasets.scenes.painting import Painting, Point

ROUND = 28
"""Corners of the polygon that stands for an ellipse."""


def oval(x: float, y: float, across: float, down: float, *, start: float = 0.0, stop: float = 360.0) -> list[Point]:
    """Points along an ellipse (or an arc of it, in degrees, 0 to the right, clockwise as y points down)."""
    steps = max(3, round(ROUND * abs(stop - start) / 360))
    angles = [math.radians(start + (stop - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def cut(points: Sequence[Point], low: float, high: float, *, axis: int = 0) -> list[Point]:
    """The part of a convex outline between two values of x (axis 0) or y (axis 1).

    Example:
        >>> cut([(0, 0), (2, 0), (2, 1), (0, 1)], 1, 5)
        [(1.0, 0.0), (2, 0), (2, 1), (1.0, 1.0)]
    """
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
    """Draws one object in coordinates from -1 to 1, x to the right and y down.

    Args:
        painting: the canvas.
        rng: for whatever the object varies.
        label: its class.
        center: its place, canvas units.
        size: canvas units for 1.
        turn: rotation in degrees, clockwise.
        mirrored: left and right are exchanged.
        stretch: width over height.
        light: the light's color as shares.
        slope: brightness gained from one edge to the other, to the right and downwards.
    """

    def __init__(
        self,
        painting: Painting,
        rng: np.random.Generator,
        label: int,
        *,
        center: Point,
        size: float,
        turn: float = 0.0,
        mirrored: bool = False,
        stretch: float = 1.0,
        light: Color = (1.0, 1.0, 1.0),
        slope: Point = (0.0, 0.0),
    ) -> None:
        self.painting, self.rng, self.label, self.center, self.size = painting, rng, label, center, size
        sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        across = size * math.sqrt(stretch) * (-1 if mirrored else 1)
        down = size / math.sqrt(stretch)
        self._matrix = (across * cosine, -down * sine, across * sine, down * cosine)
        self._light = light
        unit = painting.height / (2 * size)
        right, below = slope[0] * unit, slope[1] * unit
        middle = (center[0] * right + center[1] * below) / painting.height
        self._ramp = (below, right, -middle)

    def paint(self, color: Color, *, hue: float = 0.0, strength: float = 0.0, **texture: float) -> int:
        """A material of the object's class; ``hue`` and ``strength`` vary its color, see `colors.varied`."""
        own = varied(self.rng, color, hue=hue, strength=strength) if hue or strength else color
        return self.painting.material(self.label, filtered(own, self._light), texture, ramp=self._ramp)

    def at(self, x: float, y: float) -> Point:
        """Where a point of the object is on the canvas."""
        a, b, c, d = self._matrix
        return self.center[0] + a * x + b * y, self.center[1] + c * x + d * y

    def polygon(self, points: Sequence[Point], material: int) -> None:
        """Fills a polygon."""
        if len(points) > 2:
            self.painting.polygon([self.at(x, y) for x, y in points], material)

    def oval(self, x: float, y: float, across: float, down: float, material: int) -> None:
        """Fills an ellipse with half-axes ``across`` and ``down``."""
        self.polygon(oval(x, y, across, down), material)

    def box(self, left: float, top: float, right: float, bottom: float, material: int) -> None:
        """Fills a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], material)

    def line(self, points: Sequence[Point], thickness: float, material: int) -> None:
        """Draws a line."""
        self.painting.line([self.at(x, y) for x, y in points], thickness * self.size, material)
