"""What every dataset of segmi is: an info, the names of its splits, and images that can be listed and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.decode import decode_image, decode_mask, indices_of, printable
from segmi.errors import DataError, together, unknown_name
from segmi.types import IGNORE_INDEX

UNKNOWN: Final = -1
"""The entry of a lookup for a native id that is neither a class nor ignored."""

Pixels: TypeAlias = NDArray[np.uint8]

ResizeMode: TypeAlias = Literal["exact", "shorter"]
"""Whether images are resized to a square, or so that their shorter side has the length: see `Processing`."""


@runtime_checkable
class GeneratedImage(Protocol):
    """An image or mask that is generated when it is asked for; picklable, and the same at every call.

    It is cached if it has a method ``cache_key() -> str`` that tells it from every other image that was ever drawn.
    """

    def draw(self) -> Pixels:
        """H×W×3 RGB for an image, H×W native ids for a mask."""
        ...


Source: TypeAlias = Path | GeneratedImage


class Sample(NamedTuple):
    """One image with its mask.

    Args:
        image: the file, or what draws the image.
        mask: the file of native ids, or what draws them.
        name: unique in its split.
        group: what is not independent of other images (city, video clip, patient); the name itself where nothing is.
    """

    image: Source
    mask: Source
    name: str
    group: str


class Problem(NamedTuple):
    """One thing that is wrong with one file (or folder) of a dataset.

    Args:
        file: the file or folder, printable.
        what: what was expected and what came.
        remedy: what to do about it.
    """

    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


class Listing(NamedTuple):
    """A split as it lies on the disk: the pairs that were found, and what stands in their way."""

    samples: list[Sample]
    problems: list[Problem] = []  # noqa: RUF012  (a NamedTuple's default; nobody appends to it)


@dataclass(frozen=True)
class DatasetInfo:
    """The facts about a dataset that do not depend on its files.

    Args:
        name: as in study files and on the command line.
        title: as in tables.
        classes: the names, index = train id.
        palette: 256 RGB colors, index = train id; entry 255 is the color of ignored.
        ignored: the native value of ignored pixels, None if there is none. Where several native ids are ignored, the one that
            stands for "unlabeled".
        lookup: 256 entries: native id → train id, 255 for ignored, -1 for an id that must not occur.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)
    ignored: int | None
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
                f"lookup of {self.name!r} leads to {sorted(set(self.lookup) - allowed)}, which is no class"
            )

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        return np.array(self.lookup, dtype=np.int16)

    def train_ids(self, native: Pixels, *, file: str = "mask") -> Pixels:
        """Native ids as train ids: ``lookup[native]``.

        Shapes: H×W → H×W, both uint8.

        Raises:
            DataError: an id is neither a class nor ignored; the text names ``file`` and the ids.

        Example:
            >>> palette = ((0, 0, 0),) * 256
            >>> info = DatasetInfo("x", "X", ("a", "b"), palette, ignored=9, lookup=lookup_of({0: 0, 1: 1, 9: 255}))
            >>> info.train_ids(np.array([[0, 1, 9]], dtype=np.uint8)).tolist()
            [[0, 1, 255]]
        """
        mapped = self._table[native]
        if mapped.size and mapped.min() < 0:
            counts = np.bincount(native.ravel(), minlength=256)
            raise self._unknown_ids(counts, file)
        return mapped.astype(np.uint8)

    def _unknown_ids(self, counts: NDArray[np.int64], file: str) -> DataError:
        unknown = [int(value) for value in np.flatnonzero(counts) if self.lookup[value] == UNKNOWN]
        share = counts[unknown].sum() / counts.sum()
        listing = ", ".join(map(str, unknown[:10])) + (f", … ({len(unknown)} in all)" if len(unknown) > 10 else "")
        ignored = "none" if self.ignored is None else str(self.ignored)
        known = ranges(value for value, train_id in enumerate(self.lookup) if train_id != UNKNOWN)
        return DataError(
            f"{file}: expected the ids {known} ({len(self.classes)} classes of {self.name}, ignored: {ignored}), "
            f"got also {listing} ({share:.1%} of the pixels)",
            self.unknown_id_remedy(unknown),
        )

    def unknown_id_remedy(self, unknown: Sequence[int]) -> str:
        """What to do about ids that are neither a class nor ignored."""
        if self.name == "custom":
            return "add the ids to the classes or to ignored in segmi.toml, or mend the mask"
        if self.name != "folder":
            return "put the original file of the dataset back; this one was converted, scaled or damaged"
        if unknown == [255] and self.ignored is None:
            return (
                "say ignored=255 (or a line `ignored 255` in classes.txt) if 255 marks pixels that count nowhere; if 255 "
                "is a class, give the classes colors in classes.txt (`lesion 255 255 255`) and say masks=color"
            )
        return "add the missing classes or the ignored id to classes.txt, or mend the mask"


