"""What stands on the pavement: lamps, signs, traffic lights, bollards and fences."""

from __future__ import annotations

from segmi.datasets.scenes.colors import Color, mixed, scaled, varied
from segmi.datasets.scenes.street.classes import Label
from segmi.datasets.scenes.street.stage import Stage

RED: Color = (204, 44, 46)
BLUE: Color = (36, 84, 176)
WHITE: Color = (240, 240, 236)


def draw_lamp(stage: Stage, x: float, z: float) -> None:
    """A street lamp that reaches over the road."""
    height = 6.4
    metal = stage.look(Label.POLE, stage.town.pole, z, face=0.85, texture={"columns": 0.1})
    inwards = -1 if x > 0 else 1
    stage.cast([(x - 0.08, z), (x + 0.08, z)], height, 0.4)
    stage.line([(x, 0, z), (x, height, z)], 0.15, metal)
    stage.line([(x, 0, z), (x, 1.0, z)], 0.24, metal)
    stage.line(
        [(x, height - 0.1, z), (x + inwards * 0.8, height + 0.25, z), (x + inwards * 1.6, height + 0.3, z)], 0.1, metal
    )
    head_x, head_y = stage.camera.at(x + inwards * 1.9, height + 0.26, z)
    scale = stage.scale(z)
    stage.painting.ellipse(head_x, head_y, 0.42 * scale, 0.13 * scale, metal)
    if stage.weather.lit > 0.15:
        lamp = stage.look(Label.POLE, (255, 236, 180), z, glow=True)
        stage.painting.ellipse(head_x, head_y + 0.08 * scale, 0.32 * scale, 0.1 * scale, lamp)


def _draw_post(stage: Stage, x: float, z: float, height: float, meters: float = 0.09) -> None:
    metal = stage.look(Label.POLE, mixed(stage.town.pole, (150, 152, 154), 0.5), z, face=0.9)
    stage.cast([(x - 0.05, z), (x + 0.05, z)], height, 0.35)
    stage.line([(x, 0, z), (x, height, z)], meters, metal)


def draw_sign(stage: Stage, x: float, z: float) -> None:
    """A traffic sign on its post: prohibition, warning, priority, information, or stop."""
    rng = stage.rng
    height, size = float(rng.uniform(2.1, 2.7)), float(rng.uniform(0.36, 0.48))
    _draw_post(stage, x, z, height + size)
    painting, scale = stage.painting, stage.scale(z)
    column, row = stage.camera.at(x, height, z)
    radius = size * scale
    face = float(rng.uniform(0.85, 1.05))

    def paint(color: Color) -> int:
        return stage.look(Label.SIGN, varied(rng, color, hue=4, strength=0.06), z, face=face)

    kind = int(rng.integers(5))
    if kind == 0:
        painting.disc(column, row, radius, paint(RED))
        painting.disc(column, row, 0.72 * radius, paint(WHITE))
        if rng.random() < 0.5:
            painting.box(
                column - 0.4 * radius,
                row - 0.14 * radius,
                column + 0.4 * radius,
                row + 0.14 * radius,
                paint((40, 40, 44)),
            )
    elif kind == 1:
        for share, color in ((1.15, RED), (0.7, WHITE)):
            painting.polygon(
                [
                    (column, row - share * radius),
                    (column + share * radius, row + 0.8 * share * radius),
                    (column - share * radius, row + 0.8 * share * radius),
                ],
                paint(color),
            )
    elif kind == 2:
        for share, color in ((1.15, WHITE), (0.88, (246, 190, 40))):
            painting.polygon(
                [
                    (column, row - share * radius),
                    (column + share * radius, row),
                    (column, row + share * radius),
                    (column - share * radius, row),
                ],
                paint(color),
            )
    elif kind == 3:
        painting.box(column - radius, row - radius, column + radius, row + radius, paint(BLUE))
        painting.box(column - 0.3 * radius, row - 0.6 * radius, column + 0.3 * radius, row + 0.6 * radius, paint(WHITE))
    else:
        cut = 0.42
        corners = [
            (-1.0, -cut),
            (-cut, -1.0),
            (cut, -1.0),
            (1.0, -cut),
            (1.0, cut),
            (cut, 1.0),
            (-cut, 1.0),
            (-1.0, cut),
        ]
        painting.polygon([(column + radius * u, row + radius * v) for u, v in corners], paint(RED))
        painting.box(
            column - 0.7 * radius, row - 0.16 * radius, column + 0.7 * radius, row + 0.16 * radius, paint(WHITE)
        )


def draw_traffic_light(stage: Stage, x: float, z: float) -> None:
    """Three lights in a dark case on a post; one is on."""
    rng, painting, scale = stage.rng, stage.painting, stage.scale(z)
    _draw_post(stage, x, z, 3.4, 0.14)
    column, row = stage.camera.at(x, 3.0, z)
    case = stage.look(Label.SIGN, (44, 48, 46), z)
    painting.box(column - 0.24 * scale, row - 0.62 * scale, column + 0.24 * scale, row + 0.62 * scale, case)
    on = int(rng.integers(3))
    lights: tuple[Color, ...] = ((240, 60, 48), (250, 190, 60), (70, 220, 130))
    for number, color in enumerate(lights):
        bulb = stage.look(Label.SIGN, color if number == on else scaled(color, 0.3), z, glow=number == on)
        painting.disc(column, row + (number - 1) * 0.39 * scale, 0.16 * scale, bulb)


def draw_bollard(stage: Stage, x: float, z: float) -> None:
    """A waist-high post."""
    metal = stage.look(Label.POLE, stage.town.pole, z, face=0.9)
    stage.cast([(x - 0.08, z), (x + 0.08, z)], 0.9)
    stage.line([(x, 0, z), (x, 0.9, z)], 0.17, metal)


def draw_fence(stage: Stage, x: float, near: float, far: float) -> None:
    """A fence along the street in the town's fashion: boards, pickets with gaps, or a metal railing."""
    town, rng = stage.town, stage.rng
    side = 1 if x > 0 else -1
    middle, face = (near + far) / 2, stage.facing(side)
    color = varied(rng, town.fence, hue=4, strength=0.1)
    texture = {"columns": 0.1, "grain": 0.06}
    light = stage.look(Label.FENCE, color, middle, face=face, texture=texture)
    shade = stage.look(Label.FENCE, scaled(color, 0.7), middle, face=face, texture=texture)
    stage.cast([(x, near), (x, far)], 0.8)
    height = {"boards": 1.55, "pickets": 1.15, "railing": 1.1}[town.fence_kind]

    def panel(low: float, high: float, begin: float, end: float, material: int) -> None:
        stage.polygon([(x, low, begin), (x, high, begin), (x, high, end), (x, low, end)], material)

    if town.fence_kind == "boards":
        panel(0, height, near, far, light)
        pitch = max(0.32, 0.03 * middle)
        for number in range(int((far - near) / pitch)):
            begin = near + pitch * number
            if not stage.in_view(x, begin + pitch):
                continue
            panel(0, height, begin, begin + 0.22 * pitch, shade)
        panel(height - 0.12, height, near, far, shade)
        return
    pitch, share = (0.36, 0.62) if town.fence_kind == "pickets" else (0.3, 0.4)
    pitch = max(pitch, 0.03 * middle)
    for low in (0.2, height - 0.25):
        panel(low, low + 0.14, near, far, shade)
    for number in range(int((far - near) / pitch)):
        begin = near + pitch * number
        if not stage.in_view(x, begin + pitch):
            continue
        panel(0.04, height, begin, begin + share * pitch, light)
