"""Houses with windows, doors, shops and roofs, along both sides of the street."""

from __future__ import annotations

from dataclasses import dataclass

from segmi.datasets.scenes.colors import Color, mixed, scaled, varied
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import Stage


@dataclass(frozen=True)
class House:
    """A house whose front runs along the street.

    Args:
        side: -1 left, 1 right.
        front: distance of its front from the road's middle, meters.
        near: where it begins ahead of the camera.
        far: where it ends.
        stories: number of floors.
        color: of its walls.
        gabled: it has a pitched roof, else a flat one.
        shop: its ground floor is a shop.
    """

    side: int
    front: float
    near: float
    far: float
    stories: int
    color: Color
    gabled: bool
    shop: bool

    @property
    def height(self) -> float:
        """Of its walls, meters."""
        return 3.1 * self.stories + 0.5


def draw_house(stage: Stage, house: House) -> None:
    """Roof, walls and openings of a house, and its shadow."""
    side, front, near, far, high = house.side, house.front, house.near, house.far, house.height
    x, back = side * front, side * (front + 9)
    _draw_shadow(stage, house)
    wall_texture = {"blotches": 0.06, "grain": 0.05, "columns": 0.05, "clouds": 0.06}
    fall = (-0.12, 0.0, 0.05)  # a little darker towards the ground
    gable_wall = stage.look(Label.BUILDING, house.color, near, face=0.74, texture=wall_texture, ramp=fall)
    roof = varied(stage.rng, stage.town.roof, strength=0.08)
    if stage.town.season == "winter":
        roof = mixed(roof, (226, 230, 236), 0.7)
    roof_material = stage.look(Label.BUILDING, roof, near, face=0.9, texture={"rows": 0.1, "grain": 0.06})
    ridge, middle = high + 3.2, side * (front + 4.5)
    stage.polygon([(x, 0, near), (x, high, near), (back, high, near), (back, 0, near)], gable_wall)
    if house.gabled:
        stage.polygon([(x, high, near), (middle, ridge, near), (back, high, near)], gable_wall)
        eaves = x - 0.35 * side
        stage.polygon(
            [(eaves, high - 0.1, near), (eaves, high - 0.1, far), (middle, ridge, far), (middle, ridge, near)],
            roof_material,
        )
    wall = stage.look(
        Label.BUILDING, house.color, (near + far) / 2, face=stage.facing(side), texture=wall_texture, ramp=fall
    )
    stage.polygon([(x, 0, near), (x, high, near), (x, high, far), (x, 0, far)], wall)
    if not house.gabled:
        cornice = stage.look(Label.BUILDING, mixed(house.color, (240, 236, 228), 0.4), near, face=0.95)
        stage.polygon([(x, high - 0.4, near), (x, high, near), (x, high, far), (x, high - 0.4, far)], cornice)
    _draw_openings(stage, house)
    if near > 7:
        _draw_gable_windows(stage, house)


def _draw_shadow(stage: Stage, house: House) -> None:
    weather, x = stage.weather, house.side * house.front
    if weather.hardness < 0.2 or weather.sun * house.side < 0:
        return
    reach = -house.side * min(house.height * 0.55 * abs(weather.sun), 7.0)
    outline = [
        (x, 0.0, house.near),
        (x, 0.0, house.far),
        (x + reach, 0.0, house.far + 1.5),
        (x + reach, 0.0, house.near + 1.5),
    ]
    stage.painting.shadow(stage.points(outline), 0.5 * weather.hardness)


