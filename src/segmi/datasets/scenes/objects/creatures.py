"""Things that grow and live: animals, plants and fruit."""

from __future__ import annotations

import math

from segmi.datasets.scenes.colors import mixed, of_hue, scaled
from segmi.datasets.scenes.objects.brush import Brush, cut, oval


def draw_banana(brush: Brush) -> None:
    """A yellow crescent with brown ends."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(48, 56)), float(rng.uniform(0.68, 0.85)), float(rng.uniform(0.86, 1.0)))
    peel, shade = brush.paint(color, blotches=0.05), brush.paint(scaled(color, 0.82), grain=0.04)
    tip = brush.paint((88, 66, 40))
    outer = oval(0, -0.62, 0.98, 1.3, start=8, stop=172)
    inner = oval(0, -0.68, 0.86, float(rng.uniform(0.6, 0.72)), start=172, stop=8)
    brush.polygon([*outer, *inner], peel)
    brush.polygon(
        [*oval(0, -0.62, 0.98, 1.3, start=14, stop=166), *oval(0, -0.62, 0.9, 1.08, start=166, stop=14)], shade
    )
    brush.polygon([(0.86, -0.44), (0.99, -0.44), (0.96, -0.74), (0.87, -0.74)], tip)
    brush.oval(-0.92, -0.46, 0.08, 0.07, tip)
    for _ in range(int(rng.integers(0, 4))):
        angle = float(rng.uniform(40, 140))
        x, y = oval(0, -0.62, 0.92, 1.08, start=angle, stop=angle + 1)[0]
        brush.oval(x, y, 0.06, 0.04, tip)


def draw_bird(brush: Brush) -> None:
    """A turquoise songbird with a pale belly and an orange beak."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(176, 194)), float(rng.uniform(0.6, 0.85)), float(rng.uniform(0.6, 0.85)))
    back, wing = brush.paint(color, leaves=0.08), brush.paint(scaled(color, 0.62), rows=0.2)
    belly = brush.paint((246, 226, 190), strength=0.06, leaves=0.06)
    beak, eye = brush.paint((240, 150, 40)), brush.paint((20, 20, 24))
    leg = brush.paint((120, 80, 50))
    for x in (-0.06, 0.14):
        brush.line([(x, 0.5), (x + 0.04, 0.94)], 0.06, leg)
    brush.polygon([(-0.4, 0.1), (-1.0, 0.34), (-0.94, 0.54), (-0.3, 0.4)], wing)
    brush.oval(0, 0.14, 0.6, 0.48, back)
    brush.oval(0.16, 0.3, 0.4, 0.34, belly)
    brush.oval(0.48, -0.36, 0.36, 0.34, back)
    brush.polygon([(0.8, -0.44), (1.05, -0.3), (0.8, -0.2)], beak)
    brush.oval(0.6, -0.42, 0.07, 0.07, eye)
    lift = float(rng.uniform(-0.6, 0.5))
    brush.polygon([(0.24, -0.08), (-0.3, lift - 0.1), (-0.74, lift + 0.24), (-0.2, 0.4), (0.14, 0.3)], wing)


