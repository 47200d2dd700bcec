"""What the names of folders tell: whether they hold images or masks, and of which split."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Role = Literal["image", "mask", "other"]

_IMAGES: Final = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "photo",
        "photos",
        "picture",
        "pictures",
        "rgb",
        "input",
        "inputs",
        "frame",
        "frames",
        "original",
        "originals",
        "jpegimages",
        "leftimg8bit",
    ]
)
_MASKS: Final = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "labelmap",
        "labelmaps",
        "annotation",
        "annotations",
        "annot",
        "annots",
        "ann",
        "anns",
        "gt",
        "groundtruth",
        "truth",
        "truths",
        "segmentation",
        "segmentations",
        "seg",
        "segs",
        "segmentationclass",
        "segmentationclassaug",
        "segmentationclasspng",
        "target",
        "targets",
        "gtfine",
        "manual",
    ]
)
_OTHERS: Final = frozenset(
    [
        "segmentationobject",
        "segmentationclassvisualization",
        "instance",
        "instances",
        "depth",
        "disparity",
        "preview",
        "previews",
        "overlay",
        "overlays",
        "vis",
        "visualization",
        "prediction",
        "predictions",
        "thumbnails",
    ]
)
"""Folders that lie beside images and masks and are neither."""

_SPLITS: Final = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}
_GLUED: Final = re.compile(r"(train|training|valid|validation|val|test)([a-z]+)")
_YEAR: Final = re.compile(r"(train|val|test)(20\d\d)")


class Told(NamedTuple):
    """What the name of one folder tells."""

    role: Role | None
    split: str | None
    rest: tuple[str, ...]


def told_by(name: str) -> Told:
    """What the name of a folder tells of what is in it.

    Example:
        >>> told_by("train_masks"), told_by("valannot")
        (Told(role='mask', split='train', rest=()), Told(role='mask', split='val', rest=()))
        >>> told_by("aachen"), told_by("train2017")
        (Told(role=None, split=None, rest=('aachen',)), Told(role=None, split='train', rest=('2017',)))
        >>> told_by("RGB_mask_images").role
        'mask'
    """
    role: Role | None = None
    split: str | None = None
    rest = []
    for token in _tokens(name):
        if token in _SPLITS and split is None:
            split = _SPLITS[token]
        elif token in _OTHERS:
            role = "other"
        elif token in _MASKS:
            role = role if role == "other" else "mask"
        elif token in _IMAGES:
            role = role or "image"  # images of masks are masks
        else:
            rest.append(token)
    return Told(role, split, tuple(rest))


def _tokens(name: str) -> list[str]:
    tokens = []
    for token in re.split(r"[_\-. ]+", name.lower()):
        glued = _YEAR.fullmatch(token) or _GLUED.fullmatch(token)
        known = glued and (glued[2].isdigit() or glued[2] in _MASKS | _IMAGES)
        tokens += [glued[1], glued[2]] if glued and known else [token]
    return ["groundtruth" if token == "ground" else token for token in tokens if token]
