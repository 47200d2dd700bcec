"""Object scenes: vehicles, furniture, dishes and toys, each drawn with a brush between -1 and 1."""

from __future__ import annotations

import math
from itertools import pairwise

from segmi.datasets.scenes.canvas import Brush, Point, clip, oval
from segmi.datasets.scenes.colors import tint


def draw_aeroplane(brush: Brush) -> None:
    """Draw a silver airliner with swept wings, seen from the side."""
    silver = brush.paint((206, 222, 240), 8, 0.05, clouds=0.08)
    shade = brush.paint((120, 152, 196), 6, 0.08, grain=0.04)
    accent, glass = brush.paint(brush.color((212, 228), (0.7, 0.7), (0.72, 0.72))), brush.paint((44, 60, 84))
    brush.polygon([(0.1, -0.1), (-0.3, -0.62), (-0.12, -0.62), (0.42, -0.1)], shade)
    brush.polygon([(-0.6, -0.08), (-1.0, -0.66), (-0.74, -0.66), (-0.34, -0.12)], accent)
    brush.polygon([*oval(0.62, 0, 0.38, 0.21, -90, 90), (-0.5, 0.2), (-1.0, -0.06), (-0.9, -0.17)], silver)
    brush.polygon([(0.98, 0.04), (-0.9, 0.01), (-0.96, -0.04), (0.98, -0.01)], accent)
    for step in range(8):
        brush.oval(-0.5 + 0.14 * step, -0.075, 0.04, 0.045, glass)
    brush.polygon([(0.72, -0.15), (0.9, -0.11), (0.93, -0.05), (0.7, -0.06)], glass)
    brush.polygon([(0.3, 0.08), (-0.46, 0.76), (-0.22, 0.78), (0.62, 0.09)], shade)
    brush.polygon([(-0.68, 0.02), (-1.0, 0.3), (-0.82, 0.3), (-0.44, 0.04)], shade)


def draw_ball(brush: Brush) -> None:
    """Draw a beach ball in lime and white sectors."""
    rng = brush.rng
    lime = brush.paint(brush.color((66, 84), (0.65, 0.85), (0.7, 0.9)), grain=0.03)
    white, count = brush.paint((246, 246, 236), 8, 0.04, grain=0.03), 2 * int(rng.integers(3, 5))
    pole, offset = (float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.45, 0.1))), float(rng.uniform(0, 60))
    for number in range(count):
        start = offset + 360 * number / count
        sector = oval(0, 0, 0.95, 0.95, start, start + 360 / count + 1)
        brush.polygon([pole, *sector], white if number % 2 else lime)
    brush.oval(*pole, 0.13, 0.11, lime)


def _draw_gores(brush: Brush, profile: list[Point], count: int, materials: tuple[int, int]) -> None:
    """Draw vertical stripes in turns, which bulge to the half-widths of a profile (half-width, y)."""
    edges = [math.sin(math.pi * (step / count - 0.5)) for step in range(count + 1)]
    for number, (left, right) in enumerate(pairwise(edges)):
        outline = [(left * half, y) for half, y in profile] + [(right * half, y) for half, y in reversed(profile)]
        brush.polygon(outline, materials[number % 2])


def draw_balloon(brush: Brush) -> None:
    """Draw a hot-air balloon with violet and gold stripes."""
    violet, gold = brush.paint((126, 64, 170), 12, 0.15, grain=0.03), brush.paint((240, 178, 64), 8, 0.1, grain=0.03)
    rope = brush.paint((96, 74, 52))
    for side in (-0.13, 0.13):
        brush.line([(side * 1.5, 0.45), (side, 0.76)], 0.03, rope)
    profile = [*oval(0, -0.25, 0.74, 0.73, -90, 0), (0.72, -0.1), (0.66, 0.08), (0.55, 0.24), (0.4, 0.38), (0.2, 0.47)]
    _draw_gores(brush, profile, int(brush.rng.integers(2, 4)) * 2 + 1, (gold, violet))
    brush.box(-0.16, 0.74, 0.16, 0.97, brush.paint((142, 96, 54), 8, 0.15, rows=0.25))


def draw_umbrella(brush: Brush) -> None:
    """Draw an open umbrella in magenta and dark violet, with a crooked handle."""
    bright, dark = brush.paint((206, 44, 134), 12, 0.14, grain=0.03), brush.paint((62, 40, 96), 10, 0.14, grain=0.03)
    brush.line([(0, -0.9), (0, 0.72), (0.06, 0.88), (0.18, 0.9), (0.26, 0.78)], 0.085, brush.paint((66, 54, 50)))
    _draw_gores(brush, oval(0, 0.04, 0.97, 0.92, -90, 0), 2 * int(brush.rng.integers(2, 4)), (bright, dark))


