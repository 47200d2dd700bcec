"""The camera on the street: from meters to the canvas, and from a thing's own color to how it looks from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from segmi.datasets.scenes.colors import Color, filtered, mixed
from segmi.datasets.scenes.painting import Painting, Point
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.town import Town, Weather

Place: TypeAlias = tuple[float, float, float]
"""Meters: to the right of the road's middle, above the ground, ahead of the camera."""

NEAREST = 1.2
FARTHEST = 110.0


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the street.

    Args:
        focal: focal length in canvas units.
        column: where the street vanishes.
        row: the horizon.
        eye: height above the ground, meters.
        side: meters to the right of the road's middle.
        bend: meters that the street turns to the right per square meter ahead.
    """

    focal: float
    column: float
    row: float
    eye: float
    side: float
    bend: float

    def at(self, x: float, y: float, z: float) -> Point:
        """Where a place is seen, canvas units; places behind the camera count as just before it."""
        z = max(z, NEAREST)
        scale = self.focal / z
        return self.column + scale * (x - self.side + self.bend * z * z), self.row + scale * (self.eye - y)


class Stage:
    """Everything that the parts of a street need in order to draw themselves."""

    def __init__(
        self, painting: Painting, camera: Camera, town: Town, weather: Weather, rng: np.random.Generator
    ) -> None:
        self.painting, self.camera, self.town, self.weather, self.rng = painting, camera, town, weather, rng

    def look(
        self,
        label: Label,
        color: Color,
        z: float,
        *,
        face: float = 1.0,
        glow: bool = False,
        texture: Mapping[str, float] | None = None,
        ramp: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> int:
        """A material as it looks at a distance of ``z`` meters.

        Args:
            label: the class.
            color: its own color, in white light.
            z: distance, for the haze.
            face: how much light falls on it, 1 for a surface that faces the sky.
            glow: it shines by itself.
            texture: strengths by name.
            ramp: see `Painting.material`.
        """
        tint, far = self.weather.tint, self.weather.bottom
        dimming = z * self.weather.haze * (0.4 if glow else 1.0)
        hidden = dimming / (1 + dimming)
        if glow:
            return self.painting.material(label, mixed(color, far, hidden), texture, ramp=ramp)
        kept = (1 - hidden) * face  # written out, for this is asked some hundred times per image
        seen = (
            kept * color[0] * tint[0] + hidden * far[0],
            kept * color[1] * tint[1] + hidden * far[1],
            kept * color[2] * tint[2] + hidden * far[2],
        )
        return self.painting.material(label, seen, texture, ramp=ramp)

    def ground(self, label: Label, color: Color, texture: Mapping[str, float] | None = None) -> int:
        """A material that lies on the ground."""
        return self.painting.material(label, filtered(color, self.weather.tint), texture, ground=True)

    def facing(self, side: float) -> float:
        """How much light falls on a wall that faces the road from ``side`` (-1 left, 1 right)."""
        return 0.92 - 0.22 * self.weather.hardness * self.weather.sun * side

    def points(self, places: Iterable[Place]) -> list[Point]:
        """Where places are seen: `Camera.at`, written out, for this is asked some thousand times per image."""
        camera = self.camera
        column, row, focal, eye, side, bend = (
            camera.column, camera.row, camera.focal, camera.eye, camera.side, camera.bend,
        )  # fmt: skip
        seen: list[Point] = []
        for x, y, z in places:
            z = z if z > NEAREST else NEAREST
            scale = focal / z
            seen.append((column + scale * (x - side + bend * z * z), row + scale * (eye - y)))
        return seen

    def in_view(self, x: float, z: float) -> bool:
        """Whether a place on a wall along the street lies between the left and right edge of the image."""
        return 0 <= self.camera.at(x, 0, z)[0] <= self.painting.width

    def polygon(self, places: Iterable[Place], material: int) -> None:
        """Fills a polygon given in meters."""
        self.painting.polygon(self.points(places), material)

    def line(self, places: Iterable[Place], meters: float, material: int) -> None:
        """Draws a line that is some meters thick at its first place."""
        listed = list(places)
        self.painting.line(self.points(listed), meters * self.scale(listed[0][2]), material)

    def scale(self, z: float) -> float:
        """Canvas units per meter at a distance."""
        return self.camera.focal / max(z, NEAREST)

    def cast(self, outline: Sequence[tuple[float, float]], height: float, strength: float = 0.5) -> None:
        """The shadow on the ground of a thing with this outline (x, z) and height, and the dark below it."""
        self.painting.shadow(self.points([(x, 0, z) for x, z in outline]), 0.35 + 0.3 * max(self.weather.hardness, 0.4))
        if self.weather.hardness < 0.2:
            return
        reach = -self.weather.sun * height * 0.8
        thrown = [(x, 0.0, z) for x, z in outline] + [(x + reach, 0.0, z + 0.25 * height) for x, z in reversed(outline)]
        self.painting.shadow(self.points(thrown), strength * self.weather.hardness)
