"""The dataset that a data-set file describes."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from segmi.datasets.custom.description import FILE_NAME, Description, Part
from segmi.datasets.custom.file import read_description
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import decode_mask, indices_of, printable
from segmi.datasets.holdout import draw_groups
from segmi.datasets.layout import Files, find_root, image_files, pair, read_list
from segmi.datasets.palette import ids_of_colors
from segmi.datasets.reader import DatasetReader, Listing, Pixels, Problem

OWN_PREFIX: Final = "segmi-"
"""How images begin that segmi itself writes into a folder, such as the contact sheet; they are no data."""


class CustomDataset(DatasetReader):
    """A folder with a data-set file, ``segmi.toml``, as `segmi data init` writes it.

    Args:
        root: the folder that holds the file; None: ``SEGMI_DATA``.

    Raises:
        DataError: there is no such file, or it cannot be meant.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = find_root("a folder with a data-set file", root, usual=(), needed=())
        self._take(read_description(self.root / FILE_NAME))

    @classmethod
    def proposed(cls, root: Path, description: Description) -> CustomDataset:
        """The dataset that a folder would be with this file."""
        self = cls.__new__(cls)
        self.root = root
        self._take(description)
        return self

    def _take(self, description: Description) -> None:
        self.description = description
        self.info = description.info()
        self.splits = description.splits
        self._group = None if description.group is None else re.compile(description.group)

    def listing(self, split: str) -> Listing:
        """The images of the split, by name or in the order of its list."""
        drawn = self.description.drawn
        source = "train" if split in drawn else split
        part = self.description.parts[source]
        images, masks = self._files(part)
        stems, problems = self._stems(part, images, masks)
        groups = {stem: self._group_of(stem, part) for stem in stems}
        problems += [self._ungrouped(stem) for stem, group in groups.items() if group is None]
        group_of = {stem: group or printable(stem) for stem, group in groups.items()}
        if drawn and source == "train":
            chosen = self._drawn([group_of[stem] for stem in stems])
            if stems and not all(chosen[name] for name in drawn):
                count = len(set(group_of.values()))
                what = f"expected at least {len(drawn) + 1} groups to draw {' and '.join(drawn)} from, got {count}"
                problems.append(Problem(printable(self.root / part.images), what, "add images of other groups"))
            held = {group for groups in chosen.values() for group in groups}
            stems = [s for s in stems if (group_of[s] in chosen[split] if split in chosen else group_of[s] not in held)]
        ending = f"{self.description.affixes.mask_suffix}.png"
        samples, unpaired = pair(images, masks, group=group_of.__getitem__, stems=stems, mask_ending=ending)
        return Listing(samples, [*problems, *unpaired])

    def native_mask(self, path: Path) -> Pixels:
        """The native ids of a mask, H×W uint8."""
        mask = decode_mask(path)
        if self.description.masks == "index":
            return indices_of(mask, path)
        if self.description.masks == "panoptic":
            places = {v: p for p, one in enumerate(self.description.classes) for v in one.values if isinstance(v, int)}
            return self._segments_of(path).labels(mask, path, places)
        colors, ids = self.description.color_ids()
        remedy = f"add the color to the classes or to ignored in {printable(self.root / FILE_NAME)}, or mend the mask"
        return ids_of_colors(np.array(mask.convert("RGB")), colors, ids, path, remedy=remedy)

    def reading(self) -> tuple[Hashable, ...]:
        """What the values of the masks mean."""
        digests = tuple(segments.digest for segments in self._segments.values())
        said = self.description
        return (*super().reading(), said.masks, said.classes, said.ignored, digests)

    @cached_property
    def _segments(self) -> dict[str, Segments]:
        """By the folder of the masks, what explains them."""
        parts = self.description.parts.values()
        return {part.masks: Segments(self.root / part.panoptic) for part in parts if part.panoptic is not None}

    def _segments_of(self, path: Path) -> Segments:
        inside = path.relative_to(self.root).as_posix()
        return next(segments for folder, segments in self._segments.items() if inside.startswith(f"{folder}/"))

    def _files(self, part: Part) -> tuple[Files, Files]:
        """Images and masks by what their names have in common."""
        said = self.description.affixes
        masks = _trimmed(
            image_files(self.root / part.masks, stem_ending=said.mask_suffix),
            _Around(said.mask_prefix, said.mask_folder, said.mask_name),
        )
        together = part.images == part.masks
        images = _trimmed(
            image_files(self.root / part.images, stem_ending=said.image_suffix),
            _Around(said.image_prefix, said.image_folder, said.image_name),
            exclude=masks.by_stem.values() if together else (),
        )
        if together:  # which one of two files of a stem is meant is then told by its affixes alone
            images, masks = images._replace(problems=[]), masks._replace(problems=[])
        return images, masks

    def _stems(self, part: Part, images: Files, masks: Files) -> tuple[list[str], list[Problem]]:
        if part.names is not None:
            entries, problems = read_list(self.root / part.names, folders_allowed=True)
            return self._paired([stem_of(entry.text, images) for entry in entries], images, masks), problems
        if part.panoptic is not None:
            affixes = self.description.affixes
            listed = [PurePosixPath(mask).stem for _, mask in self._segments[part.masks].pairs]
            stems = [one.removeprefix(affixes.mask_prefix).removesuffix(affixes.mask_suffix) for one in listed]
            return self._paired(stems, images, masks), []
        stems = sorted(images.by_stem.keys() | masks.by_stem.keys())
        return self._paired(stems, images, masks), [*images.problems, *masks.problems]

    def _paired(self, stems: list[str], images: Files, masks: Files) -> list[str]:
        """All of them, or those with image and mask where others are left out."""
        if not self.description.pairs_only:
            return stems
        return [stem for stem in stems if stem in images.by_stem and stem in masks.by_stem]

    def _drawn(self, groups: list[str]) -> dict[str, set[str]]:
        """Whole groups for each split that is drawn, first val, then test from what is left."""
        chosen: dict[str, set[str]] = {}
        left = groups
        for name, share in self.description.drawn.items():
            chosen[name] = draw_groups(left, share * len(groups) / max(len(left), 1), self.description.seed)
            left = [group for group in left if group not in chosen[name]]
        return chosen

    def _group_of(self, stem: str, part: Part) -> str | None:
        if self._group is None:  # 1.png of train and 1.png of val are two images
            several = len({one.images for one in self.description.parts.values()}) > 1
            return printable(f"{part.images}/{stem}" if several else stem)
        match = self._group.search(stem)
        return printable(match.group(1 if self._group.groups else 0) or "") if match else None

    def _ungrouped(self, stem: str) -> Problem:
        pattern = self._group.pattern if self._group else ""
        what = f"expected a name in which the group {pattern!r} is found, got {printable(stem)!r}"
        return Problem(printable(stem), what, f"correct `group` in {FILE_NAME}, or the name")


