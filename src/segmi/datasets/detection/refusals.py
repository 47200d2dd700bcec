"""Errors for folders whose layout is not clear, with the choices."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from segmi.datasets.custom.name_matching import Match, bands_of
from segmi.datasets.decode import SUFFIXES, pages_of, printable
from segmi.datasets.detection.folder_pairs import FolderPair, folders_named
from segmi.datasets.detection.survey import Survey
from segmi.datasets.outlines import find_outlines, unread_formats
from segmi.errors import DataError, UsageError

_MERGE: Final = "merge them: one mask per image with a value per class"
_STACK: Final = (
    'save all bands of an image as one TIFF: tifffile.imwrite(path, numpy.stack(bands), photometric="minisblack", '
    'planarconfig="separate")'
)


def ambiguous_folders(survey: Survey, pairs: Sequence[FolderPair], splits: set[str]) -> DataError | UsageError:
    """Return the error for several folders of masks, or of images, that fit."""
    masks = [printable(pair.masks.path) for pair in pairs]
    images = [printable(pair.images.path) for pair in pairs]
    if len({*images}) == len(pairs) > len({*masks}) == 1:
        choices = " or ".join(
            f"--images {shlex.quote(_name_in_all_splits(survey, pair.images.path, splits))}" for pair in pairs
        )
        return UsageError(
            f"{printable(survey.root)}: expected one folder of images, got {len(pairs)} that fit: {', '.join(images)}",
            f"choose one: {choices} (if each holds one band, {_STACK})",
        )
    same_images = len({*images}) == 1
    if not same_images and (error := _several_per_image(survey)) is not None:
        return error
    choices = " or ".join(
        f"--masks {shlex.quote(_name_in_all_splits(survey, pair.masks.path, splits))}" for pair in pairs
    )
    return UsageError(
        f"{printable(survey.root)}: expected one folder of masks, got {len(masks)} that fit: {', '.join(masks)}",
        f"choose one: {choices} (if each holds one class, {_MERGE})"
        if same_images
        else "give one of the datasets in it, or --images and --masks",
    )


def ambiguous_names(survey: Survey, match: Match) -> UsageError:
    """Return the error for several masks per image, or several images per mask, whose names fit."""
    root, suffix = printable(survey.root), match.affixes.mask_suffix
    if match.bands:
        choices = " or ".join(f"--images {shlex.quote(printable(name))}" for name in match.bands[:6])
        return UsageError(
            f"{root}: expected one image per mask, got {len(match.bands)}: {', '.join(map(printable, match.bands))}",
            f"choose one: {choices} (if each holds one band, {_STACK})",
        )
    names = [f"*{printable(one)}" for one in (suffix, *match.rivals)]
    more = f", … ({len(names)} in all)" if len(names) > 6 else ""
    choices = " or ".join(f"--masks {shlex.quote(name)}" for name in names[:6])
    return UsageError(
        f"{root}: expected one mask per image, got several that fit: {', '.join(names[:6])}{more}",
        f"choose one: {choices}; if each marks one class, {_MERGE}",
    )


def _name_in_all_splits(survey: Survey, path: str, splits: Collection[str | None]) -> str:
    """Return the shortest text for --masks that names this folder in every split."""
    parts = path.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts) - 1, 0, -1)]
    for text in [*ends, without_split(path)] if splits else []:
        with suppress(UsageError):
            named = folders_named(survey, text)
            if len(named) == len(splits) and {folder.split for folder in named} == splits:
                return printable(text)
    return printable(path)


def without_split(path: str) -> str:
    """Return a path with ``*`` in place of the names of splits."""
    return "/".join(
        re.sub(r"(?i)train(ing)?|val(id(ation)?)?|dev|test(ing)?", "*", part, count=1) for part in path.split("/")
    )


def no_layout(survey: Survey) -> DataError | UsageError:
    """Return the error for a folder without any layout that is read."""
    root = printable(survey.root)
    given = "; ".join(
        f"{len(stems)} images in {printable(f.path)} (such as {printable(PurePosixPath(stems[0]).name)})"
        for f, stems in list(survey.images.items())[:6]
    )
    given += "; …" if len(survey.images) > 6 else ""
    has_masks = any(folder.role == "mask" for folder in survey.images)
    if (formats := unread_formats(survey.unread)) and not has_masks:
        read = ", ".join(sorted(SUFFIXES))
        return DataError(f"{root}: expected images and masks as {read}, got {given} and {formats[0]}", formats[1])
    texts = [path for paths in survey.lists.values() for path in paths]
    if (outlines := find_outlines(survey.root, [*survey.json, *texts])) is not None:
        message = f"{root}: expected masks as images, got {outlines.words} in {printable(outlines.path)}"
        return DataError(message, outlines.remedy.format(folder=shlex.quote(root)))
    files = [survey.root / folder.path / stem for folder, stems in survey.images.items() for stem in stems[:2]]
    stacks = [(path, pages) for path in files[:8] if (pages := pages_of(path)) > 1]
    if stacks:
        given = f"stacks such as {printable(stacks[0][0].name)} with {stacks[0][1]} pages"
        return DataError(f"{root}: expected one image per file, got {given}", "save every page as a separate image")
    names = [str(PurePosixPath(folder.path) / stem) for folder, stems in survey.images.items() for stem in stems]
    if bands := bands_of(names):
        choices = " or ".join(f"--images {shlex.quote(f'*{printable(one)}')}" for one in bands[:6])
        return UsageError(
            f"{root}: expected one image per mask, got {len(bands)}: {', '.join(f'*{printable(b)}' for b in bands)}",
            f"choose one: {choices} (if each holds one band, {_STACK})",
        )
    if (error := _several_per_image(survey)) is not None:
        return error
    if not has_masks and len(survey.images) == 1:
        return DataError(
            f"{root}: expected images and masks, got {given} and no file named like their masks",
            "put the masks into a folder masks/ under the images' names, or beside them as NAME_mask.png, or list "
            "images and masks in a table pairs.csv with the columns image and mask",
        )
    return DataError(
        f"{root}: expected images and masks with equal names, got {given}",
        "give an image and its mask the same name in images/ and masks/ (VOC, Cityscapes, SegNet and COCO's panoptic "
        "layout are read too), or list them in a table pairs.csv with the columns image and mask",
    )


def _several_per_image(survey: Survey) -> DataError | None:
    """Return the error for masks of single objects or classes, None if the names show none."""
    if (example := _mask_of_an_object(survey)) is None:
        return None
    return DataError(
        f"{printable(survey.root)}: expected one mask per image, got a mask per object or class ({example})",
        "merge the masks of each image into one file with its name, with a value per class",
    )


def _mask_of_an_object(survey: Survey) -> str | None:
    """Return an example of masks of single objects or classes, None if the names show none."""
    several = [f for f, stems in survey.images.items() if f.role == "mask" and len(stems) > 1]
    single = {
        PurePosixPath(f.path).parent for f, stems in survey.images.items() if f.role == "image" and len(stems) == 1
    }
    objects = [f for f in several if PurePosixPath(f.path).parent in single]
    if objects:
        return f"{len(survey.images[objects[0]])} in {printable(objects[0].path)}"
    tagged = [stem for f in survey.images for stem in survey.images[f] if re.search(r"task-\d+-annotation-\d+", stem)]
    for folder in several:  # 00000_hair, 00000_skin, 00001_hair, …
        names = [PurePosixPath(stem).name for stem in survey.images[folder]]
        words = Counter(word[0] for name in names if (word := re.search(r"[_\-. ][^\W\d][^\d]*$", name)))
        starts = {name[: -len(word)] for name in names for word in words if name.endswith(word)}
        if len(words) > 1 and sum(words.values()) == len(names) and 2 * len(starts) <= len(names):
            return ", ".join(printable(name) for name in sorted(names)[:2])
    return printable(tagged[0]) if tagged else None
