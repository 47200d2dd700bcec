"""Counts of an evaluation on disk, as compressed npz files of plain arrays (never pickles)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segmi.errors import DataError
from segmi.records.atomic import atomic_path
from segmi.records.serialization import refuse_newer

SCHEMA_VERSION: Final = 1
LARGEST: Final = 2**33  # bytes of the largest archive that is unpacked: twenty thousand images of 256 classes
# Size indices (powers of 4): medium objects have at least 4⁵ = 32² pixels, large ones at least 4⁷ = 128².
SIZES: Final = {"small": (0, 5), "medium": (5, 7), "large": (7, None)}
_UNREADABLE: Final = (
    OSError, ValueError, LookupError, EOFError, TypeError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_REMEDY: Final = "delete it and run the study again: missing files are written"

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ConfusionRecord:
    """Confusion counts per image."""

    counts: Counts  # N×C×C; rows are the truth, columns the prediction
    names: tuple[str, ...]  # N image names
    groups: tuple[str, ...]  # N groups (city, clip, patient); images of a group are not independent

    def pooled(self) -> Counts:
        """Return the sum over all images, C×C."""
        total: Counts = self.counts.sum(axis=0, dtype=np.int64)
        return total


@dataclass(frozen=True, eq=False)
class DetailsRecord:
    """Sums over all images for calibration, boundary IoU and IoU by object size."""

    pixels: Counts  # B, valid pixels by confidence, in equally wide bins from 0 to 1
    confidence: Floats  # B, the sum of their confidences
    correct: Counts  # B, the number of correct ones
    boundary: Counts  # 2×C, pixels in both boundaries, and in either
    objects: Counts  # C×S, objects of the truth; the size index is the base-4 logarithm of their pixels
    object_iou: Floats  # C×S, the sum of their IoU

    def __add__(self, other: DetailsRecord) -> DetailsRecord:
        """Return the sums of both records, for example of two seeds."""
        return DetailsRecord(**{name: getattr(self, name) + getattr(other, name) for name in FIELDS})

    def calibration_error(self) -> float:
        """Return the expected calibration error ``Σ_b n_b / N |correct_b / n_b − p_b|``; NaN without a pixel.

        Example:
            >>> half = DetailsRecord(np.array([0, 4]), np.array([0, 3.6]), np.array([0, 2]), *[np.zeros((2, 1))] * 3)
            >>> round(half.calibration_error(), 6)
            0.4
        """
        total = float(self.pixels.sum())
        return float(np.abs(self.correct - self.confidence).sum() / total) if total else float("nan")

    def boundary_iou(self) -> Floats:
        """Return the boundary IoU per class, C; NaN for a class in neither truth nor prediction."""
        both, either = self.boundary
        return np.divide(both, either, out=np.full(np.shape(either), np.nan), where=either > 0)

    def mean_boundary_iou(self) -> float:
        """Return the mean of the boundary IoU over the classes that have one; NaN without any."""
        values = self.boundary_iou()
        known = values[np.isfinite(values)]
        return float(known.mean()) if known.size else float("nan")

    def mean_object_iou(self, size: str) -> float:
        """Return the mean IoU of the ``small``, ``medium`` or ``large`` objects; NaN without any."""
        first, stop = SIZES[size]
        number = self.objects[:, first:stop].sum()
        return float(self.object_iou[:, first:stop].sum() / number) if number else float("nan")


FIELDS: Final = tuple(DetailsRecord.__dataclass_fields__)


def write_confusion(path: str | Path, counts: npt.ArrayLike, names: Sequence[str], groups: Sequence[str]) -> Path:
    """Write per-image confusion counts, N×C×C, atomically; equal counts give equal bytes.

    Raises:
        ValueError: the shapes do not match, or the counts are not non-negative integers.
        EnvironmentProblem: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "unet.full.npz"
        >>> record = read_confusion(write_confusion(path, [[[3, 1], [0, 2]]], ["a"], ["berlin"]))
        >>> record.pooled().tolist(), record.names, record.groups
        ([[3, 1], [0, 2]], ('a',), ('berlin',))
    """
    array = np.asarray(counts)
    if not _fit(array, names, groups):
        got = f"{array.shape}, {len(names)} and {len(groups)}"
        raise ValueError(f"expected counts of N×C×C with N names and N groups, got {got}")
    if not _is_count(array):
        raise ValueError(f"expected non-negative integer counts, got {array.dtype}")
    # uint32 halves the file; counts of single images rarely exceed it.
    small = array.astype(np.uint32 if not array.size or array.max() < 2**32 else np.int64)
    text = {"names": np.array(names, dtype=np.str_), "groups": np.array(groups, dtype=np.str_)}
    return _write(path, {"counts": small, **text})


def read_confusion(path: str | Path) -> ConfusionRecord:
    """Read the file of ``write_confusion``.

    Raises:
        DataError: the file is missing, damaged, or not a record of confusion counts.
    """
    arrays = _read(path, ("counts", "names", "groups"), "no confusion counts at", "run the study again")
    stored, names, groups = arrays["counts"], tuple(map(str, arrays["names"])), tuple(map(str, arrays["groups"]))
    if not _fit(stored, names, groups) or not _is_count(stored):
        raise DataError(f"{path} is damaged: {stored.shape} counts of {stored.dtype}, {len(names)} names", _REMEDY)
    return ConfusionRecord(stored.astype(np.int64), names, groups)


def write_details(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write the sums of a `DetailsRecord` atomically; equal sums give equal bytes.

    Raises:
        ValueError: the shapes of the sums do not match.
        EnvironmentProblem: the file cannot be written.

    Example:
        >>> import tempfile
        >>> sums = {name: np.ones(4) for name in ("pixels", "confidence", "correct")}
        >>> sums |= {name: np.zeros((2, 2)) for name in ("boundary", "objects", "object_iou")}
        >>> path = write_details(Path(tempfile.mkdtemp()) / "unet.full.npz", sums)
        >>> read_details(path).calibration_error()
        0.0
    """
    if (problem := _details_problem(arrays)) is not None:
        raise ValueError(problem)
    return _write(path, {name: np.asarray(arrays[name]) for name in FIELDS})


