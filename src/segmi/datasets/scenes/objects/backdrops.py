"""What lies behind the objects: patterned surfaces, and clutter that shares colors and patterns with the objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from segmi.datasets.scenes.colors import Color, filtered, mixed, of_hue, scaled, varied
from segmi.datasets.scenes.painting import Painting, Point

BACKGROUND: Final = 0

MOODS: Final[tuple[tuple[Color, ...], ...]] = (  # harmonious, rather quiet colors: surface, second, accents
    ((222, 208, 186), (198, 180, 156), (164, 142, 122), (186, 190, 176)),
    ((188, 202, 196), (164, 182, 178), (222, 216, 202), (136, 154, 158)),
    ((214, 208, 214), (188, 180, 192), (156, 152, 170), (224, 210, 200)),
    ((176, 182, 160), (152, 162, 140), (204, 198, 172), (132, 138, 128)),
    ((232, 224, 210), (210, 200, 188), (184, 192, 200), (196, 172, 160)),
    ((164, 172, 184), (140, 148, 162), (198, 202, 206), (172, 162, 158)),
    ((204, 182, 166), (182, 158, 142), (222, 208, 192), (150, 144, 142)),
)


class Backdrop:
    """Draws the background of one image in one mood and light."""

    def __init__(self, painting: Painting, rng: np.random.Generator, light: Color) -> None:
        self.painting, self.rng, self.light = painting, rng, light
        self.mood = MOODS[int(rng.integers(len(MOODS)))]
        self.unit = painting.height / 100

    def paint(self, color: Color, *, hue: float = 6.0, strength: float = 0.1, **texture: float) -> int:
        """A material of the background, on which shadows fall."""
        own = varied(self.rng, color, hue=hue, strength=strength)
        return self.painting.material(BACKGROUND, filtered(own, self.light), texture, ground=True)

    def draw(self) -> None:
        """A wall and a floor, or one surface seen from above, and clutter on it."""
        high, wide = self.painting.height, self.painting.width
        if self.rng.random() < 0.6:
            edge = high * float(self.rng.uniform(0.45, 0.75))
            self._surface(0, edge, self.mood[0], self.mood[1])
            self._surface(edge, high, self.mood[2], self.mood[3])
            skirting = self.paint(mixed(self.mood[0], (240, 236, 228), 0.5))
            self.painting.box(0, edge - 1.5 * self.unit, wide, edge + 0.8 * self.unit, skirting)
        else:
            self._surface(0, high, self.mood[0], self.mood[1])
        for _ in range(int(self.rng.integers(8, 22))):
            self.clutter(float(self.rng.uniform(2.5, 9)))

    def _surface(self, top: float, bottom: float, first: Color, second: Color) -> None:
        kinds: tuple[Callable[[float, float, int, int], None], ...] = (
            self._planks, self._tiles, self._bricks, self._dots, self._meadow, self._stripes, self._plain,
        )  # fmt: skip
        texture = {"blotches": 0.08, "grain": 0.07, "clouds": 0.12}
        base = self.paint(first, **texture)
        other = self.paint(mixed(second, first, float(self.rng.uniform(0, 0.6))), **texture)
        self.painting.box(0, top, self.painting.width, bottom, base)
        kinds[int(self.rng.integers(len(kinds)))](top, bottom, base, other)

    def _planks(self, top: float, bottom: float, base: int, other: int) -> None:
        step, y = self.unit * float(self.rng.uniform(9, 18)), top
        tones = [self.paint(self.mood[2], strength=0.12, rows=0.22, grain=0.06) for _ in range(3)]
        while y < bottom:
            self.painting.box(0, y, self.painting.width, min(y + step, bottom), tones[int(self.rng.integers(3))])
            self.painting.box(0, y, self.painting.width, min(y + 0.4 * self.unit, bottom), other)
            y += step

    def _tiles(self, top: float, bottom: float, base: int, other: int) -> None:
        step = self.unit * float(self.rng.uniform(10, 22))
        for row in range(math.ceil((bottom - top) / step)):
            for column in range(row % 2, math.ceil(self.painting.width / step), 2):
                y = top + row * step
                self.painting.box(column * step, y, (column + 1) * step, min(y + step, bottom), other)

    def _bricks(self, top: float, bottom: float, base: int, other: int) -> None:
        high, wide = self.unit * 7, self.unit * 17
        for row in range(math.ceil((bottom - top) / high)):
            y = top + row * high
            self.painting.box(0, y, self.painting.width, min(y + 0.7 * self.unit, bottom), other)
            for column in range(math.ceil(self.painting.width / wide) + 1):
                x = (column - 0.5 * (row % 2)) * wide
                self.painting.box(x, y, x + 0.7 * self.unit, min(y + high, bottom), other)

    def _dots(self, top: float, bottom: float, base: int, other: int) -> None:
        step = self.unit * float(self.rng.uniform(9, 16))
        for row in range(int((bottom - top) / step)):
            for column in range(math.ceil(self.painting.width / step)):
                self.painting.disc((column + 0.5 * (row % 2)) * step, top + (row + 0.5) * step, 0.24 * step, other)

    def _meadow(self, top: float, bottom: float, base: int, other: int) -> None:
        greens = [self.paint((138, 152, 112), hue=12, strength=0.16, leaves=0.25) for _ in range(3)]
        self.painting.box(0, top, self.painting.width, bottom, greens[0])
        places = self.rng.random((60, 2)).tolist()
        for right, down in places:
            x, y = right * self.painting.width, top + down * (bottom - top)
            tall = self.unit * (3 + 6 * down)
            blade: list[Point] = [(x - 0.5 * self.unit, y), (x + 0.3 * tall, y - tall), (x + 0.5 * self.unit, y)]
            self.painting.polygon([(u, max(v, top)) for u, v in blade], greens[1 + (down > 0.5)])

    def _stripes(self, top: float, bottom: float, base: int, other: int) -> None:
        step, x = self.unit * float(self.rng.uniform(7, 18)), 0.0
        share = float(self.rng.uniform(0.3, 0.6))
        while x < self.painting.width:
            self.painting.box(x, top, x + share * step, bottom, other)
            x += step

    def _plain(self, top: float, bottom: float, base: int, other: int) -> None:
        for _ in range(7):
            x, y = float(self.rng.uniform(0, self.painting.width)), float(self.rng.uniform(top, bottom))
            wide, high = self.unit * float(self.rng.uniform(5, 30)), self.unit * float(self.rng.uniform(2, 8))
            self.painting.box(x - wide, max(top, y - high), x + wide, min(bottom, y + high), other)

    def clutter(self, size: float) -> None:
        """Something small that is no object: a box, pebble, leaf, pencil, card or ring, sometimes in a loud color."""
        rng, painting = self.rng, self.painting
        loud = rng.random() < 0.2
        tone = of_hue(float(rng.uniform(0, 360)), float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.5, 0.9)))
        color = tone if loud else mixed(self.mood[int(rng.integers(4))], tone, 0.3)
        material = self.paint(color, grain=0.06, blotches=0.06)
        dark = self.paint(scaled(color, 0.7), grain=0.06)
        x, y = float(rng.uniform(0, painting.width)), float(rng.uniform(0, painting.height))
        radius, angle = size * self.unit, float(rng.uniform(0, math.pi))
        right, down = radius * math.cos(angle), radius * math.sin(angle)

        def slab(length: float, breadth: float, fill: int) -> None:
            along, aside = (right * length, down * length), (-down * breadth, right * breadth)
            painting.polygon(
                [
                    (x + along[0] + aside[0], y + along[1] + aside[1]),
                    (x + along[0] - aside[0], y + along[1] - aside[1]),
                    (x - along[0] - aside[0], y - along[1] - aside[1]),
                    (x - along[0] + aside[0], y - along[1] + aside[1]),
                ],
                fill,
            )

        painting.shadow(
            [
                (x - radius, y + 0.5 * radius),
                (x + radius, y + 0.5 * radius),
                (x + radius, y + 1.1 * radius),
                (x - radius, y + 1.1 * radius),
            ],
            0.16,
        )
        kind = int(rng.integers(6))
        if kind == 0:
            slab(1.0, 0.7, material)
            slab(0.7, 0.45, dark)
        elif kind == 1:
            painting.ellipse(x, y, radius, 0.7 * radius, material)
        elif kind == 2:
            slab(1.0, 0.0, dark)
            painting.polygon(
                [
                    (x + right, y + down),
                    (x - 0.4 * down, y + 0.4 * right),
                    (x - right, y - down),
                    (x + 0.4 * down, y - 0.4 * right),
                ],
                material,
            )
        elif kind == 3:
            slab(1.8, 0.14, material)
        elif kind == 4:
            for share, fill in ((1.0, material), (0.66, dark), (0.33, material)):
                slab(1.0, share, fill)
        else:
            painting.ring(x, y, radius, 0.3 * radius, material)
