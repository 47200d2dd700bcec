"""ADE20K: scenes of all kinds, the 150 classes of the scene-parsing benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.datasets.decode import printable
from segmi.datasets.layout import existing_splits, find_root, image_files, pair
from segmi.datasets.palette import ADE20K_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, lookup_of
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

_NAMES: Final = """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
    door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
    field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
    signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
    stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee
    table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
    boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle,
    buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,
    barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave,
    pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
    ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""
CLASSES: Final = tuple(" ".join(name.split()) for name in _NAMES.split(","))
"""The first of the names that ``objectInfo150.txt`` gives each class."""

_FOLDERS: Final = {"train": "training", "val": "validation"}


class ADE20K(DatasetReader):
    """The scene-parsing benchmark of ADE20K as downloaded: ``ADEChallengeData2016.zip``, unpacked.

    The splits are ``images/{training,validation}/*.jpg`` with ``annotations/{training,validation}/*.png``, where 0 is
    ignored and 1–150 are the classes. Class names come from ``objectInfo150.txt`` if the file exists (the first name of
    each class). Each image is a group.

    Args:
        root: ``ADEChallengeData2016`` or the folder that holds it; None: ``$SEGMI_DATA``.

    Raises:
        DataError: the layout is not found, or ``objectInfo150.txt`` does not list 150 classes.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        usual = ("ADEChallengeData2016", "ade20k", "ADE20K")
        self.root: Path = find_root("ADE20K", root, usual=usual, needed=("images", "annotations"))
        classes = _class_names(self.root / "objectInfo150.txt")
        lookup = lookup_of({0: IGNORE_INDEX} | {index + 1: index for index in range(len(classes))})
        self.info = DatasetInfo("ade20k", "ADE20K", classes, ADE20K_PALETTE, ignored=0, lookup=lookup)
        self.splits = existing_splits(self._folders, tuple(_FOLDERS))

    def listing(self, split: str) -> Listing:
        """Return the pairs, sorted by name."""
        images, masks = map(image_files, self._folders(split))
        return pair(images, masks, group=printable)

    def _folders(self, split: str) -> tuple[Path, Path]:
        return self.root / "images" / _FOLDERS[split], self.root / "annotations" / _FOLDERS[split]


def _class_names(path: Path) -> tuple[str, ...]:
    """Return the first name of each class, from a table with the id in the first column and the names in the last."""
    if not path.is_file():
        return CLASSES
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    names = {int(row[0]): row[-1].split(",")[0].strip() for row in rows if row[0].strip().isdigit() and len(row) > 1}
    if sorted(names) != list(range(1, 151)):
        raise DataError(
            f"{printable(path)}: expected the ids 1 to 150 with their names, tab-separated, got {len(names)} such rows",
            "restore the file from the archive, or remove it: the published names are built in",
        )
    return tuple(names[index] for index in range(1, 151))
