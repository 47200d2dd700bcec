"""Trees, bushes and hedges."""

from __future__ import annotations

import numpy as np

from segmi.datasets.scenes.colors import Color, mixed, scaled, varied
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import Stage

LEAFY = {"leaves": 0.34, "blotches": 0.16, "grain": 0.08}


def draw_tree(stage: Stage, x: float, z: float, height: float) -> None:
    """A tree in the town's season: round, pointed, or bare."""
    rng, town = stage.rng, stage.town
    leaf = varied(rng, town.leaves[int(rng.integers(len(town.leaves)))], hue=6)
    spread = 0.3 * height
    stage.cast([(x - 0.2, z), (x + 0.2, z)], 1.2)
    if stage.weather.hardness > 0.2:
        _cast_crown(stage, x, z, height, spread)
    kind = rng.random()
    if kind < 0.18:
        _draw_conifer(stage, x, z, height, mixed(leaf, (52, 92, 70), 0.7))
    elif town.season == "winter" and kind < 0.75:
        _draw_bare_tree(stage, x, z, height)
    else:
        _draw_trunk(stage, x, z, 0.5 * height)
        draw_blobs(stage, x, 0.66 * height, z, spread, 0.34 * height, leaf)


def _cast_crown(stage: Stage, x: float, z: float, height: float, spread: float) -> None:
    center = x - stage.weather.sun * 0.5 * height
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    outline = [(center + 1.2 * spread * float(np.cos(a)), 0.0, z + 1.5 + spread * float(np.sin(a))) for a in angles]
    stage.painting.shadow(stage.points(outline), 0.45 * stage.weather.hardness)


def _draw_trunk(stage: Stage, x: float, z: float, height: float) -> None:
    bark = stage.look(Label.VEGETATION, (96, 76, 60), z, face=0.85, texture={"columns": 0.25, "grain": 0.1})
    thick = 0.06 * height
    stage.polygon(
        [(x - thick, 0, z), (x - 0.7 * thick, height, z), (x + 0.7 * thick, height, z), (x + thick, 0, z)], bark
    )


def draw_blobs(stage: Stage, x: float, y: float, z: float, across: float, up: float, leaf: Color) -> None:
    """A mass of leaves with half-axes ``across`` and ``up``, lighter towards the sun."""
    rng, painting = stage.rng, stage.painting
    column, row = stage.camera.at(x, y, z)
    scale = stage.scale(z)
    tones = [stage.look(Label.VEGETATION, scaled(leaf, tone), z, texture=LEAFY) for tone in (0.62, 0.86, 1.1)]
    for tone, (material, count, reach, size) in enumerate(
        zip(tones, (9, 8, 6), (0.72, 0.6, 0.5), (0.46, 0.36, 0.24), strict=True)
    ):
        places = rng.uniform(-1, 1, (count, 2))
        sizes = size * rng.uniform(0.7, 1.2, count)
        for (right, down), blob in zip(places.tolist(), sizes.tolist(), strict=True):
            fold = 1 - 0.45 * abs(down)  # keeps the corners empty
            painting.ellipse(
                column + scale * across * (reach * right * fold + 0.16 * tone * stage.weather.sun),
                row + scale * up * (reach * down - 0.14 * tone),
                scale * across * blob,
                scale * up * blob,
                material,
            )


def _draw_conifer(stage: Stage, x: float, z: float, height: float, leaf: Color) -> None:
    _draw_trunk(stage, x, z, 0.2 * height)
    snowy = stage.town.season == "winter"
    for level in range(4):
        low, high = height * (0.12 + 0.2 * level), height * (0.46 + 0.18 * level)
        half = 0.24 * height * (1 - 0.21 * level)
        tone = mixed(scaled(leaf, 0.75 + 0.1 * level), (230, 236, 240), 0.25 if snowy else 0)
        material = stage.look(Label.VEGETATION, tone, z, texture=LEAFY)
        stage.polygon([(x - half, low, z), (x, high, z), (x + half, low, z)], material)


def _draw_bare_tree(stage: Stage, x: float, z: float, height: float) -> None:
    _draw_trunk(stage, x, z, 0.5 * height)
    bark = stage.look(Label.VEGETATION, (104, 88, 76), z, face=0.9)
    twigs = stage.look(Label.VEGETATION, (134, 120, 108), z, face=0.9, texture={"leaves": 0.3})
    for angle in np.linspace(-1.1, 1.1, 7) + stage.rng.uniform(-0.1, 0.1, 7):
        reach = height * stage.rng.uniform(0.36, 0.5)
        tip = (x + reach * float(np.sin(angle)), 0.48 * height + reach * float(np.cos(angle)))
        fork = (0.5 * (x + tip[0]), 0.5 * (0.48 * height + tip[1]))
        stage.line([(x, 0.45 * height, z), (*fork, z), (*tip, z)], 0.022 * height, bark)
        for turn in (-0.5, 0.45):
            twig = (
                fork[0] + 0.4 * reach * float(np.sin(angle + turn)),
                fork[1] + 0.4 * reach * float(np.cos(angle + turn)),
            )
            stage.line([(*fork, z), (*twig, z)], 0.012 * height, twigs)


def draw_bush(stage: Stage, x: float, z: float, size: float) -> None:
    """A bush of some meters' width."""
    leaf = varied(stage.rng, stage.town.leaves[int(stage.rng.integers(len(stage.town.leaves)))], hue=8)
    stage.cast([(x - 0.45 * size, z), (x + 0.45 * size, z)], 0.5 * size)
    draw_blobs(stage, x, 0.34 * size, z, 0.6 * size, 0.42 * size, leaf)


def draw_hedge(stage: Stage, x: float, near: float, far: float, height: float) -> None:
    """A cut hedge along the street."""
    leaf = varied(stage.rng, stage.town.leaves[-1], hue=6)
    side = 1 if x > 0 else -1
    deep = x + side * 0.7
    front = stage.look(Label.VEGETATION, scaled(leaf, 0.8), (near + far) / 2, face=stage.facing(side), texture=LEAFY)
    top = stage.look(Label.VEGETATION, scaled(leaf, 1.1), (near + far) / 2, texture=LEAFY)
    end = stage.look(Label.VEGETATION, scaled(leaf, 0.66), near, texture=LEAFY)
    stage.polygon([(x, height, near), (x, height, far), (deep, height, far), (deep, height, near)], top)
    stage.polygon([(x, 0, near), (x, height, near), (deep, height, near), (deep, 0, near)], end)
    stage.polygon([(x, 0, near), (x, height, near), (x, height, far), (x, 0, far)], front)