def lookup_of(train_ids: Mapping[int, int]) -> tuple[int, ...]:
    """The 256-entry lookup for native id → train id; every other id is unknown.

    Example:
        >>> lookup_of({0: 255, 1: 0})[:3]
        (255, 0, -1)
    """
    return tuple(train_ids.get(value, UNKNOWN) for value in range(256))


def ranges(values: Iterable[int]) -> str:
    """Sorted whole numbers in short: ``ranges([0, 1, 2, 255])`` is ``'0–2, 255'``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


class DatasetReader(ABC):
    """Images with masks, in named splits.

    A dataset sets ``info`` and ``splits`` in its constructor and lists the pairs of a split; the rest is the same for
    all. Reading never writes, and a dataset can be pickled to worker processes.
    """

    info: DatasetInfo
    splits: tuple[str, ...]

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """The pairs of one of ``self.splits``, in a fixed order, and every problem found while pairing, unread."""

    def split(self, name: str) -> list[Sample]:
        """The samples of a split, in a fixed order.

        Raises:
            UsageError: there is no split of this name.
            DataError: files are missing or listed twice (all are named), or the split is empty.
        """
        if name not in self.splits:
            raise unknown_name(f"split of {self.info.name}", name, self.splits)
        samples, problems = self.listing(name)
        if problems:
            remedies = dict.fromkeys(problem.remedy for problem in problems)
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            raise DataError(
                f"{count} in split {name!r} of {self.info.name}:\n{together([str(problem) for problem in problems])}",
                "; ".join(remedies),
            )
        if not samples:
            raise self.empty_split(name)
        return samples

    def read_image(self, sample: Sample) -> Pixels:
        """The image, H×W×3 uint8 RGB; see `segmi.datasets.decode.decode_image` for what is converted and what refused."""
        return decode_image(sample.image) if isinstance(sample.image, Path) else sample.image.draw()

    def read_mask(self, sample: Sample) -> Pixels:
        """The labels, H×W uint8 train ids, 255 ignored.

        Raises:
            DataError: the file cannot be read as a mask, or has an id that is neither a class nor ignored.
        """
        if isinstance(sample.mask, Path):
            return self.info.train_ids(self.native_mask(sample.mask), file=printable(sample.mask))
        return self.info.train_ids(sample.mask.draw(), file=f"mask of {sample.name}")

    def read(self, sample: Sample) -> tuple[Pixels, Pixels]:
        """ImageFile and labels, of equal height and width.

        Raises:
            DataError: one of them cannot be read, or their sizes differ.
        """
        image, mask = self.read_image(sample), self.read_mask(sample)
        if image.shape[:2] != mask.shape:
            raise size_mismatch(sample, image, mask)
        return image, mask

    def native_mask(self, path: Path) -> Pixels:
        """The native ids of a mask file, H×W uint8."""
        return indices_of(decode_mask(path), path)

    def reading(self) -> tuple[Hashable, ...]:
        """What beside the files decides the pixels that are read, with a ``repr`` that tells it apart.

        Decoded images are cached under it: a dataset whose options change how files are read adds them.
        """
        return (f"{type(self).__module__}.{type(self).__qualname__}", self.info.lookup)

    def empty_split(self, split: str) -> DataError:
        """The error for a split without images."""
        return DataError(
            f"split {split!r} of {self.info.name} is empty: expected images, got none"
            + (f" in {printable(root)}" if (root := getattr(self, "root", None)) else ""),
            "unpack the dataset again, or point --root or SEGMI_DATA to the right folder",
        )


def size_mismatch(sample: Sample, image: Pixels, mask: Pixels) -> DataError:
    """The error for an image and a mask of different sizes."""
    image_file = printable(sample.image) if isinstance(sample.image, Path) else sample.name
    mask_file = printable(sample.mask) if isinstance(sample.mask, Path) else sample.name
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
    turned = (height, width) == (mask_width, mask_height)
    return DataError(
        f"{mask_file}: expected the size of its image {image_file}, {width}×{height}, got {mask_width}×{mask_height}",
        "turn the mask as the image's EXIF orientation says, or remove that tag from the image"
        if turned
        else "pair the right files, or scale the mask to the image by nearest neighbor",
    )
