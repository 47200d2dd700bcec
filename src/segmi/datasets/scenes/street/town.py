"""What the images of one street share (town), and what differs from image to image (weather)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from segmi.datasets.scenes.colors import Color, mixed, varied

FACADES: Final[dict[str, tuple[Color, ...]]] = {
    "southern": ((222, 178, 120), (204, 128, 92), (236, 214, 170), (214, 160, 138), (196, 148, 96)),
    "northern": ((158, 66, 56), (232, 228, 218), (92, 112, 134), (212, 170, 84), (176, 98, 72)),
    "stone": ((178, 170, 158), (150, 142, 132), (200, 188, 164), (158, 106, 86), (132, 130, 128)),
    "pastel": ((178, 208, 188), (234, 190, 190), (190, 206, 226), (240, 224, 172), (214, 196, 222)),
    "modern": ((226, 226, 224), (128, 134, 142), (176, 186, 192), (196, 178, 156), (96, 100, 108)),
}
ROOFS: Final[tuple[Color, ...]] = ((168, 84, 62), (92, 88, 92), (118, 76, 62), (70, 78, 90))
LEAVES: Final[dict[str, tuple[Color, ...]]] = {
    "spring": ((128, 172, 74), (150, 188, 92), (232, 186, 202), (104, 154, 72)),
    "summer": ((66, 118, 52), (84, 132, 60), (56, 104, 62), (98, 138, 66)),
    "autumn": ((208, 132, 48), (186, 82, 42), (220, 174, 70), (120, 124, 58)),
    "winter": ((88, 112, 92), (72, 98, 84), (112, 104, 92), (98, 112, 100)),
}
GRASS: Final[dict[str, Color]] = {
    "spring": (122, 160, 78),
    "summer": (104, 138, 66),
    "autumn": (142, 132, 72),
    "winter": (206, 212, 214),
}


@dataclass(frozen=True)
class Town:
    """What the images of one street have in common.

    Lengths are meters; ``hand`` is 1 where one drives on the right, -1 on the left.
    """

    facades: tuple[Color, ...]
    roof: Color
    window_frame: Color
    season: str
    leaves: tuple[Color, ...]
    grass: Color
    asphalt: Color
    paving: Color
    markings: Color
    fence: Color
    fence_kind: str
    pole: Color
    lamp_spacing: float
    stories: float
    road_half: float
    pavement_width: float
    hand: int
    gabled: float
    greenery: float
    bonnet: bool


def town_of(rng: np.random.Generator) -> Town:
    """A town, drawn."""
    style = str(rng.choice(list(FACADES)))
    season = str(rng.choice(list(LEAVES), p=[0.24, 0.32, 0.24, 0.2]))
    gray = float(rng.uniform(72, 118))
    warm = float(rng.uniform(-8, 10))
    light = float(rng.uniform(138, 188))
    fence_kind = str(rng.choice(["boards", "pickets", "railing"]))
    wood: tuple[Color, ...] = ((148, 104, 66), (214, 208, 196), (112, 86, 66), (88, 112, 104))
    metal: tuple[Color, ...] = ((74, 80, 86), (46, 70, 58), (150, 154, 158))
    return Town(
        facades=FACADES[style],
        roof=varied(rng, ROOFS[int(rng.integers(len(ROOFS)))]),
        window_frame=((238, 236, 230), (70, 62, 58), (204, 200, 194))[int(rng.integers(3))],
        season=season,
        leaves=tuple(varied(rng, leaf, hue=6) for leaf in LEAVES[season]),
        grass=varied(rng, GRASS[season]),
        asphalt=(gray + warm / 2, gray, gray - warm / 2 + 4),
        paving=(light + warm, light, light - warm),
        markings=(232, 230, 222) if rng.random() < 0.8 else (236, 204, 96),
        fence=(metal if fence_kind == "railing" else wood)[int(rng.integers(3))],
        fence_kind=fence_kind,
        pole=((72, 76, 80), (128, 132, 134), (54, 74, 66))[int(rng.integers(3))],
        lamp_spacing=float(rng.uniform(14, 24)),
        stories=float(rng.uniform(1.8, 4.2)),
        road_half=float(rng.uniform(4.0, 6.2)),
        pavement_width=float(rng.uniform(2.4, 3.8)),
        hand=1 if rng.random() < 0.7 else -1,
        gabled=float(rng.uniform(0.1, 0.9)),
        greenery=float(rng.uniform(0.25, 0.8)),
        bonnet=bool(rng.random() < 0.35),
    )


@dataclass(frozen=True)
class Weather:
    """The light of one image.

    Args:
        sun: the side that it comes from, -1 (left) to 1 (right).
        hardness: contrast between sun and shade, 0 (overcast) to 1.
        tint: the light's color as shares.
        top: the sky above.
        bottom: the sky at the horizon, and the haze.
        cloud: color of the clouds.
        cover: how much of the sky they cover, 0 to 1.
        haze: share of haze per meter.
        lit: share of windows and lamps that are lit.
    """

    sun: float
    hardness: float
    tint: Color
    top: Color
    bottom: Color
    cloud: Color
    cover: float
    haze: float
    lit: float


WEATHERS: Final[dict[str, tuple[float, Weather]]] = {  # how often, and the middle of its variations
    "clear": (
        0.30,
        Weather(1, 0.9, (1.08, 1.05, 1.0), (74, 132, 208), (190, 216, 236), (250, 250, 250), 0.22, 0.004, 0.0),
    ),
    "fair": (
        0.18,
        Weather(1, 0.6, (1.03, 1.03, 1.03), (102, 152, 210), (206, 222, 234), (246, 247, 250), 0.5, 0.005, 0.0),
    ),
    "golden": (
        0.16,
        Weather(1, 1.0, (1.14, 0.98, 0.78), (96, 126, 180), (250, 206, 146), (255, 226, 190), 0.3, 0.008, 0.1),
    ),
    "overcast": (
        0.16,
        Weather(1, 0.12, (0.92, 0.94, 0.97), (158, 168, 180), (206, 210, 214), (224, 226, 230), 0.72, 0.009, 0.08),
    ),
    "mist": (
        0.08,
        Weather(1, 0.08, (0.94, 0.95, 0.97), (188, 194, 200), (212, 214, 216), (220, 222, 224), 0.5, 0.028, 0.2),
    ),
    "dusk": (
        0.12,
        Weather(1, 0.15, (0.62, 0.58, 0.72), (48, 56, 108), (226, 150, 134), (156, 112, 140), 0.4, 0.007, 0.6),
    ),
}


def weather_of(rng: np.random.Generator) -> Weather:
    """The weather of one image, drawn."""
    kinds = list(WEATHERS.values())
    middle = kinds[int(rng.choice(len(kinds), p=[share for share, _ in kinds]))][1]
    shift = float(rng.uniform(0.9, 1.1))
    bottom = varied(rng, middle.bottom, hue=6, strength=0.06)
    return Weather(
        sun=float(rng.choice([-1, 1]) * rng.uniform(0.35, 1)),
        hardness=middle.hardness * float(rng.uniform(0.75, 1)),
        tint=(middle.tint[0] * shift, middle.tint[1] * shift, middle.tint[2] * shift * float(rng.uniform(0.95, 1.05))),
        top=varied(rng, middle.top, hue=7, strength=0.1),
        bottom=bottom,
        cloud=mixed(middle.cloud, bottom, float(rng.uniform(0, 0.25))),
        cover=float(np.clip(middle.cover + rng.uniform(-0.2, 0.2), 0, 1)),
        haze=middle.haze * float(rng.uniform(0.7, 1.4)),
        lit=middle.lit,
    )
