"""Any folder of images and masks."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from segmi.datasets.class_list import class_list_of
from segmi.datasets.decode import decode_mask, indices_of, printable
from segmi.datasets.holdout import draw_groups
from segmi.datasets.layout import find_root, image_files, pair, read_list
from segmi.datasets.palette import ids_of_colors
from segmi.datasets.reader import DatasetReader, Listing, Pixels, Problem
from segmi.errors import DataError, UsageError

_SPLIT_NAMES: Final = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    "test": "test",
}


class _Part(NamedTuple):
    """Where the files of a split lie, and the list of their stems if there is one."""

    images: Path
    masks: Path
    names: Path | None = None


class Folder(DatasetReader):
    """Any folder of images and masks that are called alike (``0001.jpg``, ``0001.png``), in one of these layouts.

    ======================================================  ==================================================
    ``images/``, ``masks/``                                 no splits: ``val`` is drawn from all
    ``images/{train,val,test}/``, ``masks/{train,…}/``      splits by folder
    ``{train,val,test}/images/``, ``…/masks/``              splits by folder
    ``JPEGImages/``, ``SegmentationClass/``                 splits by ``ImageSets/Segmentation/*.txt`` if there
    ======================================================  ==================================================

    Folders below those are read too. Masks hold ids (grayscale, or palette) or the colors of the classes (RGB).

    Args:
        root: the folder, or with ``subfolder`` its parent; None: ``SEGMI_DATA``.
        classes: the names in the order of their ids; None: as ``classes.txt`` says (see `read_classes`).
        colors: [r, g, b] of each class, for color masks; None: as ``classes.txt`` says.
        ignored: the id of pixels that count nowhere; the classes leave it out: with ignored 0 they are 1, 2, …; None: as
            ``classes.txt`` says, and none if it says nothing.
        ignored_color: its color in color masks; None: as ``classes.txt`` says.
        masks: ``index`` reads numbers (of a palette mask the indices), ``color`` reads colors (of a palette mask
            those of the palette), ``auto`` reads the colors of RGB masks, and of palette masks where the classes
            have colors, and numbers otherwise.
        mask_suffix: what the stem of a mask has more than that of its image, for example ``_mask``.
        group: a regular expression for what images have in common (patient, clip): its first group, or the whole
            match, in the stem. None: each image for itself.
        val: the share of the images that is drawn for ``val`` where the layout has none; whole groups; 0 for no draw.
        seed: of that draw.
        subfolder: the folder's place below ``root``.
        title: as in tables; None: the folder's name.

    Raises:
        UsageError: an option cannot be meant.
        DataError: there is no such layout, or no class names.
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
        self.root: Final = _root(root, subfolder)
        self._classes: Final = class_list_of(self.root, classes, colors, ignored, ignored_color)
        if masks == "color" and self._classes.colors is None:
            raise UsageError(
                "masks=color: expected a color for every class, got none",
                "write `name r g b` lines in classes.txt, or give the option colors: [[r, g, b], …]",
            )
        self.info = self._classes.info(title or printable(self.root.resolve().name))
        self._masks: Final = masks
        self._mask_suffix: Final = mask_suffix
        self._group: Final = None if group is None else _compiled(group)
        self._val: Final = val
        self._seed: Final = seed
        self._parts: Final = _parts(self.root)
        self._drawn: Final = val > 0 and "val" not in self._parts and "train" in self._parts
        names = self._parts.keys() | ({"val"} if self._drawn else set())
        self.splits = tuple(name for name in ("train", "val", "test") if name in names)

    def listing(self, split: str) -> Listing:
        """The images of the split, by name or in the order of its list."""
        part = self._parts["train" if self._drawn and split != "test" else split]
        images = image_files(part.images)
        masks = image_files(part.masks, stem_ending=self._mask_suffix)
        problems: list[Problem] = []
        if part.names is not None:
            entries, problems = read_list(part.names)
            stems = [entry.text for entry in entries]
        else:
            stems = sorted(images.by_stem.keys() | masks.by_stem.keys())
            problems = [*images.problems, *masks.problems]
        groups = {stem: self._group_of(stem) for stem in stems}
        problems += [self._ungrouped(images.by_stem.get(stem), stem) for stem in stems if groups[stem] is None]
        group_of = {stem: group or printable(stem) for stem, group in groups.items()}
        if self._drawn and split != "test":
            chosen = draw_groups(list(group_of.values()), self._val, self._seed)
            if stems and not chosen:
                what = f"expected at least two groups to draw val from, got {len(set(group_of.values()))}"
                problems.append(Problem(printable(part.images), what, "say val=0, or add images of another group"))
            stems = [stem for stem in stems if (group_of[stem] in chosen) == (split == "val")]
        ending = f"{self._mask_suffix}.png"
        samples, unpaired = pair(images, masks, group=group_of.__getitem__, stems=stems, mask_ending=ending)
        return Listing(samples, [*problems, *unpaired])

    def native_mask(self, path: Path) -> Pixels:
        """The native ids of a mask of ids or of colors, H×W uint8."""
        mask = decode_mask(path)
        colored = self._classes.colors is not None and mask.mode != "L"
        if self._masks == "index" or (self._masks == "auto" and not colored):
            return indices_of(mask, path)
        colors, ids = self._classes.color_ids
        return ids_of_colors(np.array(mask.convert("RGB")), colors, ids, path)

    def reading(self) -> tuple[Hashable, ...]:
        """How masks are meant, and the classes."""
        return (*super().reading(), self._masks, self._classes)

    def _group_of(self, stem: str) -> str | None:
        if self._group is None:
            return printable(stem)
        match = self._group.search(stem)
        return printable(match.group(1 if self._group.groups else 0) or "") if match else None

    def _ungrouped(self, path: Path | None, stem: str) -> Problem:
        pattern = self._group.pattern if self._group else ""
        what = f"expected a name in which the group {pattern!r} is found, got {printable(stem)!r}"
        return Problem(printable(path or stem), what, "correct the regular expression `group`, or the name")


def _check_options(masks: str, val: float, subfolder: str | None) -> None:
    if masks not in ("auto", "index", "color"):
        raise UsageError(f"masks: expected auto, index or color, got {masks!r}", "use one of the three")
    if not 0 <= val < 1:
        raise UsageError(f"val: expected a share of the images, 0 ≤ val < 1, got {val}", "say val=0.2 for a fifth")
    if subfolder is not None and (Path(subfolder).is_absolute() or ".." in Path(subfolder).parts):
        raise UsageError(f"subfolder: expected a place below the root, got {subfolder!r}", "move the root instead")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"group: expected a regular expression, got {pattern!r} ({error})", "write `^([^_]+)_`"
        ) from error


def _root(root: str | Path | None, subfolder: str | None) -> Path:
    if subfolder is None:
        return find_root("a folder of images and masks", root, usual=(), needed=())
    return find_root("a folder of images and masks", root, usual=(), needed=(subfolder,)) / subfolder


def _parts(root: Path) -> dict[str, _Part]:
    """The splits that the layout gives; one without splits counts as ``train``."""
    if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        whole = _Part(root / "JPEGImages", root / "SegmentationClass")
        lists = root / "ImageSets" / "Segmentation"
        listed = {split: whole._replace(names=lists / f"{split}.txt") for split in ("train", "val", "test")}
        return {split: part for split, part in listed.items() if part.names and part.names.is_file()} or {
            "train": whole
        }
    if (root / "images").is_dir() and (root / "masks").is_dir():
        by_split = {
            split: _Part(root / "images" / name, root / "masks" / name)
            for name, split in _SPLIT_NAMES.items()
            if (root / "images" / name).is_dir()
        }
        return by_split or {"train": _Part(root / "images", root / "masks")}
    by_split = {
        split: _Part(root / name / "images", root / name / "masks")
        for name, split in _SPLIT_NAMES.items()
        if (root / name / "images").is_dir()
    }
    if not by_split:
        found = ", ".join(printable(entry.name) for entry in sorted(root.iterdir())[:8])
        raise DataError(
            f"{printable(root)}: expected images/ and masks/, train/images/ and train/masks/, or JPEGImages/ and "
            f"SegmentationClass/, got {found or 'an empty folder'}",
            "arrange the files in one of these layouts, or point --root or SEGMI_DATA to the folder that has it",
        )
    return by_split
