"""Cars and vans in perspective, and bicycles."""

from __future__ import annotations

import math
from typing import Final

from segmi.datasets.scenes.colors import Color, mixed, scaled, varied
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import Place, Stage

PAINTS: Final[tuple[Color, ...]] = (
    (186, 38, 42), (38, 72, 138), (232, 232, 230), (42, 44, 50), (142, 148, 154), (204, 206, 208), (212, 164, 52),
    (48, 104, 84), (112, 140, 176), (126, 44, 60), (86, 90, 96), (222, 122, 58),
)  # fmt: skip
BIKES: Final[tuple[Color, ...]] = ((196, 48, 52), (40, 44, 48), (44, 112, 128), (214, 214, 208), (216, 156, 44))


def draw_car(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A car or van on the road, its end nearest to the camera at ``z``."""
    rng = stage.rng
    van = rng.random() < 0.16
    half, length = (0.98, 5.0) if van else (0.88, float(rng.uniform(3.8, 4.5)))
    belt, top = (1.2, 2.1) if van else (float(rng.uniform(0.82, 0.95)), float(rng.uniform(1.38, 1.62)))
    color = varied(rng, PAINTS[int(rng.integers(len(PAINTS)))], hue=6, strength=0.12)
    stage.cast([(x - half, z), (x - half, z + length), (x + half, z + length), (x + half, z)], 0.9)
    stage.painting.shadow(
        stage.points(
            [(x - half, 0, z - 0.15), (x - half, 0, z + length), (x + half, 0, z + length), (x + half, 0, z - 0.15)]
        ),
        0.72,
    )
    # How far the windscreen that we see, and the one that we do not, slope in from the ends.
    if van:
        nearer, nearer_top, farther = (0.7, 1.3, 0.1) if oncoming else (0.02, 0.12, 1.0)
    else:
        nearer, nearer_top, farther = (1.15, 1.85, 0.5) if oncoming else (0.35, 0.95, 1.3)
    glossy = {"clouds": 0.1, "grain": 0.03}
    inset = 0.84 * half
    lit = stage.facing(1 if x > stage.camera.side else -1)
    body = stage.look(Label.CAR, color, z, face=0.82, texture=glossy)
    flank = stage.look(Label.CAR, color, z, face=0.92 * lit, texture=glossy)
    roof = stage.look(Label.CAR, mixed(color, (255, 255, 255), 0.12), z, face=1.05, texture=glossy)
    glass = stage.look(Label.CAR, mixed((30, 36, 44), stage.weather.top, 0.28), z, face=0.95, ramp=(-0.4, 0.0, 0.25))
    dark = stage.look(Label.CAR, (28, 28, 30), z)
    seen = x - half if x > stage.camera.side else x + half  # the flank that faces the camera
    seen_in = x - inset if x > stage.camera.side else x + inset
    far = z + length
    stage.polygon([(seen, 0.28, z), (seen, belt, z), (seen, belt, far), (seen, 0.28, far)], flank)
    stage.polygon([(x - half, belt, z), (x + half, belt, z), (x + half, belt, far), (x - half, belt, far)], roof)
    _draw_wheels(stage, seen, z, length)
    near_base, near_top, far_top = z + nearer, z + nearer_top, far - farther - (0.1 if van else 0.5)
    stage.polygon(
        [(x - inset, top, near_top), (x + inset, top, near_top), (x + inset, top, far_top), (x - inset, top, far_top)],
        roof,
    )
    stage.polygon(
        [(seen, belt, near_base), (seen_in, top, near_top), (seen_in, top, far_top), (seen, belt, far - farther)], flank
    )
    stage.polygon(_side_window(seen, seen_in, belt, top, near_base, near_top, far_top, far - farther), glass)
    _draw_end(stage, (x, z), half, belt, body, dark)
    stage.polygon(
        [
            (x - half, belt, near_base),
            (x - inset, top, near_top),
            (x + inset, top, near_top),
            (x + half, belt, near_base),
        ],
        body,
    )
    low, high = belt + 0.06, top - 0.1
    stage.polygon(
        [
            (x - 0.9 * half, low, near_base + 0.03),
            (x - 0.9 * inset, high, near_top),
            (x + 0.9 * inset, high, near_top),
            (x + 0.9 * half, low, near_base + 0.03),
        ],
        glass,
    )
    _draw_lights(stage, (x, z), half, belt, oncoming)


def _side_window(
    seen: float, seen_in: float, belt: float, top: float, near_base: float, near_top: float, far_top: float, far: float
) -> list[Place]:
    low, high = belt + 0.07, top - 0.1
    return [
        (seen, low, near_base + 0.25),
        (seen_in, high, near_top + 0.12),
        (seen_in, high, far_top - 0.1),
        (seen, low, far - 0.25),
    ]


def _draw_wheels(stage: Stage, x: float, z: float, length: float) -> None:
    tyre, hub = stage.look(Label.CAR, (26, 26, 28), z), stage.look(Label.CAR, (150, 152, 156), z, face=0.85)
    for center in (z + 0.75, z + length - 0.85):
        for radius, material in ((0.34, tyre), (0.19, hub)):
            circle = [
                (x, 0.34 + radius * math.sin(a * math.pi / 7), center + radius * math.cos(a * math.pi / 7))
                for a in range(14)
            ]
            stage.polygon(circle, material)


def _draw_end(stage: Stage, place: tuple[float, float], half: float, belt: float, body: int, dark: int) -> None:
    """The tail or nose: bumper, wheels below, number plate."""
    x, z = place
    for left in (x - half + 0.04, x + half - 0.28):
        stage.polygon([(left, 0, z), (left, 0.4, z), (left + 0.24, 0.4, z), (left + 0.24, 0, z)], dark)
    stage.polygon([(x - half, 0.26, z), (x - half, belt, z), (x + half, belt, z), (x + half, 0.26, z)], body)
    stage.polygon([(x - half, 0.26, z), (x - half, 0.4, z), (x + half, 0.4, z), (x + half, 0.26, z)], dark)
    plate = stage.look(Label.CAR, (226, 224, 210), z)
    stage.polygon([(x - 0.25, 0.44, z), (x - 0.25, 0.55, z), (x + 0.25, 0.55, z), (x + 0.25, 0.44, z)], plate)


def _draw_lights(stage: Stage, place: tuple[float, float], half: float, belt: float, oncoming: bool) -> None:
    x, z = place
    on = stage.weather.lit > 0.05
    bright: Color = (255, 246, 214) if oncoming else (236, 52, 44)
    lamp = stage.look(Label.CAR, bright if on else scaled(mixed(bright, (190, 190, 190), 0.2), 0.85), z, glow=on)
    low, high = belt - 0.26, belt - 0.08
    for left, right in ((x - 0.97 * half, x - 0.66 * half), (x + 0.66 * half, x + 0.97 * half)):
        stage.polygon([(left, low, z), (left, high, z), (right, high, z), (right, low, z)], lamp)
    if oncoming:
        grille = stage.look(Label.CAR, (40, 40, 44), z)
        stage.polygon(
            [(x - 0.5 * half, low, z), (x - 0.5 * half, high, z), (x + 0.5 * half, high, z), (x + 0.5 * half, low, z)],
            grille,
        )


def draw_bicycle(stage: Stage, x: float, z: float, heading: float) -> None:
    """A bicycle that points along ``heading`` (0 to the right, π/2 away from the camera)."""
    rng = stage.rng
    turn, depth = math.cos(heading), math.sin(heading)
    frame = stage.look(Label.BICYCLE, varied(rng, BIKES[int(rng.integers(len(BIKES)))], strength=0.15), z, face=0.95)
    rubber = stage.look(Label.BICYCLE, (34, 34, 38), z)
    spokes = stage.look(Label.BICYCLE, (128, 130, 134), z, face=0.8)
    stage.cast([(x - 0.8 * turn, z - 0.8 * depth), (x + 0.8 * turn, z + 0.8 * depth)], 0.6, 0.4)

    def at(along: float, up: float) -> Place:
        return x + along * turn, up, z + along * depth

    for center in (-0.54, 0.54):
        rim = [
            at(center + 0.34 * math.cos(a * math.pi / 7), 0.36 + 0.34 * math.sin(a * math.pi / 7)) for a in range(15)
        ]
        stage.line(rim, 0.085, rubber)
        for angle in (0.3, 1.35, 2.4) if z < 10 else ():
            reach_x, reach_y = 0.32 * math.cos(angle), 0.32 * math.sin(angle)
            stage.line([at(center - reach_x, 0.36 - reach_y), at(center + reach_x, 0.36 + reach_y)], 0.02, spokes)
    hub, crank, seat, head, fork = at(-0.54, 0.36), at(-0.1, 0.34), at(-0.25, 0.88), at(0.36, 0.86), at(0.54, 0.36)
    stage.line([hub, crank, head, seat, crank], 0.08, frame)
    stage.line([hub, seat], 0.06, frame)
    stage.line([fork, head, at(0.32, 1.02), at(0.44, 1.04)], 0.07, frame)
    stage.line([at(-0.38, 0.94), at(-0.14, 0.94)], 0.1, rubber)
