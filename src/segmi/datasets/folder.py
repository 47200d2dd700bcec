"""A folder of images and masks in one of four common layouts."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from segmi.datasets.class_list import class_list_of
from segmi.datasets.decode import decode_mask, indices_of, printable
from segmi.datasets.layout import find_root, image_files, read_list, split_listing
from segmi.datasets.palette import values_of_colors
from segmi.datasets.reader import DatasetReader, Listing, Pixels
from segmi.errors import DataError, UsageError

_SPLIT_NAMES: Final = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    "test": "test",
}


class _SplitFiles(NamedTuple):
    """The folders of a split, and its list of stems if there is one."""

    images: Path
    masks: Path
    names: Path | None = None


class Folder(DatasetReader):
    """A folder of images and masks with equal names (``0001.jpg``, ``0001.png``), in one of these layouts.

    ======================================================  ==================================================
    ``images/``, ``masks/``                                 no splits: ``val`` is drawn from all images
    ``images/{train,val,test}/``, ``masks/{train,…}/``      splits by folder
    ``{train,val,test}/images/``, ``…/masks/``              splits by folder
    ``JPEGImages/``, ``SegmentationClass/``                 splits by ``ImageSets/Segmentation/*.txt`` if they exist
    ======================================================  ==================================================

    Folders below those are read too. Masks hold values (grayscale or palette) or the colors of the classes (RGB).

    Args:
        root: the folder, or with ``subfolder`` its parent; None: ``$SEGMI_DATA``.
        classes: the names in the order of their values; from ``classes.txt`` by default, see `read_classes`.
        colors: [r, g, b] of each class, for color masks; from ``classes.txt`` by default.
        ignored: the value of ignored pixels, which the classes skip: with ``ignored=0`` they are 1, 2, …; from
            ``classes.txt`` by default, and none without an entry there.
        ignored_color: its color in color masks; from ``classes.txt`` by default.
        masks: ``index`` reads values (the indices of a palette mask), ``color`` reads colors (the palette colors of a
            palette mask), ``auto`` reads colors from RGB masks, and from palette masks if the classes have colors,
            and values otherwise.
        mask_suffix: suffix of the mask stem after the stem of its image, for example ``_mask``.
        group: a regular expression for the part of the stem that dependent images share (patient, clip): its first
            group, or the whole match. None: each image is a group.
        val: the share of the images drawn for ``val``, in whole groups, if the layout has no ``val``; 0 for no draw.
        seed: seed of that draw.
        subfolder: path of the folder below ``root``.
        title: title in tables; the folder's name by default.

    Raises:
        UsageError: an option has an invalid value.
        DataError: the folder has another layout, or class names are missing.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
        ignored: int | None = None,
        ignored_color: Sequence[int] | None = None,
        masks: Literal["auto", "index", "color"] = "auto",
        mask_suffix: str = "",
        group: str | None = None,
        val: float = 0.2,
        seed: int = 0,
        subfolder: str | None = None,
        title: str | None = None,
    ) -> None:
        _check_options(masks, val, subfolder)
        needed = () if subfolder is None else (subfolder,)
        parent = find_root("a folder of images and masks", root, usual=(), needed=needed)
        self.root: Path = parent if subfolder is None else parent / subfolder
        self._classes: Final = class_list_of(self.root, classes, colors, ignored, ignored_color)
        if masks == "color" and self._classes.colors is None:
            raise UsageError(
                "masks=color: expected a color for every class, got none",
                "write `name r g b` lines in classes.txt, or pass the option colors: [[r, g, b], …]",
            )
        self.info = self._classes.info(title or printable(self.root.resolve().name))
        self._masks: Final = masks
        self._mask_suffix: Final = mask_suffix
        self._group: Final = _compile(group)
        self._val, self._seed = val, seed
        self._layout: Final = _find_layout(self.root)
        self._val_is_drawn: Final = val > 0 and "val" not in self._layout and "train" in self._layout
        names = self._layout.keys() | ({"val"} if self._val_is_drawn else set())
        self.splits = tuple(name for name in ("train", "val", "test") if name in names)

    def listing(self, split: str) -> Listing:
        """Return the pairs of the split, by name or in the order of its list."""
        drawn = self._val_is_drawn and split != "test"
        files = self._layout["train" if drawn else split]
        images = image_files(files.images)
        masks = image_files(files.masks, stem_ending=self._mask_suffix)
        if files.names is not None:
            lines, problems = read_list(files.names)
            stems = [line.text for line in lines]
        else:
            stems = sorted(images.by_stem.keys() | masks.by_stem.keys())
            problems = [*images.problems, *masks.problems]
        shares = {"val": self._val} if drawn else {}
        ending = f"{self._mask_suffix}.png"
        samples, unpaired = split_listing(
            split, images, masks, stems, group=self._group, shares=shares, seed=self._seed, mask_ending=ending
        )
        return Listing(samples, [*problems, *unpaired])

    def mask_values(self, path: Path) -> Pixels:
        """Return the values of a mask of values or colors, H×W uint8."""
        mask = decode_mask(path)
        if not self._is_colored(mask):
            return indices_of(mask, path)
        colors, values = self._classes.color_values
        return values_of_colors(np.array(mask.convert("RGB")), colors, values, path)

    def _is_colored(self, mask: Image.Image) -> bool:
        colored = self._classes.colors is not None and mask.mode != "L"
        return self._masks == "color" or (self._masks == "auto" and colored)

    def class_values(self) -> list[int] | list[tuple[int, int, int]]:
        """Return the values of the classes, or their colors if the first mask of the first split has colors."""
        first = self.split(self.splits[0])[0].mask
        if self._classes.colors is not None and isinstance(first, Path) and self._is_colored(decode_mask(first)):
            return list(self._classes.colors)
        return super().class_values()

    def decoding_key(self) -> tuple[Hashable, ...]:
        """Return the kind of the masks and the classes."""
        return (*super().decoding_key(), self._masks, self._classes)


def _check_options(masks: str, val: float, subfolder: str | None) -> None:
    if masks not in ("auto", "index", "color"):
        raise UsageError(f"masks: expected auto, index or color, got {masks!r}", "use one of the three")
    if not 0 <= val < 1:
        raise UsageError(f"val: expected a share of the images, 0 ≤ val < 1, got {val}", "set val=0.2 for a fifth")
    if subfolder is not None and (Path(subfolder).is_absolute() or ".." in Path(subfolder).parts):
        raise UsageError(f"subfolder: expected a path below the root, got {subfolder!r}", "change the root instead")


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        message = f"group: expected a regular expression, got {pattern!r} ({error})"
        raise UsageError(message, "write one such as `^([^_]+)_`") from error


def _find_layout(root: Path) -> dict[str, _SplitFiles]:
    """Return the files of each split; a layout without splits is all ``train``."""
    if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        whole = _SplitFiles(root / "JPEGImages", root / "SegmentationClass")
        lists = {split: root / f"ImageSets/Segmentation/{split}.txt" for split in ("train", "val", "test")}
        by_split = {split: whole._replace(names=path) for split, path in lists.items() if path.is_file()}
        return by_split or {"train": whole}
    kinds_first = (root / "images").is_dir() and (root / "masks").is_dir()  # images/train, or train/images
    by_split = {}
    for name, split in _SPLIT_NAMES.items():
        images, masks = ((root / kind / name if kinds_first else root / name / kind) for kind in ("images", "masks"))
        if images.is_dir():
            by_split[split] = _SplitFiles(images, masks)
    if kinds_first:
        return by_split or {"train": _SplitFiles(root / "images", root / "masks")}
    if not by_split:
        entries = ", ".join(printable(entry.name) for entry in sorted(root.iterdir())[:8])
        raise DataError(
            f"{printable(root)}: expected images/ and masks/, train/images/ and train/masks/, or JPEGImages/ and "
            f"SegmentationClass/, got {entries or 'an empty folder'}",
            "arrange the files in one of these layouts, or set --root or SEGMI_DATA to the folder that has it",
        )
    return by_split
