"""Object scenes: patterned backgrounds, and clutter that shares colors and patterns with the objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from segmi.datasets.scenes.canvas import Brush, Canvas, Material, oval
from segmi.datasets.scenes.colors import Color, blend, choose, hsv, tint, vary

MOODS: Final[tuple[tuple[Color, ...], ...]] = (  # harmonious, quiet colors: wall and its pattern, floor and its pattern
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

    def __init__(self, canvas: Canvas, rng: np.random.Generator, light: Color) -> None:
        self.canvas, self.rng, self.light, self.mood = canvas, rng, light, choose(rng, MOODS)
        self.unit = canvas.height / 100

    def _material(self, color: Color, texture: Mapping[str, float]) -> int:
        own = vary(self.rng, color, hue=6)
        return self.canvas.add(Material(0, tint(own, self.light), texture, ground=True))

    def draw(self) -> None:
        """Draw a wall and a floor, or one surface seen from above, and clutter."""
        high = self.canvas.height
        edge = high * float(self.rng.uniform(0.45, 0.75)) if self.rng.random() < 0.6 else high
        self._draw_surface(0, edge, self.mood[0], self.mood[1])
        if edge < high:
            self._draw_surface(edge, high, self.mood[2], self.mood[3])
            skirting = self._material(blend(self.mood[0], (240, 236, 228), 0.5), {})
            self.canvas.box(0, edge - 1.5 * self.unit, self.canvas.width, edge + 0.8 * self.unit, skirting)
        for _ in range(int(self.rng.integers(8, 22))):
            self.draw_clutter(float(self.rng.uniform(2.5, 9)))

    def _draw_surface(self, top: float, bottom: float, first: Color, second: Color) -> None:
        """Draw one of six patterns between two rows: each is a grid of boxes or dots, or a texture alone."""
        rng, canvas, unit, wide = self.rng, self.canvas, self.unit, self.canvas.width
        texture = {"blotches": 0.08, "grain": 0.07, "clouds": 0.12}
        kind, step = int(rng.integers(6)), unit * float(rng.uniform(9, 20))
        if kind == 0:  # planks
            first, texture = self.mood[2], {"rows": 0.22, "grain": 0.06}
        elif kind == 1:  # a lawn
            first, texture = (138, 152, 112), {"leaves": 0.25, "blotches": 0.1}
        base = self._material(first, texture)
        other = self._material(blend(second, first, float(rng.uniform(0, 0.6))), texture)
        canvas.box(0, top, wide, bottom, base)
        for row in range(math.ceil((bottom - top) / step) if kind != 1 else 0):
            y = top + row * step
            columns = range(math.ceil(wide / step) + 1)
            if kind in (0, 2):  # planks, and bricks, which have upright joints as well
                canvas.box(0, y, wide, min(y + 0.6 * unit, bottom), other)
            if kind == 2:
                for column in columns:
                    x = 2 * step * (column - 0.5 * (row % 2))
                    canvas.box(x, y, x + 0.6 * unit, min(y + step, bottom), other)
            elif kind == 3:  # tiles
                for column in columns[row % 2 :: 2]:
                    canvas.box(column * step, y, (column + 1) * step, min(y + step, bottom), other)
            elif kind == 4:  # dots
                for column in columns:
                    if y + 0.75 * step < bottom:
                        x = (column + 0.5 * (row % 2)) * step
                        canvas.ellipse(x, y + 0.5 * step, 0.24 * step, 0.24 * step, other)
            elif kind == 5 and row == 0:  # stripes
                for column in columns:
                    canvas.box(column * step, top, (column + 0.45) * step, bottom, other)

    def draw_clutter(self, size: float) -> None:
        """Draw a small box, pebble, leaf or button, sometimes in a loud color."""
        rng, canvas = self.rng, self.canvas
        color = hsv(float(rng.uniform(0, 360)), float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.5, 0.9)))
        if rng.random() < 0.8:
            color = blend(choose(rng, self.mood), color, 0.3)
        x, y, radius = float(rng.uniform(0, canvas.width)), float(rng.uniform(0, canvas.height)), size * self.unit
        canvas.shadow(oval(x, y + 0.8 * radius, radius, 0.3 * radius, corners=6), 0.16)
        brush = Brush(canvas, rng, self._material, (x, y), radius, turn=float(rng.uniform(0, 180)))
        material, dark = brush.paint(color, grain=0.06, blotches=0.06), brush.paint(tint(color, 0.7), grain=0.06)
        kind = int(rng.integers(4))
        if kind == 0:
            brush.box(-1, -0.7, 1, 0.7, material)
            brush.box(-1, -0.25, 1, 0.25, dark)
        elif kind == 1:
            canvas.ellipse(x, y, radius, 0.7 * radius, material)
        elif kind == 2:
            brush.polygon([(1, 0), (0, 0.4), (-1, 0), (0, -0.4)], material)
            brush.line([(-1, 0), (1, 0)], 0.1, dark)
        else:
            canvas.ellipse(x, y, 0.9 * radius, 0.9 * radius, material)
            canvas.ellipse(x, y, 0.5 * radius, 0.5 * radius, dark)
