"""Cityscapes: street scenes of 50 cities, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.datasets.layout import find_root, image_files, pair
from segmi.datasets.palette import CITYSCAPES_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, lookup_of
from segmi.types import IGNORE_INDEX

CLASSES: Final = (
    *(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
    ),
    *("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
LABEL_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each class; the other label ids, 0 to 33 and -1 (255 in a byte), are ignored."""

_IGNORED_IDS: Final = (*range(34), 255)


class Cityscapes(DatasetReader):
    """Cityscapes as downloaded: ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip`` in one folder.

    Read are ``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/<split>/<city>/*_gtFine_labelIds.png``; other
    files beside them are left alone. Groups are the cities. The split ``test`` is offered where its label files are,
    but those published are all ignored.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``, or its parent; None: ``SEGMI_DATA``.

    Raises:
        DataError: the layout is not found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        usual = ("cityscapes", "Cityscapes", "CityScapes")
        self.root: Final = find_root("Cityscapes", root, usual=usual, needed=("leftImg8bit", "gtFine"))
        train_ids = dict.fromkeys(_IGNORED_IDS, IGNORE_INDEX) | {
            native: train for train, native in enumerate(LABEL_IDS)
        }
        self.info = DatasetInfo(
            "cityscapes", "Cityscapes", CLASSES, CITYSCAPES_PALETTE, ignored=0, lookup=lookup_of(train_ids)
        )
        self.splits = tuple(
            split
            for split in ("train", "val", "test")
            if (self.root / "leftImg8bit" / split).is_dir()
            and (split != "test" or (self.root / "gtFine" / split).is_dir())
        )

    def listing(self, split: str) -> Listing:
        """The images of all cities, sorted by city and name."""
        images = image_files(self.root / "leftImg8bit" / split, ending="_leftImg8bit.png")
        masks = image_files(self.root / "gtFine" / split, ending="_gtFine_labelIds.png")
        samples, problems = pair(
            images, masks, group=lambda stem: stem.split("/")[0], mask_ending="_gtFine_labelIds.png"
        )
        return Listing([sample._replace(name=sample.name.rpartition("/")[2]) for sample in samples], problems)
