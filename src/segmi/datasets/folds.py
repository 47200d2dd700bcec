"""Cross-validation by group: one fold of a dataset as a dataset with the splits ``train`` and ``val``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

from segmi.datasets.image_format import ImageArray
from segmi.datasets.reader import DatasetReader, Listing, Pixels, Sample
from segmi.errors import UsageError, counted
from segmi.randomness import key

POOLED: Final = ("train", "val")
"""Splits whose images are divided into folds."""


def assign_folds(groups: Sequence[str], folds: int) -> list[int]:
    """Return the fold of each image, from 0, so that no group is in two folds.

    Large groups come first, each to the fold with the fewest images so far; groups of equal size have an order that
    depends on their names only.

    Args:
        groups: the group of each image.
        folds: number of folds.

    Raises:
        UsageError: if there are fewer than two folds, or fewer groups than folds.

    Example:
        >>> assign_folds(["a", "a", "a", "b", "c"], 2)
        [0, 0, 0, 1, 1]
    """
    sizes = Counter(groups)
    if folds < 2:
        raise UsageError(f"expected at least 2 folds, got {folds}", "use --folds 5")
    if len(sizes) < folds:
        groups_given = f"{counted(len(sizes), 'group')} of {counted(len(groups), 'image')}"
        remedy = "use fewer folds, or correct `group` in segmi.toml if more images are independent"
        raise UsageError(f"expected at least {folds} groups of images for {folds} folds, got {groups_given}", remedy)
    images, fold_of = [0] * folds, {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], key(0, "folds", group))):
        fold_of[group] = min(range(folds), key=images.__getitem__)
        images[fold_of[group]] += sizes[group]
    return [fold_of[group] for group in groups]


def parse_fold(text: object) -> tuple[int, int]:
    """Return the number of a fold and the number of folds from the option ``fold`` of a dataset, ``2/5``.

    Raises:
        UsageError: if it has another form.
    """
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"expected a fold such as 2/5, got {text!r}", "write the number of the fold / all folds")
    return int(match[1]), int(match[2])


@final
class Fold(DatasetReader):
    """One fold of another dataset: its images are ``val``, all other images are ``train``.

    The folds divide the images of train and val of the other dataset, in whole groups; its test is left alone. If train
    and val have images of the same name, the names of all images begin with their split.

    Args:
        dataset: the other dataset.
        number: number of this fold, from 1.
        folds: number of folds.

    Raises:
        UsageError: if there are fewer groups than folds.
    """

    splits = ("train", "val")

    def __init__(self, dataset: DatasetReader, number: int, folds: int) -> None:
        self.dataset, self.number, self.folds = dataset, number, folds
        self.info = replace(dataset.info, title=f"{dataset.info.title}, fold {number} of {folds}")
        self.root, self.image_format = dataset.root, dataset.image_format
        self.config: Any = getattr(dataset, "config", None)  # of a folder with segmi.toml

    @cached_property
    def samples(self) -> list[Sample]:
        """The images of all folds in the order of the other dataset."""
        parts = {split: self.dataset.split(split) for split in POOLED if split in self.dataset.splits}
        names = Counter(sample.name for samples in parts.values() for sample in samples)
        if max(names.values()) == 1:
            return [sample for samples in parts.values() for sample in samples]
        return [
            sample._replace(
                name=f"{split}-{sample.name}",
                # An image without a group has its name as the group.
                group=f"{split}-{sample.group}" if sample.group == sample.name else sample.group,
            )
            for split, samples in parts.items()
            for sample in samples
        ]

    @cached_property
    def _fold_of(self) -> list[int]:
        return assign_folds([sample.group for sample in self.samples], self.folds)

    def listing(self, split: str) -> Listing:
        """Return the images of this fold, or of the others."""
        in_fold = split == "val"
        pairs = zip(self.samples, self._fold_of, strict=True)
        return Listing([sample for sample, fold in pairs if (fold == self.number - 1) == in_fold])

    def cached_split(self, split: str) -> tuple[str, list[Sample]]:
        """Return all images: the folds share one cache entry."""
        return "folds", self.samples

    def read_image(self, sample: Sample) -> ImageArray:
        """Return the image, see `DatasetReader.read_image`."""
        return self.dataset.read_image(sample)

    def read_mask(self, sample: Sample) -> Pixels:
        """Return the labels, see `DatasetReader.read_mask`."""
        return self.dataset.read_mask(sample)

    def read(self, sample: Sample) -> tuple[ImageArray, Pixels]:
        """Return the image and the labels, see `DatasetReader.read`."""
        return self.dataset.read(sample)

    def mask_values(self, path: Path) -> Pixels:
        """Return the values of a mask file, see `DatasetReader.mask_values`."""
        return self.dataset.mask_values(path)

    def decoding_key(self) -> tuple[Hashable, ...]:
        """Return the key of the other dataset, which decodes the files."""
        return self.dataset.decoding_key()
