"""Street scenes: sky, horizon, ground, road markings and houses."""

from __future__ import annotations

from typing import Final, NamedTuple

from segmi.datasets.scenes.canvas import Material
from segmi.datasets.scenes.colors import Color, blend, choose, tint, vary
from segmi.datasets.scenes.street_view import FARTHEST, NEAREST, Label, StreetView
from segmi.types import IGNORE_INDEX

# Distances in meters of the corners of long polygons, which then follow the bend of the street.
DEPTHS: Final = (NEAREST, 2.5, 4.0, 6.0, 9.0, 13.0, 19.0, 28.0, 42.0, 65.0, FARTHEST)
# Height of a floor in meters.
STORY: Final = 3.1


def draw_strip(
    view: StreetView, left: float, right: float, material: int, near: float = NEAREST, far: float = FARTHEST
) -> None:
    """Fill a band along the street, whose corners follow the bend of the street."""
    depths = [near, *(depth for depth in DEPTHS if near < depth < far), far]
    view.polygon([(left, 0.0, z) for z in depths] + [(right, 0.0, z) for z in reversed(depths)], material)


def draw_sky(view: StreetView) -> None:
    """Fill the canvas with sky and draw two rows of distant trees or roofs at the horizon."""
    canvas, rng, row = view.canvas, view.rng, view.camera.row
    canvas.box(0, 0, canvas.width, canvas.height, canvas.add(Material(Label.SKY, view.weather.bottom)))
    for distance, height in ((220.0, 22.0), (150.0, 12.0)):
        trees = rng.random() < 0.6
        label, color = (Label.VEGETATION, view.town.leaves[-1]) if trees else (Label.BUILDING, view.town.facades[2])
        material = view.paint(label, color, 0.6 * distance, face=0.75, texture={"leaves" if trees else "columns": 0.1})
        x, step = 0.0, canvas.width / 40
        while x < canvas.width:
            wide = step * float(rng.uniform(0.8, 2.5))
            high = view.camera.scale(distance) * height * float(rng.uniform(0.5, 1.2))
            if trees:
                canvas.ellipse(x + wide / 2, row, 0.9 * wide, high, material)
            else:
                canvas.box(x, row - high, x + wide, row + 2, material)
            x += wide


def draw_ground(view: StreetView) -> None:
    """Draw grass, sidewalks with curbs, and the road with its markings."""
    canvas, rng, town, camera = view.canvas, view.rng, view.town, view.camera
    grass = view.paint_ground(Label.VEGETATION, town.grass, leaves=0.14, blotches=0.1, grain=0.05)
    canvas.box(0, camera.row + 0.6 * camera.scale(FARTHEST) * camera.eye, canvas.width, canvas.height, grass)
    edge, outer = town.road_half, town.road_half + town.sidewalk
    paving = view.paint_ground(Label.SIDEWALK, town.paving, blotches=0.07, grain=0.06, rows=0.03)
    joint = view.paint_ground(Label.SIDEWALK, tint(town.paving, 0.84), grain=0.05)
    curb = view.paint_ground(Label.SIDEWALK, blend(town.paving, (225, 224, 220), 0.55), grain=0.05)
    asphalt = view.paint_ground(Label.ROAD, town.asphalt, blotches=0.04, rows=0.04, grain=0.07, clouds=0.07)
    draw_strip(view, -edge, edge, asphalt)
    for side in (-1, 1):
        draw_strip(view, side * edge, side * outer, paving)
        for number in range(13):
            near = 3.2 + 1.6 * number
            draw_strip(view, side * edge, side * outer, joint, near, near + 0.03 + 0.006 * near)
        draw_strip(view, side * edge - 0.03, side * (edge + 0.22), curb)
    white = blend((232, 230, 222), town.asphalt, float(rng.uniform(0.05, 0.4)))
    marking, start = view.paint_ground(Label.ROAD, white, blotches=0.1), float(rng.uniform(1, 5))
    for step in range(9):
        draw_strip(view, -0.08, 0.08, marking, start + 6 * step, start + 6 * step + 3)
    for side in (-1, 1):
        draw_strip(view, side * (edge - 0.35), side * (edge - 0.48), marking)
    if rng.random() < 0.4:  # a crosswalk
        z = float(rng.uniform(7, 18))
        for number in range(int((2 * edge - 1.1) / 1.1)):
            x = 0.5 - edge + 1.1 * number
            draw_strip(view, x, x + 0.55, marking, z, z + 3)


def draw_hood(view: StreetView) -> None:
    """Draw the hood of the camera's own car along the lower edge; its pixels are ignored."""
    high, wide = view.canvas.height, view.canvas.width
    top = high * float(view.rng.uniform(0.925, 0.965))
    color = blend((38, 42, 50), view.weather.top, 0.18)
    hood = view.canvas.add(Material(IGNORE_INDEX, color, {"rows": 0.1}, ramp=(-1.2, 0.0, 1.15)))
    right = [(0.5, 0.0), (0.82, 0.012), (1.0, 0.05), (1.0, 1.0)]
    outline = [*right, *[(1 - x, y) for x, y in reversed(right)]]
    view.canvas.polygon([(x * wide, top + y * high) for x, y in outline], hood)


