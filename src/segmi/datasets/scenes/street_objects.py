"""Street scenes: objects at the roadside, trees, cars, bicycles and people."""

from __future__ import annotations

import math
from typing import Final

from segmi.datasets.scenes.canvas import Brush, oval
from segmi.datasets.scenes.colors import Color, blend, choose, tint, vary
from segmi.datasets.scenes.street_view import Label, Point3D, StreetView

RED: Final = (204, 44, 46)
WHITE: Final = (240, 240, 236)
# Corners, angle of the first one in degrees, color of the rim, color inside, whether there is a bar.
SIGNS: Final[tuple[tuple[int, float, Color, Color, bool], ...]] = (
    (28, 0.0, RED, WHITE, False),
    (3, -90.0, RED, WHITE, False),
    (4, -90.0, WHITE, (246, 190, 40), False),
    (4, 45.0, (36, 84, 176), (36, 84, 176), True),
    (8, 22.5, RED, RED, True),
)
# Layers of leaves, from back to front: brightness, number of ovals, largest distance from the center, radius.
LAYERS: Final = ((0.62, 8, 0.7, 0.48), (0.86, 7, 0.6, 0.38), (1.1, 5, 0.5, 0.26))
LEAFY: Final = {"leaves": 0.34, "blotches": 0.16, "grain": 0.08}

PAINTS: Final[tuple[Color, ...]] = (
    (186, 38, 42), (38, 72, 138), (232, 232, 230), (42, 44, 50), (142, 148, 154), (204, 206, 208), (212, 164, 52),
    (48, 104, 84), (112, 140, 176), (126, 44, 60), (86, 90, 96), (222, 122, 58),
)  # fmt: skip
SKIN: Final[tuple[Color, ...]] = ((236, 194, 164), (208, 156, 120), (150, 102, 74), (104, 70, 54))
HAIR: Final[tuple[Color, ...]] = ((44, 34, 30), (92, 60, 40), (190, 150, 90), (142, 138, 134), (126, 58, 36))
TROUSERS: Final[tuple[Color, ...]] = ((44, 50, 72), (36, 36, 40), (112, 94, 74), (80, 96, 124), (70, 66, 66))


def draw_lamp(view: StreetView, x: float, z: float) -> None:
    """Draw a street lamp that reaches over the road."""
    high, inwards = 6.4, -1 if x > 0 else 1
    metal = view.paint(Label.POLE, view.town.pole, z, face=0.85, texture={"columns": 0.1})
    view.shadow([(x - 0.08, z), (x + 0.08, z)], high, 0.4)
    view.line([(x, 0, z), (x, high, z)], 0.15, metal)
    view.line([(x, high - 0.1, z), (x + inwards * 0.8, high + 0.25, z), (x + inwards * 1.6, high + 0.3, z)], 0.1, metal)
    head = view.brush(Label.POLE, x + inwards * 1.9, high + 0.26, z, 1.0)
    head.oval(0, 0, 0.42, 0.13, metal)
    if view.weather.lit > 0.05:
        head.oval(0, 0.08, 0.32, 0.1, view.paint(Label.POLE, (255, 236, 180), z, glow=True))


def _draw_post(view: StreetView, x: float, z: float, height: float) -> None:
    metal = view.paint(Label.POLE, blend(view.town.pole, (150, 152, 154), 0.5), z, face=0.9)
    view.shadow([(x - 0.05, z), (x + 0.05, z)], height, 0.35)
    view.line([(x, 0, z), (x, height, z)], 0.1, metal)


def draw_sign(view: StreetView, x: float, z: float) -> None:
    """Draw one of ``SIGNS`` on its post."""
    rng = view.rng
    height, size = float(rng.uniform(2.1, 2.7)), float(rng.uniform(0.4, 0.55))
    _draw_post(view, x, z, height + size)
    corners, first, rim, inside, bar = choose(rng, SIGNS)
    brush = view.brush(Label.SIGN, x, height, z, size * (1.2 if corners < 5 else 1.0))
    for share, color in ((1.0, rim), (0.7, inside)):
        material = brush.paint(color, 4, 0.06)
        brush.polygon(oval(0, 0, share, share, first, first + 360, corners), material)
    if bar:
        brush.box(-0.6, -0.16, 0.6, 0.16, brush.paint(WHITE))


