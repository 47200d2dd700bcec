"""Object scenes: animals, plants and fruit, each drawn with a brush between -1 and 1."""

from __future__ import annotations

import math

from segmi.datasets.scenes.canvas import Brush, clip, oval
from segmi.datasets.scenes.colors import blend, tint


def draw_banana(brush: Brush) -> None:
    """Draw a yellow crescent with brown ends."""
    color, tip = brush.color((48, 56), (0.68, 0.85), (0.86, 1.0)), brush.paint((88, 66, 40))
    inner = oval(0, -0.68, 0.86, float(brush.rng.uniform(0.6, 0.72)), 172, 8)
    brush.polygon([*oval(0, -0.62, 0.98, 1.3, 8, 172), *inner], brush.paint(color, blotches=0.05))
    shade = [*oval(0, -0.62, 0.98, 1.3, 14, 166), *oval(0, -0.62, 0.9, 1.08, 166, 14)]
    brush.polygon(shade, brush.paint(tint(color, 0.82), grain=0.04))
    brush.polygon([(0.86, -0.44), (0.99, -0.44), (0.96, -0.74), (0.87, -0.74)], tip)
    brush.oval(-0.92, -0.46, 0.08, 0.07, tip)


def draw_bird(brush: Brush) -> None:
    """Draw a turquoise songbird with a pale belly and an orange beak."""
    color = brush.color((176, 194), (0.6, 0.85), (0.6, 0.85))
    back, wing = brush.paint(color, leaves=0.08), brush.paint(tint(color, 0.62), rows=0.2)
    leg, lift = brush.paint((120, 80, 50)), float(brush.rng.uniform(-0.6, 0.5))
    for x in (-0.06, 0.14):
        brush.line([(x, 0.5), (x + 0.04, 0.94)], 0.06, leg)
    brush.polygon([(-0.4, 0.1), (-1.0, 0.34), (-0.94, 0.54), (-0.3, 0.4)], wing)
    brush.oval(0, 0.14, 0.6, 0.48, back)
    brush.oval(0.16, 0.3, 0.4, 0.34, brush.paint((246, 226, 190), 8, 0.06, leaves=0.06))
    brush.oval(0.48, -0.36, 0.36, 0.34, back)
    brush.polygon([(0.8, -0.44), (1.05, -0.3), (0.8, -0.2)], brush.paint((240, 150, 40)))
    brush.oval(0.6, -0.42, 0.07, 0.07, brush.paint((20, 20, 24)))
    brush.polygon([(0.24, -0.08), (-0.3, lift - 0.1), (-0.74, lift + 0.24), (-0.2, 0.4), (0.14, 0.3)], wing)


def draw_butterfly(brush: Brush) -> None:
    """Draw lilac wings with pale dots and a dark rim."""
    color, spread = brush.color((262, 284), (0.4, 0.6), (0.78, 0.95)), float(brush.rng.uniform(0.82, 1.0))
    wing, rim = brush.paint(color, blotches=0.08), brush.paint(tint(color, 0.36))
    dot, body = brush.paint((250, 244, 214)), brush.paint((40, 32, 44))
    upper = [(0.0, 0.06), (0.2, -0.62), (0.7, -0.9), (0.98, -0.72), (0.9, -0.2), (0.5, 0.06)]
    lower = [(0.0, 0.0), (0.56, 0.04), (0.8, 0.36), (0.66, 0.8), (0.34, 0.82), (0.08, 0.4)]
    for side in (-spread, spread):
        for outline, center in ((upper, (0.55, -0.42)), (lower, (0.45, 0.42))):
            for share, material in ((1.0, rim), (0.84, wing)):
                corners = [
                    (center[0] + share * (x - center[0]), center[1] + share * (y - center[1])) for x, y in outline
                ]
                brush.polygon([(side * x, y) for x, y in corners], material)
        for x, y, radius in ((0.66, -0.54, 0.13), (0.36, -0.3, 0.08), (0.5, 0.46, 0.12)):
            brush.oval(side * x, y, radius, radius, dot)
        brush.line([(0, -0.5), (0.12 * side, -0.74), (0.24 * side, -0.84)], 0.03, body)
    brush.oval(0, 0.0, 0.08, 0.56, body)


def draw_cactus(brush: Brush) -> None:
    """Draw a ribbed green cactus with arms in a terracotta pot."""
    rng, color = brush.rng, brush.color((96, 124), (0.45, 0.65), (0.5, 0.68))
    flesh, rib = brush.paint(color, grain=0.06), brush.paint(blend(color, (236, 240, 190), 0.4))
    for side, low, high in ((-1, float(rng.uniform(0.0, 0.2)), -0.46), (1, float(rng.uniform(-0.25, 0.0)), -0.62)):
        brush.line([(0, low), (0.5 * side, low), (0.6 * side, low - 0.12), (0.6 * side, high)], 0.26, flesh)
        brush.oval(0.6 * side, high, 0.13, 0.13, flesh)
        brush.line([(0.6 * side, low - 0.1), (0.6 * side, high)], 0.035, rib)
    brush.box(-0.26, -0.7, 0.26, 0.55, flesh)
    brush.oval(0, -0.7, 0.26, 0.28, flesh)
    for x in (-0.14, 0.0, 0.14):
        brush.line([(x, -0.84), (x, 0.5)], 0.035, rib)
    brush.symmetric([(0.46, 0.5), (0.34, 1.0)], brush.paint((198, 108, 66), 6, 0.1))
    brush.box(-0.52, 0.44, 0.52, 0.6, brush.paint((170, 84, 50), 8, 0.08))


