"""The interface of every dataset: facts, named splits, and images with masks that can be listed and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.bands import decode_image
from segmi.datasets.decode import decode_mask, indices_of, printable
from segmi.datasets.image_format import RGB, ImageArray, ImageFormat
from segmi.errors import DataError, SegmiError, counted, together, unknown_name
from segmi.types import IGNORE_INDEX

UNKNOWN: Final = -1  # the lookup entry of a mask value that is neither a class nor ignored
Pixels: TypeAlias = NDArray[np.uint8]

ResizeMode: TypeAlias = Literal["exact", "shorter"]
"""Resize to a square, or scale the shorter side and keep the aspect ratio; see `Processing`."""


@runtime_checkable
class GeneratedImage(Protocol):
    """An image or mask that is generated on every access; picklable and deterministic.

    It can be cached if it has a method ``cache_key() -> str`` that identifies its pixels.
    """

    def draw(self) -> Pixels:
        """Return H×W×3 RGB for an image, H×W mask values for a mask."""
        ...


Source: TypeAlias = Path | GeneratedImage


class Sample(NamedTuple):
    """One image with its mask."""

    image: Source  # the image file or generated image
    mask: Source  # the mask file or generated mask
    name: str  # unique in its split
    group: str  # images of one group (city, video clip, patient) are not independent; the name for ungrouped images

    def file(self, part: str) -> str:
        """Return the printable path of ``part``, "image" or "mask", or a description of a generated one."""
        source = self.image if part == "image" else self.mask
        return printable(source) if isinstance(source, Path) else f"{part} of {self.name}"


class Problem(NamedTuple):
    """One thing that is wrong with a file or folder of a dataset."""

    file: str  # the file or folder, printable
    message: str  # the defect, with the expected and the given value
    remedy: str  # how to fix it

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class Listing(NamedTuple):
    """The image-mask pairs of a split and the problems found while pairing."""

    samples: list[Sample]
    problems: list[Problem] = []  # noqa: RUF012  (the default of a NamedTuple; never modified)


@dataclass(frozen=True)
class DatasetInfo:
    """The facts about a dataset that do not depend on its files."""

    name: str  # as in study files and on the command line
    title: str  # as in tables
    classes: tuple[str, ...]  # names, index = train id
    # 256 RGB colors, index = train id; entry 255 is the color of ignored pixels
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)
    ignored: int | None  # mask value of ignored pixels, None without any; of several, the one that means "unlabeled"
    # 256 entries: mask value → train id, ``IGNORE_INDEX`` if ignored, ``UNKNOWN`` for a value that must not occur
    lookup: tuple[int, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.palette) != 256 or len(self.lookup) != 256:
            raise ValueError(
                f"expected 256 entries in palette and lookup of {self.name!r}, "
                f"got {len(self.palette)} and {len(self.lookup)}"
            )
        allowed = {*range(len(self.classes)), IGNORE_INDEX, UNKNOWN}
        if not allowed.issuperset(self.lookup):
            raise ValueError(
                f"expected train ids of {len(self.classes)} classes in lookup of {self.name!r}, "
                f"got {sorted(set(self.lookup) - allowed)}"
            )

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        return np.array(self.lookup, dtype=np.int16)

    def train_ids(self, values: Pixels, *, file: str = "mask") -> Pixels:
        """Return ``lookup[values]``: mask values as train ids.

        Shapes: H×W → H×W, both uint8.

        Raises:
            DataError: a value is neither a class nor ignored; the message names ``file`` and the values.

        Example:
            >>> palette = ((0, 0, 0),) * 256
            >>> info = DatasetInfo("x", "X", ("a", "b"), palette, ignored=9, lookup=lookup_of({0: 0, 1: 1, 9: 255}))
            >>> info.train_ids(np.array([[0, 1, 9]], dtype=np.uint8)).tolist()
            [[0, 1, 255]]
        """
        mapped = self._table[values]
        if mapped.size and mapped.min() < 0:
            raise self._unknown_values(np.bincount(values.ravel(), minlength=256), file)
        return mapped.astype(np.uint8)

    def _unknown_values(self, counts: NDArray[np.int64], file: str) -> DataError:
        unknown = [int(value) for value in np.flatnonzero(counts) if self.lookup[value] == UNKNOWN]
        share = counts[unknown].sum() / counts.sum()
        listing = ", ".join(map(str, unknown[:10])) + (f", … ({len(unknown)} in all)" if len(unknown) > 10 else "")
        ignored = "none" if self.ignored is None else self.ignored
        known = ranges(value for value, train_id in enumerate(self.lookup) if train_id != UNKNOWN)
        return DataError(
            f"{file}: expected the values {known} ({len(self.classes)} classes of {self.name}, ignored: {ignored}), "
            f"got also {listing} ({share:.1%} of the pixels)",
            self._unknown_value_remedy(unknown),
        )

    def _unknown_value_remedy(self, unknown: Sequence[int]) -> str:
        if self.name == "custom":
            return "add the values to the classes or to ignored in segmi.toml, or correct the mask"
        if self.name != "folder":
            return "restore the original file of the dataset; this one was converted, scaled or damaged"
        if unknown == [255] and self.ignored is None:
            return (
                "if 255 marks ignored pixels, set ignored=255 or add a line `ignored 255` to classes.txt; if it is a "
                "class, give the classes colors in classes.txt (`lesion 255 255 255`) and set masks=color"
            )
        return "add the missing classes or the ignored value to classes.txt, or correct the mask"


def lookup_of(train_ids: Mapping[int, int]) -> tuple[int, ...]:
    """Return the 256-entry lookup for a mapping mask value → train id; every other value is ``UNKNOWN``.

    Example:
        >>> lookup_of({0: 255, 1: 0})[:3]
        (255, 0, -1)
    """
    return tuple(train_ids.get(value, UNKNOWN) for value in range(256))


def ranges(values: Iterable[int]) -> str:
    """Format sorted integers as ranges: ``ranges([0, 1, 2, 255])`` is ``'0–2, 255'``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