def draw_traffic_light(view: StreetView, x: float, z: float) -> None:
    """Draw three lights in a dark case on a post; one is on."""
    _draw_post(view, x, z, 3.4)
    brush, on = view.brush(Label.SIGN, x, 3.0, z, 1.0), int(view.rng.integers(3))
    brush.box(-0.24, -0.62, 0.24, 0.62, brush.paint((44, 48, 46)))
    for number, color in enumerate(((240, 60, 48), (250, 190, 60), (70, 220, 130))):
        bulb = view.paint(Label.SIGN, color if number == on else tint(color, 0.3), z, glow=number == on)
        brush.oval(0, 0.39 * (number - 1), 0.16, 0.16, bulb)


def draw_fence(view: StreetView, x: float, near: float, far: float) -> None:
    """Draw a fence of upright boards along the street."""
    middle, face, high = (near + far) / 2, view.facing(x), 1.15
    color, texture = vary(view.rng, view.town.fence, hue=4), {"columns": 0.1, "grain": 0.06}
    light = view.paint(Label.FENCE, color, middle, face=face, texture=texture)
    dark = view.paint(Label.FENCE, tint(color, 0.7), middle, face=face, texture=texture)
    view.shadow([(x, near), (x, far)], 0.8)
    for low in (0.2, high - 0.25):
        view.rectangle(x, (low, low + 0.14), (near, far), dark)
    # Distant boards are wider: they would be thinner than a pixel.
    pitch = max(0.36, 0.03 * middle)
    for number in range(int((far - near) / pitch)):
        begin = near + pitch * number
        if view.in_view(x, begin + pitch):
            view.rectangle(x, (0.04, high), (begin, begin + view.town.pickets * pitch), light)


def draw_tree(view: StreetView, x: float, z: float) -> None:
    """Draw a conifer, or a round tree with three layers of leaves, lighter towards the sun."""
    rng, sun, hardness = view.rng, view.weather.sun, view.weather.hardness
    leaf, high = vary(rng, choose(rng, view.town.leaves), hue=6), float(rng.uniform(3, 7))
    spread = 0.3 * high
    view.shadow([(x - 0.2, z), (x + 0.2, z)], 1.2)
    if hardness > 0.2:
        crown = oval(x - 0.5 * high * sun, z + 1.5, 1.2 * spread, spread, corners=14)
        view.canvas.shadow(view.camera.project([(u, 0, v) for u, v in crown]), 0.45 * hardness)
    bark = view.paint(Label.VEGETATION, (96, 76, 60), z, face=0.85, texture={"columns": 0.25, "grain": 0.1})
    view.rectangle((x - 0.03 * high, x + 0.03 * high), (0, 0.5 * high), z, bark)
    if rng.random() < 0.2:  # a conifer: four triangles
        for level in range(4):
            low, top, half = high * (0.12 + 0.2 * level), high * (0.46 + 0.18 * level), high * (0.24 - 0.05 * level)
            tone = tint(blend(leaf, (52, 92, 70), 0.7), 0.75 + 0.1 * level)
            material = view.paint(Label.VEGETATION, tone, z, texture=LEAFY)
            view.polygon([(x - half, low, z), (x, top, z), (x + half, low, z)], material)
        return
    brush = view.brush(Label.VEGETATION, x, 0.66 * high, z, spread, face=1.0)
    for layer, (light, count, reach, size) in enumerate(LAYERS):
        material = brush.paint(tint(leaf, light), **LEAFY)
        for right, down, own in rng.uniform(-1, 1, (count, 3)).tolist():
            # ``narrow`` keeps the ovals inside an ellipse, so that the corners stay empty.
            radius, narrow = size * (0.95 + 0.25 * own), math.sqrt(1 - 0.7 * down * down)
            center = (reach * right * narrow + 0.16 * layer * sun, 1.13 * (reach * down - 0.14 * layer))
            brush.oval(*center, radius, 1.13 * radius, material)


def _shrunk(corners: list[Point3D], share: float) -> list[Point3D]:
    """Return a polygon whose corners are moved towards its center by a share of their distance."""
    x, y, z = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    return [(a + share * (x - a), b + share * (y - b), c + share * (z - c)) for a, b, c in corners]