def draw_cat(brush: Brush) -> None:
    """Draw a sitting dark cat with pale stripes and a white chest, seen from the front."""
    color = brush.color((225, 260), (0.08, 0.25), (0.2, 0.32))
    fur, chest = brush.paint(color, leaves=0.1), brush.paint((232, 226, 224), leaves=0.06)
    stripe = brush.paint(blend(color, (214, 206, 214), float(brush.rng.uniform(0.35, 0.6))), leaves=0.1)
    eye, pupil, pink = brush.paint((190, 206, 80), 20), brush.paint((18, 20, 22)), brush.paint((220, 150, 150))
    brush.line([(0.4, 0.84), (0.82, 0.74), (0.9, 0.34), (0.74, 0.06)], 0.2, fur)
    body = oval(0, 0.42, 0.56, 0.56)
    brush.polygon(body, fur)
    for y in (0.12, 0.38, 0.64):
        brush.polygon(clip(body, y, y + 0.12, axis=1), stripe)
    brush.oval(0, 0.5, 0.3, 0.46, chest)
    brush.oval(0, -0.36, 0.52, 0.42, fur)
    for side in (-1, 1):
        brush.oval(0.2 * side, 0.9, 0.17, 0.1, chest)
        brush.polygon([(0.5 * side, -0.34), (0.46 * side, -0.98), (0.08 * side, -0.66)], fur)
        brush.polygon([(0.42 * side, -0.5), (0.4 * side, -0.82), (0.2 * side, -0.64)], pink)
        brush.oval(0.21 * side, -0.38, 0.12, 0.1, eye)
        brush.oval(0.21 * side, -0.38, 0.04, 0.09, pupil)
        brush.line([(0.28 * side, -0.2), (0.5 * side, -0.24)], 0.06, stripe)
    for x in (-0.16, 0.0, 0.16):
        brush.line([(x, -0.76), (0.8 * x, -0.52)], 0.07, stripe)
    brush.oval(0, -0.18, 0.15, 0.11, chest)
    brush.symmetric([(0.06, -0.25), (0.0, -0.17)], pink)


def draw_fish(brush: Brush) -> None:
    """Draw an orange fish with white bands."""
    color, body = brush.color((18, 32), (0.75, 0.92), (0.88, 1.0)), oval(0.14, 0, 0.82, 0.54)
    fin, white = brush.paint(tint(color, 0.74), columns=0.14), brush.paint((248, 244, 236))
    brush.polygon([(-0.5, 0), (-1.0, -0.5), (-0.88, 0), (-1.0, 0.5)], fin)
    brush.polygon([(-0.3, -0.36), (0.0, -0.84), (0.36, -0.7), (0.4, -0.34)], fin)
    brush.polygon([(-0.1, 0.4), (0.0, 0.8), (0.3, 0.7), (0.3, 0.38)], fin)
    brush.polygon(body, brush.paint(color, leaves=0.07))
    for middle in (-0.38, 0.06, 0.5):
        wide = float(brush.rng.uniform(0.07, 0.11))
        brush.polygon(clip(body, middle - wide, middle + wide), white)
    brush.polygon([(0.16, 0.06), (-0.16, 0.0), (-0.1, 0.34)], fin)
    brush.oval(0.74, -0.12, 0.1, 0.1, white)
    brush.oval(0.76, -0.12, 0.055, 0.055, brush.paint((20, 20, 24)))


def draw_flower(brush: Brush) -> None:
    """Draw pink petals around a yellow center, on a stem with two leaves."""
    color, count = brush.color((326, 346), (0.38, 0.6), (0.88, 1.0)), int(brush.rng.integers(5, 9))
    stem, start = brush.paint((82, 142, 62), 10, 0.12), float(brush.rng.uniform(0, 360))
    brush.line([(0, -0.2), (0.06, 0.4), (0.0, 1.0)], 0.11, stem)
    for side in (-1, 1):
        brush.polygon([(0.02, 0.84), (0.22 * side, 0.5), (0.6 * side, 0.44), (0.4 * side, 0.76)], stem)
    petal, vein = brush.paint(color, blotches=0.05), brush.paint(tint(color, 0.84))
    for material, long, wide in ((petal, 0.36, 1.3 / count + 0.08), (vein, 0.2, 0.4 / count)):
        for number in range(count):
            angle = math.radians(start + 360 * number / count)
            sine, cosine = math.sin(angle), math.cos(angle)
            outline = [(cosine * x - sine * y, -0.3 + sine * x + cosine * y) for x, y in oval(0.4, 0, long, wide)]
            brush.polygon(outline, material)
    brush.oval(0, -0.3, 0.25, 0.25, brush.paint((246, 200, 60), leaves=0.14))


def draw_mushroom(brush: Brush) -> None:
    """Draw a red cap with white dots on a pale stem."""
    high, white = float(brush.rng.uniform(0.8, 0.98)), brush.paint((250, 244, 232), 8, 0.03)
    stem, gills = brush.paint((240, 226, 198), 8, 0.05, columns=0.08), brush.paint((206, 182, 148))
    brush.symmetric([(0.2, 0), (0.3, 0.92), (0.18, 1.0)], stem)
    brush.symmetric([(0.26, 0.18), (0.36, 0.36)], gills)
    brush.oval(0, 0.04, 0.94, 0.16, gills)
    brush.polygon(oval(0, 0.04, 0.96, high, 180, 360), brush.paint((208, 40, 44), 7, 0.12, blotches=0.05))
    dots = ((-0.6, -0.16, 0.11), (-0.24, -0.5, 0.15), (0.24, -0.22, 0.16), (0.52, -0.46, 0.11), (0.1, -0.7, 0.1))
    for x, y, size in dots:  # center and half-width
        brush.oval(x, y * high, size * float(brush.rng.uniform(0.8, 1.2)), 0.9 * size, white)