def draw_boat(brush: Brush) -> None:
    """Draw a sailing boat with striped sails."""
    cream, navy = brush.paint((242, 236, 220), 8, 0.05, columns=0.06), brush.paint((34, 46, 112), 8, 0.2, rows=0.1)
    brush.line([(0.02, -0.98), (0.02, 0.5)], 0.06, brush.paint((120, 82, 52), 8, 0.1))
    count = int(brush.rng.integers(3, 6))
    for sail in ([(0.08, -0.92), (0.76, 0.34), (0.08, 0.34)], [(-0.04, -0.8), (-0.66, 0.34), (-0.04, 0.34)]):
        brush.polygon(sail, cream)
        _draw_bands(brush, sail, -0.9, 0.34, count, navy)
    brush.polygon([(-0.96, 0.46), (0.98, 0.46), (0.72, 0.92), (-0.62, 0.92)], navy)
    brush.polygon([(-0.92, 0.53), (0.95, 0.53), (0.91, 0.61), (-0.87, 0.61)], brush.paint((206, 62, 56), 8, 0.1))


def _draw_bands(brush: Brush, outline: list[Point], top: float, bottom: float, count: int, material: int) -> None:
    """Draw horizontal bands inside a convex outline."""
    step = (bottom - top) / count
    for number in range(count):
        low = top + step * (number + 0.4)
        brush.polygon(clip(outline, low, low + 0.45 * step, axis=1), material)


def draw_cup(brush: Brush) -> None:
    """Draw a mug with mint and white bands and a handle."""
    mint, white = brush.paint((72, 190, 168), 10, 0.12, grain=0.03), brush.paint((240, 242, 236), 8, 0.04, grain=0.03)
    brush.line(oval(0.56, 0.1, 0.36, 0.42, -95, 95), 0.17, mint)
    wall = [(-0.72, -0.66), (0.62, -0.66), (0.54, 0.8), (0.4, 0.94), (-0.5, 0.94), (-0.64, 0.8)]
    brush.polygon(wall, mint)
    _draw_bands(brush, wall, -0.66, 0.84, int(brush.rng.integers(2, 4)), white)
    brush.oval(-0.05, -0.66, 0.67, 0.2, white)
    brush.oval(-0.05, -0.65, 0.57, 0.14, brush.paint((110, 62, 36), 8, 0.15))


def draw_bottle(brush: Brush) -> None:
    """Draw a green glass bottle with a paper label."""
    neck, glass = float(brush.rng.uniform(0.12, 0.16)), brush.paint((34, 104, 66), 14, 0.2, columns=0.1)
    brush.box(-neck, -1.0, neck, -0.82, brush.paint((176, 130, 84), 8, 0.15))
    brush.symmetric([(neck, -0.86), (neck, -0.45), (0.4, -0.16), (0.42, 0.9), (0.34, 0.98)], glass)
    brush.box(-0.415, 0.1, 0.415, 0.66, brush.paint((236, 226, 196), 8, 0.06, grain=0.04))
    brush.oval(0.0, 0.36, 0.2, 0.14, brush.paint(brush.color((0, 360), (0.6, 0.6), (0.55, 0.55))))
    brush.line([(-0.28, -0.12), (-0.3, 0.86)], 0.07, brush.paint((142, 206, 160), 8, 0.1))


def _draw_wheels(brush: Brush, positions: tuple[float, float], y: float, radius: float) -> None:
    tire, hub = brush.paint((30, 30, 34)), brush.paint((180, 182, 186))
    for x in positions:
        brush.oval(x, y, radius, radius, tire)
        brush.oval(x, y, radius / 2, radius / 2, hub)


def draw_bus(brush: Brush) -> None:
    """Draw a red double-decker."""
    glass, count = brush.paint((44, 58, 76), 8, 0.15, blotches=0.15), int(brush.rng.integers(4, 7))
    body = [(-0.94, -0.72), (-0.88, -0.8), (0.88, -0.8), (0.97, -0.7), (0.98, 0.58), (-0.97, 0.58)]
    brush.polygon(body, brush.paint((202, 38, 42), 6, 0.14, clouds=0.06))
    brush.box(-0.96, -0.16, 0.97, -0.05, brush.paint((238, 228, 206), 8, 0.05))
    for top in (-0.6, 0.03):
        for number in range(count):
            left = -0.86 + 1.72 * number / count
            brush.box(left + 0.03, top, left + 1.72 / count - 0.03, top + 0.34, glass)
    brush.oval(0.93, 0.46, 0.05, 0.06, brush.paint((252, 226, 140)))
    _draw_wheels(brush, (-0.56, 0.42), 0.6, 0.19)


