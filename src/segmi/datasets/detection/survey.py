"""The image files below a folder, grouped by the role (images or masks) and split in the names of their folders."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from segmi.datasets.custom.dataset import OWN_PREFIX
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.layout import walk
from segmi.datasets.outlines import unread_formats
from segmi.errors import DataError

Role = Literal["image", "mask", "other"]

_IMAGES: Final = frozenset(
    (
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "camera"),
        *("jpegimages", "leftimg8bit", "stillsraw"),
    )
)
_KINDS_OF_IMAGES: Final = frozenset(  # words for images that are also used for masks: labels/original, gt_rgb
    ("rgb", "input", "inputs", "frame", "frames", "original", "originals", "color", "colour")
)
_MASKS: Final = frozenset(
    (
        *("mask", "masks", "label", "labels", "labelmap", "labelmaps", "annotation", "annotations"),
        *("annot", "annots", "anno", "ann", "anns", "gt", "groundtruth", "truth", "truths", "segmentation"),
        *("segmentations", "seg", "segs", "segmentationclass", "segmentationclassaug", "segmentationclassraw"),
        *(
            "segmentationclasspng",
            "pixellabeldata",
            "target",
            "targets",
            "gtfine",
            "gtcoarse",
            "manual",
            "semantic",
            "semseg",
        ),
        *("labelled", "labeled", "labelids", "labeledapproved", "stuffthingmaps", "trimaps"),
    )
)
_OTHERS: Final = frozenset(  # folders beside images and masks that are neither
    (
        *(
            "segmentationobject",
            "segmentationclassvisualization",
            "instance",
            "instances",
            "depth",
            "dsm",
            "ndsm",
            "dem",
            "panoptic",
        ),
        *("disparity", "preview", "previews", "overlay", "overlays", "vis", "visualization", "polygons"),
        *("prediction", "predictions", "thumbnails", "instanceids", "objects", "bboxes", "lidar"),
    )
)
_SPLITS: Final = {
    **{"train": "train", "training": "train", "trn": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}
_JOINED: Final = re.compile(r"(train|training|valid|validation|val|test)([a-z]+)")  # trainannot
_ROLE_FIRST: Final = re.compile(r"([a-z]+?)(train|val|test|tr|ts)")  # imagestrain; imagesTr and labelsTs of nnU-Net
_WITH_YEAR: Final = re.compile(r"(train|val|test)(20\d\d)")  # train2017


_WORDS: Final[dict[Role, frozenset[str]]] = {"other": _OTHERS, "mask": _MASKS, "image": _IMAGES}


class NameParts(NamedTuple):
    """The role and split in the name of one folder, and the other words in it."""

    role: Role | None
    split: str | None
    rest: tuple[str, ...]
    weak: bool = False  # whether the name only says which kind of images, or of masks


class ImageFolder(NamedTuple):
    """The top folder of images or masks; they can be in folders below it."""

    path: str  # relative to the root, ``.`` for the root itself
    role: Role | None  # what its name says it holds
    split: str | None  # the split in its path
    key: tuple[str, ...]  # the other words in its path; an image folder and its mask folder agree in them


@dataclass
class Survey:
    """The files below a folder, without hidden ones."""

    root: Path  # the folder
    # the stems of the images of each image folder, relative to it
    images: dict[ImageFolder, list[str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)  # text files by lower-case name
    json: list[str] = field(default_factory=list)  # JSON, GeoJSON and XML files
    unread: Counter[str] = field(default_factory=Counter)  # the number of files of each other suffix, in lower case


def survey_folder(root: Path) -> Survey:
    """List the files below a folder.

    Raises:
        DataError: the folder does not exist, or holds no image.
        EnvironmentProblem: read permission is missing.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root)}: expected a folder of images and masks, got {'a file' if root.exists() else 'nothing'}",
            "give the folder that holds both",
        )
    survey = Survey(root)
    by_folder: dict[ImageFolder, list[str]] = defaultdict(list)
    for parent, names in walk(root):
        inside = PurePosixPath(parent.relative_to(root).as_posix())
        if "__MACOSX" in inside.parts:  # metadata that macOS adds to archives
            continue
        folder = image_folder_of(inside)
        for name in names:
            _add_file(survey, by_folder[folder], folder, inside, name)
    survey.images = _images_below_masks({folder: stems for folder, stems in by_folder.items() if stems})
    if not survey.images and (formats := unread_formats(survey.unread)):
        raise DataError(
            f"{printable(root)}: expected images as {', '.join(sorted(SUFFIXES))}, got {formats[0]}", formats[1]
        )
    if not survey.images:
        entries = sorted(printable(entry.name) for entry in root.iterdir() if not entry.name.startswith("."))
        given = ", ".join(entries[:8]) + (", …" if len(entries) > 8 else "") if entries else "an empty folder"
        raise DataError(
            f"{printable(root)}: expected images ({', '.join(sorted(SUFFIXES))}), got {given}",
            "give the folder that holds the images and the masks",
        )
    return survey


