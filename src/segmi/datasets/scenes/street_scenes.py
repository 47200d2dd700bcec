"""Generated street scenes: a replacement for Cityscapes that needs no download."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np

from segmi.datasets.scenes import street_objects as objects
from segmi.datasets.scenes.buildings import House, draw_ground, draw_hood, draw_house, draw_sky
from segmi.datasets.scenes.canvas import Canvas
from segmi.datasets.scenes.colors import choose, vary
from segmi.datasets.scenes.generated import GeneratedScenes, GeneratedSource, generated_info
from segmi.datasets.scenes.rendering import CameraEffects, Sky
from segmi.datasets.scenes.street_view import Camera, Label, StreetView
from segmi.datasets.scenes.town import random_town, random_weather
from segmi.randomness import key

IMAGES_PER_STREET: Final = 10


class StreetSource(GeneratedSource):
    """A street scene or its mask."""

    def paint(self, canvas: Canvas, rng: np.random.Generator) -> CameraEffects:
        """Draw a street from far to near."""
        street = self.index // IMAGES_PER_STREET
        town = random_town(np.random.default_rng(key(self.seed, "town", self.split, street)))
        weather = random_weather(rng)
        # Most images are seen from a lane, some from the sidewalk.
        lane = 1.15 if rng.random() < 0.12 else float(rng.uniform(0.2, 0.6))
        camera = Camera(
            focal=canvas.height * float(rng.uniform(1.05, 1.35)),
            column=canvas.width * float(rng.uniform(0.4, 0.6)),
            row=canvas.height * float(rng.uniform(0.4, 0.5)),
            eye=float(rng.uniform(1.5, 2.3)),
            side=town.hand * town.road_half * lane,
            bend=float(rng.normal(0, 0.0022)),
        )
        view = StreetView(canvas, camera, town, weather, rng)
        draw_sky(view)
        draw_ground(view)
        for side in (-1, 1):
            _add_plots(view, side)
            _add_roadside(view, side)
            _add_pedestrians(view, side)
        _add_traffic(view)
        view.draw_added()
        if town.hood:
            draw_hood(view)
        return CameraEffects(
            vignette=float(rng.uniform(0.08, 0.25)),
            noise=float(rng.uniform(2, 5)) + 4 * weather.lit,
            blur=choose(rng, (0.0, 0.0, 0.0, 0.4)),
            horizon=camera.row / canvas.height,
            haze=22 * weather.haze,
            sky=Sky(Label.SKY, weather.top, weather.bottom, weather.cloud, weather.cover),
        )


def _add_plots(view: StreetView, side: int) -> None:
    """Add one side of the street: houses at the sidewalk, or behind yards with fences and trees."""
    rng, town = view.rng, view.town
    edge, near = town.road_half + town.sidewalk, float(rng.uniform(-6, 4))
    while near < 64:
        far = near + float(rng.uniform(8, 16))
        stories = int(np.clip(round(float(rng.normal(town.stories, 0.8))), 1, 5))
        color = vary(rng, choose(rng, town.facades), hue=4, strength=0.07)
        yard = rng.random() < 0.3 + 0.35 * town.greenery
        front = edge + float(rng.uniform(3.5, 7) if yard else rng.uniform(0, 0.4))
        if not yard or rng.random() < 0.7:
            begin = near + float(rng.uniform(0.5, 3)) if yard else near
            view.add(far, draw_house, House(side, front, begin, far, min(stories, 2) if yard else stories, color))
        if yard and rng.random() < 0.65:
            # Two lengths, each sorted by its own distance, so that objects before one are not hidden by the other.
            for start, end in pairwise(np.linspace(max(near, 1.3), far, 3).tolist()):
                view.add(end, objects.draw_fence, side * edge, start, end)
        for _ in range(int(rng.integers(0, 3)) if yard else 0):
            x, z = edge + float(rng.uniform(0.25, 0.85)) * (front - edge), float(rng.uniform(max(near, 6), max(far, 7)))
            view.add(z, objects.draw_tree, side * x, z)
        near = far + (float(rng.uniform(0, 2.5)) if rng.random() < 0.4 else 0.0)


def _add_roadside(view: StreetView, side: int) -> None:
    """Add lamps, signs, traffic lights and trees along one curb."""
    rng, curb = view.rng, side * (view.town.road_half + 0.5)
    start, spacing = float(rng.uniform(5, 12)), float(rng.uniform(14, 24))
    for z in (start, start + spacing, start + 2 * spacing):
        view.add(z, objects.draw_lamp, curb, z)
    for _ in range(int(rng.integers(1, 4))):
        z = float(rng.uniform(5, 22))
        view.add(z, objects.draw_sign, curb + side * float(rng.uniform(0, 0.4)), z)
    if rng.random() < 0.4:
        z = float(rng.uniform(6, 18))
        view.add(z, objects.draw_traffic_light, curb, z)
    if rng.random() < 0.35 + 0.5 * view.town.greenery:
        start, spacing = float(rng.uniform(6, 14)), float(rng.uniform(7, 12))
        for z in (start, start + spacing, start + 2 * spacing):
            view.add(z, objects.draw_tree, curb + 0.4 * side, z)


def _add_pedestrians(view: StreetView, side: int) -> None:
    """Add people, alone or in pairs, and parked bicycles on one sidewalk."""
    rng, town = view.rng, view.town
    for _ in range(int(rng.integers(1, 5))):
        x, z = side * (town.road_half + float(rng.uniform(0.5, 0.9 * town.sidewalk))), float(rng.uniform(5.5, 26))
        view.add(z, objects.draw_person, x, z)
        if rng.random() < 0.35:
            view.add(z + 0.3, objects.draw_person, x + 0.6, z + 0.3)
    if rng.random() < 0.7:
        start = float(rng.uniform(5, 11))
        for number in range(int(rng.integers(1, 4))):
            z, heading = start + 0.9 * number, float(rng.uniform(-0.5, 0.5))
            view.add(z, objects.draw_bicycle, side * (town.road_half + 0.75), z, heading)


def _add_traffic(view: StreetView) -> None:
    """Add cars in both lanes and at both curbs, people who cross the road, and a cyclist."""
    rng, half = view.rng, view.town.road_half
    for lane, oncoming in ((view.town.hand, False), (-view.town.hand, True)):
        parked = int(rng.integers(1, 6)) if rng.random() < 0.55 else 0
        for x, z, count, gap in ((0.42 * half, 6.0, int(rng.integers(1, 4)), 8.0), (half - 1.0, 4.5, parked, 5.2)):
            z += float(rng.uniform(0, 14))
            for _ in range(count):
                view.add(z, objects.draw_car, lane * x + float(rng.uniform(-0.2, 0.2)), z, oncoming)
                z += gap * float(rng.uniform(1, 2))
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 else 0):
        z = float(rng.uniform(8, 18))
        view.add(z, objects.draw_person, float(rng.uniform(-0.8, 0.8)) * half, z)
    if rng.random() < 0.7:
        x, z = choose(rng, (-1, 1)) * half * float(rng.uniform(0.5, 0.8)), float(rng.uniform(5.5, 13))
        view.add(z, objects.draw_cyclist, x, z, choose(rng, (0.25, 1.15, math.pi - 0.25, math.pi - 1.15)))


class StreetScenes(GeneratedScenes):
    """Street scenes with 11 classes, generated; see `GeneratedScenes` for options.

    Ten consecutive images show one street and form a group: they share town and season, and differ in weather, traffic
    and camera position. The hood of the camera's own car, where visible, is ignored.

    Example:
        >>> scenes = StreetScenes(train=20, val=10, height=32, width=64)
        >>> image, mask = scenes.read(scenes.split("train")[3])
        >>> image.shape, mask.shape
        ((32, 64, 3), (32, 64))
    """

    info = generated_info(
        "street-scenes",
        "Street scenes",
        {
            "road": (96, 84, 122),  # slate violet
            "sidewalk": (214, 170, 196),  # old rose
            "building": (120, 128, 138),  # gray
            "fence": (191, 148, 108),  # wood
            "pole": (232, 226, 210),  # ivory
            "sign": (247, 201, 72),  # amber
            "vegetation": (98, 158, 92),  # leaf green
            "sky": (122, 184, 226),  # light blue
            "person": (226, 74, 84),  # coral
            "car": (38, 82, 168),  # deep blue
            "bicycle": (142, 42, 96),  # plum
        },
        ignored=(24, 24, 28),
    )
    source = StreetSource
    prefix = "street"
    images_per_group = IMAGES_PER_STREET
