"""The classes of street scenes, and what the dataset says about itself."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.datasets.scenes.colors import palette_of
from segmi.types import IGNORE_INDEX


class Label(IntEnum):
    """Native ids, equal to the train ids."""

    ROAD = 0
    PAVEMENT = 1
    BUILDING = 2
    FENCE = 3
    POLE = 4
    SIGN = 5
    VEGETATION = 6
    SKY = 7
    PERSON = 8
    CAR = 9
    BICYCLE = 10


PALETTE: Final = palette_of(
    (
        (96, 84, 122),  # road: slate violet
        (214, 170, 196),  # pavement: old rose
        (120, 128, 138),  # building: gray
        (191, 148, 108),  # fence: wood
        (232, 226, 210),  # pole: ivory
        (247, 201, 72),  # sign: amber
        (98, 158, 92),  # vegetation: leaf green
        (122, 184, 226),  # sky: light blue
        (226, 74, 84),  # person: coral
        (38, 82, 168),  # car: deep blue
        (142, 42, 96),  # bicycle: plum
    ),
    ignored=(24, 24, 28),
)

INFO: Final = DatasetInfo(
    name="street-scenes",
    title="Street scenes",
    classes=tuple(label.name.lower() for label in Label),
    palette=PALETTE,
    ignored=IGNORE_INDEX,
    lookup=lookup_of({**{int(label): int(label) for label in Label}, IGNORE_INDEX: IGNORE_INDEX}),
)