def read_details(path: str | Path) -> DetailsRecord:
    """Read the file of ``write_details``.

    Raises:
        DataError: the file is missing, damaged, or written by a newer segmi.
    """
    arrays = _read(path, FIELDS, "no details at", "evaluate the run again with evaluation.details")
    if (problem := _details_problem(arrays)) is not None:
        raise DataError(f"{path} is damaged: {problem}", _REMEDY)
    return DetailsRecord(**arrays)


def _write(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, schema_version=np.int64(SCHEMA_VERSION), **arrays)
    return Path(path)


def _read(path: str | Path, names: Sequence[str], missing: str, remedy: str) -> dict[str, npt.NDArray[Any]]:
    try:
        # The sizes in the directory are checked first: a small archive can unpack to more than the memory.
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {LARGEST:,}")
        # allow_pickle=False: a pickle could execute code.
        with np.load(path, allow_pickle=False) as stored:
            version = int(stored["schema_version"])
            arrays = {name: stored[name] for name in names}
    except FileNotFoundError:
        raise DataError(f"{missing} {path}", remedy) from None
    except _UNREADABLE as error:
        raise DataError(f"{path} is damaged: {error}", _REMEDY) from error
    refuse_newer(Path(path), version, SCHEMA_VERSION)
    return arrays


def _fit(counts: npt.NDArray[Any], names: Sequence[str], groups: Sequence[str]) -> bool:
    return counts.ndim == 3 and counts.shape[1] == counts.shape[2] and len(counts) == len(names) == len(groups)


def _is_count(counts: npt.NDArray[Any]) -> bool:
    return np.issubdtype(counts.dtype, np.integer) and not (counts.size and counts.min() < 0)


def _details_problem(arrays: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """Why the arrays are not the sums of a `DetailsRecord`; None if they are."""
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        return f"expected the sums {', '.join(FIELDS)}; missing: {', '.join(missing)}"
    shapes = {name: np.shape(arrays[name]) for name in FIELDS}
    bins, objects = shapes["pixels"], shapes["objects"]  # (B,) and (C, S)
    fit = len(bins) == 1 and shapes["confidence"] == shapes["correct"] == bins and len(objects) == 2
    if not fit or shapes["object_iou"] != objects or shapes["boundary"] != (2, objects[0]):
        return f"expected B bins, 2×C boundaries and C×S objects, got shapes {shapes}"
    if not all(np.issubdtype(np.asarray(arrays[n]).dtype, np.number) and np.isfinite(arrays[n]).all() for n in FIELDS):
        return "expected finite numbers"
    return None
