"""Things that people make: vehicles, vessels, furniture and toys."""

from __future__ import annotations

import math
from itertools import pairwise

from segmi.datasets.scenes.colors import of_hue, scaled
from segmi.datasets.scenes.objects.brush import Brush, cut, oval


def draw_aeroplane(brush: Brush) -> None:
    """Silver fuselage with swept wings, seen from the side and a little from above."""
    rng = brush.rng
    silver = brush.paint((206, 222, 240), strength=0.05, clouds=0.08)
    shade = brush.paint((120, 152, 196), hue=6, strength=0.08, grain=0.04)
    accent = brush.paint(of_hue(float(rng.uniform(212, 228)), 0.7, 0.72), hue=4, strength=0.1)
    glass = brush.paint((44, 60, 84))
    brush.polygon([(0.1, -0.1), (-0.3, -0.62), (-0.12, -0.62), (0.42, -0.1)], shade)  # far wing
    brush.polygon([(-0.6, -0.08), (-1.0, -0.66), (-0.74, -0.66), (-0.34, -0.12)], accent)  # fin
    brush.polygon([*oval(0.62, 0, 0.38, 0.21, start=-90, stop=90), (-0.5, 0.2), (-1.0, -0.06), (-0.9, -0.17)], silver)
    brush.polygon([(0.98, 0.04), (0.7, 0.03), (-0.9, 0.01), (-0.96, -0.04), (0.98, -0.01)], accent)
    for step in range(8):
        brush.oval(-0.5 + 0.14 * step, -0.075, 0.04, 0.045, glass)
    brush.polygon([(0.72, -0.15), (0.9, -0.11), (0.93, -0.05), (0.7, -0.06)], glass)
    brush.polygon([(0.3, 0.08), (-0.46, 0.76), (-0.22, 0.78), (0.62, 0.09)], shade)  # near wing
    brush.polygon([(0.3, 0.08), (-0.46, 0.76), (-0.4, 0.77), (0.4, 0.09)], silver)
    brush.polygon([(-0.68, 0.02), (-1.0, 0.3), (-0.82, 0.3), (-0.44, 0.04)], shade)
    brush.oval(0.12, 0.36, 0.17, 0.09, accent)


def draw_ball(brush: Brush) -> None:
    """A beach ball in lime and white sectors."""
    rng = brush.rng
    lime = brush.paint(of_hue(float(rng.uniform(66, 84)), 0.72, 0.86), hue=5, strength=0.1, grain=0.03)
    deep = brush.paint(of_hue(float(rng.uniform(66, 84)), 0.85, 0.66), hue=5, strength=0.1, grain=0.03)
    white = brush.paint((246, 246, 236), strength=0.04, grain=0.03)
    materials = [lime, white, deep, white, lime, white, deep, white] if rng.random() < 0.5 else [lime, white] * 3
    pole = (float(rng.uniform(-0.35, 0.35)), float(rng.uniform(-0.45, 0.1)))
    offset = float(rng.uniform(0, 60))
    for number, material in enumerate(materials):
        start, step = offset + 360 * number / len(materials), 360 / len(materials)
        brush.polygon([pole, *oval(0, 0, 0.95, 0.95, start=start, stop=start + step + 1)], material)
    brush.oval(*pole, 0.13, 0.11, deep)


def draw_balloon(brush: Brush) -> None:
    """A hot-air balloon: bulging stripes in violet and gold, a basket below."""
    rng = brush.rng
    violet = brush.paint((126, 64, 170), hue=12, strength=0.15, grain=0.03)
    gold = brush.paint((240, 178, 64), hue=8, strength=0.1, grain=0.03)
    rope, basket = brush.paint((96, 74, 52)), brush.paint((142, 96, 54), strength=0.15, rows=0.25)
    for side in (-0.13, 0.13):
        brush.line([(side * 1.5, 0.45), (side, 0.76)], 0.03, rope)
    stripes = int(rng.integers(2, 4)) * 2 + 1
    bulges = [math.sin(math.pi * (step / stripes - 0.5)) for step in range(stripes + 1)]
    for number in range(stripes):
        left, right = bulges[number], bulges[number + 1]
        edge = [(left * _balloon_half(y), y) for y in _BALLOON_ROWS]
        edge += [(right * _balloon_half(y), y) for y in reversed(_BALLOON_ROWS)]
        brush.polygon(edge, violet if number % 2 else gold)
    if rng.random() < 0.6:
        band = [
            (-_balloon_half(-0.35), -0.35),
            (_balloon_half(-0.35), -0.35),
            (_balloon_half(-0.18), -0.18),
            (-_balloon_half(-0.18), -0.18),
        ]
        brush.polygon(band, violet)
    brush.box(-0.16, 0.74, 0.16, 0.97, basket)