def draw_car(view: StreetView, x: float, z: float, oncoming: bool) -> None:
    """Draw a car or van whose nearest end is at ``z``."""
    rng, shine = view.rng, {"clouds": 0.1, "grain": 0.03}
    van = rng.random() < 0.16
    half, length = (0.98, 5.0) if van else (0.88, float(rng.uniform(3.8, 4.5)))
    belt, top = (1.2, 2.1) if van else (float(rng.uniform(0.82, 0.95)), float(rng.uniform(1.38, 1.62)))
    # Meters from the ends to the lower and upper edge of the near screen, and to the lower edge of the far one.
    front, front_top, rear = (1.15, 1.85, 0.5) if oncoming else (0.35, 0.95, 1.3)
    if van:
        front, front_top, rear = (0.7, 1.3, 0.1) if oncoming else (0.02, 0.12, 1.0)
    far, base, base_top, end, end_top = z + length, z + front, z + front_top, z + length - rear, z + length - rear - 0.4
    color, sign, inset = vary(rng, choose(rng, PAINTS), hue=6, strength=0.12), -1 if x > view.camera.side else 1, 0.84
    body = view.paint(Label.CAR, color, z, face=0.82, texture=shine)
    flank = view.paint(Label.CAR, color, z, face=0.92 * view.facing(-sign), texture=shine)
    roof = view.paint(Label.CAR, blend(color, (255, 255, 255), 0.12), z, face=1.05, texture=shine)
    sky = blend((30, 36, 44), view.weather.top, 0.28)
    glass, dark = view.paint(Label.CAR, sky, z, ramp=(-0.4, 0.0, 0.25)), view.paint(Label.CAR, (28, 28, 30), z)
    outline = [(x - half, z - 0.15), (x - half, far), (x + half, far), (x + half, z - 0.15)]
    view.shadow(outline, 0.9)
    view.canvas.shadow(view.camera.project([(u, 0, v) for u, v in outline]), 0.72)
    # Only one side faces the camera. From back to front: that side, the roof and the windows, the near end.
    seen, seen_top = x + sign * half, x + sign * inset * half
    view.rectangle(seen, (0.28, belt), (z, far), flank)
    view.rectangle((x - half, x + half), belt, (z, far), roof)
    hub = view.paint(Label.CAR, (150, 152, 156), z, face=0.85)
    for center in (z + 0.75, far - 0.85):
        for radius, material in ((0.34, dark), (0.19, hub)):
            view.polygon([(seen, v, u) for u, v in oval(center, 0.34, radius, radius, corners=14)], material)
    view.rectangle((x - inset * half, x + inset * half), top, (base_top, end_top), roof)
    cabin = [(seen, belt, base), (seen_top, top, base_top), (seen_top, top, end_top), (seen, belt, end)]
    view.polygon(cabin, flank)
    view.polygon(_shrunk(cabin, 0.2), glass)
    for left in (x - half + 0.04, x + half - 0.28):  # lower halves of the near wheels
        view.rectangle((left, left + 0.24), (0, 0.4), z, dark)
    view.rectangle((x - half, x + half), (0.26, belt), z, body)
    view.rectangle((x - half, x + half), (0.26, 0.4), z, dark)  # the bumper
    view.rectangle((x - 0.25, x + 0.25), (0.44, 0.55), z, view.paint(Label.CAR, (226, 224, 210), z))
    screen = [(x - half, belt, base), (x - inset * half, top, base_top), (x + inset * half, top, base_top)]
    screen.append((x + half, belt, base))
    view.polygon(screen, body)
    view.polygon(_shrunk(screen, 0.14), glass)
    lamp_color, on = (255, 246, 214) if oncoming else (236, 52, 44), view.weather.lit > 0.05
    lamp = view.paint(Label.CAR, lamp_color if on else tint(lamp_color, 0.85), z, glow=on)
    for side in (-1, 1):
        view.rectangle((x + 0.66 * side * half, x + 0.97 * side * half), (belt - 0.26, belt - 0.08), z, lamp)


