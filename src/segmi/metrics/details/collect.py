"""All details of a network's predictions, collected image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segmi.metrics.details.boundary import boundary, boundary_counts, boundary_distance
from segmi.metrics.details.calibration import BINS, reliability_counts
from segmi.metrics.details.objects import SIZES, components, object_scores
from segmi.types import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class Truth:
    """The ground truth of an image with what is the same for every network that is scored by it.

    Args:
        labels: H×W train ids, `IGNORE_INDEX` where a pixel counts nowhere.
        distance: width of the boundary in pixels.
        boundary: H×W.
        objects: H×W, numbered from 1.
    """

    labels: npt.NDArray[np.uint8]
    distance: int
    boundary: npt.NDArray[np.bool_]
    objects: npt.NDArray[np.int32]

    @classmethod
    def of(cls, labels: npt.NDArray[Any]) -> Truth:
        """From the labels of an image, H×W, up to 255 classes."""
        small = np.ascontiguousarray(labels, dtype=np.uint8)
        distance = boundary_distance(*small.shape)
        return cls(small, distance, boundary(small, distance), components(small))


class Details:
    """Sums over images from which reliability, boundary IoU and IoU by object size are read.

    Args:
        classes: C.

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
        """Add an image: H×W class indices and the probabilities of these classes.

        Raises:
            ValueError: shapes that are not the truth's.
        """
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
        """New sums of the images of both.

        Raises:
            ValueError: different numbers of classes.
        """
        if self.classes != other.classes:
            raise ValueError(f"expected details of {self.classes} classes, got some of {other.classes}")
        merged = Details(self.classes)
        merged._sums = {name: value + other._sums[name] for name, value in self._sums.items()}
        return merged

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sums by name, as `segmi.records.write_details` takes them."""
        return {name: value.copy() for name, value in self._sums.items()}