def draw_butterfly(brush: Brush) -> None:
    """Lilac wings with pale dots and a dark seam."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(262, 284)), float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.78, 0.95)))
    wing, seam = brush.paint(color, blotches=0.08), brush.paint(scaled(color, 0.36))
    dots, body = brush.paint((250, 244, 214)), brush.paint((40, 32, 44))
    spread = float(rng.uniform(0.82, 1.0))
    for side in (-spread, spread):
        upper = [
            (0, 0.06),
            (0.2 * side, -0.62),
            (0.7 * side, -0.9),
            (0.98 * side, -0.72),
            (0.9 * side, -0.2),
            (0.5 * side, 0.06),
        ]
        lower = [
            (0, 0),
            (0.56 * side, 0.04),
            (0.8 * side, 0.36),
            (0.66 * side, 0.8),
            (0.34 * side, 0.82),
            (0.08 * side, 0.4),
        ]
        for outline, middle in ((upper, (0.55 * side, -0.42)), (lower, (0.45 * side, 0.42))):
            brush.polygon(outline, seam)
            brush.polygon([mixed_point(corner, middle, 0.16) for corner in outline], wing)
        brush.oval(0.66 * side, -0.54, 0.13, 0.13, dots)
        brush.oval(0.36 * side, -0.3, 0.08, 0.08, dots)
        brush.oval(0.5 * side, 0.46, 0.12, 0.12, dots)
    brush.oval(0, 0.02, 0.075, 0.5, body)
    brush.oval(0, -0.48, 0.09, 0.1, body)
    for side in (-1, 1):
        brush.line([(0, -0.5), (0.12 * side, -0.74), (0.24 * side, -0.84)], 0.03, body)


def mixed_point(first: tuple[float, float], second: tuple[float, float], share: float) -> tuple[float, float]:
    """A point on the way from the first to the second."""
    return first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1])


def draw_cactus(brush: Brush) -> None:
    """A ribbed green cactus with arms in a terracotta pot."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(96, 124)), float(rng.uniform(0.45, 0.65)), float(rng.uniform(0.5, 0.68)))
    flesh, rib = brush.paint(color, grain=0.06), brush.paint(mixed(color, (236, 240, 190), 0.4))
    pot, rim = brush.paint((198, 108, 66), hue=6, strength=0.1), brush.paint((170, 84, 50), strength=0.08)
    for side, low, high in ((-1, float(rng.uniform(0.0, 0.2)), -0.46), (1, float(rng.uniform(-0.25, 0.0)), -0.62)):
        elbow = [(0, low), (0.5 * side, low), (0.6 * side, low - 0.12), (0.6 * side, high)]
        brush.line(elbow, 0.26, flesh)
        brush.oval(0.6 * side, high, 0.13, 0.13, flesh)
        brush.line([(0.6 * side, low - 0.1), (0.6 * side, high)], 0.035, rib)
    brush.box(-0.26, -0.7, 0.26, 0.55, flesh)
    brush.oval(0, -0.7, 0.26, 0.28, flesh)
    for x in (-0.14, 0.0, 0.14):
        brush.line([(x, -0.84), (x, 0.5)], 0.035, rib)
    if rng.random() < 0.5:
        brush.oval(0, -0.97, 0.12, 0.08, brush.paint((240, 110, 150)))
    brush.polygon([(-0.46, 0.5), (0.46, 0.5), (0.34, 1.0), (-0.34, 1.0)], pot)
    brush.box(-0.52, 0.44, 0.52, 0.6, rim)


def draw_cat(brush: Brush) -> None:
    """A sitting dark cat with paler stripes and a white chest, seen from the front."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(225, 260)), float(rng.uniform(0.08, 0.25)), float(rng.uniform(0.2, 0.32)))
    fur = brush.paint(color, leaves=0.1)
    stripe = brush.paint(mixed(color, (214, 206, 214), float(rng.uniform(0.35, 0.6))), leaves=0.1)
    chest = brush.paint((232, 226, 224), leaves=0.06)
    eye, pupil = brush.paint((190, 206, 80), hue=20), brush.paint((18, 20, 22))
    pink = brush.paint((220, 150, 150))
    tail = [(0.4, 0.84), (0.82, 0.74), (0.9, 0.34), (0.74, 0.06)]
    brush.line(tail, 0.2, fur)
    brush.line(tail[1:3], 0.2, stripe)
    body = oval(0, 0.42, 0.56, 0.56)
    brush.polygon(body, fur)
    for left, right in ((-0.56, -0.3), (0.3, 0.56)):
        for y in (0.12, 0.38, 0.64):
            brush.polygon(cut(cut(body, left, right), y, y + 0.12, axis=1), stripe)
    brush.oval(0, 0.5, 0.26, 0.42, chest)
    for x in (-0.2, 0.2):
        brush.oval(x, 0.9, 0.17, 0.1, chest)
    for side in (-1, 1):
        brush.polygon([(0.5 * side, -0.34), (0.46 * side, -0.98), (0.08 * side, -0.66)], fur)
        brush.polygon([(0.42 * side, -0.5), (0.4 * side, -0.82), (0.2 * side, -0.64)], pink)
    brush.oval(0, -0.36, 0.52, 0.42, fur)
    for x in (-0.16, 0.0, 0.16):
        brush.line([(x, -0.76), (0.8 * x, -0.52)], 0.07, stripe)
    for side in (-1, 1):
        brush.oval(0.21 * side, -0.38, 0.12, 0.1, eye)
        brush.oval(0.21 * side, -0.38, 0.04, 0.09, pupil)
        brush.line([(0.28 * side, -0.2), (0.5 * side, -0.24)], 0.06, stripe)
    brush.oval(0, -0.18, 0.15, 0.11, chest)
    brush.polygon([(-0.06, -0.25), (0.06, -0.25), (0, -0.17)], pink)


def draw_fish(brush: Brush) -> None:
    """An orange fish with white bands."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(18, 32)), float(rng.uniform(0.75, 0.92)), float(rng.uniform(0.88, 1.0)))
    scales, fin = brush.paint(color, leaves=0.07), brush.paint(scaled(color, 0.74), columns=0.14)
    band, eye = brush.paint((248, 244, 236)), brush.paint((20, 20, 24))
    brush.polygon([(-0.5, 0), (-1.0, -0.5), (-0.88, 0), (-1.0, 0.5)], fin)
    brush.polygon([(-0.3, -0.36), (0.0, -0.84), (0.36, -0.7), (0.4, -0.34)], fin)
    brush.polygon([(-0.1, 0.4), (0.0, 0.8), (0.3, 0.7), (0.3, 0.38)], fin)
    body = oval(0.14, 0, 0.82, 0.54)
    brush.polygon(body, scales)
    for middle in (-0.38, 0.06, 0.5):
        wide = float(rng.uniform(0.07, 0.11))
        brush.polygon(cut(body, middle - wide, middle + wide), band)
    brush.polygon([(0.16, 0.06), (-0.16, 0.0), (-0.1, 0.34)], fin)
    brush.oval(0.74, -0.12, 0.1, 0.1, band)
    brush.oval(0.76, -0.12, 0.055, 0.055, eye)


