"""Which folders of a survey are images and which their masks, split by split."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segmi.datasets.custom.description import SPLITS, Affixes, Part
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection import pairs
from segmi.datasets.detection.lists import lists_of_splits
from segmi.datasets.detection.pairs import Pair
from segmi.datasets.detection.survey import Survey
from segmi.errors import DataError, UsageError

ARRAYS = frozenset(
    {".npy", ".npz", ".mat", ".jp2", ".exr", ".nii", ".gz", ".dcm", ".h5", ".hdr", ".heic", ".avif", ".svg"}
)
"""Endings of files that hold images or masks and are not read."""


class Layout(NamedTuple):
    """How the files of a folder belong together.

    Args:
        words: the layout, for people.
        parts: by split; ``train`` where there are no splits.
        affixes: of the names.
        notes: what was left aside.
    """

    words: str
    parts: dict[str, Part]
    affixes: Affixes
    notes: tuple[str, ...] = ()


def recognized(found: Survey, images: str | None = None, masks: str | None = None) -> Layout:
    """The layout of a folder.

    Args:
        found: what is in it.
        images: the folder of the images, relative to the root, where it was said; None finds it.
        masks: likewise of the masks.

    Raises:
        DataError: no layout is recognized.
        UsageError: several are.
    """
    if images is not None or masks is not None:
        named = pairs.said(found, images, masks)
        return _layout(found, named, "images and masks in the folders that were named")
    for find, words in (
        (pairs.panoptic, "COCO's panoptic PNG files with their JSON"),
        (pairs.by_role, ""),
        (pairs.side_by_side, "images and masks side by side, told apart by their names"),
        (pairs.by_content, "two folders, of which one holds masks"),
    ):
        if paired := find(found):
            return _layout(found, paired, words or _named(found, paired))
    raise _nothing(found)


def _named(found: Survey, paired: Sequence[Pair]) -> str:
    folders = {pair.masks.folder.partition("/")[0] for pair in paired} | {pair.masks.folder for pair in paired}
    if any(PurePosixPath(folder).name.startswith("SegmentationClass") for folder in folders):
        return "PASCAL VOC's layout"
    if "gtFine" in " ".join(folders):
        return "Cityscapes' layout"
    if all(pair.masks.folder == f"{pair.images.folder}annot" for pair in paired):
        return "SegNet's layout"
    if found.root.joinpath("annotations", "training").is_dir():
        return "ADE20K's layout"
    if any(pair.match.affixes.mask_folder for pair in paired):
        return "folders that each hold images and masks"
    return "images and masks in folders of their own"


def _layout(found: Survey, paired: Sequence[Pair], words: str) -> Layout:
    by_split: dict[str | None, list[Pair]] = {}
    for pair in paired:
        by_split.setdefault(pair.split, []).append(pair)
    for several in by_split.values():
        if len(several) > 1:
            raise _ambiguous(found, several)
    notes = _left_aside(found, paired)
    if len(by_split) > 1 and None in by_split:
        (left,) = by_split.pop(None)
        notes.append(f"{left.masks.folder} belongs to no split and is left aside")
    used = {pair.match.affixes for several in by_split.values() for pair in several}
    if len(used) > 1:
        raise DataError(
            f"{printable(found.root)}: expected names that pair alike in all splits, got {' and '.join(map(_shown, used))}",
            "rename the files of one split, or give the folders of one with --images and --masks",
        )
    parts = {split or "train": _part(several[0]) for split, several in by_split.items()}
    parts = {split: parts[split] for split in SPLITS if split in parts}
    (match,) = used
    if list(by_split) == [None]:
        parts, listed = lists_of_splits(found, parts["train"], match)
        words += listed
    elif "train" not in parts:
        first = next(iter(parts))
        notes.append(f"there is no train: {first} is taken for it")
        parts = {"train": parts.pop(first), **parts}
    return Layout(words, parts, match, tuple(notes))


def _left_aside(found: Survey, paired: Sequence[Pair]) -> list[str]:
    """The folders of images that no split uses, those that are never meant apart."""
    used = {place.folder for pair in paired for place in (pair.images, pair.masks)}
    left = [
        f"{printable(place.folder)} ({len(stems)} file{'s' if len(stems) > 1 else ''})"
        for place, stems in found.images.items()
        if place.role != "other"
        and not any(PurePosixPath(f).is_relative_to(place.folder) or _is_below(place.folder, f) for f in used)
    ]
    more = f" and {len(left) - 4} more" if len(left) > 4 else ""
    return [f"left aside: {', '.join(left[:4])}{more}"] if left else []


def _is_below(folder: str, above: str) -> bool:
    return PurePosixPath(folder).is_relative_to(above)


def _part(pair: Pair) -> Part:
    return Part(pair.images.folder, pair.masks.folder, None, pair.panoptic)


def _shown(used: Affixes) -> str:
    return f"{used.image_prefix}*{used.image_suffix} with {used.mask_prefix}*{used.mask_suffix}"


def _ambiguous(found: Survey, paired: Sequence[Pair]) -> UsageError:
    masks = [printable(pair.masks.folder) for pair in paired]
    same = len({pair.images.folder for pair in paired}) == 1
    ends = [PurePosixPath(pair.masks.folder).name for pair in paired]
    in_splits = paired[0].split is not None and len(set(ends)) == len(ends)
    first = printable(ends[0]) if in_splits else masks[0]
    return UsageError(
        f"{printable(found.root)}: expected one folder of masks, got {len(masks)} that fit: {', '.join(masks)}",
        f"say which one: --masks {shlex.quote(first)}"
        if same
        else "give one of the datasets in it, or --images and --masks",
    )


def _nothing(found: Survey) -> DataError:
    where = printable(found.root)
    got = "; ".join(f"{len(stems)} images in {printable(p.folder)}" for p, stems in list(found.images.items())[:6])
    got += "; …" if len(found.images) > 6 else ""
    unread = [f"{count} {ending}" for ending, count in found.unread.most_common() if ending in ARRAYS]
    if unread:
        return DataError(
            f"{where}: expected images and masks as {', '.join(sorted(SUFFIXES))}, got {got} and files that are not "
            f"read: {', '.join(unread)}",
            "save images and masks as PNG; a mask of numbers in gray, with 8 bits",
        )
    if any(_has_polygons(found.root / path) for path in found.json):
        return DataError(
            f"{where}: expected masks as images, got polygons in {printable(found.json[0])}",
            "draw the polygons into PNG masks first, one file per image and one number per class",
        )
    if not any(place.role == "mask" for place in found.images) and len(found.images) == 1:
        return DataError(
            f"{where}: expected images and masks, got {got} and nothing that is called like their masks",
            "put the masks into a folder masks/ under the images' names, or beside them as NAME_mask.png",
        )
    return DataError(
        f"{where}: expected images and masks whose names agree, got {got}",
        "give an image and its mask the same name in images/ and masks/ (VOC, Cityscapes, SegNet and COCO's panoptic "
        "layout are read too), or say which folders are meant: --images DIR --masks DIR",
    )


def _has_polygons(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2_000_000)
    return b'"segmentation"' in head or b'"polygon"' in head or b'"shapes"' in head
