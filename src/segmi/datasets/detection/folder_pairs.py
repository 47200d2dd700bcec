"""Pairs of an image folder and its mask folder among the folders of a survey."""

from __future__ import annotations

import fnmatch
import glob
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segmi.datasets.custom.dataset_config import Affixes
from segmi.datasets.custom.name_matching import (
    ENOUGH,
    Match,
    is_mask_word,
    match_folders,
    match_within,
    preference,
)
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.mask_values import looks_like_mask
from segmi.datasets.detection.survey import ImageFolder, Survey, classify_name
from segmi.datasets.outlines import read_json
from segmi.errors import DataError, UsageError


class FolderPair(NamedTuple):
    """An image folder and its mask folder."""

    images: ImageFolder  # the image folder
    masks: ImageFolder  # the mask folder; equal to ``images`` if masks are in the same folder or in folders below it
    match: Match  # the affixes that pair the names, and the share of paired files
    panoptic: str | None = None  # the JSON file of panoptic masks

    @property
    def split(self) -> str | None:
        """The split of the masks or images, None if neither path names one."""
        return self.masks.split or self.images.split


def explicit_pairs(survey: Survey, images: str | None, masks: str | None) -> list[FolderPair]:
    """Return the pairs of the folders that the user names, or of those with these names in every split.

    Raises:
        DataError: too few file names match.
        UsageError: a folder holds no images.
    """
    named = {text: folders_named(survey, text) for text in (images, masks) if text is not None}
    mask_folders = named[masks] if masks is not None else [f for f in survey.images if f.role == "mask"]
    image_folders = named[images] if images is not None else [f for f in survey.images if f not in mask_folders]
    pairs = _pairs_of(survey, mask_folders, image_folders)
    if not pairs:
        raise DataError(
            f"{printable(survey.root)}: expected masks in {masks or 'a folder'} named as the images in "
            f"{images or 'another'}, got too few matching names",
            "name both folders, --images DIR --masks DIR, and give an image and its mask the same name",
        )
    return pairs


def folders_named(survey: Survey, text: str) -> list[ImageFolder]:
    """Return the folder with this path, or the folders of all splits above or below it; ``*`` is any part of a path.

    Raises:
        UsageError: the folder holds no images.
    """
    path = str(PurePosixPath(text))
    splits = [folder for folder in survey.images if folder.split]
    inside = [one for folder in splits for one in _subfolders(survey, folder)]
    found = [folder for folder in survey.images if folder.path == path]
    found = found or [f for f in splits if f.path.endswith(f"/{path}") or fnmatch.fnmatch(f.path, path)]
    found = found or [f for f in inside if f.path.endswith(f"/{path}") or fnmatch.fnmatch(f.path, path)]
    found = found or [f for f in splits if f.path.startswith(f"{path}/") and f.role != "other"]
    folder = ImageFolder(path, None, None, ())
    if not found and not _stems(survey, folder):
        raise UsageError(
            f"{printable(survey.root / text)}: expected images, got none", "name a folder inside the one that is read"
        )
    return found or [folder]


def preferred(pairs: Sequence[FolderPair]) -> list[FolderPair]:
    """Return the pair of one split whose masks are meant by the words in their path; all if they are equally good."""

    ranks = [preference(pair.masks.path) for pair in pairs]
    return [pair for pair, rank in zip(pairs, ranks, strict=True) if rank == max(ranks)]


def panoptic_pairs(survey: Survey) -> list[FolderPair]:
    """Return the pairs of JSON files that have a folder of the same name beside them."""
    pairs = []
    for path in survey.json:
        folder = str(PurePosixPath(path).with_suffix(""))
        masks = _stems_below(survey, folder)
        if not masks or not _is_panoptic(survey.root / path):
            continue
        Segments(survey.root / path)  # raises here, before the files are taken for another layout
        mask = ImageFolder(folder, "mask", classify_name(PurePosixPath(folder).name).split, ())
        matches = [
            FolderPair(image, mask, match_folders(stems, masks), path)
            for image, stems in survey.images.items()
            if not PurePosixPath(image.path).is_relative_to(folder) and image.role in (None, "image")
        ]
        pairs += _best(survey, matches)
    return pairs


