"""A canvas of numbered parts: what is drawn once gives both the image and its mask, so the two can never disagree.

Every shape is filled with the number of a *material*; a material knows the class it belongs to and how it looks. The
mask is a look-up of classes, the image a look-up of colors at twice the resolution, averaged, textured and lit
(`segmi.datasets.scenes.developing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segmi.datasets.scenes.colors import Color

Point: TypeAlias = tuple[float, float]

OVERSAMPLING: Final = 2
"""The canvas has this many rows and columns for each of the image's."""

TEXTURES: Final = ("grain", "blotches", "clouds", "rows", "columns", "leaves")
"""The brightness fields that a material can be made of, see `segmi.datasets.scenes.developing.texture_bank`."""


@dataclass(frozen=True)
class Painted:
    """A finished canvas: the part at each place, and what is known about each part.

    Args:
        parts: OVERSAMPLING·H × OVERSAMPLING·W numbers of materials.
        labels: native class id by material.
        colors: RGBX bytes by material, in a little-endian word.
        textures: strength of each of ``TEXTURES`` by material, materials × textures.
        ramps: brightness slopes per canvas height, down and to the right, and their offset, materials × 3.
        ground: 1 where a material lies flat, so that shadows fall on it and distance shows by row, else 0.
        shadows: the cast shadows, H×W, 0 (none) to 255.
    """

    parts: NDArray[np.int32]
    labels: NDArray[np.uint8]
    colors: NDArray[np.uint32]
    textures: NDArray[np.float32]
    ramps: NDArray[np.float32]
    ground: NDArray[np.float32]
    shadows: NDArray[np.uint8]

    @property
    def places(self) -> NDArray[np.int32]:
        """The part of each pixel of the image, H×W."""
        return self.parts[::OVERSAMPLING, ::OVERSAMPLING]

    def mask(self) -> NDArray[np.uint8]:
        """The native class of each pixel, H×W; edges are hard."""
        return self.labels[self.places]

    def coverage(self, label: int, rows: int) -> NDArray[np.float32]:
        """The part of each pixel, 0 to 1, that belongs to a class, for the first rows: a mask with soft edges."""
        network = np.take((self.labels == label).astype(np.uint8), self.parts[: rows * OVERSAMPLING], mode="clip")
        corners = [network[i::OVERSAMPLING, j::OVERSAMPLING] for i in range(OVERSAMPLING) for j in range(OVERSAMPLING)]
        return np.add.reduce(corners, dtype=np.float32) / np.float32(len(corners))


class Painting:
    """A canvas to draw on, in canvas units: ``height`` and ``width`` are OVERSAMPLING times those of the image.

    Example:
        >>> painting = Painting(2, 4)
        >>> left = painting.material(3, (200, 10, 10))
        >>> painting.polygon([(0, 0), (3, 0), (3, 3), (0, 3)], left)
        >>> painting.finish().mask().tolist()
        [[3, 3, 0, 0], [3, 3, 0, 0]]
    """

    def __init__(self, image_height: int, image_width: int) -> None:
        self.height, self.width = image_height * OVERSAMPLING, image_width * OVERSAMPLING
        self._canvas = Image.new("I", (self.width, self.height), 0)
        self._draw = ImageDraw.Draw(self._canvas)
        self._shadows = Image.new("L", (image_width, image_height), 0)
        self._shadow_draw = ImageDraw.Draw(self._shadows)
        self._labels: list[int] = []
        self._colors: list[Color] = []
        self._textures: list[Mapping[str, float]] = []
        self._ramps: list[tuple[float, float, float]] = []
        self._ground: list[bool] = []
        self.material(0, (0, 0, 0))  # material 0 is the empty canvas

    def material(
        self,
        label: int,
        color: Color,
        texture: Mapping[str, float] | None = None,
        *,
        ramp: tuple[float, float, float] = (0.0, 0.0, 0.0),
        ground: bool = False,
    ) -> int:
        """A new material of a class; returns its number.

        Args:
            label: native class id.
            color: RGB, 0 to 255; clipped.
            texture: strength by name of ``TEXTURES``, as a share of the brightness.
            ramp: change of brightness per canvas height downwards and to the right, and offset, as shares.
            ground: it lies flat and receives shadows.
        """
        self._labels.append(label)
        self._colors.append(color)
        self._textures.append(texture or {})
        self._ramps.append(ramp)
        self._ground.append(ground)
        return len(self._labels) - 1

    def polygon(self, points: Sequence[Point], material: int) -> None:
        """Fills a polygon."""
        self._draw.polygon(points, fill=material)

    def disc(self, x: float, y: float, radius: float, material: int) -> None:
        """Fills a circle."""
        if radius >= 0.5:
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=material)

    def ellipse(self, x: float, y: float, across: float, down: float, material: int) -> None:
        """Fills an upright ellipse with half-axes ``across`` and ``down``."""
        self._draw.ellipse((x - across, y - down, x + across, y + down), fill=material)

    def ring(self, x: float, y: float, radius: float, thickness: float, material: int) -> None:
        """Draws a circle of some thickness."""
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, outline=material, width=max(1, round(thickness)))

    def box(self, left: float, top: float, right: float, bottom: float, material: int) -> None:
        """Fills an upright rectangle, wherever its corners lie."""
        if right >= left and bottom >= top:
            self._draw.rectangle((left, top, right, bottom), fill=material)

    def line(self, points: Sequence[Point], thickness: float, material: int) -> None:
        """Draws a line of at least one image pixel's width, so that its class does not vanish from the mask."""
        self._draw.line(points, fill=material, width=max(OVERSAMPLING, round(thickness)), joint="curve")

    def shadow(self, points: Sequence[Point], strength: float) -> None:
        """Casts a shadow, 0 (none) to 1 (black), on whatever ground lies there, polygon in canvas units."""
        scaled = [(x / OVERSAMPLING, y / OVERSAMPLING) for x, y in points]
        self._shadow_draw.polygon(scaled, fill=round(255 * strength))

    def finish(self) -> Painted:
        """The canvas as arrays."""
        channels = np.clip(np.array(self._colors, dtype=np.float64), 0, 255).astype("<u4")
        textures = np.zeros((len(self._labels), len(TEXTURES)), dtype=np.float32)
        for row, strengths in enumerate(self._textures):
            for name, strength in strengths.items():
                textures[row, TEXTURES.index(name)] = strength
        return Painted(
            parts=np.asarray(self._canvas, dtype=np.int32),
            labels=np.array(self._labels, dtype=np.uint8),
            colors=channels[:, 0] | channels[:, 1] << 8 | channels[:, 2] << 16,
            textures=textures,
            ramps=np.array(self._ramps, dtype=np.float32),
            ground=np.array(self._ground, dtype=np.float32),
            shadows=np.asarray(self._shadows, dtype=np.uint8),
        )
