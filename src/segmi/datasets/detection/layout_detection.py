"""Detection of the layout: which folders hold images and which their masks, split by split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.clips import GROUP_FILES
from segmi.datasets.custom.dataset_config import NO_AFFIXES, SPLITS, Affixes, SplitFolders
from segmi.datasets.decode import printable
from segmi.datasets.detection.folder_pairs import (
    FolderPair,
    explicit_pairs,
    pairs_by_content,
    pairs_by_role,
    pairs_side_by_side,
    panoptic_pairs,
    preferred,
)
from segmi.datasets.detection.name_patterns import is_pattern, pattern_pairs
from segmi.datasets.detection.named_splits import splits_in_names
from segmi.datasets.detection.refusals import ambiguous_folders, ambiguous_names, no_layout, without_split
from segmi.datasets.detection.survey import Survey, classify_name
from segmi.datasets.group_table import split_column
from segmi.datasets.layout import image_files, read_list, stem_of
from segmi.datasets.pair_table import EXISTING, classify_split, read_pairs, share_of_pairs
from segmi.errors import DataError, counted

LAYOUTS: Final = (
    (r"(^|/)SegmentationClass[^/]*$", "PASCAL VOC's layout"),
    (r"gtFine|gtCoarse", "Cityscapes' layout"),
    (r"(^|/)annotations/(training|validation)$", "ADE20K's layout"),
    (r"(^|/)masks_png$", "LoveDA's layout"),
    (r"(^|/)stuffthingmaps", "COCO-Stuff's layout"),
    (r"(^|/)labelsT[rs]$", "nnU-Net's layout"),
    (r"(^|/)training/semantic$", "KITTI's layout"),
    (r"(^|/)labels/sem_seg/masks/", "BDD100K's layout"),
)
"""Published layouts, by the path of their masks."""

BY_CONTENT: Final = "two folders, one with masks"

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
        find_named = pattern_pairs if is_pattern(survey, images) or is_pattern(survey, masks) else explicit_pairs
        return _layout(survey, find_named(survey, images, masks), "", named=True)
    for find, words in (
        (panoptic_pairs, "COCO's panoptic PNG files with their JSON"),
        (pairs_by_role, ""),
        (pairs_side_by_side, "images and masks side by side, with different names"),
        (pairs_by_content, BY_CONTENT),
    ):
        if pairs := find(survey):
            return _layout(survey, pairs, words)
    if (layout := _of_tables(survey)) is not None:
        return layout
    raise no_layout(survey)


def _of_tables(survey: Survey) -> Layout | None:
    """Return the layout of tables with the images and masks, one table for all splits or one per split."""
    parts: dict[str, SplitFolders] = {}
    for name, paths in sorted(survey.lists.items()):
        words = classify_name(PurePosixPath(name).stem)
        for path in paths if name.endswith((".csv", ".tsv", ".txt")) else ():
            try:
                rows = read_pairs(survey.root / path)
            except DataError:  # a text in another encoding
                continue
            if not rows or share_of_pairs(survey.root, survey.root / path, rows) < EXISTING:
                continue
            splits = {classify_split(row.split) if row.split else words.split or "train" for row in rows}
            parts = {**{split: SplitFolders(".", ".", pairs=path) for split in splits}, **parts}
    parts = {split: parts[split] for split in SPLITS if split in parts}
    if "train" not in parts:
        return None
    tables = ", ".join(dict.fromkeys(printable(part.pairs or "") for part in parts.values()))
    return Layout(f"pairs of images and masks in {tables}", parts, NO_AFFIXES)


def _describe(pairs: Sequence[FolderPair]) -> str:
    paths = [f"{pair.masks.path}/{pair.match.affixes.mask_folder}".rstrip("/") for pair in pairs]
    for pattern, words in LAYOUTS:
        if any(re.search(pattern, path) for path in paths):
            return words
    if all(pair.masks.path == f"{pair.images.path}annot" for pair in pairs):
        return "SegNet's layout"
    if all(pair.images == pair.masks and not pair.match.affixes.mask_folder for pair in pairs):
        return "images and masks side by side, with different names"
    if any(pair.match.affixes.mask_folder for pair in pairs):
        return "folders that each hold images and masks"
    return "images and masks in separate folders"


def _layout(survey: Survey, pairs: Sequence[FolderPair], words: str, *, named: bool = False) -> Layout:
    by_split: dict[str | None, list[FolderPair]] = {}
    for pair in pairs:
        by_split.setdefault(pair.split, []).append(pair)
    by_split = _preferred(by_split)
    if several := next((several for several in by_split.values() if len(several) > 1), None):
        raise ambiguous_folders(survey, several, {split for split in by_split if split})
    used = [several[0] for several in by_split.values()]
    if unclear := next((pair.match for pair in used if pair.match.rivals or pair.match.bands), None):
        raise ambiguous_names(survey, unclear)
    words = words or _describe(used)
    notes = _unused_folders(survey, used)
    if len(by_split) > 1 and None in by_split:
        (pair,) = by_split.pop(None)
        notes.append(f"{pair.masks.path} belongs to no split and is not used")
    affixes = {pair.match.affixes for several in by_split.values() for pair in several}
    parts = {
        split or "train": SplitFolders(
            pair.images.path,
            pair.masks.path,
            panoptic=pair.panoptic,
            affixes=pair.match.affixes if len(affixes) > 1 else None,
        )
        for split, (pair, *_) in by_split.items()
    }
    parts = {split: parts[split] for split in SPLITS if split in parts}
    names = affixes.pop() if len(affixes) == 1 else NO_AFFIXES
    if names.image_suffix == "_0000" and any(stem.endswith("_0001") for stem in survey.images.get(used[0].images, ())):
        raise DataError(
            f"{printable(survey.root)}: expected one file per image, got one per channel (_0000, _0001, …)",
            "merge the channels of each case into one TIFF with several bands, named CASE_0000.tif",
        )
    if list(by_split) == [None]:
        parts, lists, more = _split_by_lists(survey, parts["train"], names)
        words += lists
        notes += more
        if not lists and (in_names := splits_in_names(survey.images.get(used[0].images, ()), parts["train"], names)):
            parts, words = in_names, f"{words}, splits by the names of the files"
    elif "train" not in parts:
        train = [f.path for f in survey.images if f.split == "train" and f.role in (None, "image")]
        if train and not named:
            raise DataError(
                f"{printable(survey.root)}: expected masks for the images in {printable(train[0])}, got masks only in "
                f"{', '.join(printable(part.masks) for part in parts.values())}",
                "give an image and its mask the same name, or name the right folders: --images DIR --masks DIR",
            )
        first = next(iter(parts))
        notes.append(f"{first} is used for the missing train")
        parts = {"train": parts.pop(first), **parts}
    if words.startswith(BY_CONTENT):
        images = ", ".join(dict.fromkeys(printable(part.images) for part in parts.values()))
        masks = ", ".join(dict.fromkeys(printable(part.masks) for part in parts.values()))
        notes.insert(0, f"by their content, images are in {images} and masks in {masks}")
    return Layout(words, parts, names, tuple(notes))


def _preferred(by_split: dict[str | None, list[FolderPair]]) -> dict[str | None, list[FolderPair]]:
    """Return the pairs of each split whose masks are meant; masks that one split has better ones for count in none."""
    chosen = {split: preferred(several) for split, several in by_split.items()}
    left_out = {without_split(p.masks.path) for s, several in by_split.items() for p in several if p not in chosen[s]}
    kept = {
        split: [pair for pair in several if without_split(pair.masks.path) not in left_out]
        for split, several in chosen.items()
    }
    return {split: several for split, several in kept.items() if several} or chosen


def _unused_folders(survey: Survey, pairs: Sequence[FolderPair]) -> list[str]:
    """Return a note on the image folders that no split uses, without those whose names say that they are neither."""
    roles = [("mask", pair.masks) for pair in pairs] + [("image", pair.images) for pair in pairs]
    used = [(role, PurePosixPath(folder.path)) for role, folder in roles]
    unused = [
        f"{printable(folder.path)} ({len(stems)} file{'s' if len(stems) > 1 else ''})"
        for folder, stems in survey.images.items()
        if folder.role != "other"
        and not any(PurePosixPath(path).is_relative_to(folder.path) for _, path in used)
        and not any(
            PurePosixPath(folder.path).is_relative_to(path) for role, path in used if folder.role in (None, role)
        )
    ]
    fixed = {name for pair in pairs for name in (pair.match.affixes.image_name, pair.match.affixes.mask_name) if name}
    names = Counter(PurePosixPath(stem).name for stems in survey.images.values() for stem in stems if fixed)
    unused += [
        f"{printable(name)} ({count} file{'s' if count > 1 else ''})"
        for name, count in names.items()
        if name not in fixed
    ]
    more = f" and {len(unused) - 4} more" if len(unused) > 4 else ""
    return [f"not used: {', '.join(unused[:4])}{more}"] if unused else []


def _split_by_lists(
    survey: Survey, part: SplitFolders, affixes: Affixes
) -> tuple[dict[str, SplitFolders], str, list[str]]:
    """Return the splits of lists such as ``train.txt``, their folder in words, and notes on other lists and images.

    Without lists, there is only ``train``.
    """
    images = image_files(survey.root / part.images, stem_ending=affixes.image_suffix)
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    listed: dict[str, set[str]] = {}
    further = []
    for name, paths in survey.lists.items():
        words = classify_name(stem := PurePosixPath(name).stem)
        split = WHOLE if stem == WHOLE else None if words.rest else words.split
        for path in paths if name.endswith(".txt") and name not in GROUP_FILES else ():
            try:
                lines, _ = read_list(survey.root / path, folders_allowed=True)
            except DataError:  # a text in another encoding
                if split is None:
                    continue
                raise
            stems = {stem_of(line.text, images) for line in lines} & images.by_stem.keys()
            if lines and len(stems) >= LISTED_SHARE * len(lines):
                listed[path] = stems
                if split is None:
                    further.append(path)
                else:
                    by_folder[str(PurePosixPath(path).parent)].setdefault(split, path)
    for lists in by_folder.values():
        whole = lists.pop(WHOLE, None)
        if whole is not None and not {"train", "val"} & lists.keys():
            lists["train"] = whole
    if not any("train" in lists for lists in by_folder.values()):
        further += [path for lists in by_folder.values() for path in lists.values()]
    notes = []
    if further:
        found = ", ".join(f"{printable(path)} ({counted(len(listed[path]), 'image')})" for path in sorted(further)[:6])
        more = f" and {len(further) - 6} more" if len(further) > 6 else ""
        notes.append(f"further lists: {found}{more}; to use one, set `names` of a split in segmi.toml to it")
    folder, lists = max(by_folder.items(), key=lambda i: ("Segmentation" in i[0], len(i[1])), default=("", {}))
    if "train" not in lists:
        return {"train": part}, "", [*notes, *_unread_lists(survey)]
    unlisted = len(images.by_stem) - len(set().union(*(listed[path] for path in lists.values())))
    if unlisted:
        notes.append(f"in none of the lists, and not used: {unlisted} of {counted(len(images.by_stem), 'image')}")
    parts: dict[str, SplitFolders] = {n: part._replace(names=lists[n]) for n in SPLITS if n in lists}
    return parts, f", splits by the lists in {folder if folder != '.' else 'the folder itself'}", notes


def _unread_lists(survey: Survey) -> list[str]:
    """Return a note on tables and JSON files that seem to define splits."""
    tables = [path for name, paths in survey.lists.items() if name.endswith(".csv") for path in paths]
    found = []
    for path in sorted([*tables, *survey.json]):
        words = classify_name(PurePosixPath(path).stem)
        named = (words.rest and words.rest[0] in ("split", "splits")) or (words.split and not words.rest)
        if named or (path in tables and split_column(survey.root / path) is not None):
            found.append(printable(path))
    if not found:
        return []
    listed = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    several = "are" if len(found) > 1 else "is"
    return [f"{listed} {several} not read; for these splits, write the image names into train.txt and val.txt"]
