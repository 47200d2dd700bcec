"""The classes of object scenes, and what the dataset says about itself."""

from __future__ import annotations

from typing import Final

from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.datasets.scenes.colors import palette_of
from segmi.types import IGNORE_INDEX

PALETTE: Final = palette_of(
    (
        (34, 36, 44),  # background: ink
        (156, 176, 196),  # aeroplane: silver blue
        (194, 208, 72),  # ball: lime
        (142, 98, 186),  # balloon: violet
        (250, 220, 92),  # banana: yellow
        (72, 182, 190),  # bird: turquoise
        (44, 88, 140),  # boat: navy
        (42, 122, 84),  # bottle: bottle green
        (198, 52, 60),  # bus: red
        (196, 146, 226),  # butterfly: lilac
        (128, 178, 80),  # cactus: moss
        (60, 130, 214),  # car: cobalt
        (84, 72, 108),  # cat: charcoal
        (150, 98, 60),  # chair: walnut
        (236, 226, 206),  # clock: cream
        (120, 206, 180),  # cup: mint
        (240, 154, 56),  # fish: orange
        (240, 140, 176),  # flower: pink
        (172, 78, 60),  # house: brick
        (224, 94, 112),  # mushroom: raspberry
        (182, 54, 138),  # umbrella: magenta
    ),
    ignored=(112, 116, 128),
)

CLASSES: Final = (
    "background", "aeroplane", "ball", "balloon", "banana", "bird", "boat", "bottle", "bus", "butterfly", "cactus",
    "car", "cat", "chair", "clock", "cup", "fish", "flower", "house", "mushroom", "umbrella",
)  # fmt: skip

INFO: Final = DatasetInfo(
    name="object-scenes",
    title="Object scenes",
    classes=CLASSES,
    palette=PALETTE,
    ignored=IGNORE_INDEX,
    lookup=lookup_of({**{label: label for label in range(len(CLASSES))}, IGNORE_INDEX: IGNORE_INDEX}),
)
