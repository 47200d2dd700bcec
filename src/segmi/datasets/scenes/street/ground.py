"""Sky, horizon, road, pavement and what is painted on them."""

from __future__ import annotations

from typing import Final

from segmi.datasets.scenes.colors import mixed, scaled
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import FARTHEST, NEAREST, Stage

DEPTHS: Final = (NEAREST, 2.5, 4.0, 6.0, 9.0, 13.0, 19.0, 28.0, 42.0, 65.0, FARTHEST)


def strip(stage: Stage, left: float, right: float, material: int, near: float = NEAREST, far: float = FARTHEST) -> None:
    """A band along the street between two distances from its middle."""
    depths = [near, *(depth for depth in DEPTHS if near < depth < far), far]
    along = [(left, 0.0, z) for z in depths] + [(right, 0.0, z) for z in reversed(depths)]
    stage.polygon(along, material)


def draw_sky_and_horizon(stage: Stage) -> None:
    """Sky, and a ridge of far trees or roofs along the horizon."""
    painting, rng, camera, weather = stage.painting, stage.rng, stage.camera, stage.weather
    sky = painting.material(Label.SKY, weather.bottom)
    painting.box(0, 0, painting.width, painting.height, sky)
    for distance, height in ((220.0, 22.0), (150.0, 12.0)):
        wooded = rng.random() < 0.6
        scale = camera.focal / distance
        color = stage.town.leaves[-1] if wooded else stage.town.facades[2]
        texture = {"leaves": 0.12} if wooded else {"columns": 0.08}
        label = Label.VEGETATION if wooded else Label.BUILDING
        material = stage.look(label, color, distance * 0.6, face=0.75, texture=texture)
        step = painting.width / 40
        x = -step
        while x < painting.width:
            wide = step * rng.uniform(0.8, 2.5)
            top = camera.row - scale * height * rng.uniform(0.5, 1.2)
            if wooded:
                painting.ellipse(x + wide / 2, camera.row, wide * 0.9, camera.row - top, material)
            else:
                painting.box(x, top, x + wide, camera.row + 2, material)
            x += wide


def draw_ground(stage: Stage) -> None:
    """Grass, pavements with curbs, the road and its markings."""
    painting, rng, town, camera = stage.painting, stage.rng, stage.town, stage.camera
    grass = stage.ground(Label.VEGETATION, town.grass, {"leaves": 0.14, "blotches": 0.1, "grain": 0.05})
    painting.box(0, camera.row + stage.scale(FARTHEST) * camera.eye * 0.6, painting.width, painting.height, grass)
    edge, outer = town.road_half, town.road_half + town.pavement_width
    paving = stage.ground(Label.PAVEMENT, town.paving, {"blotches": 0.07, "grain": 0.06, "rows": 0.03})
    joint = stage.ground(Label.PAVEMENT, scaled(town.paving, 0.84), {"grain": 0.05})
    curb = stage.ground(Label.PAVEMENT, mixed(town.paving, (225, 224, 220), 0.55), {"grain": 0.05})
    for side in (-1, 1):
        strip(stage, side * edge, side * outer, paving)
        z = 3.0 + rng.uniform(0, 1)
        while z < 24:
            strip(stage, side * edge, side * outer, joint, z, z + 0.03 + 0.006 * z)
            z += 1.6
        strip(
            stage,
            side * (edge + 0.5 * town.pavement_width) - 0.02,
            side * (edge + 0.5 * town.pavement_width) + 0.03,
            joint,
            far=30,
        )
    asphalt = stage.ground(Label.ROAD, town.asphalt, {"blotches": 0.04, "rows": 0.04, "grain": 0.07, "clouds": 0.07})
    strip(stage, -edge, edge, asphalt)
    for side in (-1, 1):
        strip(stage, side * edge - 0.03, side * (edge + 0.22), curb)
    _draw_patches(stage)
    _draw_markings(stage)


def _draw_patches(stage: Stage) -> None:
    rng, town = stage.rng, stage.town
    for _ in range(int(rng.integers(1, 5))):
        tone = stage.ground(Label.ROAD, scaled(town.asphalt, rng.uniform(0.8, 1.14)), {"grain": 0.12, "blotches": 0.05})
        x, z = rng.uniform(-0.8, 0.8) * town.road_half, rng.uniform(4, 25)
        if rng.random() < 0.4:  # a manhole
            strip(stage, x, x + 0.7, tone, z, z + 0.7)
        else:
            strip(stage, x, x + rng.uniform(0.4, 2.5), tone, z, z + rng.uniform(1, 8))


def _draw_markings(stage: Stage) -> None:
    rng, town = stage.rng, stage.town
    paint = stage.ground(Label.ROAD, mixed(town.markings, town.asphalt, rng.uniform(0.05, 0.4)), {"blotches": 0.1})
    start = rng.uniform(1, 5)
    if rng.random() < 0.25:
        strip(stage, -0.22, -0.1, paint)
        strip(stage, 0.1, 0.22, paint)
    else:
        for step in range(9):
            near = start + 6 * step
            strip(stage, -0.08, 0.08, paint, near, near + 3)
    if rng.random() < 0.6:
        for side in (-1, 1):
            strip(stage, side * (town.road_half - 0.35), side * (town.road_half - 0.48), paint)
    if rng.random() < 0.4:
        z, x = rng.uniform(7, 18), -town.road_half + 0.5
        while x < town.road_half - 0.6:
            strip(stage, x, x + 0.55, paint, z, z + 3)
            x += 1.1


def draw_bonnet(stage: Stage) -> None:
    """The camera car's own bonnet along the lower edge, which counts as ignored."""
    painting, rng = stage.painting, stage.rng
    top = painting.height * rng.uniform(0.925, 0.965)
    color = mixed((38, 42, 50), stage.weather.top, 0.18)
    bonnet = painting.material(255, color, {"rows": 0.1}, ramp=(-1.2, 0.0, 1.15))
    wide = painting.width
    painting.polygon(
        [
            (0, painting.height),
            (0, top + 0.05 * painting.height),
            (0.18 * wide, top + 0.012 * painting.height),
            (0.5 * wide, top),
            (0.82 * wide, top + 0.012 * painting.height),
            (wide, top + 0.05 * painting.height),
            (wide, painting.height),
        ],
        bonnet,
    )
