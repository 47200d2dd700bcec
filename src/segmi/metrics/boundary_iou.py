"""Boundary IoU: agreement of the outlines of classes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from segmi.types import IGNORE_INDEX

RATIO: Final = 0.02
"""Width of the boundary relative to the diagonal of the image."""

Labels = npt.NDArray[np.uint8]


def boundary_distance(height: int, width: int, ratio: float = RATIO) -> int:
    """Return the width of the boundary of an image in pixels, at least 1.

    Example:
        >>> boundary_distance(360, 480), boundary_distance(10, 10)
        (12, 1)
    """
    return max(1, round(ratio * float(np.hypot(height, width))))


def boundary(labels: Labels, distance: int) -> npt.NDArray[np.bool_]:
    """Return the pixels within ``distance`` of another label or of the image border, in the maximum norm.

    ``B = {x : l is not constant on the (2d + 1)² pixels around x, or these extend beyond the image}``: for every class
    its region minus the region eroded d times by 3×3 pixels.

    Shapes: H×W to H×W.
    Source: Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", and its code.
    Example:
        >>> boundary(np.zeros((3, 5), np.uint8), 1).astype(int).tolist()
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    """
    side = 2 * distance + 1
    changes: npt.NDArray[np.bool_] = ndimage.maximum_filter(labels, side) != ndimage.minimum_filter(labels, side)
    # pixels near the image border belong to the boundary
    changes[:distance], changes[max(len(changes) - distance, 0) :] = True, True
    changes[:, :distance], changes[:, max(changes.shape[1] - distance, 0) :] = True, True
    return changes


def boundary_counts(
    prediction: Labels, truth: Labels, true_boundary: npt.NDArray[np.bool_], distance: int, classes: int
) -> npt.NDArray[np.int64]:
    """Return the pixels per class in both boundaries and in either; boundary IoU is their ratio.

    ``|(G_d ∩ G) ∩ (P_d ∩ P)|`` and ``|(G_d ∩ G) ∪ (P_d ∩ P)|``

    Ignored pixels are not counted; the prediction copies them, so that they end both regions in the same way.

    Shapes: prediction, truth: H×W; true_boundary: H×W, `boundary` of the truth; the result is 2×C.
    Example:
        >>> truth = np.array([[0, 0, 0, 1, 1, 1]] * 6, np.uint8)
        >>> boundary_counts(truth, truth, boundary(truth, 1), 1, 2).tolist()
        [[14, 14], [14, 14]]
    """
    # ignored pixels end both regions in the same way
    filled = np.where(truth == IGNORE_INDEX, truth, prediction)
    predicted_boundary = boundary(filled, distance)
    valid = truth != IGNORE_INDEX
    in_truth, in_prediction = true_boundary & valid, predicted_boundary & valid
    both = in_truth & in_prediction & (truth == filled)
    # |A ∪ B| = |A| + |B| - |A ∩ B|
    hits = np.bincount(truth[both], minlength=classes)
    sums = np.bincount(truth[in_truth], minlength=classes) + np.bincount(filled[in_prediction], minlength=classes)
    return np.stack([hits, sums - hits])