def draw_flower(brush: Brush) -> None:
    """Pink petals around a yellow heart, on a stem with two leaves."""
    rng = brush.rng
    color = of_hue(float(rng.uniform(326, 346)), float(rng.uniform(0.38, 0.6)), float(rng.uniform(0.88, 1.0)))
    petal, vein = brush.paint(color, blotches=0.05), brush.paint(scaled(color, 0.84))
    heart, stem = brush.paint((246, 200, 60), leaves=0.14), brush.paint((82, 142, 62), hue=10, strength=0.12)
    brush.line([(0, -0.2), (0.06, 0.4), (0.0, 1.0)], 0.11, stem)
    for side in (-1, 1):
        brush.polygon([(0.02, 0.84), (0.22 * side, 0.5), (0.6 * side, 0.44), (0.4 * side, 0.76)], stem)
    count = int(rng.integers(5, 9))
    start = float(rng.uniform(0, 360))
    reach, wide = 0.4, 1.3 / count + 0.08
    for material, length in ((petal, 0.36), (vein, 0.2)):
        for number in range(count):
            angle = math.radians(start + 360 * number / count)
            sine, cosine = math.sin(angle), math.cos(angle)
            across = wide if material == petal else 0.3 * wide
            outline = [
                (cosine * (reach + u) - sine * v, -0.3 + sine * (reach + u) + cosine * v)
                for u, v in oval(0, 0, length, across)
            ]
            brush.polygon(outline, material)
    brush.oval(0, -0.3, 0.25, 0.25, heart)


def draw_mushroom(brush: Brush) -> None:
    """A red cap with white dots on a pale stem."""
    rng = brush.rng
    red = brush.paint((208, 40, 44), hue=7, strength=0.12, blotches=0.05)
    white = brush.paint((250, 244, 232), strength=0.03)
    stem, gills = brush.paint((240, 226, 198), strength=0.05, columns=0.08), brush.paint((206, 182, 148))
    high = float(rng.uniform(0.8, 0.98))
    brush.polygon([(-0.2, 0), (0.2, 0), (0.3, 0.92), (0.18, 1.0), (-0.18, 1.0), (-0.3, 0.92)], stem)
    brush.polygon([(-0.26, 0.18), (0.26, 0.18), (0.36, 0.36), (-0.36, 0.36)], gills)
    brush.oval(0, 0.04, 0.94, 0.16, gills)
    brush.polygon(oval(0, 0.04, 0.96, high, start=180, stop=360), red)
    for x, y, size in (
        (-0.6, -0.16, 0.11),
        (-0.24, -0.5, 0.15),
        (0.24, -0.22, 0.16),
        (0.52, -0.46, 0.11),
        (-0.18, -0.1, 0.09),
        (0.74, -0.12, 0.08),
        (0.1, -0.7, 0.09),
    ):
        brush.oval(x, y * high, size * float(rng.uniform(0.8, 1.2)), 0.9 * size, white)