_BALLOON_ROWS = [-0.98 + 0.12 * step for step in range(13)]


def _balloon_half(y: float) -> float:
    """Half the width of a balloon's envelope at a height."""
    if y < -0.25:
        return 0.74 * math.sqrt(max(0.0, 1 - ((y + 0.25) / 0.74) ** 2))
    return 0.74 - 0.56 * ((y + 0.25) / 0.72) ** 1.6


def draw_boat(brush: Brush) -> None:
    """A sailing boat with sails in navy and white stripes."""
    rng = brush.rng
    cream = brush.paint((242, 236, 220), strength=0.05, columns=0.06)
    hull = brush.paint((34, 46, 112), hue=8, strength=0.2, rows=0.1)
    stripe, wood = brush.paint((206, 62, 56), strength=0.1), brush.paint((120, 82, 52), strength=0.1)
    brush.line([(0.02, -0.98), (0.02, 0.5)], 0.06, wood)
    count = int(rng.integers(3, 6))
    for sail in (
        [(0.08, -0.92), (0.3, -0.45), (0.76, 0.34), (0.08, 0.34)],
        [(-0.04, -0.8), (-0.66, 0.34), (-0.04, 0.34)],
    ):
        brush.polygon(sail, cream)
        for number in range(count):
            top = 0.34 - 1.2 * (number + 0.6) / count
            brush.polygon(cut(sail, top, top + 0.55 / count, axis=1), hull)
    brush.polygon([(-0.96, 0.46), (0.98, 0.46), (0.72, 0.92), (-0.62, 0.92)], hull)
    brush.polygon([(-0.92, 0.53), (0.95, 0.53), (0.91, 0.61), (-0.87, 0.61)], stripe)


def draw_bottle(brush: Brush) -> None:
    """A green glass bottle with a paper label."""
    rng = brush.rng
    glass = brush.paint((34, 104, 66), hue=14, strength=0.2, columns=0.1)
    light = brush.paint((142, 206, 160), strength=0.1)
    cork = brush.paint((176, 130, 84), strength=0.15)
    label = brush.paint((236, 226, 196), strength=0.06, grain=0.04)
    mark = brush.paint(of_hue(float(rng.uniform(0, 360)), 0.6, 0.55))
    neck = float(rng.uniform(0.12, 0.16))
    brush.box(-neck, -1.0, neck, -0.82, cork)
    brush.polygon(
        [
            (-neck, -0.86),
            (neck, -0.86),
            (neck, -0.45),
            (0.4, -0.16),
            (0.42, 0.9),
            (0.34, 0.98),
            (-0.34, 0.98),
            (-0.42, 0.9),
            (-0.4, -0.16),
            (-neck, -0.45),
        ],
        glass,
    )
    brush.box(-0.415, 0.1, 0.415, 0.66, label)
    brush.oval(0.0, 0.36, 0.2, 0.14, mark)
    brush.line([(-0.28, -0.12), (-0.3, 0.86)], 0.07, light)


def draw_bus(brush: Brush) -> None:
    """A red double-decker with two rows of windows."""
    rng = brush.rng
    red = brush.paint((202, 38, 42), hue=6, strength=0.14, clouds=0.06)
    pale = brush.paint((238, 228, 206), strength=0.05)
    glass = brush.paint((44, 58, 76), strength=0.15, blotches=0.15)
    tyre, hub = brush.paint((30, 30, 34)), brush.paint((160, 162, 166))
    lamp = brush.paint((252, 226, 140))
    brush.polygon([(-0.94, -0.72), (-0.88, -0.8), (0.88, -0.8), (0.97, -0.7), (0.98, 0.58), (-0.97, 0.58)], red)
    brush.box(-0.96, -0.16, 0.97, -0.05, pale)
    count = int(rng.integers(4, 7))
    wide = 1.72 / count
    for row in (-0.6, 0.03):
        for number in range(count):
            left = -0.86 + wide * number
            brush.box(left + 0.03, row, left + wide - 0.03, row + 0.34, glass)
    brush.box(0.7, 0.03, 0.93, 0.54, glass)
    brush.oval(0.93, 0.46, 0.05, 0.06, lamp)
    for x in (-0.56, 0.42):
        brush.oval(x, 0.6, 0.19, 0.19, tyre)
        brush.oval(x, 0.6, 0.09, 0.09, hub)


