"""Classes, values and colors of published datasets, used to recognize copies in other layouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from segmi.datasets import ade20k, camvid, cityscapes, voc2012
from segmi.datasets.palette import (
    ADE20K_PALETTE,
    CAMVID_PALETTE,
    CITYSCAPES_PALETTE,
    VOC_PALETTE,
    Palette,
    from_hex,
    full_palette,
)
from segmi.types import IGNORE_INDEX


class PublishedLabels(NamedTuple):
    """A published labeling."""

    title: str
    names: Sequence[str]
    values: Sequence[int]
    ignored: Sequence[int]
    palette: Palette
    layout: str  # beginning of the layout's description
    suffix: str  # suffix of mask names


_CITYSCAPES_IDS: Final = (cityscapes.CLASSES, cityscapes.LABEL_IDS, cityscapes.IGNORED_IDS, CITYSCAPES_PALETTE)
_TRAIN_IDS: Final = (cityscapes.CLASSES, range(19), [IGNORE_INDEX], CITYSCAPES_PALETTE)
_LOVEDA: Final = ("background", "building", "road", "water", "barren", "forest", "agricultural")
_LOVEDA_COLORS: Final = from_hex("ffffff ff0000 ffff00 0000ff 9f81b7 00ff00 ffc380")
BY_VALUE: Final = (
    PublishedLabels("Cityscapes", *_CITYSCAPES_IDS, "", "_labelIds"),
    PublishedLabels("Cityscapes (train ids)", *_TRAIN_IDS, "", "_labelTrainIds"),
    PublishedLabels("Cityscapes", *_CITYSCAPES_IDS, "KITTI", ""),
    PublishedLabels("Cityscapes (train ids)", *_TRAIN_IDS, "BDD100K", ""),
    PublishedLabels("PASCAL VOC", voc2012.CLASSES, range(21), [IGNORE_INDEX], VOC_PALETTE, "PASCAL VOC", ""),
    PublishedLabels("CamVid", camvid.CLASSES, range(11), [11], CAMVID_PALETTE, "SegNet", ""),
    PublishedLabels("LoveDA", _LOVEDA, range(1, 8), [0], full_palette(_LOVEDA_COLORS, (0, 0, 0)), "LoveDA", ""),
    PublishedLabels("ADE20K", ade20k.CLASSES, range(1, 151), [0], ADE20K_PALETTE, "ADE20K", ""),
)

_UAVID: Final = ("building", "road", "tree", "low vegetation", "static car", "moving car", "human")
_UAVID_COLORS: Final = from_hex("800000 804080 008000 808000 c000c0 400080 404000")
BY_COLOR: Final = (
    ("UAVid", _UAVID, full_palette(_UAVID_COLORS, (0, 0, 0))),
    ("PASCAL VOC", voc2012.CLASSES, VOC_PALETTE),
    ("Cityscapes", cityscapes.CLASSES, CITYSCAPES_PALETTE),
    ("CamVid", camvid.CLASSES, CAMVID_PALETTE),
)