def draw_bicycle(view: StreetView, x: float, z: float, heading: float) -> None:
    """Draw a bicycle; ``heading`` is in radians: 0 to the right and π/2 away from the camera."""
    turn, depth = math.cos(heading), math.sin(heading)
    paint = vary(view.rng, choose(view.rng, PAINTS), strength=0.15)
    frame, rubber = view.paint(Label.BICYCLE, paint, z, face=0.95), view.paint(Label.BICYCLE, (34, 34, 38), z)
    view.shadow([(x - 0.8 * turn, z - 0.8 * depth), (x + 0.8 * turn, z + 0.8 * depth)], 0.6, 0.4)

    def line(points: list[tuple[float, float]], thickness: float, material: int) -> None:
        view.line([(x + along * turn, up, z + along * depth) for along, up in points], thickness, material)

    for center in (-0.54, 0.54):
        line(oval(center, 0.36, 0.34, 0.34, corners=14), 0.085, rubber)
    crank, head, seat = (-0.1, 0.34), (0.36, 0.86), (-0.25, 0.88)
    line([(-0.54, 0.36), crank, head, seat, crank], 0.08, frame)
    line([(-0.54, 0.36), seat], 0.06, frame)
    line([(0.54, 0.36), head, (0.32, 1.02), (0.44, 1.04)], 0.07, frame)
    line([(-0.38, 0.94), (-0.14, 0.94)], 0.1, rubber)  # the saddle


def draw_person(view: StreetView, x: float, z: float) -> None:
    """Draw a pedestrian."""
    rng = view.rng
    # Adults and, more rarely, children; the unit of the brush is the height of the body.
    height = float(rng.uniform(1.55, 1.9)) if rng.random() < 0.85 else float(rng.uniform(1.05, 1.3))
    view.shadow([(x - 0.2, z), (x + 0.2, z)], height, 0.45)
    brush, stride = view.brush(Label.PERSON, x, 0, z, height), float(rng.uniform(0.02, 0.13))
    way = choose(rng, (-1, 1))
    shoe = brush.paint((38, 32, 30))
    for sign, material in _legs(brush):
        foot = sign * (stride + 0.02)
        brush.line([(0.035 * sign, -0.5), (0.6 * foot + 0.02 * way, -0.26), (foot, -0.03)], 0.085, material)
        brush.line([(foot - 0.01, -0.015), (foot + 0.05 * way, -0.012)], 0.04, shoe)
    _draw_torso(brush, way, swing=stride)


def draw_cyclist(view: StreetView, x: float, z: float, heading: float) -> None:
    """Draw a person on a bicycle, each with its own class."""
    draw_bicycle(view, x, z, heading)
    turn = math.cos(heading)
    brush = view.brush(Label.PERSON, x - 0.2 * turn, 0.12, z, float(view.rng.uniform(1.6, 1.8)))
    for sign, material in _legs(brush):
        knee = 0.16 * turn + 0.04 * sign
        ankle = (0.5 * knee + 0.02 * sign, -0.16 - 0.06 * sign)
        brush.line([(0.02 * sign, -0.5), (knee, -0.36), ankle], 0.08, material)
    _draw_torso(brush, 1 if turn >= 0 else -1, swing=0.08, lean=0.08 * turn)


def _legs(brush: Brush) -> list[tuple[int, int]]:
    """Return the side (-1 or 1) and the material of each leg, the far one first."""
    color = vary(brush.rng, choose(brush.rng, TROUSERS), strength=0.2)
    return [(-1, brush.paint(tint(color, 0.72))), (1, brush.paint(color))]


def _draw_torso(brush: Brush, way: int, swing: float, lean: float = 0.0) -> None:
    """Draw coat, arms, head and hair of a person who looks to the right (``way`` 1) or left (-1)."""
    rng = brush.rng
    color = vary(rng, choose(rng, PAINTS), strength=0.15)
    coat, sleeve = brush.paint(color, blotches=0.1), brush.paint(tint(color, 0.8))
    skin, hair = brush.paint(choose(rng, SKIN)), brush.paint(choose(rng, HAIR))
    hem = choose(rng, (-0.4, -0.48, -0.48))
    arms = [
        [(lean + 0.09 * side, -0.79), (lean + (0.13 + 0.5 * swing) * side, -0.61), (lean + (0.1 + swing) * side, -0.47)]
        for side in (-way, way)
    ]
    brush.line(arms[0], 0.055, sleeve)
    shoulders = [(lean - 0.115, -0.78), (lean - 0.07, -0.83), (lean + 0.07, -0.83), (lean + 0.115, -0.78)]
    brush.polygon([(-0.085, hem), *shoulders, (0.085, hem)], coat)
    brush.line(arms[1], 0.055, sleeve)
    brush.line([(lean, -0.82), (lean + 0.01 * way, -0.87)], 0.05, skin)
    brush.oval(lean - 0.008 * way, -0.938, 0.062, 0.068, hair)
    brush.oval(lean + 0.024 * way, -0.911, 0.046, 0.056, skin)