class House(NamedTuple):
    """A house along the street."""

    side: int  # -1 left, 1 right
    front: float  # distance of its front from the road's center line, meters
    near: float  # where it begins ahead of the camera
    far: float
    stories: int
    color: Color


def draw_house(view: StreetView, house: House) -> None:
    """Draw the walls, a pitched or flat roof, windows, a shop or a door, and the shadow of a house."""
    rng, town, weather = view.rng, view.town, view.weather
    side, front, near, far, stories, color = house
    x, back, middle, high = side * front, side * (front + 9), (near + far) / 2, STORY * stories + 0.5
    if weather.sun * side > 0:
        view.shadow([(x, near), (x, far)], min(0.7 * high, 8.0))
    texture, darker_below = {"blotches": 0.06, "grain": 0.05, "columns": 0.05, "clouds": 0.06}, (-0.12, 0.0, 0.05)
    gable = view.paint(Label.BUILDING, color, near, face=0.74, texture=texture, ramp=darker_below)
    wall = view.paint(Label.BUILDING, color, middle, face=view.facing(side), texture=texture, ramp=darker_below)
    view.rectangle((x, back), (0, high), near, gable)
    if rng.random() < 0.5:
        ridge, peak, eaves = side * (front + 4.5), high + 3.2, x - 0.35 * side
        roof = view.paint(Label.BUILDING, vary(rng, town.roof), near, face=0.9, texture={"rows": 0.1, "grain": 0.06})
        view.polygon([(x, high, near), (ridge, peak, near), (back, high, near)], gable)
        corners = [(eaves, high - 0.1, near), (eaves, high - 0.1, far), (ridge, peak, far), (ridge, peak, near)]
        view.polygon(corners, roof)
    view.rectangle(x, (0, high), (near, far), wall)
    glass = blend((46, 56, 70), weather.top, float(rng.uniform(0.12, 0.4)))
    dark = view.paint(Label.BUILDING, glass, middle, face=0.9, texture={"blotches": 0.25})
    lit = view.paint(Label.BUILDING, vary(rng, (255, 214, 136)), middle, glow=True, texture={"blotches": 0.1})
    blind = view.paint(Label.BUILDING, blend(glass, (214, 206, 190), 0.45), middle, face=view.facing(side))
    shop = front < town.road_half + town.sidewalk + 1 and rng.random() < 0.4
    _draw_windows(view, house, (dark, lit, blind), first=int(shop))
    if shop:
        sign = vary(rng, choose(rng, ((168, 58, 52), (52, 98, 88), (46, 72, 118), (214, 168, 72))))
        board = view.paint(Label.BUILDING, sign, middle, face=view.facing(side))
        view.rectangle(x, (0.5, 2.5), (near + 0.5, far - 0.5), lit if weather.lit > 0.05 else dark)
        view.rectangle(x, (2.5, 3.1), (near + 0.5, far - 0.5), board)


def _draw_windows(view: StreetView, house: House, panes: tuple[int, int, int], first: int) -> None:
    """Draw rows of windows, from floor ``first`` up, and a door if that is the ground floor."""
    rng, x, middle = view.rng, house.side * house.front, (house.near + house.far) / 2
    dark, lit, blind = panes
    frame = view.paint(Label.BUILDING, (226, 222, 214), middle, face=view.facing(house.side))
    columns = max(2, round((house.far - house.near) / float(rng.uniform(2.3, 3.2))))
    columns = columns if middle < 32 else min(columns, 3)
    pitch, share = (house.far - house.near) / columns, float(rng.uniform(0.42, 0.6))
    sill, top = float(rng.uniform(0.9, 1.1)), float(rng.uniform(2.3, 2.65))
    for floor in range(first, house.stories):
        low, high = STORY * floor + sill, STORY * floor + top
        for column, chance in enumerate(rng.random(columns).tolist()):
            begin = house.near + pitch * (column + 0.5 - share / 2)
            end = begin + pitch * share
            if not view.in_view(x, end):
                continue
            if middle < 24:  # frames of more distant windows are smaller than a pixel
                view.rectangle(x, (low - 0.12, high + 0.12), (begin - 0.12, end + 0.12), frame)
            pane = lit if chance < view.weather.lit else blind if chance > 0.82 else dark
            view.rectangle(x, (low, high), (begin, end), pane)
    if first == 0:
        color = vary(rng, (104, 62, 48), hue=60, strength=0.3)
        door, begin = view.paint(Label.BUILDING, color, middle, face=0.9), house.near + 0.95 * pitch
        view.rectangle(x, (0, 2.2), (begin, begin + 1.0), door)
