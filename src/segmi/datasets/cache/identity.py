"""The identity of a cache entry: a hash of everything that decides its pixels, so that a change gives a new entry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from segmi.datasets.reader import DatasetReader, ResizeMode, Sample, Source

FORMAT: Final = 3
"""Increase it when the files of an entry, the decoding or the resizing change; older entries are then not read."""

IMAGES: Final = ("images", "masks")  # the columns of resized images: C×H×W, and H×W uint8
LABELS: Final = ("labels",)  # the column of labels at their original size: H×W uint8
_LIBRARIES: Final = ("pillow", "numpy", "torch", "torchvision")  # their versions decide pixels
_DIGITS: Final = 16  # of a hash in a folder name


@dataclass(frozen=True)
class EntryKey:
    """The identity of a cache entry."""

    dataset: str  # name of the dataset
    split: str  # name of the split
    columns: tuple[str, ...]  # `IMAGES` or `LABELS`
    resize: int | None  # as in `segmi.datasets.processing.Processing`; None for labels and without resizing
    resize_mode: ResizeMode  # as in `segmi.datasets.processing.Processing`
    slot: str  # hash of dataset, file paths, processing, format and library versions
    digest: str  # hash of ``slot`` with the sizes and times of the files; another digest in a slot is outdated
    names: tuple[str, ...] = field(repr=False)  # the names of the samples, in order

    @property
    def folder(self) -> Path:
        """The entry's folder in the slot's folder, relative to the cache."""
        scale = "labels" if self.columns == LABELS else "original" if self.resize is None else f"{self.resize}"
        return Path(f"{self.dataset}-{self.split}-{scale}-{self.slot[:_DIGITS]}") / self.digest[:_DIGITS]


def entry_key(
    dataset: DatasetReader,
    split: str,
    samples: Sequence[Sample],
    columns: tuple[str, ...] = IMAGES,
    *,
    resize: int | None = None,
    resize_mode: ResizeMode = "exact",
) -> EntryKey | None:
    """Return the key of an entry with these samples; None if they cannot be identified.

    Files are identified by path, size and modification time, generated images by their optional method ``cache_key``.

    Example:
        >>> from segmi.datasets import StreetScenes
        >>> scenes = StreetScenes(train=2, val=1, height=32, width=64)
        >>> entry_key(scenes, "train", scenes.split("train"), resize=48).folder.parent.name[:22]
        'street-scenes-train-48'
    """
    if columns == LABELS or resize is None:
        resize, resize_mode = None, "exact"
    paths, states = [], []
    for sample in samples:
        for source in (sample.image, sample.mask) if columns == IMAGES else (sample.mask,):
            identity = _identity(source)
            if identity is None:
                return None
            paths.append(identity[0])
            states.append(repr(identity[1]))
    names = tuple(sample.name for sample in samples)
    options = (FORMAT, dataset.info.name, split, columns, resize, resize_mode, dataset.decoding_key(), *_versions())
    slot = _hash([repr(options), *names, *paths])
    return EntryKey(dataset.info.name, split, columns, resize, resize_mode, slot, _hash([slot, *states]), names)


def _identity(source: Source) -> tuple[str, tuple[int, int]] | None:
    """Return path and state (size in bytes, modification time in ns) of a file, or the key of a generated image."""
    if not isinstance(source, Path):
        key = getattr(source, "cache_key", None)
        return None if key is None else (key(), (0, 0))
    try:
        stat = source.stat()
    except OSError:  # reading the file raises the error that names it
        return str(source.absolute()), (-1, -1)
    return str(source.absolute()), (stat.st_size, stat.st_mtime_ns)


def _versions() -> list[str]:
    versions = []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # some distributions install libraries without metadata
            versions.append(name)
    return versions


def _hash(texts: Iterable[str]) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        hashed.update(len(data).to_bytes(8, "big") + data)  # the length keeps ("ab", "c") apart from ("a", "bc")
    return hashed.hexdigest()
