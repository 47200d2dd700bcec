"""Cityscapes: street scenes of 50 cities, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.datasets.layout import existing_splits, find_root, image_files, pair
from segmi.datasets.palette import CITYSCAPES_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, lookup_of
from segmi.types import IGNORE_INDEX

CLASSES: Final = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
LABEL_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each class."""

IGNORED_IDS: Final = tuple(value for value in (*range(34), 255) if value not in LABEL_IDS)
"""The other label ids; -1 (license plates) is 255 in an 8-bit file."""


class Cityscapes(DatasetReader):
    """Cityscapes as downloaded: ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip`` in one folder.

    The files are ``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/<split>/<city>/*_gtFine_labelIds.png``;
    others are not read. Groups are the cities. The split ``test`` exists if its label files do; in the published ones
    every pixel is ignored.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``, or its parent; None: ``$SEGMI_DATA``.

    Raises:
        DataError: the layout is not found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        usual = ("cityscapes", "Cityscapes", "CityScapes")
        self.root: Path = find_root("Cityscapes", root, usual=usual, needed=("leftImg8bit", "gtFine"))
        train_ids = {label_id: index for index, label_id in enumerate(LABEL_IDS)}
        lookup = lookup_of(dict.fromkeys(IGNORED_IDS, IGNORE_INDEX) | train_ids)
        self.info = DatasetInfo("cityscapes", "Cityscapes", CLASSES, CITYSCAPES_PALETTE, ignored=0, lookup=lookup)
        self.splits = existing_splits(self._folders)

    def listing(self, split: str) -> Listing:
        """Return the pairs of all cities, sorted by city and name."""
        images, masks = self._folders(split)
        ending = "_gtFine_labelIds.png"
        files = image_files(images, ending="_leftImg8bit.png"), image_files(masks, ending=ending)
        samples, problems = pair(*files, group=lambda stem: stem.split("/")[0], mask_ending=ending)
        return Listing([sample._replace(name=sample.name.rpartition("/")[2]) for sample in samples], problems)

    def _folders(self, split: str) -> tuple[Path, Path]:
        return self.root / "leftImg8bit" / split, self.root / "gtFine" / split
