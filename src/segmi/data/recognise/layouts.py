"""Which folders of a survey are pictures and which their masks, split by split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.data.decode import shown
from segmi.data.described.description import SPLITS, Affixes, Part
from segmi.data.described.panoptic import Segments
from segmi.data.recognise import affixes
from segmi.data.recognise.contents import looks_like_masks
from segmi.data.recognise.lists import lists_of_splits
from segmi.data.recognise.survey import Place, Survey
from segmi.data.recognise.words import told_by
from segmi.errors import DataError, UsageError

ENOUGH: Final = 0.5
"""The share of pairs from which two folders are taken to belong together; files without counterpart are told then."""


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


class _Pair(NamedTuple):
    images: Place
    masks: Place
    match: affixes.Match
    panoptic: str | None = None


def recognised(found: Survey, images: str | None = None, masks: str | None = None) -> Layout:
    """The layout of a folder.

    Args:
        found: what is in it.
        images: the folder of the pictures, relative to the root, where it was said; None finds it.
        masks: likewise of the masks.

    Raises:
        DataError: no layout is recognised.
        UsageError: several are.
    """
    if images is not None or masks is not None:
        pairs = _said(found, images, masks)
        return _layout(found, pairs, "pictures and masks in the folders that were named")
    for pairs, words in (
        (_panoptic(found), "COCO's panoptic PNG files with their JSON"),
        (_by_role(found), ""),
        (_side_by_side(found), "pictures and masks side by side, told apart by their names"),
        (_by_content(found), "two folders, of which one holds masks"),
    ):
        if pairs:
            return _layout(found, pairs, words or _named(found, pairs))
    raise _nothing(found)


def _said(found: Survey, images: str | None, masks: str | None) -> list[_Pair]:
    known = {folder: _place(found, folder) for folder in (images, masks) if folder is not None}
    mask_places = [known[masks]] if masks is not None else [p for p in found.pictures if p.role == "mask"]
    others = [p for p in found.pictures if masks is None or p.folder != masks]
    image_places = [known[images]] if images is not None else others
    stems = {**found.pictures, **{place: _stems_below(found, place.folder) for place in known.values()}}
    matches = [
        _Pair(image, mask, affixes.between(stems[image], stems[mask]))
        for mask in mask_places
        for image in image_places
        if image.folder != mask.folder
    ]
    best = max(matches, key=lambda pair: pair.match.share, default=None)
    if best is None or best.match.share < ENOUGH:
        raise DataError(
            f"{shown(found.root)}: expected masks in {masks or 'a folder'} named as the pictures in "
            f"{images or 'another'}, got names of which too few agree",
            "name both folders, --images DIR --masks DIR, and give a picture and its mask the same name",
        )
    return [best]


def _place(found: Survey, folder: str) -> Place:
    inside = PurePosixPath(folder)
    place = Place(str(inside), None, None, ())
    if not _stems_below(found, place.folder):
        raise UsageError(f"{shown(found.root / folder)} holds no pictures", "name a folder inside the one that is read")
    return place


def _stems_below(found: Survey, folder: str) -> list[str]:
    stems = []
    for place, inside in found.pictures.items():
        for stem in inside:
            whole = PurePosixPath(place.folder) / stem
            if whole.is_relative_to(folder):
                stems.append(str(whole.relative_to(folder)))
    return stems


def _panoptic(found: Survey) -> list[_Pair]:
    """Each JSON file with a folder of the same name beside it."""
    pairs = []
    for path in found.json:
        folder = str(PurePosixPath(path).with_suffix(""))
        masks = _stems_below(found, folder)
        if not masks:
            continue
        Segments(found.root / path)  # refused here rather than taken for something else
        split = told_by(PurePosixPath(folder).name).split
        matches = [
            _Pair(place, Place(folder, "mask", split, ()), affixes.between(stems, masks), path)
            for place, stems in found.pictures.items()
            if not PurePosixPath(place.folder).is_relative_to(folder) and place.role in (None, "image")
        ]
        best = max(matches, key=lambda pair: pair.match.share, default=None)
        if best is not None and best.match.share >= ENOUGH:
            pairs.append(best)
    return pairs


def _by_role(found: Survey) -> list[_Pair]:
    """For each folder that is called like one of masks, the folder of its pictures."""
    pairs = []
    for mask, stems in found.pictures.items():
        if mask.role != "mask":
            continue
        others = [p for p in found.pictures if p.role in (None, "image")]
        same = [p for p in others if p.split == mask.split] or [p for p in others if p.split is None]
        matches = [_Pair(place, mask, affixes.between(found.pictures[place], stems)) for place in same]
        best = max(
            matches,
            key=lambda pair: (pair.images.key == mask.key, pair.match.share, pair.images.role == "image"),
            default=None,
        )
        if best is not None and best.match.share >= ENOUGH:
            pairs.append(best)
    return pairs


def _side_by_side(found: Survey) -> list[_Pair]:
    pairs = [
        _Pair(place, place, affixes.within(stems)) for place, stems in found.pictures.items() if place.role != "other"
    ]
    return [pair for pair in pairs if pair.match.share >= ENOUGH]


def _by_content(found: Survey) -> list[_Pair]:
    """Two folders of files that are called alike: the masks are those with few values."""
    places = [place for place in found.pictures if place.role != "other"]
    if len(places) != 2:
        return []
    masks = [place for place in places if looks_like_masks(found.root / place.folder, found.pictures[place])]
    if len(masks) != 1:
        return []
    (image,) = [place for place in places if place not in masks]
    match = affixes.between(found.pictures[image], found.pictures[masks[0]])
    return [_Pair(image, masks[0], match)] if match.share >= ENOUGH else []


def _named(found: Survey, pairs: Sequence[_Pair]) -> str:
    folders = {pair.masks.folder.partition("/")[0] for pair in pairs} | {pair.masks.folder for pair in pairs}
    if any(PurePosixPath(folder).name.startswith("SegmentationClass") for folder in folders):
        return "PASCAL VOC's layout"
    if "gtFine" in " ".join(folders):
        return "Cityscapes' layout"
    if all(pair.masks.folder == f"{pair.images.folder}annot" for pair in pairs):
        return "SegNet's layout"
    if found.root.joinpath("annotations", "training").is_dir():
        return "ADE20K's layout"
    return "pictures and masks in folders of their own"


def _layout(found: Survey, pairs: Sequence[_Pair], words: str) -> Layout:
    by_split: dict[str | None, list[_Pair]] = {}
    for pair in pairs:
        by_split.setdefault(pair.masks.split or pair.images.split, []).append(pair)
    for several in by_split.values():
        if len(several) > 1:
            raise _ambiguous(found, several)
    notes = []
    if len(by_split) > 1 and None in by_split:
        (left,) = by_split.pop(None)
        notes.append(f"{left.masks.folder} belongs to no split and is left aside")
    used = {pair.match.affixes for several in by_split.values() for pair in several}
    if len(used) > 1:
        raise DataError(
            f"{shown(found.root)}: expected names that pair alike in all splits, got {' and '.join(map(_shown, used))}",
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


def _part(pair: _Pair) -> Part:
    return Part(pair.images.folder, pair.masks.folder, None, pair.panoptic)


def _shown(used: Affixes) -> str:
    return f"*{used.image_suffix} with {used.mask_prefix}*{used.mask_suffix}"


def _ambiguous(found: Survey, pairs: Sequence[_Pair]) -> UsageError:
    masks = [shown(pair.masks.folder) for pair in pairs]
    same = len({pair.images.folder for pair in pairs}) == 1
    return UsageError(
        f"{shown(found.root)}: expected one folder of masks, got {len(masks)} that fit: {', '.join(masks)}",
        f"say which one: --masks {masks[0]}" if same else "give one of the data sets in it, or --images and --masks",
    )


def _nothing(found: Survey) -> DataError:
    where = shown(found.root)
    got = "; ".join(f"{len(stems)} pictures in {shown(p.folder)}" for p, stems in list(found.pictures.items())[:6])
    if any(_has_polygons(found.root / path) for path in found.json):
        return DataError(
            f"{where}: expected masks as pictures, got polygons in {shown(found.json[0])}",
            "draw the polygons into PNG masks first, one file per picture and one number per class",
        )
    if not any(place.role == "mask" for place in found.pictures) and len(found.pictures) == 1:
        return DataError(
            f"{where}: expected pictures and masks, got {got} and nothing that is called like their masks",
            "put the masks into a folder masks/ under the pictures' names, or beside them as NAME_mask.png",
        )
    return DataError(
        f"{where}: expected pictures and masks whose names agree, got {got}",
        "give a picture and its mask the same name in images/ and masks/ (VOC, Cityscapes, SegNet and COCO's panoptic "
        "layout are read too), or say which folders are meant: --images DIR --masks DIR",
    )


def _has_polygons(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2_000_000)
    return b'"segmentation"' in head or b'"polygon"' in head or b'"shapes"' in head
