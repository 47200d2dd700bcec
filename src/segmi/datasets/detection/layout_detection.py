"""Detection of the layout: which folders hold images and which their masks, split by split."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.custom.dataset_config import SPLITS, Affixes, SplitFolders
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.folder_pairs import (
    FolderPair,
    explicit_pairs,
    pairs_by_content,
    pairs_by_role,
    pairs_side_by_side,
    panoptic_pairs,
)
from segmi.datasets.detection.survey import Survey, classify_name
from segmi.datasets.layout import image_files, read_list, stem_of
from segmi.errors import DataError, UsageError

UNSUPPORTED: Final = frozenset(
    {".npy", ".npz", ".mat", ".jp2", ".exr", ".nii", ".gz", ".dcm", ".h5", ".hdr", ".heic", ".avif", ".svg"}
)
"""Suffixes of files that can hold images or masks and are not read."""

WHOLE: Final = "trainval"  # the list of all images that are not for testing, as in VOC
LISTED_SHARE: Final = 0.5  # the share of lines that must name images for a text file to be a split list


class Layout(NamedTuple):
    """How the files of a folder belong together."""

    words: str  # the layout in words
    parts: dict[str, SplitFolders]  # the files of each split; only ``train`` for a layout without splits
    affixes: Affixes  # the affixes of the file names
    notes: tuple[str, ...] = ()  # which files are not used


def detect_layout(survey: Survey, images: str | None = None, masks: str | None = None) -> Layout:
    """Detect the layout of a folder; ``images`` and ``masks`` are folders relative to the root, None detects them.

    Raises:
        DataError: no layout fits.
        UsageError: several layouts fit.
    """
    if images is not None or masks is not None:
        return _layout(survey, explicit_pairs(survey, images, masks), "images and masks in the named folders")
    for find, words in (
        (panoptic_pairs, "COCO's panoptic PNG files with their JSON"),
        (pairs_by_role, ""),
        (pairs_side_by_side, "images and masks side by side, with different names"),
        (pairs_by_content, "two folders, one with masks"),
    ):
        if pairs := find(survey):
            return _layout(survey, pairs, words or _describe(survey, pairs))
    raise _no_layout(survey)


def _describe(survey: Survey, pairs: Sequence[FolderPair]) -> str:
    folders = {pair.masks.path.partition("/")[0] for pair in pairs} | {pair.masks.path for pair in pairs}
    if any(PurePosixPath(folder).name.startswith("SegmentationClass") for folder in folders):
        return "PASCAL VOC's layout"
    if "gtFine" in " ".join(folders):
        return "Cityscapes' layout"
    if all(pair.masks.path == f"{pair.images.path}annot" for pair in pairs):
        return "SegNet's layout"
    if survey.root.joinpath("annotations", "training").is_dir():
        return "ADE20K's layout"
    if any(pair.match.affixes.mask_folder for pair in pairs):
        return "folders that each hold images and masks"
    return "images and masks in separate folders"


def _layout(survey: Survey, pairs: Sequence[FolderPair], words: str) -> Layout:
    by_split: dict[str | None, list[FolderPair]] = {}
    for pair in pairs:
        by_split.setdefault(pair.split, []).append(pair)
    if several := next((several for several in by_split.values() if len(several) > 1), None):
        raise _ambiguous(survey, several)
    notes = _unused_folders(survey, pairs)
    if len(by_split) > 1 and None in by_split:
        (pair,) = by_split.pop(None)
        notes.append(f"{pair.masks.path} belongs to no split and is not used")
    affixes = {pair.match.affixes for several in by_split.values() for pair in several}
    if len(affixes) > 1:
        patterns = (f"{a.image_prefix}*{a.image_suffix} with {a.mask_prefix}*{a.mask_suffix}" for a in affixes)
        raise DataError(
            f"{printable(survey.root)}: expected the same name pattern in all splits, got {' and '.join(patterns)}",
            "rename the files of one split, or name the folders of one with --images and --masks",
        )
    parts = {
        split or "train": SplitFolders(several[0].images.path, several[0].masks.path, None, several[0].panoptic)
        for split, several in by_split.items()
    }
    parts = {split: parts[split] for split in SPLITS if split in parts}
    (names,) = affixes
    if list(by_split) == [None]:
        parts, lists = _split_by_lists(survey, parts["train"], names)
        words += lists
    elif "train" not in parts:
        first = next(iter(parts))
        notes.append(f"{first} is used for the missing train")
        parts = {"train": parts.pop(first), **parts}
    return Layout(words, parts, names, tuple(notes))


def _unused_folders(survey: Survey, pairs: Sequence[FolderPair]) -> list[str]:
    """Return a note on the image folders that no split uses, without those whose names say that they are neither."""
    used = [PurePosixPath(folder.path) for pair in pairs for folder in (pair.images, pair.masks)]
    unused = [
        f"{printable(folder.path)} ({len(stems)} file{'s' if len(stems) > 1 else ''})"
        for folder, stems in survey.images.items()
        if folder.role != "other"
        and not any(f.is_relative_to(folder.path) or PurePosixPath(folder.path).is_relative_to(f) for f in used)
    ]
    more = f" and {len(unused) - 4} more" if len(unused) > 4 else ""
    return [f"not used: {', '.join(unused[:4])}{more}"] if unused else []


def _split_by_lists(survey: Survey, part: SplitFolders, affixes: Affixes) -> tuple[dict[str, SplitFolders], str]:
    """Return the splits of lists such as ``train.txt`` and their folder in words; only ``train`` without lists."""
    images = image_files(survey.root / part.images, stem_ending=affixes.image_suffix)
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for name, paths in survey.lists.items():
        words = classify_name(stem := PurePosixPath(name).stem)
        split = WHOLE if stem == WHOLE else None if words.rest else words.split
        if not name.endswith(".txt") or split is None:
            continue
        for path in paths:
            lines, _ = read_list(survey.root / path, folders_allowed=True)
            hits = sum(stem_of(line.text, images) in images.by_stem for line in lines)
            if lines and hits >= LISTED_SHARE * len(lines):
                by_folder[str(PurePosixPath(path).parent)].setdefault(split, path)
    for lists in by_folder.values():
        whole = lists.pop(WHOLE, None)
        if whole is not None and not {"train", "val"} & lists.keys():
            lists["train"] = whole
    if by_folder:
        folder, lists = max(by_folder.items(), key=lambda item: ("Segmentation" in item[0], len(item[1])))
        if "train" in lists:
            parts: dict[str, SplitFolders] = {n: part._replace(names=lists[n]) for n in SPLITS if n in lists}
            return parts, f", splits by the lists in {folder if folder != '.' else 'the folder itself'}"
    return {"train": part}, ""


def _ambiguous(survey: Survey, pairs: Sequence[FolderPair]) -> UsageError:
    masks = [printable(pair.masks.path) for pair in pairs]
    same_images = len({pair.images.path for pair in pairs}) == 1
    names = [PurePosixPath(pair.masks.path).name for pair in pairs]
    in_splits = pairs[0].split is not None and len(set(names)) == len(names)  # a name selects it in every split
    first = printable(names[0]) if in_splits else masks[0]
    choice = f"choose one: --masks {shlex.quote(first)}"
    return UsageError(
        f"{printable(survey.root)}: expected one folder of masks, got {len(masks)} that fit: {', '.join(masks)}",
        choice if same_images else "give one of the datasets in it, or --images and --masks",
    )


def _no_layout(survey: Survey) -> DataError:
    root = printable(survey.root)
    given = "; ".join(f"{len(stems)} images in {printable(f.path)}" for f, stems in list(survey.images.items())[:6])
    given += "; …" if len(survey.images) > 6 else ""
    unread = [f"{count} {suffix}" for suffix, count in survey.unread.most_common() if suffix in UNSUPPORTED]
    if unread:
        return DataError(
            f"{root}: expected images and masks as {', '.join(sorted(SUFFIXES))}, got {given} and unsupported files: "
            f"{', '.join(unread)}",
            "save images and masks as PNG, masks as 8-bit gray values",
        )
    if any(_has_polygons(survey.root / path) for path in survey.json):
        return DataError(
            f"{root}: expected masks as images, got polygons in {printable(survey.json[0])}",
            "rasterize the polygons to PNG masks first, one file per image and one value per class",
        )
    if not any(folder.role == "mask" for folder in survey.images) and len(survey.images) == 1:
        return DataError(
            f"{root}: expected images and masks, got {given} and no file named like their masks",
            "put the masks into a folder masks/ under the images' names, or beside them as NAME_mask.png",
        )
    return DataError(
        f"{root}: expected images and masks with equal names, got {given}",
        "give an image and its mask the same name in images/ and masks/ (VOC, Cityscapes, SegNet and COCO's panoptic "
        "layout are read too), or name the folders: --images DIR --masks DIR",
    )


def _has_polygons(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2_000_000)
    return b'"segmentation"' in head or b'"polygon"' in head or b'"shapes"' in head
