"""What is in a cache entry, told by what it is made of: if any of it changes, so does the name of the entry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from segmi.datasets.reader import DatasetReader, GeneratedImage, ResizeMode, Sample, Source

FORMAT: Final = 1
"""Raise it when the files of an entry, the decoding or the resizing change, so that old entries are not read."""

IMAGES: Final = ("images", "masks")
"""The columns of images at the working scale: 3×H×W and H×W uint8."""

LABELS: Final = ("labels",)
"""The column of labels at their original size: H×W uint8."""

_LIBRARIES: Final = ("pillow", "numpy", "torch", "torchvision")
_SHOWN: Final = 16


@dataclass(frozen=True)
class Content:
    """The identity of an entry.

    Args:
        dataset: the dataset's name.
        split: the split's name.
        columns: `IMAGES` or `LABELS`.
        resize: as in `segmi.datasets.processing.Processing`; None for labels and where nothing is resized.
        resize_mode: likewise.
        slot: what is to be prepared: dataset, files by their paths, processing, format, library versions.
        digest: the same with the sizes and times of the files. Another digest in the same slot is out of date.
        names: of the samples, in order.
    """

    dataset: str
    split: str
    columns: tuple[str, ...]
    resize: int | None
    resize_mode: ResizeMode
    slot: str
    digest: str
    names: tuple[str, ...] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where the entry lies below the cache's folder: the slot's folder, and in it the entry."""
        what = "labels" if self.columns == LABELS else "original" if self.resize is None else f"{self.resize}"
        return Path(f"{self.dataset}-{self.split}-{what}-{self.slot[:_SHOWN]}") / self.digest[:_SHOWN]


def content_of(
    dataset: DatasetReader,
    split: str,
    samples: Sequence[Sample],
    columns: tuple[str, ...] = IMAGES,
    *,
    resize: int | None = None,
    resize_mode: ResizeMode = "exact",
) -> Content | None:
    """The content of an entry with these samples; None if it cannot be told apart from another.

    Files are told by their paths, sizes and times of change, generated images by their ``cache_key``, which drawn
    images of other packages need not have; then there is no entry.

    Example:
        >>> from segmi.datasets import StreetScenes
        >>> scenes = StreetScenes(train=2, val=1, height=32, width=64)
        >>> content_of(scenes, "train", scenes.split("train"), resize=48).folder.parent.name[:22]
        'street-scenes-train-48'
    """
    if columns == LABELS or resize is None:
        resize, resize_mode = None, "exact"
    which = [(sample.image, sample.mask) if columns == IMAGES else (sample.mask,) for sample in samples]
    what, when = [], []
    for source in (source for sources in which for source in sources):
        identity = _identity(source)
        if identity is None:
            return None
        what.append(identity[0])
        when.append(identity[1])
    names = tuple(sample.name for sample in samples)
    facts = (FORMAT, dataset.info.name, split, columns, resize, resize_mode, dataset.reading(), *_versions())
    slot = _hash([repr(facts), *names, *what])
    return Content(dataset.info.name, split, columns, resize, resize_mode, slot, _hash([slot, *map(repr, when)]), names)


def _identity(source: Source) -> tuple[str, tuple[int, int]] | None:
    """What a source is, and its state: size in bytes and time of change for a file."""
    if not isinstance(source, Path):
        return _drawn_identity(source)
    try:
        found = source.stat()
    except OSError:  # whoever reads it says what is wrong
        return str(source.absolute()), (-1, -1)
    return str(source.absolute()), (found.st_size, found.st_mtime_ns)


def _drawn_identity(source: GeneratedImage) -> tuple[str, tuple[int, int]] | None:
    told = getattr(source, "cache_key", None)
    return (told(), (0, 0)) if told is not None else None


def _versions() -> list[str]:
    """The libraries that decide a pixel, by version."""
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # built into the interpreter by a distribution
            found.append(name)
    return found


def _hash(texts: Iterable[str]) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()
