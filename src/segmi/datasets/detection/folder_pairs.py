"""Pairs of an image folder and its mask folder among the folders of a survey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.mask_values import looks_like_mask
from segmi.datasets.detection.name_matching import Match, match_folders, match_within
from segmi.datasets.detection.survey import ImageFolder, Survey, classify_name
from segmi.errors import DataError, UsageError

ENOUGH: Final = 0.5  # two folders belong together if at least this share of their files pairs; the others are reported


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
    stems = dict(survey.images)
    named = {text: _folders_named(survey, text, stems) for text in (images, masks) if text is not None}
    mask_folders = named[masks] if masks is not None else [f for f in survey.images if f.role == "mask"]
    image_folders = named[images] if images is not None else [f for f in survey.images if f not in mask_folders]
    pairs = []
    for mask in mask_folders:
        others = [f for f in image_folders if f.path != mask.path]
        candidates = [f for f in others if f.split == mask.split] or others
        pairs += _best([FolderPair(image, mask, match_folders(stems[image], stems[mask])) for image in candidates])
    if not pairs:
        raise DataError(
            f"{printable(survey.root)}: expected masks in {masks or 'a folder'} named as the images in "
            f"{images or 'another'}, got too few matching names",
            "name both folders, --images DIR --masks DIR, and give an image and its mask the same name",
        )
    return pairs if len({pair.split for pair in pairs}) == len(pairs) else _best(pairs)


def _folders_named(survey: Survey, text: str, stems: dict[ImageFolder, list[str]]) -> list[ImageFolder]:
    """Return the folder with this path, or the folders of splits whose paths end with it."""
    path = str(PurePosixPath(text))
    exact = [folder for folder in survey.images if folder.path == path]
    ending = [folder for folder in survey.images if folder.path.endswith(f"/{path}") and folder.split]
    if exact or ending:
        return exact or ending
    folder = ImageFolder(path, None, None, ())
    stems[folder] = _stems_below(survey, path)
    if not stems[folder]:
        raise UsageError(
            f"{printable(survey.root / text)}: expected images, got none", "name a folder inside the one that is read"
        )
    return [folder]


def panoptic_pairs(survey: Survey) -> list[FolderPair]:
    """Return the pairs of JSON files that have a folder of the same name beside them."""
    pairs = []
    for path in survey.json:
        folder = str(PurePosixPath(path).with_suffix(""))
        masks = _stems_below(survey, folder)
        if not masks:
            continue
        Segments(survey.root / path)  # raises here, before the files are taken for another layout
        mask = ImageFolder(folder, "mask", classify_name(PurePosixPath(folder).name).split, ())
        pairs += _best(
            FolderPair(image, mask, match_folders(stems, masks), path)
            for image, stems in survey.images.items()
            if not PurePosixPath(image.path).is_relative_to(folder) and image.role in (None, "image")
        )
    return pairs


def pairs_by_role(survey: Survey) -> list[FolderPair]:
    """Return each folder whose name says that it holds masks, with its image folder."""
    pairs = []
    for mask in (folder for folder in survey.images if folder.role == "mask"):
        others = [f for f in survey.images if f.role in (None, "image")]
        candidates = [f for f in others if f.split == mask.split] or [f for f in others if f.split is None]
        pairs += _best(_matched(survey, image, mask) for image in candidates)
    return _merge_scene_folders(pairs)


def pairs_side_by_side(survey: Survey) -> list[FolderPair]:
    """Return the folders that hold images and masks with different names; many of them are merged to one per split."""
    by_split: dict[str | None, list[ImageFolder]] = defaultdict(list)
    for folder in survey.images:
        if folder.role != "other":
            by_split[folder.split].append(folder)
    pairs = []
    for folders in by_split.values():
        single = [FolderPair(folder, folder, match_within(survey.images[folder])) for folder in folders]
        fitting = [pair for pair in single if pair.match.share >= ENOUGH]
        if len(folders) > 1 and len(fitting) != 1:
            whole = _common_parent(folders)
            fitting = [FolderPair(whole, whole, match_within(_stems_of(survey, folders, whole)))]
        pairs += [pair for pair in fitting if pair.match.share >= ENOUGH]
    return pairs


def pairs_by_content(survey: Survey) -> list[FolderPair]:
    """Return two folders with equal file names, if the files of one have few values each."""
    folders = [folder for folder in survey.images if folder.role != "other"]
    if len(folders) != 2:
        return []
    first, second = (_holds_masks(survey.root / folder.path, survey.images[folder]) for folder in folders)
    image, mask = folders[::-1] if first else folders
    return [] if first == second else _best([_matched(survey, image, mask)])


def _holds_masks(folder: Path, stems: Sequence[str]) -> bool:
    """Return whether a few evenly spaced files of a folder look like masks."""
    chosen = [folder / stem for stem in stems[:: max(1, len(stems) // 5)]]
    return all(
        looks_like_mask(next(p for p in path.parent.iterdir() if p.stem == path.name and p.suffix.lower() in SUFFIXES))
        for path in chosen
    )


def _best(pairs: Iterable[FolderPair]) -> list[FolderPair]:
    """Return the pair whose folders and names agree most, if they agree enough."""
    best = max(
        pairs,
        key=lambda pair: (pair.images.key == pair.masks.key, pair.match.share, pair.images.role == "image"),
        default=None,
    )
    return [best] if best is not None and best.match.share >= ENOUGH else []


def _matched(survey: Survey, image: ImageFolder, mask: ImageFolder) -> FolderPair:
    """Return the pair of two folders; either may be replaced by the only folder below it that holds files."""
    images, masks = (image, survey.images[image]), (mask, survey.images[mask])
    pairs = [
        FolderPair(one[0], other[0], match_folders(one[1], other[1]))
        for one in (images, _deeper(*images))
        for other in (masks, _deeper(*masks))
    ]
    return max(pairs, key=lambda pair: pair.match.share)


def _deeper(folder: ImageFolder, stems: Sequence[str]) -> tuple[ImageFolder, Sequence[str]]:
    parents = {stem.rpartition("/")[0] for stem in stems}
    if len(parents) != 1 or "" in parents:
        return folder, stems
    (parent,) = parents
    return folder._replace(path=str(PurePosixPath(folder.path) / parent)), [s.rpartition("/")[2] for s in stems]


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
        parent, match = _common_parent([pair.images for pair in several]), several[0].match
        inside = match.affixes._replace(image_folder=image_folder, mask_folder=mask_folder)
        merged.append(FolderPair(parent, parent, match._replace(affixes=inside)))
    return merged


def _common_parent(folders: Sequence[ImageFolder]) -> ImageFolder:
    """Return the folder that holds several folders of one split."""
    shared = []
    for level in zip(*(PurePosixPath(folder.path).parts for folder in folders), strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ImageFolder("/".join(shared) or ".", None, folders[0].split, ())


def _stems_below(survey: Survey, path: str) -> list[str]:
    return _stems_of(survey, list(survey.images), ImageFolder(path, None, None, ()))


def _stems_of(survey: Survey, folders: Sequence[ImageFolder], parent: ImageFolder) -> list[str]:
    """Return the stems of some folders relative to a parent, without those outside of it."""
    paths = [PurePosixPath(folder.path) / stem for folder in folders for stem in survey.images[folder]]
    return [str(path.relative_to(parent.path)) for path in paths if path.is_relative_to(parent.path)]
