"""Who stands where in a street: everything placed at random along it, then drawn from far to near."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from segmi.datasets.scenes.colors import varied
from segmi.datasets.scenes.developing import Film, Sky
from segmi.datasets.scenes.painting import Painted, Painting
from segmi.datasets.scenes.street.buildings import House, draw_house
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.furniture import draw_bollard, draw_fence, draw_lamp, draw_sign, draw_traffic_light
from segmi.datasets.scenes.street.greenery import draw_bush, draw_hedge, draw_tree
from segmi.datasets.scenes.street.ground import draw_bonnet, draw_ground, draw_sky_and_horizon
from segmi.datasets.scenes.street.people import draw_cyclist, draw_person
from segmi.datasets.scenes.street.stage import Camera, Stage
from segmi.datasets.scenes.street.town import Town, Weather, town_of, weather_of
from segmi.datasets.scenes.street.traffic import draw_bicycle, draw_car
from segmi.randomness import key

Item: TypeAlias = tuple[float, Callable[[], None]]
"""A distance, and what draws the thing that stands there."""


def camera_of(rng: np.random.Generator, town: Town, height: int, width: int) -> Camera:
    """A camera in the lane of a driver, or now and then on the pavement."""
    on_foot = rng.random() < 0.12
    lane = town.hand * town.road_half * (1.15 if on_foot else rng.uniform(0.2, 0.6))
    return Camera(
        focal=height * float(rng.uniform(1.05, 1.35)),
        column=width * float(rng.uniform(0.4, 0.6)),
        row=height * float(rng.uniform(0.4, 0.5)),
        eye=float(rng.uniform(1.5, 2.3)),
        side=float(lane),
        bend=float(rng.normal(0, 0.0022)),
    )


@lru_cache(maxsize=2)  # an image and its mask are asked for one after the other
def painted_street(
    seed: int, split: str, index: int, street: int, height: int, width: int
) -> tuple[Painted, Weather, float]:
    """The canvas of one image, its weather, and the row of its horizon as a share of the height."""
    town = town_of(np.random.default_rng(key(seed, "town", split, street)))
    rng = np.random.default_rng(key(seed, "street", split, index))
    weather = weather_of(rng)
    painting = Painting(height, width)
    camera = camera_of(rng, town, painting.height, painting.width)
    stage = Stage(painting, camera, town, weather, rng)
    draw_sky_and_horizon(stage)
    draw_ground(stage)
    items = [*_plots(stage, -1), *_plots(stage, 1), *_furniture(stage), *_traffic(stage), *_people(stage)]
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if town.bonnet:
        draw_bonnet(stage)
    return painting.finish(), weather, camera.row / painting.height


def film_of(weather: Weather, horizon: float, rng: np.random.Generator) -> tuple[Film, Sky]:
    """Camera and sky for a weather."""
    film = Film(
        haze=weather.bottom,
        haze_density=min(1.5, 22 * weather.haze),
        horizon=horizon,
        vignette=float(rng.uniform(0.08, 0.25)),
        noise=float(rng.uniform(2, 5) + 4 * weather.lit),
        blur=float(rng.choice([0.0, 0.0, 0.0, 0.5])),
    )
    sky = Sky(Label.SKY, weather.top, weather.bottom, horizon, weather.cloud, weather.cover)
    return film, sky


def _plots(stage: Stage, side: int) -> list[Item]:
    """One side of the street: houses at the pavement, or yards behind fences and hedges."""
    rng, town = stage.rng, stage.town
    items: list[Item] = []
    edge = town.road_half + town.pavement_width
    near = float(rng.uniform(-6, 4))
    while near < 64:
        far = near + float(rng.uniform(8, 16))
        color = varied(rng, town.facades[int(rng.integers(len(town.facades)))], hue=4, strength=0.07)
        stories = int(np.clip(round(float(rng.normal(town.stories, 0.8))), 1, 5))
        gabled = bool(rng.random() < town.gabled)
        yard = rng.random() < 0.3 + 0.35 * town.greenery
        shop = not yard and bool(rng.random() < 0.4)
        front = edge + (float(rng.uniform(3.5, 7)) if yard else float(rng.uniform(0, 0.4)))
        begin = near + (float(rng.uniform(0.5, 3)) if yard else 0.0)
        if not yard or rng.random() < 0.7:
            house = House(side, front, begin, far, min(stories, 2) if yard else stories, color, gabled, shop)
            items.append((far, partial(draw_house, stage, house)))
        if yard:
            items.extend(_yard(stage, side * edge, side * front, near, far))
        near = far + (float(rng.uniform(0, 2.5)) if rng.random() < 0.4 else 0.0)
    return items


def _yard(stage: Stage, edge: float, front: float, near: float, far: float) -> list[Item]:
    rng, town = stage.rng, stage.town
    items: list[Item] = []
    if rng.random() < 0.78:
        # Cut into lengths, so that what stands before one part of it is not drawn behind another.
        cuts = np.linspace(max(near, 1.3), far, 3).tolist()
        wooden, tall = rng.random() < 0.78, float(rng.uniform(0.9, 1.7))
        for begin, end in pairwise(cuts):
            draw = partial(draw_fence, stage, edge) if wooden else partial(draw_hedge, stage, edge, height=tall)
            items.append((end, partial(draw, near=begin, far=end)))
    for _ in range(int(rng.integers(1, 3))):
        x, z = float(rng.uniform(0.25, 0.85)), float(rng.uniform(near, far))
        place = edge + x * (front - edge)
        if rng.random() < 0.45 + 0.4 * town.greenery and z > 6:
            tall = float(rng.uniform(3.5, 7.5))
            items.append((z, partial(draw_tree, stage, place, z, tall)))
        elif z > 3.5:
            wide = float(rng.uniform(1.2, 2.4))
            items.append((z, partial(draw_bush, stage, place, z, wide)))
    return items


def _furniture(stage: Stage) -> list[Item]:
    """Lamps, signs, lights, bollards and trees along the curb."""
    rng, town = stage.rng, stage.town
    items: list[Item] = []
    curb = town.road_half + 0.5

    def add(draw: Callable[[Stage, float, float], None], x: float, z: float) -> None:
        items.append((z, partial(draw, stage, x, z)))

    for side in (-1, 1):
        for number in range(4):
            add(draw_lamp, side * curb, float(rng.uniform(5, 9)) + town.lamp_spacing * (number + 0.35 * (side + 1)))
        for _ in range(int(rng.integers(1, 4))):
            add(draw_sign, side * (curb + float(rng.uniform(0, 0.4))), float(rng.uniform(5, 22)))
        if rng.random() < 0.4:
            add(draw_traffic_light, side * curb, float(rng.uniform(6, 18)))
        if rng.random() < 0.25:
            start = float(rng.uniform(4, 10))
            for number in range(6):
                add(draw_bollard, side * curb, start + 1.6 * number)
        if rng.random() < 0.35 + 0.5 * town.greenery:
            start, spacing = float(rng.uniform(6, 14)), float(rng.uniform(7, 12))
            for number in range(4):
                z, tall = start + spacing * number, float(rng.uniform(4, 6.5))
                items.append((z, partial(draw_tree, stage, side * (curb + 0.4), z, tall)))
    return items


def _traffic(stage: Stage) -> list[Item]:
    """Cars in both lanes and parked at the curb."""
    rng, town = stage.rng, stage.town
    items: list[Item] = []

    def add(x: float, z: float, oncoming: bool) -> None:
        items.append((z, partial(draw_car, stage, x, z, oncoming=oncoming)))

    for lane, oncoming in ((town.hand, False), (-town.hand, True)):
        z = float(rng.uniform(8, 22)) if not oncoming else float(rng.uniform(6, 26))
        for _ in range(int(rng.integers(1, 4))):
            add(lane * town.road_half * 0.42 + float(rng.uniform(-0.3, 0.3)), z, oncoming)
            z += float(rng.uniform(8, 22))
        if rng.random() < 0.55:
            z = float(rng.uniform(4.5, 14))
            for _ in range(int(rng.integers(1, 6))):
                add(lane * (town.road_half - 1.0), z, oncoming)
                z += float(rng.uniform(5.2, 9))
    return items


def _people(stage: Stage) -> list[Item]:
    """People on the pavements, alone or in pairs, crossing the road, and with bicycles."""
    rng, town = stage.rng, stage.town
    items: list[Item] = []

    def walker(x: float, z: float) -> None:
        items.append((z, partial(draw_person, stage, x, z)))

    def bicycle(x: float, z: float, heading: float, ridden: bool) -> None:
        draw = draw_cyclist if ridden else draw_bicycle
        items.append((z, partial(draw, stage, x, z, heading)))

    for side in (-1, 1):
        for _ in range(int(rng.integers(1, 5))):
            x = side * (town.road_half + float(rng.uniform(0.5, 0.9 * town.pavement_width)))
            z = float(rng.uniform(5.5, 26))
            walker(x, z)
            if rng.random() < 0.35:
                walker(x + 0.6, z + 0.3)
        if rng.random() < 0.55:
            x = side * (town.road_half + 0.75)
            z = float(rng.uniform(5, 11))
            for number in range(int(rng.integers(1, 4))):
                bicycle(x, z + 0.9 * number, float(rng.uniform(-0.5, 0.5)), ridden=False)
    if rng.random() < 0.35:
        z = float(rng.uniform(8, 18))
        for _ in range(int(rng.integers(1, 4))):
            walker(float(rng.uniform(-0.8, 0.8)) * town.road_half, z + float(rng.uniform(-0.8, 0.8)))
    if rng.random() < 0.7:
        heading = float(rng.choice([0.25, math.pi - 0.25, 1.15, math.pi - 1.15]))
        place = town.road_half * float(rng.uniform(0.5, 0.8))
        bicycle(float(rng.choice([-1, 1])) * place, float(rng.uniform(5.5, 13)), heading, ridden=True)
    return items
