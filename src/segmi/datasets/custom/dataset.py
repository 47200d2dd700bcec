"""The dataset that ``segmi.toml`` describes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from segmi.datasets.custom.config_file import read_config
from segmi.datasets.custom.dataset_config import FILE_NAME, NO_AFFIXES, CustomConfig, SplitFolders
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import decode_levels, decode_mask, indices_of, printable
from segmi.datasets.group_table import group_names
from segmi.datasets.layout import Files, find_root, image_files, read_list, split_listing, stem_of
from segmi.datasets.pair_table import classify_split, pair_files, read_pairs
from segmi.datasets.palette import values_of_colors
from segmi.datasets.reader import DatasetReader, Listing, Pixels, Problem
from segmi.datasets.value_range import percentile_range
from segmi.errors import DataError

OWN_PREFIX: Final = "segmi-"
"""The prefix of images that segmi writes into a folder, such as the contact sheet; they are not read."""


class CustomDataset(DatasetReader):
    """A folder described by its file ``segmi.toml``, which `segmi data init` writes.

    Args:
        root: the folder that holds the file; None: ``$SEGMI_DATA``. The file can name another folder with the data.

    Raises:
        DataError: the file is missing or invalid, or the folder that it names does not exist.
    """

    root: Path

    def __init__(self, root: str | Path | None = None) -> None:
        folder = find_root("a dataset with segmi.toml", root, usual=(), needed=())
        config = read_config(folder / FILE_NAME)
        self.root = folder / (config.root or "")
        if not self.root.is_dir():
            given = f"expected the data in root = {printable(self.root)}, got no folder"
            remedy = "correct `root` in the file, or write the file again with `segmi data init`"
            raise DataError(f"{printable(folder / FILE_NAME)}: {given}", remedy)
        self._configure(config)

    @classmethod
    def from_config(cls, root: Path, config: CustomConfig) -> CustomDataset:
        """Return the dataset of a folder with this content of ``segmi.toml``; the file is not needed."""
        self = cls.__new__(cls)
        self.root = root
        self._configure(config)
        return self

    def _configure(self, config: CustomConfig) -> None:
        self.config = config
        self.info = config.info()
        self.splits = config.splits
        self._group = None if config.group is None else re.compile(config.group)
        self.image_format = config.images
        if config.images.value_range == "percentiles":
            images = [one.image for one in self.split("train") if isinstance(one.image, Path)]
            self.image_format = replace(config.images, value_range=percentile_range(images, config.images))

    def listing(self, split: str) -> Listing:
        """Return the pairs of the split, by name or in the order of its list."""
        drawn = self.config.drawn
        source = "train" if split in drawn else split
        part = self.config.parts[source]
        images, masks = self._files(part)
        stems, problems = self._stems(part, images, masks)
        # With several image folders, 1.png of train and 1.png of val are different groups. So are train_1.png and
        # val_1.png.
        origins = {one: _origin(one) for one in self.config.parts.values()}
        samples, unpaired = split_listing(
            split,
            images,
            masks,
            stems,
            group=self._group if self.config.groups is None else group_names(self.root / self.config.groups, images),
            contiguous=self.config.contiguous,
            prefix=origins[part] if len({*origins.values()}) > 1 else "",
            shares=drawn if source == "train" else {},
            seed=self.config.seed,
            mask_ending=f"{self.config.affixes_of(part).mask_suffix}.png",
        )
        return Listing(samples, [*problems, *unpaired])

    def mask_values(self, path: Path) -> Pixels:
        """Return the values of an index mask, the train ids of any other, H×W uint8."""
        if self.config.threshold is not None:
            levels = decode_levels(path, self.image_format.orientation)
            return np.where(levels >= self.config.threshold, 255, 0).astype(np.uint8)
        mask = decode_mask(path, self.image_format.orientation)
        if self.config.masks == "index":
            return indices_of(mask, path)
        if self.config.masks == "panoptic":
            train_ids = {v: i for i, one in enumerate(self.config.classes) for v in one.values if isinstance(v, int)}
            inside = path.relative_to(self.root).as_posix()
            segments = next(one for folder, one in self._segments.items() if inside.startswith(f"{folder}/"))
            return segments.labels(mask, path, train_ids)
        colors, values = self.config.color_values()
        remedy = f"add the color to the classes or to ignored in {FILE_NAME}, or correct the mask"
        return values_of_colors(np.array(mask.convert("RGB")), colors, values, path, remedy=remedy)

    def class_values(self) -> list[int] | list[tuple[int, int, int]]:
        """Return the first value of each class in ``segmi.toml``: a number, a category id, or a color."""
        return [one.values[0] for one in self.config.classes]  # type: ignore[return-value]  # all of one type

    def decoding_key(self) -> tuple[Hashable, ...]:
        """Return the meaning of the mask values."""
        digests = tuple(segments.digest for segments in self._segments.values())
        config = self.config
        return (*super().decoding_key(), config.masks, config.classes, config.ignored, config.threshold, digests)

    @cached_property
    def _segments(self) -> dict[str, Segments]:
        """The panoptic JSON file of each mask folder."""
        parts = self.config.parts.values()
        return {part.masks: Segments(self.root / part.panoptic) for part in parts if part.panoptic is not None}

    def _files(self, part: SplitFolders) -> tuple[Files, Files]:
        """Return images and masks by the shared part of their names."""
        if part.pairs is not None:
            rows = read_pairs(self.root / part.pairs)
            name = next((name for name, one in self.config.parts.items() if one is part), "")
            of_split = [row for row in rows if not row.split or classify_split(row.split) == name]
            return pair_files(self.root, self.root / part.pairs, of_split)
        affixes = self.config.affixes_of(part)
        mask_name = _NamePattern(affixes.mask_prefix, affixes.mask_infix, affixes.mask_folder, affixes.mask_name)
        image_name = _NamePattern(affixes.image_prefix, affixes.image_infix, affixes.image_folder, affixes.image_name)
        masks = _shared(image_files(self.root / part.masks, stem_ending=affixes.mask_suffix), mask_name)
        images = image_files(self.root / part.images, stem_ending=affixes.image_suffix)
        if part.images != part.masks:
            images = _shared(_outside(images, self.root / part.masks), image_name)
            masks = _outside(masks, self.root / part.images)
            return images, _without_companions(masks, images.by_stem)
        # Side by side, the affixes alone decide between two files with the same stem.
        if affixes.image_suffix and affixes._replace(image_suffix="") == NO_AFFIXES:
            images = _shared(images, image_name)
            masks = _shared(masks, mask_name, exclude=images.by_stem.values())
            return images._replace(problems=[]), masks._replace(problems=[])
        images = _shared(images, image_name, exclude=masks.by_stem.values())
        images = _without_companions(images, masks.by_stem)
        return images._replace(problems=[]), masks._replace(problems=[])

    def unused_files(self) -> list[Path]:
        """Return the files beside masks that are neither masks nor images by their names, such as ``a_parts.png``."""
        unused: dict[Path, None] = {}
        files = [one for part in self.config.parts.values() for one in self._files(part)]
        used = {path for one in files for path in one.by_stem.values()}  # splits can share a folder
        for part in self.config.parts.values():
            affixes = self.config.affixes_of(part)
            if affixes.mask_folder or affixes.mask_name or part.pairs is not None:
                continue
            found = image_files(self.root / part.masks)
            found = found if part.masks == part.images else _outside(found, self.root / part.images)
            unused |= dict.fromkeys(p for p in found.by_stem.values() if p not in used and not _is_own(p, found.folder))
        return list(unused)

    def _stems(self, part: SplitFolders, images: Files, masks: Files) -> tuple[list[str], list[Problem]]:
        problems: list[Problem] = []
        if part.names is not None:
            lines, problems = read_list(self.root / part.names, folders_allowed=True)
            stems = [stem_of(line.text, images) for line in lines]
        elif part.panoptic is not None:
            affixes = self.config.affixes_of(part)
            listed = [PurePosixPath(mask).stem for _, mask in self._segments[part.masks].pairs]
            stems = [one.removeprefix(affixes.mask_prefix).removesuffix(affixes.mask_suffix) for one in listed]
        else:
            stems = sorted(images.by_stem.keys() | masks.by_stem.keys())
            problems = [*images.problems, *masks.problems]
        if self.config.pairs_only:
            stems = [stem for stem in stems if stem in images.by_stem and stem in masks.by_stem]
        return stems, problems


def _origin(part: SplitFolders) -> str:
    own = part.affixes or NO_AFFIXES
    return f"{part.images}/{own.image_prefix}{own.image_suffix}"


class _NamePattern(NamedTuple):
    """What surrounds the shared part of the names of images, or of masks; see `Affixes`."""

    prefix: str
    infix: str
    folder: str
    name: str

    def shared_part(self, stem: str) -> str | None:
        """Return the shared part of a stem; None if the stem does not match."""
        *folders, name = stem.split("/")
        if self.folder:
            if self.folder not in folders:
                return None
            folders.remove(self.folder)
        if self.name:
            return "/".join(folders) if name == self.name and folders else None
        rest = name.removeprefix(self.prefix).replace(self.infix, "", 1)
        return "/".join([*folders, rest]) if rest and name.startswith(self.prefix) and self.infix in name else None


def _outside(files: Files, other: Path) -> Files:
    """Return the files of a folder without those in the folder that leads to the other one, if it is inside."""
    if not other.is_relative_to(files.folder):
        return files
    inner = f"{other.relative_to(files.folder).parts[0]}/"
    return files._replace(by_stem={stem: path for stem, path in files.by_stem.items() if not stem.startswith(inner)})


def _shared(files: Files, pattern: _NamePattern, exclude: Iterable[Path] = ()) -> Files:
    """Return files by the shared part of their names, without segmi's own and the excluded ones."""
    excluded = set(exclude)
    by_stem = {}
    for stem, path in files.by_stem.items():
        shared = pattern.shared_part(stem)
        if shared is not None and path not in excluded and not _is_own(path, files.folder):
            by_stem[shared] = path
    return files._replace(by_stem=by_stem)


def _is_own(path: Path, folder: Path) -> bool:
    return path.name.startswith(OWN_PREFIX) and path.parent == folder


def _without_companions(files: Files, others: Mapping[str, Path]) -> Files:
    """Return files, except unpaired ones whose names extend the name of a pair: ``a_parts`` beside the pair ``a``.

    Several pairs must have the same extension, in words or as a folder, so that no image is left out by chance.
    """
    extended: dict[str, list[str]] = defaultdict(list)
    for stem in files.by_stem.keys() - others.keys():
        for cut in re.finditer(r"(?<=[^/])[_\-. /]", stem):
            if stem[: cut.start()] in others and stem[: cut.start()] in files.by_stem:
                rest = "/" if cut[0] == "/" else re.sub(r"\d+", "#", stem[cut.start() :])
                extended[rest].append(stem)
                break
    companions = {
        stem
        for rest, stems in extended.items()
        if len(stems) > 1 and (rest == "/" or re.search(r"[^\W\d_]", rest))
        for stem in stems
    }
    return files._replace(by_stem={stem: path for stem, path in files.by_stem.items() if stem not in companions})