def _is_panoptic(path: Path) -> bool:
    """Return whether a JSON file has some of the keys of COCO's format, and neither polygons nor boxes alone."""
    data = read_json(path)
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} & data.keys():
        return False
    annotations = data.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return not isinstance(first, dict) or "segments_info" in first or not {"segmentation", "bbox"} & first.keys()


def pairs_by_role(survey: Survey) -> list[FolderPair]:
    """Return each folder whose name says that it holds masks, with its image folder."""
    return _merge_scene_folders(_pairs_of(survey, [folder for folder in survey.images if folder.role == "mask"]))


def _pairs_of(
    survey: Survey, masks: Sequence[ImageFolder], images: Sequence[ImageFolder] | None = None
) -> list[FolderPair]:
    """Return each of the mask folders, or the folders in it, with its image folder."""
    named = images is not None
    if images is None:
        images = [folder for folder in survey.images if folder.role in (None, "image") and folder not in masks]
    pairs = []
    for mask in masks:
        others = [folder for folder in images if folder.path != mask.path]
        candidates = [f for f in others if f.split == mask.split]
        single = len({f.split for f in others}) == 1  # train_images beside masks
        candidates = candidates or [f for f in others if f.split is None or named or (single and mask.split is None)]
        for folders in ([mask], _subfolders(survey, mask)):
            found = [_best(survey, [_matched(survey, one, folder) for one in candidates]) for folder in folders]
            if any(found):
                pairs += [pair for best in found for pair in best]
                break
    return pairs


def pairs_side_by_side(survey: Survey) -> list[FolderPair]:
    """Return the folders that hold images and masks with different names; many of them are merged to one per split."""
    by_split: dict[str | None, list[ImageFolder]] = defaultdict(list)
    for folder in survey.images:
        if folder.role != "other":
            by_split[folder.split].append(folder)
    pairs = []
    for folders in by_split.values():
        single = [_by_content(survey, FolderPair(f, f, match_within(survey.images[f]))) for f in folders]
        fitting = [pair for pair in single if pair.match.share >= ENOUGH]
        if len(folders) > 1 and len(fitting) != 1:
            whole = common_parent(folders)
            fitting = [FolderPair(whole, whole, match_within(stems_of(survey, folders, whole)))]
        pairs += [pair for pair in fitting if pair.match.share >= ENOUGH]
    return pairs


def _by_content(survey: Survey, pair: FolderPair) -> FolderPair:
    """Return a pair in one folder with an unknown suffix at the masks, as their content shows, not at the images."""
    suffix, rivals = pair.match.affixes.mask_suffix, pair.match.rivals
    if pair.match.affixes != Affixes(mask_suffix=suffix) or not suffix or (is_mask_word(suffix) and not rivals):
        return pair
    stems, folder = survey.images[pair.images], survey.root / pair.images.path
    of_suffix = {one: [stem for stem in stems if stem.endswith(one)] for one in (suffix, *rivals)}
    fitting = [one for one, marked in of_suffix.items() if _holds_masks(folder, marked)]
    if fitting:
        first, *others = fitting
        return pair._replace(match=pair.match._replace(affixes=Affixes(mask_suffix=first), rivals=tuple(others)))
    marked = of_suffix[suffix]
    turned = pair.match._replace(affixes=Affixes(image_suffix=suffix))
    masks = _holds_masks(folder, [stem.removesuffix(suffix) for stem in marked])
    return pair._replace(match=turned if masks else Match(Affixes(), 0.0))


def pairs_by_content(survey: Survey) -> list[FolderPair]:
    """Return the folders of unknown role whose files have few values each, with their image folders."""
    folders = [folder for folder in survey.images if folder.role is None]
    masks = [folder for folder in folders if _holds_masks(survey.root / folder.path, survey.images[folder])]
    return _merge_scene_folders(_pairs_of(survey, masks))


