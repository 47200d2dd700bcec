"""Metrics beyond the confusion matrix, collected image by image: calibration, boundary IoU, IoU by object size.

All are sums over images; the scores are computed from the details record in `segmi.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segmi.metrics.boundary_iou import boundary, boundary_counts, boundary_distance
from segmi.metrics.calibration import BINS, reliability_counts
from segmi.metrics.object_iou import SIZES, components, object_scores
from segmi.types import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of an image, with everything that does not depend on the network."""

    labels: npt.NDArray[np.uint8]  # H×W train ids, `IGNORE_INDEX` at ignored pixels
    distance: int  # width of the boundary in pixels
    boundary: npt.NDArray[np.bool_]  # H×W
    objects: npt.NDArray[np.int32]  # H×W, numbered from 1

    @classmethod
    def of(cls, labels: npt.NDArray[Any]) -> Truth:
        """Return the ground truth of H×W labels of at most 255 classes."""
        small = np.ascontiguousarray(labels, dtype=np.uint8)
        # computed once, for all networks
        distance = boundary_distance(*small.shape)
        return cls(small, distance, boundary(small, distance), components(small))


class Details:
    """Sums over images of C classes for calibration, boundary IoU and IoU by object size.

    Example:
        >>> details = Details(2)
        >>> labels = np.array([[0, 0, 1, 1]] * 4)
        >>> details.update(labels, np.full((4, 4), 0.9, np.float32), Truth.of(labels))
        >>> details.arrays()["objects"].sum(axis=1).tolist(), int(details.arrays()["correct"].sum())
        ([1, 1], 16)
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._sums: dict[str, npt.NDArray[Any]] = {
            "pixels": np.zeros(BINS, np.int64),
            "confidence": np.zeros(BINS),
            "correct": np.zeros(BINS, np.int64),
            "boundary": np.zeros((2, classes), np.int64),
            "objects": np.zeros((classes, SIZES), np.int64),
            "object_iou": np.zeros((classes, SIZES)),
        }

    def update(self, prediction: npt.NDArray[Any], confidence: npt.NDArray[np.float32], truth: Truth) -> None:
        """Add an image: H×W class indices and their probabilities, both of the truth's shape."""
        if not prediction.shape == confidence.shape == truth.labels.shape:
            raise ValueError(
                f"expected prediction and confidence of the truth's shape {truth.labels.shape}, got "
                f"{prediction.shape} and {confidence.shape}"
            )
        labels = prediction.astype(np.uint8)
        valid = truth.labels != IGNORE_INDEX
        correct = labels[valid] == truth.labels[valid]
        added = dict(
            zip(("pixels", "confidence", "correct"), reliability_counts(confidence[valid], correct), strict=True)
        )
        added["boundary"] = boundary_counts(labels, truth.labels, truth.boundary, truth.distance, self.classes)
        added["objects"], added["object_iou"] = object_scores(labels, truth.labels, truth.objects, self.classes)
        for name, value in added.items():
            self._sums[name] += value

    def merge(self, other: Details) -> Details:
        """Return new sums of the images of both, which must have the same number of classes."""
        if self.classes != other.classes:
            raise ValueError(f"expected details of {self.classes} classes, got some of {other.classes}")
        merged = Details(self.classes)
        merged._sums = {name: value + other._sums[name] for name, value in self._sums.items()}
        return merged

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the sums by name, as stored in the details record."""
        return {name: value.copy() for name, value in self._sums.items()}
