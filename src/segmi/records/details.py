"""Sums over images on disk, from which reliability, boundary IoU and IoU by object size are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segmi.errors import DataError
from segmi.records.atomic import atomic_path
from segmi.records.confusion import UNREADABLE, _refuse_bomb

SCHEMA_VERSION: Final = 1

_REMEDY: Final = "delete it and run the study again: it completes what is missing"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DetailsRecord:
    """The details of a network's predictions, over all images.

    Args:
        pixels: B: valid pixels by confidence, in equally wide bins from 0 to 1.
        confidence: B: the sum of their confidences.
        correct: B: how many of them are right.
        boundary: 2×C: pixels in both boundaries, and in either.
        objects: C×S: objects of the truth by size, which is the power of 4 of their pixels.
        object_iou: C×S: the sum of their IoU.
    """

    pixels: npt.NDArray[np.int64]
    confidence: Floats
    correct: npt.NDArray[np.int64]
    boundary: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int64]
    object_iou: Floats

    def __add__(self, other: DetailsRecord) -> DetailsRecord:
        """The sums of both, as over seeds."""
        return DetailsRecord(**{name: getattr(self, name) + getattr(other, name) for name in FIELDS})

    def calibration_error(self) -> float:
        """The expected calibration error ``Σ_b n_b / N |right_b / n_b − p_b|``; NaN without a pixel.

        Example:
            >>> half = DetailsRecord(np.array([0, 4]), np.array([0, 3.6]), np.array([0, 2]), *[np.zeros((2, 1))] * 3)
            >>> round(half.calibration_error(), 6)
            0.4
        """
        total = float(self.pixels.sum())
        return float(np.abs(self.correct - self.confidence).sum() / total) if total else float("nan")

    def boundary_iou(self) -> Floats:
        """C: per class; NaN where neither truth nor prediction has it."""
        return _ratio(self.boundary[0], self.boundary[1])

    def object_iou_by_size(self) -> Floats:
        """S: the mean over objects of all classes; NaN where there is none of a size."""
        return _ratio(self.object_iou.sum(axis=0), self.objects.sum(axis=0))


FIELDS: Final = tuple(DetailsRecord.__dataclass_fields__)


def write_details(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write the sums atomically; equal sums give equal bytes.

    Raises:
        ValueError: sums that do not fit each other.
        EnvironmentProblem: the file cannot be written.

    Example:
        >>> import tempfile
        >>> sums = {name: np.zeros((2, 3)) for name in ("boundary", "objects", "object_iou")}
        >>> sums |= {name: np.ones(4) for name in ("pixels", "confidence", "correct")}
        >>> sums["boundary"] = np.zeros((2, 2))
        >>> path = write_details(Path(tempfile.mkdtemp()) / "unet.full.npz", sums)
        >>> read_details(path).calibration_error()
        0.0
    """
    if (wrong := _wrong(arrays)) is not None:
        raise ValueError(wrong)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            allow_pickle=False,
            schema_version=np.int64(SCHEMA_VERSION),
            **{name: np.asarray(arrays[name]) for name in FIELDS},
        )
    return Path(path)


def read_details(path: str | Path) -> DetailsRecord:
    """Read what ``write_details`` wrote.

    Raises:
        DataError: the file is missing, damaged, or a newer segmi's.
    """
    try:
        _refuse_bomb(path)
        with np.load(path, allow_pickle=False) as stored:
            version = int(stored["schema_version"])
            arrays = {name: stored[name] for name in FIELDS}
    except FileNotFoundError:
        raise DataError(f"no details at {path}", "evaluate the run again: it was scored without them") from None
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged: {error}", _REMEDY) from error
    if version > SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, expected at most {SCHEMA_VERSION}", "update segmi")
    if (wrong := _wrong(arrays)) is not None:
        raise DataError(f"{path} is damaged: {wrong}", _REMEDY)
    return DetailsRecord(**arrays)


def _wrong(arrays: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """Why these are no sums of details; None if they are."""
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        return f"expected the sums {', '.join(FIELDS)}, got none of {', '.join(missing)}"
    shapes = {name: np.shape(arrays[name]) for name in FIELDS}
    bins, objects = shapes["pixels"], shapes["objects"]
    fit = (
        len(bins) == 1
        and shapes["confidence"] == shapes["correct"] == bins
        and len(objects) == 2
        and shapes["object_iou"] == objects
        and shapes["boundary"] == (2, objects[0])
    )
    if not fit:
        return f"expected B bins, 2×C boundaries and C×S objects, got shapes {shapes}"
    if not all(np.issubdtype(np.asarray(arrays[n]).dtype, np.number) and np.isfinite(arrays[n]).all() for n in FIELDS):
        return "expected finite numbers"
    return None


def _ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
