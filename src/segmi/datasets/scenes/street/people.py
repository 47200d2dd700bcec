"""People who walk, stand, cross the road, carry umbrellas and ride bicycles."""

from __future__ import annotations

import math
from typing import Final

from segmi.datasets.scenes.colors import Color, mixed, scaled, varied
from segmi.datasets.scenes.painting import Point
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import Stage
from segmi.datasets.scenes.street.traffic import draw_bicycle

SKIN: Final[tuple[Color, ...]] = ((236, 194, 164), (208, 156, 120), (150, 102, 74), (104, 70, 54))
HAIR: Final[tuple[Color, ...]] = ((44, 34, 30), (92, 60, 40), (190, 150, 90), (142, 138, 134), (126, 58, 36))
CLOTHES: Final[tuple[Color, ...]] = (
    (178, 44, 50), (40, 60, 104), (226, 214, 190), (54, 54, 60), (222, 164, 46), (70, 120, 92), (120, 70, 120),
    (206, 110, 84), (92, 140, 170), (232, 232, 228),
)  # fmt: skip
LEGS: Final[tuple[Color, ...]] = ((44, 50, 72), (36, 36, 40), (112, 94, 74), (80, 96, 124), (70, 66, 66))


class _Figure:
    """A person's frame of reference: ``at`` takes shares of the body's height, to the right and up."""

    def __init__(self, stage: Stage, x: float, z: float, height: float, lift: float = 0.0) -> None:
        self.stage, self.z, self.height = stage, z, height
        self.column, foot = stage.camera.at(x, 0, z)
        self.unit = stage.scale(z) * height
        self.foot = foot - lift * stage.scale(z)

    def at(self, right: float, up: float) -> Point:
        return self.column + self.unit * right, self.foot - self.unit * up

    def limb(self, joints: list[tuple[float, float]], thickness: float, material: int) -> None:
        self.stage.painting.line([self.at(*joint) for joint in joints], thickness * self.unit, material)

    def dress(self, color: Color, face: float = 0.9, **texture: float) -> int:
        return self.stage.look(Label.PERSON, color, self.z, face=face, texture=texture)


def draw_person(stage: Stage, x: float, z: float) -> None:
    """Someone on foot."""
    rng = stage.rng
    height = float(rng.uniform(1.55, 1.9)) if rng.random() < 0.85 else float(rng.uniform(1.05, 1.3))
    stage.cast([(x - 0.2, z), (x + 0.2, z)], height, 0.45)
    figure = _Figure(stage, x, z, height)
    trousers = varied(rng, LEGS[int(rng.integers(len(LEGS)))], strength=0.2)
    near, other = figure.dress(trousers), figure.dress(scaled(trousers, 0.72))
    shoes = figure.dress((38, 32, 30))
    stride, way = float(rng.uniform(0.02, 0.13)), 1 if rng.random() < 0.5 else -1
    for sign, material in ((-1, other), (1, near)):
        foot = sign * stride + 0.02 * sign
        figure.limb([(0.035 * sign, 0.5), (0.6 * foot + 0.02 * way, 0.26), (foot, 0.03)], 0.085, material)
        figure.limb([(foot - 0.01, 0.015), (foot + 0.05 * way, 0.012)], 0.04, shoes)
    _draw_torso(figure, way, swing=stride)
    if stage.weather.hardness < 0.15 and rng.random() < 0.3:
        _draw_umbrella(figure)