def _holds_masks(folder: Path, stems: Sequence[str]) -> bool:
    """Return whether a few evenly spaced files of a folder look like masks."""
    chosen = [folder / stem for stem in stems[:: max(1, len(stems) // 5)]]
    files = [
        [p for p in path.parent.glob(f"{glob.escape(path.name)}.*") if p.suffix.lower() in SUFFIXES] for path in chosen
    ]
    return bool(chosen) and all(found and looks_like_mask(found[0]) for found in files)


def _best(survey: Survey, pairs: Sequence[FolderPair]) -> list[FolderPair]:
    """Return the pair of the best image folder whose names agree enough: by its role, its path, and the names."""
    fitting = [pair for pair in pairs if pair.match.share >= ENOUGH]

    def rank(pair: FolderPair) -> tuple[bool, bool]:
        return pair.images.role == "image", pair.images.key == pair.masks.key

    best = [pair for pair in fitting if rank(pair) == max(map(rank, fitting))]
    if len(best) > 1:  # then photographs are images
        photos = [
            pair
            for pair in best
            if not _holds_masks(survey.root / pair.images.path, _stems_below(survey, pair.images.path))
        ]
        best = photos or best
    ranks = [(pair.match.share, pair.match.affixes == Affixes()) for pair in best]
    best = [pair for pair, rank in zip(best, ranks, strict=True) if rank == max(ranks)]
    weak = [pair for pair in best if not classify_name(PurePosixPath(pair.images.path).name).weak]
    return weak or best


def _matched(survey: Survey, image: ImageFolder, mask: ImageFolder) -> FolderPair:
    """Return the pair of two folders; either may be replaced by the only folder below it that holds files."""
    pairs = [
        FolderPair(one, other, match_folders(_stems(survey, one), _stems(survey, other)))
        for one in (image, *_only_folder(survey, image))
        for other in (mask, *_only_folder(survey, mask))
    ]
    return max(pairs, key=lambda pair: pair.match.share)


def _only_folder(survey: Survey, folder: ImageFolder) -> list[ImageFolder]:
    parents = {stem.rpartition("/")[0] for stem in _stems(survey, folder)}
    return [folder._replace(path=f"{folder.path}/{parent}") for parent in parents if parent and len(parents) == 1]


def _subfolders(survey: Survey, folder: ImageFolder) -> list[ImageFolder]:
    """Return the folders directly below a folder, unless they are many, or files are beside them."""
    names = dict.fromkeys(stem.partition("/")[0] for stem in _stems(survey, folder) if "/" in stem)
    beside = any("/" not in stem for stem in _stems(survey, folder))
    return [] if beside or len(names) > 8 else [folder._replace(path=f"{folder.path}/{name}") for name in names]


def _merge_scene_folders(pairs: list[FolderPair]) -> list[FolderPair]:
    """Merge pairs of one split whose folder names repeat (``scene 1/images``, ``scene 2/images``, …)."""
    by_split: dict[str | None, list[FolderPair]] = defaultdict(list)
    for pair in pairs:
        by_split[pair.split].append(pair)
    merged = []
    for several in by_split.values():
        paths = [(PurePosixPath(pair.images.path), PurePosixPath(pair.masks.path)) for pair in several]
        names = {(image.name, mask.name) for image, mask in paths}
        siblings = all(image.parent == mask.parent for image, mask in paths)
        affixes = {pair.match.affixes for pair in several}
        reused = len({image for image, _ in paths}) < len(paths)
        if len(several) == 1 or len(names) > 1 or len(affixes) > 1 or not siblings or reused:
            merged += several
            continue
        ((image_folder, mask_folder),) = names
        parent, match = common_parent([pair.images for pair in several]), several[0].match
        inside = match.affixes._replace(image_folder=image_folder, mask_folder=mask_folder)
        merged.append(FolderPair(parent, parent, match._replace(affixes=inside)))
    return merged


def common_parent(folders: Sequence[ImageFolder]) -> ImageFolder:
    """Return the folder that holds several folders of one split."""
    shared = []
    for level in zip(*(PurePosixPath(folder.path).parts for folder in folders), strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ImageFolder("/".join(shared) or ".", None, folders[0].split, ())


def _stems(survey: Survey, folder: ImageFolder) -> list[str]:
    """Return the stems of a folder of the survey, or of any folder in one."""
    return survey.images[folder] if folder in survey.images else _stems_below(survey, folder.path)


def _stems_below(survey: Survey, path: str) -> list[str]:
    return stems_of(survey, list(survey.images), ImageFolder(path, None, None, ()))


def stems_of(survey: Survey, folders: Sequence[ImageFolder], parent: ImageFolder) -> list[str]:
    """Return the stems of some folders relative to a parent, without those outside of it."""
    paths = [PurePosixPath(folder.path) / stem for folder in folders for stem in survey.images[folder]]
    return [str(path.relative_to(parent.path)) for path in paths if path.is_relative_to(parent.path)]
