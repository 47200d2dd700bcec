"""Look of a street: its town, which all images of a street share, and the weather, which differs between images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from segmi.datasets.scenes.colors import Color, blend, choose, tint, vary

FACADES: Final[tuple[tuple[Color, ...], ...]] = (
    ((222, 178, 120), (204, 128, 92), (236, 214, 170), (214, 160, 138), (196, 148, 96)),
    ((158, 66, 56), (232, 228, 218), (92, 112, 134), (212, 170, 84), (176, 98, 72)),
    ((178, 170, 158), (150, 142, 132), (200, 188, 164), (158, 106, 86), (132, 130, 128)),
    ((178, 208, 188), (234, 190, 190), (190, 206, 226), (240, 224, 172), (214, 196, 222)),
    ((226, 226, 224), (128, 134, 142), (176, 186, 192), (196, 178, 156), (96, 100, 108)),
)
ROOFS: Final[tuple[Color, ...]] = ((168, 84, 62), (92, 88, 92), (118, 76, 62), (70, 78, 90))
FENCES: Final[tuple[Color, ...]] = ((148, 104, 66), (214, 208, 196), (112, 86, 66), (74, 80, 86), (46, 70, 58))
POLES: Final[tuple[Color, ...]] = ((72, 76, 80), (128, 132, 134), (54, 74, 66))


SEASONS: Final[tuple[tuple[Color, ...], ...]] = (  # leaves, and grass as the last color
    ((128, 172, 74), (150, 188, 92), (232, 186, 202), (104, 154, 72), (122, 160, 78)),  # spring
    ((66, 118, 52), (84, 132, 60), (56, 104, 62), (98, 138, 66), (104, 138, 66)),  # summer
    ((208, 132, 48), (186, 82, 42), (220, 174, 70), (120, 124, 58), (142, 132, 72)),  # autumn
    ((88, 112, 92), (72, 98, 84), (112, 104, 92), (98, 112, 100), (206, 212, 214)),  # winter
)


@dataclass(frozen=True)
class Town:
    """Common properties of the images of one street; lengths in meters."""

    facades: tuple[Color, ...]
    roof: Color
    leaves: tuple[Color, ...]
    grass: Color
    asphalt: Color
    paving: Color  # of the sidewalks
    fence: Color
    pickets: float  # share of a fence that its boards cover
    pole: Color
    stories: float  # mean number of floors of a house
    road_half: float  # half the width of the road
    sidewalk: float  # width of a sidewalk
    hand: int  # 1 for driving on the right, -1 on the left
    greenery: float  # frequency of trees and yards, 0 to 1
    hood: bool  # whether the camera's own car is visible


def random_town(rng: np.random.Generator) -> Town:
    """Return a random town."""
    *leaves, grass = choose(rng, SEASONS)
    gray, light, warm = float(rng.uniform(72, 118)), float(rng.uniform(138, 188)), float(rng.uniform(-8, 10))
    return Town(
        facades=choose(rng, FACADES),
        roof=vary(rng, choose(rng, ROOFS)),
        leaves=tuple(vary(rng, leaf, hue=6) for leaf in leaves),
        grass=vary(rng, grass),
        asphalt=(gray + warm / 2, gray, gray - warm / 2 + 4),
        paving=(light + warm, light, light - warm),
        fence=choose(rng, FENCES),
        pickets=choose(rng, (0.4, 0.62, 0.8)),
        pole=choose(rng, POLES),
        stories=float(rng.uniform(1.8, 4.2)),
        road_half=float(rng.uniform(4.0, 6.2)),
        sidewalk=float(rng.uniform(2.4, 3.8)),
        hand=1 if rng.random() < 0.7 else -1,
        greenery=float(rng.uniform(0.25, 0.8)),
        hood=bool(rng.random() > 0.6),
    )


class Weather(NamedTuple):
    """Light of one image."""

    sun: float  # direction of the light, -1 (left) to 1 (right)
    hardness: float  # contrast between light and shadow, 0 (overcast) to 1
    light: Color  # as shares
    top: Color  # of the sky above
    bottom: Color  # of the sky at the horizon, and of haze
    cloud: Color
    cover: float  # share of the sky that is cloudy
    haze: float  # per meter
    lit: float  # share of windows that are lit; lamps are on above 0.05


WEATHERS: Final = (
    Weather(1, 0.9, (1.08, 1.05, 1.0), (74, 132, 208), (190, 216, 236), (250, 250, 250), 0.22, 0.004, 0.0),  # clear
    Weather(1, 0.6, (1.03, 1.03, 1.03), (102, 152, 210), (206, 222, 234), (246, 247, 250), 0.5, 0.005, 0.0),  # fair
    Weather(1, 1.0, (1.14, 0.98, 0.78), (96, 126, 180), (250, 206, 146), (255, 226, 190), 0.3, 0.008, 0.1),  # golden
    Weather(1, 0.1, (0.92, 0.94, 0.97), (158, 168, 180), (206, 210, 214), (224, 226, 230), 0.7, 0.012, 0.1),  # overcast
    Weather(1, 0.15, (0.62, 0.58, 0.72), (48, 56, 108), (226, 150, 134), (156, 112, 140), 0.4, 0.007, 0.6),  # dusk
)


def random_weather(rng: np.random.Generator) -> Weather:
    """Return a random variation of one of ``WEATHERS``."""
    kind = choose(rng, WEATHERS)
    bottom = vary(rng, kind.bottom, hue=6, strength=0.06)
    return kind._replace(
        sun=float(rng.choice([-1, 1]) * rng.uniform(0.35, 1)),
        hardness=kind.hardness * float(rng.uniform(0.75, 1)),
        light=tint(kind.light, float(rng.uniform(0.9, 1.1))),
        top=vary(rng, kind.top, hue=7),
        bottom=bottom,
        cloud=blend(kind.cloud, bottom, float(rng.uniform(0, 0.25))),
        cover=float(np.clip(kind.cover + rng.uniform(-0.2, 0.2), 0, 1)),
        haze=kind.haze * float(rng.uniform(0.7, 1.6)),
    )
