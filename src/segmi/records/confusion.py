"""Per-image confusion counts on disk: a compressed npz of plain arrays, never a pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmi.errors import DataError
from segmi.records.atomic import atomic_path

SCHEMA_VERSION = 1

UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    MemoryError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)

LARGEST = 2**33
"""Bytes of the largest counts that are unpacked: twenty thousand images of 256 classes."""


@dataclass(frozen=True, eq=False)
class ConfusionRecord:
    """Confusion counts per image.

    Args:
        counts: N×C×C, int64; rows are the truth, columns the prediction.
        names: one image name per image.
        groups: what is not independent (city, clip, patient), one per image.
    """

    counts: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def pooled(self) -> npt.NDArray[np.int64]:
        """C×C: the sum over all images."""
        total: npt.NDArray[np.int64] = self.counts.sum(axis=0, dtype=np.int64)
        return total


def write_confusion(path: str | Path, counts: npt.ArrayLike, names: Sequence[str], groups: Sequence[str]) -> Path:
    """Write per-image confusion counts atomically; equal counts give equal bytes.

    Shapes: counts N×C×C, non-negative integers.

    Raises:
        ValueError: the shapes do not fit each other, or the counts are no non-negative integers.
        EnvironmentProblem: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "unet.full.npz"
        >>> record = read_confusion(write_confusion(path, [[[3, 1], [0, 2]]], ["a"], ["berlin"]))
        >>> record.pooled().tolist(), record.names, record.groups
        ([[3, 1], [0, 2]], ('a',), ('berlin',))
    """
    array = np.asarray(counts)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or not len(array) == len(names) == len(groups):
        raise ValueError(
            f"expected counts of N×C×C with N names and N groups, got {array.shape}, {len(names)} and {len(groups)}"
        )
    if not np.issubdtype(array.dtype, np.integer) or (array.size and array.min() < 0):
        raise ValueError(f"expected non-negative integer counts, got {array.dtype}")
    small = array.astype(np.uint32) if not array.size or array.max() < 2**32 else array.astype(np.int64)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            allow_pickle=False,
            schema_version=np.int64(SCHEMA_VERSION),
            counts=small,
            names=np.array(names, dtype=np.str_),
            groups=np.array(groups, dtype=np.str_),
        )
    return Path(path)


def read_confusion(path: str | Path) -> ConfusionRecord:
    """Read what ``write_confusion`` wrote.

    Raises:
        DataError: the file is missing, damaged, or no record of confusion counts.
    """
    try:
        _refuse_bomb(path)
        with np.load(path, allow_pickle=False) as arrays:
            version = int(arrays["schema_version"])
            stored = arrays["counts"]
            names, groups = tuple(map(str, arrays["names"])), tuple(map(str, arrays["groups"]))
    except FileNotFoundError:
        raise DataError(f"no confusion counts at {path}", "run the study again: it completes what is missing") from None
    except UNREADABLE as error:
        raise DataError(
            f"{path} is damaged: {error}", "delete it and run the study again: it completes what is missing"
        ) from error
    if version > SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, expected at most {SCHEMA_VERSION}", "update segmi")
    square = stored.ndim == 3 and stored.shape[1] == stored.shape[2]
    whole = np.issubdtype(stored.dtype, np.integer) and not (stored.size and stored.min() < 0)
    if not square or not whole or not len(stored) == len(names) == len(groups):
        raise DataError(
            f"{path} is damaged: {stored.shape} counts of {stored.dtype}, {len(names)} names",
            "delete it and run the study again: it completes what is missing",
        )
    return ConfusionRecord(stored.astype(np.int64), names, groups)


def _refuse_bomb(path: str | Path) -> None:
    """Raises ValueError for an archive that would unpack to more than any run's counts."""
    with zipfile.ZipFile(path) as archive:
        size = sum(network.file_size for network in archive.infolist())
    if size > LARGEST:
        raise ValueError(f"it unpacks to {size:,} bytes, more than {LARGEST:,}")
