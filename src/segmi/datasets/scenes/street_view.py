"""A camera in a street: from meters to the canvas, and from colors to how they look at a distance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from segmi.datasets.scenes.canvas import Brush, Canvas, Material, Point
from segmi.datasets.scenes.colors import Color, blend, tint
from segmi.datasets.scenes.town import Town, Weather

# Meters to the right of the road's center line, above the ground, and ahead of the camera.
Point3D: TypeAlias = tuple[float, float, float]
# A coordinate, or the interval between two.
Extent: TypeAlias = float | tuple[float, float]
# Range of distances in meters; nearer points would be projected to arbitrarily large coordinates.
NEAREST = 1.2
FARTHEST = 110.0


class Label(IntEnum):
    """Classes of street scenes: native ids, equal to the train ids."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    FENCE = 3
    POLE = 4
    SIGN = 5
    VEGETATION = 6
    SKY = 7
    PERSON = 8
    CAR = 9
    BICYCLE = 10


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the street."""

    focal: float  # focal length in canvas units
    column: float  # where a straight street vanishes
    row: float  # the horizon
    eye: float  # height above the ground in meters
    side: float  # meters to the right of the road's center line
    bend: float  # meters that the street turns to the right per square meter ahead

    def project(self, points: Iterable[Point3D]) -> list[Point]:
        """Return positions on the canvas; points behind ``NEAREST`` are moved there."""
        result: list[Point] = []
        for x, y, z in points:
            z = z if z > NEAREST else NEAREST
            scale = self.focal / z
            column = self.column + scale * (x - self.side + self.bend * z * z)
            result.append((column, self.row + scale * (self.eye - y)))
        return result

    def scale(self, z: float) -> float:
        """Return the canvas units of a meter at a distance."""
        return self.focal / max(z, NEAREST)


class StreetView:
    """Draws in meters on a canvas, in the light of a weather."""

    def __init__(self, canvas: Canvas, camera: Camera, town: Town, weather: Weather, rng: np.random.Generator) -> None:
        self.canvas, self.camera, self.town, self.weather, self.rng = canvas, camera, town, weather, rng
        self._added: list[tuple[float, Callable[[], None]]] = []

    def add(self, z: float, draw: Callable[..., None], *args: object) -> None:
        """Let ``draw(self, *args)`` draw an object at a distance, later and in the right order."""
        self._added.append((z, partial(draw, self, *args)))

    def draw_added(self) -> None:
        """Draw the added objects from far to near."""
        for _, draw in sorted(self._added, key=lambda item: -item[0]):
            draw()

    def paint(
        self,
        label: Label,
        color: Color,
        z: float,
        *,
        face: float = 1.0,
        glow: bool = False,
        texture: Mapping[str, float] = MappingProxyType({}),
        ramp: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> int:
        """Add a material of a color in white light, as it looks at a distance of ``z`` meters.

        ``face`` is the light on the surface, 1 if it faces the sky; a glowing material emits its own light.
        """
        # Light sources are visible through more haze than surfaces.
        haze = z * self.weather.haze * (0.4 if glow else 1.0)
        seen = color if glow else tint(tint(color, self.weather.light), face)
        color = blend(seen, self.weather.bottom, haze / (1 + haze))
        return self.canvas.add(Material(label, color, texture, ramp))

    def paint_ground(self, label: Label, color: Color, **texture: float) -> int:
        """Add a material that is flat on the ground."""
        return self.canvas.add(Material(label, tint(color, self.weather.light), texture, ground=True))

    def facing(self, side: float) -> float:
        """Return the light on a wall that faces the road from ``side``, negative for left."""
        return 0.92 - 0.22 * self.weather.hardness * self.weather.sun * (1 if side > 0 else -1)

    def brush(self, label: Label, x: float, y: float, z: float, size: float, face: float = 0.9) -> Brush:
        """Return a brush for a flat shape that faces the camera; 1 is ``size`` meters."""

        def paint(color: Color, texture: Mapping[str, float]) -> int:
            return self.paint(label, color, z, face=face, texture=texture)

        [center] = self.camera.project([(x, y, z)])
        return Brush(self.canvas, self.rng, paint, center, size * self.camera.scale(z))

    def in_view(self, x: float, z: float) -> bool:
        """Return whether a point on the ground is between the left and right edge of the image."""
        [(column, _)] = self.camera.project([(x, 0, z)])
        return 0 <= column <= self.canvas.width

    def polygon(self, points: Iterable[Point3D], material: int) -> None:
        """Fill a polygon."""
        self.canvas.polygon(self.camera.project(points), material)

    def rectangle(self, x: Extent, y: Extent, z: Extent, material: int) -> None:
        """Fill a rectangle: one coordinate is a number, the others are intervals."""
        (x0, x1), (y0, y1), (z0, z1) = (v if isinstance(v, tuple) else (v, v) for v in (x, y, z))
        if x0 == x1:
            self.polygon([(x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1)], material)
        else:
            self.polygon([(x0, y0, z0), (x0, y1, z1), (x1, y1, z1), (x1, y0, z0)], material)

    def line(self, points: Sequence[Point3D], meters: float, material: int) -> None:
        """Draw a line of a thickness in meters at its first point."""
        self.canvas.line(self.camera.project(points), meters * self.camera.scale(points[0][2]), material)

    def shadow(self, outline: Sequence[tuple[float, float]], height: float, strength: float = 0.5) -> None:
        """Cast the shadow of an object with this outline (x, z) on the ground, below it and away from the sun."""
        hardness = self.weather.hardness
        # Below an object, the ground is dark in any weather; cast shadows need direct light.
        below = [(x, 0.0, z) for x, z in outline]
        self.canvas.shadow(self.camera.project(below), 0.35 + 0.3 * max(hardness, 0.4))
        if hardness >= 0.2:
            reach = -self.weather.sun * height * 0.8
            tips = [(x + reach, 0.0, z + 0.25 * height) for x, z in reversed(outline)]
            self.canvas.shadow(self.camera.project([*below, *tips]), strength * hardness)
