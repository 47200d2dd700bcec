"""Images and masks that the user names by a pattern such as ``*_seg``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import NamedTuple

from segmi.datasets.custom.dataset_config import Affixes
from segmi.datasets.custom.name_matching import ENOUGH, Match, match_folders, match_within
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.folder_pairs import FolderPair, common_parent, folders_named, stems_of
from segmi.datasets.detection.survey import ImageFolder, Survey
from segmi.errors import DataError, UsageError


class _Pattern(NamedTuple):
    """The parts of a pattern around its ``*``."""

    folder: str  # the folder before the name, empty for any folder
    prefix: str  # the whole name, if there is no ``*``
    suffix: str
    starred: bool = True

    def strip(self, stem: str) -> str | None:
        """Return the part of a stem that ``*`` stands for, with its folder; None if the stem does not fit."""
        folder, slash, name = stem.rpartition("/")
        rest = name.removeprefix(self.prefix).removesuffix(self.suffix)
        fits = len(rest) == len(name) - len(self.prefix) - len(self.suffix) > 0
        return f"{folder}{slash}{rest}" if fits else None


def is_pattern(survey: Survey, text: str | None) -> bool:
    """Return whether a text is a pattern of file names or the name of a file in every folder, not a folder."""
    if text is None or (PurePosixPath(text).name.count("*") != 1 and not _is_name(survey, text)):
        return False
    try:
        folders_named(survey, text)
    except UsageError:
        return True
    return False


def _is_name(survey: Survey, text: str) -> bool:
    return any(PurePosixPath(f.path, stem).name == text for f, stems in survey.images.items() for stem in stems)


def pattern_pairs(survey: Survey, images: str | None, masks: str | None) -> list[FolderPair]:
    """Return the pairs of the images and masks whose names fit the patterns; None is any other name.

    Raises:
        DataError: too few file names match.
    """
    patterns = _parsed(images), _parsed(masks)
    by_split: dict[str | None, list[ImageFolder]] = defaultdict(list)
    for folder in survey.images:
        by_split[folder.split].append(folder)
    pairs = [pair for folders in by_split.values() if (pair := _pair(survey, folders, *patterns))]
    if not pairs:
        raise DataError(
            f"{printable(survey.root)}: expected masks {masks or 'of any name'} beside images "
            f"{images or 'of any name'}, got too few matching names",
            "write the pattern of the masks as in --masks '*_seg', where * stands for the name of the image",
        )
    return pairs


def _parsed(text: str | None) -> _Pattern | None:
    if text is None:
        return None
    path = PurePosixPath(text)
    name = path.name.removesuffix(path.suffix) if path.suffix.lower() in SUFFIXES else path.name
    prefix, star, suffix = name.partition("*")
    return _Pattern("" if str(path.parent) == "." else str(path.parent), prefix, suffix, bool(star))


def _pair(
    survey: Survey, folders: list[ImageFolder], images: _Pattern | None, masks: _Pattern | None
) -> FolderPair | None:
    """Return the best pair of two folders of a split, of one folder, or of all of them together."""
    whole = common_parent(folders)
    if (images and not images.starred) or (masks and not masks.starred):
        match = match_within(stems_of(survey, folders, whole))
        given = {f"{side}_name": one.prefix for side, one in (("image", images), ("mask", masks)) if one}
        fits = match.affixes.mask_name and match.share >= ENOUGH
        affixes = match.affixes._replace(**given)
        return FolderPair(whole, whole, match._replace(affixes=affixes, bands=())) if fits else None
    options = [(one, other) for one in folders for other in folders if one.role != "mask"]
    options += [(whole, whole)] if whole not in folders else []
    best, most = None, 0.0
    for image, mask in options:
        of_image, of_mask = (stems_of(survey, folders, folder) for folder in (image, mask))
        match, files = _match(of_image, of_mask, images, masks, together=image == mask)
        if match.share >= ENOUGH and match.share * files > most:
            best, most = FolderPair(image, mask, match), match.share * files
    return best


def _match(
    images: list[str], masks: list[str], of_images: _Pattern | None, of_masks: _Pattern | None, *, together: bool
) -> tuple[Match, int]:
    """Return the match of the names that ``*`` stands for, and the number of files that its share counts."""
    stripped = []
    for stems, pattern, other in ((images, of_images, of_masks), (masks, of_masks, of_images)):
        rest = [stem for stem in stems if not (together and other and other.strip(stem) is not None)]
        stripped.append(rest if pattern is None else [s for stem in rest if (s := pattern.strip(stem)) is not None])
    match = match_folders(*stripped)
    given: dict[str, str] = {}
    for side, pattern in (("image", of_images), ("mask", of_masks)):
        if pattern is not None:
            given |= {f"{side}_prefix": pattern.prefix, f"{side}_suffix": pattern.suffix}
    changed = {key: value for key, value in match.affixes._asdict().items() if value}
    if {key.rpartition("_")[0] for key in changed} & {key.rpartition("_")[0] for key in given}:
        return Match(Affixes(), 0.0), 0
    return match._replace(affixes=match.affixes._replace(**given)), min(map(len, stripped))