def _draw_torso(figure: _Figure, way: int, swing: float, lean: float = 0.0) -> None:
    """Coat, arms, head and hair; leaning forward by ``lean``."""
    rng = figure.stage.rng
    coat = varied(rng, CLOTHES[int(rng.integers(len(CLOTHES)))], strength=0.15)
    front, sleeve = (
        figure.dress(
            coat,
            blotches=0.1,
        ),
        figure.dress(scaled(coat, 0.8)),
    )
    skin = figure.dress(SKIN[int(rng.integers(len(SKIN)))], 0.95)
    hair = figure.dress(HAIR[int(rng.integers(len(HAIR)))])
    painting = figure.stage.painting
    hem = 0.4 if rng.random() < 0.3 else 0.48
    top = lean * way
    figure.limb(
        [(top - 0.09 * way, 0.79), (top - 0.13 * way - 0.5 * swing, 0.6), (top - 0.1 * way - swing, 0.46)],
        0.055,
        sleeve,
    )
    outline = [
        (-0.085, hem),
        (-0.115 + top, 0.78),
        (-0.07 + top, 0.83),
        (0.07 + top, 0.83),
        (0.115 + top, 0.78),
        (0.085, hem),
    ]
    painting.polygon([figure.at(*corner) for corner in outline], front)
    if rng.random() < 0.25:  # a bag or rucksack
        bag = figure.dress(varied(rng, (150, 92, 60), hue=40, strength=0.3))
        painting.ellipse(*figure.at(top - 0.1 * way, 0.66), 0.06 * figure.unit, 0.1 * figure.unit, bag)
    figure.limb(
        [(top + 0.09 * way, 0.79), (top + 0.12 * way + 0.5 * swing, 0.62), (top + 0.1 * way + swing, 0.49)],
        0.055,
        sleeve,
    )
    figure.limb([(top, 0.82), (top + 0.01 * way, 0.87)], 0.05, skin)
    center = figure.at(top + 0.012 * way, 0.925)
    painting.ellipse(*figure.at(top - 0.008 * way, 0.938), 0.062 * figure.unit, 0.068 * figure.unit, hair)
    painting.ellipse(
        center[0] + 0.012 * way * figure.unit,
        center[1] + 0.014 * figure.unit,
        0.046 * figure.unit,
        0.056 * figure.unit,
        skin,
    )


def _draw_umbrella(figure: _Figure) -> None:
    rng = figure.stage.rng
    color = varied(rng, CLOTHES[int(rng.integers(len(CLOTHES)))], strength=0.15)
    cloth, shade, stick = figure.dress(color, 1.0), figure.dress(scaled(color, 0.75)), figure.dress((50, 46, 44))
    figure.limb([(0.08, 0.55), (0.06, 1.2)], 0.02, stick)
    arch = [(0.06 + 0.34 * math.cos(a * math.pi / 10), 1.03 + 0.22 * math.sin(a * math.pi / 10)) for a in range(11)]
    figure.stage.painting.polygon([figure.at(*corner) for corner in arch], cloth)
    figure.stage.painting.polygon([figure.at(*corner) for corner in [*arch[6:], (0.06, 1.25)]], shade)


def draw_cyclist(stage: Stage, x: float, z: float, heading: float) -> None:
    """Someone on a bicycle; the bicycle is of its own class."""
    rng = stage.rng
    draw_bicycle(stage, x, z, heading)
    figure = _Figure(stage, x - 0.2 * math.cos(heading), z, float(rng.uniform(1.6, 1.8)), lift=0.12)
    way = 1 if math.cos(heading) >= 0 else -1
    trousers = varied(rng, LEGS[int(rng.integers(len(LEGS)))], strength=0.2)
    wide = 0.16 * abs(math.cos(heading))
    for sign, color in ((-1, scaled(trousers, 0.72)), (1, trousers)):
        knee = way * wide + 0.04 * sign
        figure.limb(
            [(0.02 * sign, 0.5), (knee, 0.36), (0.5 * knee + 0.02 * sign, 0.16 + 0.06 * sign)],
            0.08,
            figure.dress(color),
        )
    _draw_torso(figure, way, swing=0.08 * way, lean=0.5 * wide)
    if rng.random() < 0.5:
        helmet = figure.dress(mixed(CLOTHES[int(rng.integers(len(CLOTHES)))], (255, 255, 255), 0.2), 1.0)
        painting = figure.stage.painting
        painting.ellipse(*figure.at(0.5 * wide * way, 0.965), 0.07 * figure.unit, 0.045 * figure.unit, helmet)