class _Around(NamedTuple):
    """What stands around the common part of the names of images, or of masks; see `Affixes`."""

    prefix: str
    folder: str
    name: str

    def common(self, stem: str) -> str | None:
        """The common part of a stem; None where it is not called so."""
        *folders, name = stem.split("/")
        if self.folder:
            if self.folder not in folders:
                return None
            folders.remove(self.folder)
        if self.name:
            return "/".join(folders) if name == self.name and folders else None
        rest = name.removeprefix(self.prefix)
        return "/".join([*folders, rest]) if rest and name.startswith(self.prefix) else None


def _trimmed(files: Files, around: _Around, exclude: Iterable[Path] = ()) -> Files:
    """Files by the common part of their names; those of segmi and the excluded ones are left out."""
    left_out = set(exclude)
    by_stem = {}
    for stem, path in files.by_stem.items():
        own = path.name.startswith(OWN_PREFIX) and path.parent == files.folder
        common = around.common(stem)
        if common is not None and path not in left_out and not own:
            by_stem[common] = path
    return files._replace(by_stem=by_stem)


def stem_of(line: str, images: Files) -> str:
    """The image that a line of a list means: its name, with or without folder and ending, or before its mask's."""
    fields = line.split(" ")
    for text in (line, " ".join(fields[: len(fields) // 2 or 1]), fields[0]):
        path = PurePosixPath(text)
        for stem in (text, str(path.with_suffix("")) if path.name else text, path.name, path.stem):
            if stem in images.by_stem:
                return stem
    return line