def _draw_openings(stage: Stage, house: House) -> None:
    """Windows in rows, the ground floor a shop or a door."""
    rng, weather, town = stage.rng, stage.weather, stage.town
    near, far, x = house.near, house.far, house.side * house.front
    middle = (near + far) / 2
    columns = max(2, round((far - near) / float(rng.uniform(2.3, 3.2))))
    if middle > 32:
        columns = min(columns, 3)
    pitch, wide = (far - near) / columns, float(rng.uniform(0.42, 0.6))
    sill, top = float(rng.uniform(0.9, 1.1)), float(rng.uniform(2.3, 2.65))
    face = stage.facing(house.side)
    glass = mixed((46, 56, 70), weather.top, float(rng.uniform(0.12, 0.4)))
    dark = stage.look(Label.BUILDING, glass, middle, face=0.9, texture={"blotches": 0.25})
    blind = stage.look(Label.BUILDING, mixed(glass, (214, 206, 190), 0.45), middle, face=face)
    lit = stage.look(Label.BUILDING, varied(rng, (255, 214, 136)), middle, glow=True, texture={"blotches": 0.1})
    frame = stage.look(Label.BUILDING, town.window_frame, middle, face=face)
    framed = middle < 24
    chances = rng.random((house.stories, columns))
    for floor in range(house.stories):
        if floor == 0 and house.shop:
            continue
        low, high = 3.1 * floor + sill, 3.1 * floor + top
        for column in range(columns):
            begin = near + pitch * (column + 0.5 - wide / 2)
            end = begin + pitch * wide
            if not stage.in_view(x, end):
                continue
            chance = chances[floor, column]
            pane = lit if chance < weather.lit else blind if chance > 0.82 else dark
            if framed:
                edge = 0.12
                stage.polygon(
                    [
                        (x, low - edge, begin - edge),
                        (x, high + edge, begin - edge),
                        (x, high + edge, end + edge),
                        (x, low - edge, end + edge),
                    ],
                    frame,
                )
            stage.polygon([(x, low, begin), (x, high, begin), (x, high, end), (x, low, end)], pane)
            if framed and middle < 16:
                halfway = (begin + end) / 2
                stage.polygon(
                    [
                        (x, low, halfway - 0.04),
                        (x, high, halfway - 0.04),
                        (x, high, halfway + 0.04),
                        (x, low, halfway + 0.04),
                    ],
                    frame,
                )
    if house.shop:
        _draw_shop(stage, house, lit if weather.lit > 0.05 else dark)
    else:
        door = stage.look(Label.BUILDING, varied(rng, (104, 62, 48), hue=60, strength=0.3), middle, face=face)
        begin = near + pitch * 0.95
        stage.polygon([(x, 0, begin), (x, 2.2, begin), (x, 2.2, begin + 1.0), (x, 0, begin + 1.0)], door)


def _draw_shop(stage: Stage, house: House, pane: int) -> None:
    rng, x = stage.rng, house.side * house.front
    near, far = house.near + 0.5, house.far - 0.5
    middle = (near + far) / 2
    color = varied(rng, ((168, 58, 52), (52, 98, 88), (46, 72, 118), (214, 168, 72))[int(rng.integers(4))])
    board = stage.look(Label.BUILDING, color, middle, face=stage.facing(house.side))
    stage.polygon([(x, 0.5, near), (x, 2.5, near), (x, 2.5, far), (x, 0.5, far)], pane)
    stage.polygon([(x, 2.5, near), (x, 3.1, near), (x, 3.1, far), (x, 2.5, far)], board)
    if rng.random() < 0.6:  # an awning in stripes
        edge = x - house.side * 1.1
        stripes = (stage.look(Label.BUILDING, color, middle), stage.look(Label.BUILDING, (236, 232, 222), middle))
        count = max(4, int((far - near) / 0.9))
        for number in range(count):
            begin = near + (far - near) * number / count
            end = near + (far - near) * (number + 1) / count
            stage.polygon([(x, 3.0, begin), (x, 3.0, end), (edge, 2.3, end), (edge, 2.3, begin)], stripes[number % 2])


def _draw_gable_windows(stage: Stage, house: House) -> None:
    """A few windows in the wall that faces the camera."""
    glass = stage.look(Label.BUILDING, scaled(mixed((46, 56, 70), stage.weather.top, 0.2), 0.8), house.near)
    for floor in range(house.stories):
        for offset in (2.0, 5.5):
            left = house.side * (house.front + offset)
            right = left + house.side * 1.1
            low, high = 3.1 * floor + 1.0, 3.1 * floor + 2.4
            stage.polygon(
                [
                    (left, low, house.near),
                    (left, high, house.near),
                    (right, high, house.near),
                    (right, low, house.near),
                ],
                glass,
            )
