"""PASCAL VOC 2012: objects of 20 classes and background."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.datasets.layout import find_root, image_files, pair, read_list
from segmi.datasets.palette import VOC_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, lookup_of
from segmi.types import IGNORE_INDEX

CLASSES: Final = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class VOC2012(DatasetReader):
    """PASCAL VOC 2012 as downloaded: ``VOCtrainval_11-May-2012.tar``, unpacked.

    The splits are ``ImageSets/Segmentation/{train,val}.txt``: ``JPEGImages/*.jpg`` with the palette masks
    ``SegmentationClass/*.png``, whose index 255 (the outlines of the objects) is ignored. Each image is a group.

    Args:
        root: ``VOCdevkit/VOC2012``, ``VOCdevkit``, or the folder that holds it; None: ``$SEGMI_DATA``.

    Raises:
        DataError: the layout is not found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        usual = ("VOC2012", "VOCdevkit/VOC2012", "voc2012")
        needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
        self.root: Path = find_root("PASCAL VOC 2012", root, usual=usual, needed=needed)
        lookup = lookup_of({index: index for index in range(len(CLASSES))} | {255: IGNORE_INDEX})
        self.info = DatasetInfo("voc2012", "PASCAL VOC 2012", CLASSES, VOC_PALETTE, ignored=255, lookup=lookup)
        self.splits = tuple(split for split in ("train", "val") if self._list(split).is_file())

    def listing(self, split: str) -> Listing:
        """Return the pairs in the order of the split's list."""
        lines, problems = read_list(self._list(split))
        images = image_files(self.root / "JPEGImages", ending=".jpg")
        masks = image_files(self.root / "SegmentationClass", ending=".png")
        samples, unpaired = pair(images, masks, group=str, stems=[line.text for line in lines])
        return Listing(samples, problems + unpaired)

    def _list(self, split: str) -> Path:
        return self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