class DatasetReader(ABC):
    """Images with masks in named splits.

    A subclass sets ``info`` and ``splits`` in its constructor and implements `listing`; one that has mask files of its
    own kind overrides `mask_values`. Readers never write, and can be pickled to worker processes.
    """

    info: DatasetInfo
    splits: tuple[str, ...]
    root: Path | None = None
    """The folder of the files; None for generated datasets."""
    image_format: ImageFormat = RGB
    """The bands of the image files that are read, and their value range."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """Return the pairs of one of ``self.splits`` in a fixed order, and the problems of pairing; reads no image."""

    def split(self, name: str) -> list[Sample]:
        """Return the samples of a split in a fixed order.

        Raises:
            UsageError: the dataset has no such split.
            DataError: files are missing or listed twice (all are named), or the split is empty.
        """
        if name not in self.splits:
            raise unknown_name(f"split of {self.info.name}", name, self.splits)
        samples, problems = self.listing(name)
        if problems:
            count = counted(len(problems), "problem")
            raise combined_error(f"{count} in split {name!r} of {self.info.name}", problems)
        if not samples:
            raise self.empty_split(name)
        return samples

    def cached_split(self, split: str) -> tuple[str, list[Sample]]:
        """Return name and samples of the cache entry that has the images of a split."""
        return split, self.split(split)

    def read_image(self, sample: Sample) -> ImageArray:
        """Return the image as H×W×C, uint8 RGB or as `image_format` says; see `segmi.datasets.decode`.

        Raises:
            DataError: the file cannot be read as an image.
        """
        source = sample.image
        return decode_image(source, self.image_format) if isinstance(source, Path) else source.draw()

    def read_mask(self, sample: Sample) -> Pixels:
        """Return the labels as H×W uint8 train ids, ``IGNORE_INDEX`` for ignored pixels.

        Raises:
            DataError: the file cannot be read as a mask, or has a value that is neither a class nor ignored.
        """
        values = self.mask_values(sample.mask) if isinstance(sample.mask, Path) else sample.mask.draw()
        return self.info.train_ids(values, file=sample.file("mask"))

    def read(self, sample: Sample) -> tuple[ImageArray, Pixels]:
        """Return the image and the labels, of equal height and width.

        Raises:
            DataError: one of them cannot be read, or their sizes differ.
        """
        image, mask = self.read_image(sample), self.read_mask(sample)
        if image.shape[:2] != mask.shape:
            raise size_mismatch(sample, image, mask)
        return image, mask

    def mask_values(self, path: Path) -> Pixels:
        """Return the values of a mask file, H×W uint8, the index of `DatasetInfo.lookup`."""
        return indices_of(decode_mask(path, self.image_format.orientation), path)

    def class_values(self) -> list[int] | list[tuple[int, int, int]]:
        """Return the value of each class in the mask files, the first of several; colors for masks of colors."""
        return [self.info.lookup.index(train_id) for train_id in range(len(self.info.classes))]

    def decoding_key(self) -> tuple[Hashable, ...]:
        """Return everything besides the files that decides the pixels; decoded images are cached under its ``repr``.

        A reader whose options change how files are decoded adds them.
        """
        format = () if self.image_format == RGB else (self.image_format,)
        return (f"{type(self).__module__}.{type(self).__qualname__}", self.info.lookup, *format)

    def empty_split(self, split: str) -> DataError:
        """Return the error for a split without images."""
        where = f" in {printable(self.root)}" if self.root else ""
        return DataError(
            f"split {split!r} of {self.info.name} is empty: expected images, got none{where}",
            "unpack the dataset again, or set --root or SEGMI_DATA to the right folder",
        )


def combined_error(summary: str, problems: Sequence[Problem | SegmiError], remedy: str | None = None) -> DataError:
    """Return one error for several problems, with each distinct remedy once, and ``remedy`` last."""
    messages = [problem.message if isinstance(problem, SegmiError) else str(problem) for problem in problems]
    remedies = dict.fromkeys([*(problem.remedy for problem in problems), remedy])
    return DataError(f"{summary}:\n{together(messages)}", "\n    ".join(filter(None, remedies)))


def size_mismatch(sample: Sample, image: ImageArray, mask: Pixels) -> DataError:
    """Return the error for an image and a mask of different sizes."""
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
    rotated = (height, width) == (mask_width, mask_height)
    return DataError(
        f"{sample.file('mask')}: expected the size of its image {sample.file('image')}, {width}×{height}, "
        f"got {mask_width}×{mask_height}",
        'rotate the mask to fit its image, or choose the other exif_orientation, "apply" or "ignore", in segmi.toml'
        if rotated
        else "pair the right files, or resize the mask to the image by nearest neighbor",
    )