def draw_car(brush: Brush) -> None:
    """Draw a small blue car from the side."""
    color, glass = brush.color((198, 222), (0.6, 0.85), (0.6, 0.92)), brush.paint((196, 220, 232), 8, 0.12)
    body, top = brush.paint(color, clouds=0.08), float(brush.rng.uniform(-0.62, -0.5))
    brush.polygon([(-0.7, -0.05), (-0.5, top), (0.16, top), (0.52, -0.05)], body)
    brush.polygon([(-0.97, 0.02), (-0.72, -0.1), (0.56, -0.09), (0.94, 0.06), (0.99, 0.38), (-0.98, 0.38)], body)
    brush.polygon([(-0.97, 0.26), (0.98, 0.26), (0.98, 0.42), (-0.97, 0.42)], brush.paint(tint(color, 0.7)))
    brush.polygon([(-0.58, -0.06), (-0.44, top + 0.09), (-0.18, top + 0.09), (-0.18, -0.06)], glass)
    brush.polygon([(-0.1, -0.06), (-0.1, top + 0.09), (0.12, top + 0.09), (0.39, -0.06)], glass)
    brush.oval(0.93, 0.14, 0.05, 0.07, brush.paint((252, 234, 170)))
    brush.oval(-0.94, 0.12, 0.04, 0.07, brush.paint((206, 44, 40)))
    _draw_wheels(brush, (-0.56, 0.58), 0.4, 0.22)


def draw_chair(brush: Brush) -> None:
    """Draw a wooden chair with a slatted back."""
    wood, dark = brush.paint((170, 98, 40), 8, 0.16, columns=0.16), brush.paint((112, 65, 26), 8, 0.1, columns=0.12)
    for x in (-0.34, 0.64):
        brush.line([(x, 0.1), (x, 0.8)], 0.13, dark)
    for x in (-0.5, 0.36):
        brush.line([(x, -0.98), (x + 0.04, 0.2)], 0.15, wood)
    for y in (-0.86, -0.56, -0.27):
        brush.line([(-0.5, y), (0.38, y)], 0.19, wood)
    cushion = [(-0.6, 0.22), (-0.36, -0.02), (0.66, -0.02), (0.56, 0.22)]
    brush.polygon(cushion, brush.paint((110, 60, 40), 10, 0.2, grain=0.06))
    brush.box(-0.62, 0.2, 0.58, 0.34, wood)
    for x in (-0.53, 0.49):
        brush.line([(x, 0.3), (x, 0.98)], 0.15, wood)


def draw_clock(brush: Brush) -> None:
    """Draw a wall clock with a dark rim, a cream face and two hands."""
    ink = brush.paint((30, 30, 34))
    brush.oval(0, 0, 0.96, 0.96, brush.paint((52, 46, 50), 30, 0.2))
    brush.oval(0, 0, 0.82, 0.82, brush.paint((198, 164, 92), 8, 0.1))
    brush.oval(0, 0, 0.76, 0.76, brush.paint((246, 240, 222), 8, 0.04, grain=0.03))
    marks = [(hour * math.pi / 6, 0.58, 0.7, 0.1) for hour in range(12)]
    hands = [(float(brush.rng.uniform(0, 2 * math.pi)), 0.0, long, wide) for long, wide in ((0.38, 0.1), (0.58, 0.07))]
    for angle, start, stop, wide in (*marks, *hands):
        sine, cosine = math.sin(angle), math.cos(angle)
        brush.line([(start * sine, start * cosine), (stop * sine, stop * cosine)], wide, ink)


def draw_house(brush: Brush) -> None:
    """Draw a brick house with a slate roof."""
    brick, joint = brush.paint((206, 92, 66), 6, 0.12, rows=0.14, blotches=0.08), brush.paint((206, 168, 146), 8, 0.05)
    pane, frame = brush.paint((250, 220, 130), 8, 0.1), brush.paint((244, 240, 230))
    brush.box(0.34, -0.92, 0.54, -0.4, brick)
    brush.box(-0.78, -0.14, 0.78, 0.95, brick)
    for row in range(7):
        brush.line([(-0.78, -0.02 + 0.14 * row), (0.78, -0.02 + 0.14 * row)], 0.018, joint)
    roof = [(-0.98, -0.08), (float(brush.rng.uniform(-0.12, 0.12)), -0.92), (0.98, -0.08)]
    brush.polygon(roof, brush.paint((70, 84, 120), 10, 0.18, rows=0.16))
    for x in (-0.58, 0.18):
        brush.box(x - 0.04, 0.1, x + 0.42, 0.5, frame)
        brush.box(x, 0.14, x + 0.17, 0.46, pane)
        brush.box(x + 0.21, 0.14, x + 0.38, 0.46, pane)
    brush.box(-0.2, 0.42, 0.1, 0.95, brush.paint((60, 110, 84), 40, 0.2))