def _images_below_masks(images: dict[ImageFolder, list[str]]) -> dict[ImageFolder, list[str]]:
    """Return the folders; one like ``Semantic_masks/images`` holds masks, unless another folder at its level does."""
    masks = [PurePosixPath(folder.path) for folder in images if folder.role == "mask"]
    result = {}
    for folder, stems in images.items():
        above = [path for path in PurePosixPath(folder.path).parents if classify_name(path.name).role == "mask"]
        alone = above and not any(path.is_relative_to(above[0]) for path in masks)
        result[folder._replace(role="mask") if alone and folder.role == "image" else folder] = stems
    return result


def image_folder_of(inside: PurePosixPath) -> ImageFolder:
    """Return where the images of a folder begin: at the deepest part of its path with a role or split.

    Example:
        >>> image_folder_of(PurePosixPath("leftImg8bit/train/aachen"))
        ImageFolder(path='leftImg8bit/train', role='image', split='train', key=())
    """
    parts = [classify_name(part) for part in inside.parts]
    depth = max((depth for depth, part in enumerate(parts, start=1) if part.role or part.split), default=0)
    if not depth:
        return ImageFolder(str(inside), None, None, ())
    parts = parts[:depth]
    roles = [part.role for part in parts if part.role and not part.weak]
    splits = [part.split for part in parts if part.split]
    role = "other" if "other" in roles else roles[-1] if roles else "image" if any(p.weak for p in parts) else None
    key = tuple(word for part in parts for word in part.rest)
    return ImageFolder("/".join(inside.parts[:depth]), role, splits[-1] if splits else None, key)


def _add_file(survey: Survey, stems: list[str], folder: ImageFolder, inside: PurePosixPath, name: str) -> None:
    suffix = PurePosixPath(name.lower().replace(".nii.gz", ".nii")).suffix
    if str(inside) == "." and name.startswith(OWN_PREFIX):
        return
    if suffix in SUFFIXES:
        path = inside / PurePosixPath(name).stem
        stems.append(unicodedata.normalize("NFC", str(path.relative_to(folder.path))))
    elif suffix in (".txt", ".csv", ".tsv", ".yaml", ".yml", ".names"):
        survey.lists.setdefault(name.lower(), []).append(str(inside / name))
    elif suffix in (".json", ".geojson", ".xml"):
        survey.json.append(str(inside / name))
    else:
        survey.unread[suffix] += 1


def classify_name(name: str) -> NameParts:
    """Return the role and split in the name of a folder.

    Example:
        >>> classify_name("train_masks")[:2], classify_name("valannot")[:2]
        (('mask', 'train'), ('mask', 'val'))
        >>> classify_name("aachen").rest, classify_name("train2017")[1:3], classify_name("imagesTr")[:2]
        (('aachen',), ('train', ('2017',)), ('image', 'train'))
        >>> classify_name("RGB_mask_images").role
        'mask'
    """
    roles: set[Role] = set()
    split: str | None = None
    rest = []
    kind = False
    for token in takewhile(lambda token: token != "with", _tokens(name)):  # frames_with_annotations are frames
        if token in _SPLITS and split is None:
            split = _SPLITS[token]
        elif role := next((role for role, words in _WORDS.items() if token in words), None):
            roles.add(role)
        elif token in _KINDS_OF_IMAGES:
            kind = True
        else:
            rest.append(token)
    role = next((role for role in _WORDS if role in roles), None)  # "mask images" are masks
    return NameParts(role or ("image" if kind else None), split, tuple(rest), kind and role is None)


def _tokens(name: str) -> list[str]:
    tokens = []
    for token in re.split(r"[_\-. ]+", name.lower()):
        joined = _WITH_YEAR.fullmatch(token) or _JOINED.fullmatch(token)
        if joined and (joined[2].isdigit() or joined[2] in _MASKS | _IMAGES):
            tokens += [joined[1], joined[2]]
        elif (turned := _ROLE_FIRST.fullmatch(token)) and turned[1] in _MASKS | _IMAGES:
            tokens += [turned[1], {"tr": "train", "ts": "test"}.get(turned[2], turned[2])]
        elif (numbered := re.fullmatch(r"([a-z]+)(\d+)", token)) and numbered[1] in _MASKS | _IMAGES:  # manual1
            tokens += [numbered[1], numbered[2]]
        else:
            tokens.append(token)
    return ["groundtruth" if token == "ground" else token for token in tokens if token]