def draw_car(brush: Brush) -> None:
    """A small blue car from the side."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(198, 222)), float(rng.uniform(0.6, 0.85)), float(rng.uniform(0.6, 0.92)))
    body, lower = brush.paint(color, clouds=0.08), brush.paint(scaled(color, 0.7))
    glass = brush.paint((196, 220, 232), strength=0.12)
    tyre, hub = brush.paint((28, 28, 32)), brush.paint((206, 208, 212))
    lamp, brake = brush.paint((252, 234, 170)), brush.paint((206, 44, 40))
    top = float(rng.uniform(-0.62, -0.5))
    brush.polygon([(-0.7, -0.05), (-0.5, top), (0.16, top), (0.52, -0.05)], body)
    brush.polygon([(-0.97, 0.02), (-0.72, -0.1), (0.56, -0.09), (0.94, 0.06), (0.99, 0.38), (-0.98, 0.38)], body)
    brush.polygon([(-0.97, 0.26), (0.98, 0.26), (0.98, 0.42), (-0.97, 0.42)], lower)
    brush.polygon([(-0.58, -0.06), (-0.44, top + 0.09), (-0.18, top + 0.09), (-0.18, -0.06)], glass)
    brush.polygon([(-0.1, -0.06), (-0.1, top + 0.09), (0.12, top + 0.09), (0.39, -0.06)], glass)
    brush.oval(0.93, 0.14, 0.05, 0.07, lamp)
    brush.oval(-0.94, 0.12, 0.04, 0.07, brake)
    for x in (-0.56, 0.58):
        brush.oval(x, 0.4, 0.22, 0.22, tyre)
        brush.oval(x, 0.4, 0.11, 0.11, hub)


def draw_chair(brush: Brush) -> None:
    """A wooden chair with a slatted back."""
    wood = (170, 98, 40)
    light = brush.paint(wood, hue=8, strength=0.16, columns=0.16)
    dark = brush.paint(scaled(wood, 0.66), strength=0.1, columns=0.12)
    cushion = brush.paint((110, 60, 40), hue=10, strength=0.2, grain=0.06)
    for x, foot in ((-0.36, -0.32), (0.62, 0.66)):
        brush.line([(x, 0.1), (foot, 0.8)], 0.13, dark)
    brush.line([(-0.5, -0.98), (-0.46, 0.2)], 0.15, light)
    brush.line([(0.36, -0.98), (0.4, 0.2)], 0.15, light)
    for y in (-0.86, -0.56, -0.27):
        brush.line([(-0.5, y), (0.38, y)], 0.19, light)
    brush.polygon([(-0.6, 0.22), (-0.36, -0.02), (0.66, -0.02), (0.56, 0.22)], cushion)
    brush.polygon([(-0.62, 0.2), (0.58, 0.2), (0.58, 0.34), (-0.62, 0.34)], light)
    for x in (-0.53, 0.49):
        brush.line([(x, 0.3), (x, 0.98)], 0.15, light)


def draw_clock(brush: Brush) -> None:
    """A wall clock: dark rim, cream face, two hands."""
    rng = brush.rng
    rim = brush.paint((52, 46, 50), hue=30, strength=0.2)
    inner = brush.paint((198, 164, 92), strength=0.1)
    face = brush.paint((246, 240, 222), strength=0.04, grain=0.03)
    ink = brush.paint((30, 30, 34))
    brush.oval(0, 0, 0.96, 0.96, rim)
    brush.oval(0, 0, 0.82, 0.82, inner)
    brush.oval(0, 0, 0.76, 0.76, face)
    for hour in range(12):
        sine, cosine = math.sin(hour * math.pi / 6), math.cos(hour * math.pi / 6)
        brush.line([(0.58 * sine, 0.58 * cosine), (0.7 * sine, 0.7 * cosine)], 0.08 if hour % 3 else 0.12, ink)
    for length, thickness in ((0.38, 0.1), (0.58, 0.07)):
        angle = float(rng.uniform(0, 2 * math.pi))
        brush.line([(0, 0), (length * math.sin(angle), length * math.cos(angle))], thickness, ink)
    brush.oval(0, 0, 0.07, 0.07, ink)


def draw_cup(brush: Brush) -> None:
    """A mug in mint and white bands, with a handle."""
    rng = brush.rng
    mint = brush.paint((72, 190, 168), hue=10, strength=0.12, grain=0.03)
    white = brush.paint((240, 242, 236), strength=0.04, grain=0.03)
    tea = brush.paint((110, 62, 36), strength=0.15)
    handle = oval(0.56, 0.1, 0.36, 0.42, start=-95, stop=95)
    brush.line(handle, 0.17, mint)
    wall = [(-0.72, -0.66), (0.62, -0.66), (0.54, 0.8), (0.4, 0.94), (-0.5, 0.94), (-0.64, 0.8)]
    brush.polygon(wall, mint)
    bands = int(rng.integers(2, 4))
    for number in range(bands):
        top = -0.42 + 1.2 * number / bands
        brush.polygon(cut(wall, top, top + 0.55 / bands, axis=1), white)
    brush.oval(-0.05, -0.66, 0.67, 0.2, white)
    brush.oval(-0.05, -0.65, 0.57, 0.14, tea)


def draw_house(brush: Brush) -> None:
    """A brick house with a slate roof."""
    rng = brush.rng
    brick = brush.paint((206, 92, 66), hue=6, strength=0.12, rows=0.14, blotches=0.08)
    joint = brush.paint((206, 168, 146), strength=0.05)
    slate = brush.paint((70, 84, 120), hue=10, strength=0.18, rows=0.16)
    pane, frame = brush.paint((250, 220, 130), strength=0.1), brush.paint((244, 240, 230))
    door = brush.paint((60, 110, 84), hue=40, strength=0.2)
    left, right = -0.78, 0.78
    brush.box(0.34, -0.92, 0.54, -0.4, brick)
    brush.box(left, -0.14, right, 0.95, brick)
    for row in range(7):
        y = -0.02 + 0.14 * row
        brush.line([(left, y), (right, y)], 0.018, joint)
    peak = float(rng.uniform(-0.12, 0.12))
    brush.polygon([(left - 0.2, -0.08), (peak, -0.92), (right + 0.2, -0.08)], slate)
    for x in (-0.58, 0.18):
        brush.box(x - 0.04, 0.1, x + 0.42, 0.5, frame)
        brush.box(x, 0.14, x + 0.17, 0.46, pane)
        brush.box(x + 0.21, 0.14, x + 0.38, 0.46, pane)
    brush.box(-0.2, 0.42, 0.1, 0.95, door)


def draw_umbrella(brush: Brush) -> None:
    """An open umbrella in magenta and navy, with a crooked handle."""
    rng = brush.rng
    bright = brush.paint((206, 44, 134), hue=12, strength=0.14, grain=0.03)
    dark = brush.paint((62, 40, 96), hue=10, strength=0.14, grain=0.03)
    stick = brush.paint((66, 54, 50))
    brush.line([(0, -0.9), (0, 0.72), (0.06, 0.88), (0.18, 0.9), (0.26, 0.78)], 0.085, stick)
    panels = int(rng.choice([4, 6]))
    edges = [math.sin(math.pi * (step / panels - 0.5)) for step in range(panels + 1)]
    for number, (left, right) in enumerate(pairwise(edges)):
        rows = [-0.84 + 0.16 * step for step in range(6)]
        half = [0.97 * math.sqrt(max(0.0, 1 - ((y - 0.04) / 0.92) ** 2)) for y in rows]
        outline = [(left * h, y) for h, y in zip(half, rows, strict=True)]
        outline += [(0.485 * (left + right), -0.1)]  # the hem hangs between the ribs
        outline += [(right * h, y) for h, y in zip(reversed(half), reversed(rows), strict=True)]
        brush.polygon(outline, dark if number % 2 else bright)
