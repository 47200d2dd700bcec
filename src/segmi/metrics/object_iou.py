"""IoU of single objects, the connected regions of a class, by their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from segmi.metrics.calibration import in_steps
from segmi.types import IGNORE_INDEX

SIZES: Final = 11
"""Number of size classes, powers of 4: 1 to 3 pixels, 4 to 15, …, 4¹⁰ and more."""

_compiled: Final[Callable[..., Any]] = njit(nogil=True, cache=True)


def size_of(areas: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the size class of objects by their pixels: ``min(⌊log₄ area⌋, 10)``.

    Example:
        >>> size_of(np.array([1, 3, 4, 16, 10**9])).tolist()
        [0, 0, 1, 2, 10]
    """
    return np.minimum((np.frexp(areas.astype(np.float64))[1] - 1) // 2, SIZES - 1).astype(np.int64)


def object_scores(
    prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], true_objects: npt.NDArray[np.int32], classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the number of true objects per class and size, and the sum of their IoU.

    ``sIoU(k) = |k ∩ K̂| / |(k ∪ K̂) \\ A(k)|``, K̂ the predicted regions of k's class that overlap k, A(k) the other
    objects of that class, so that a region over two objects is not an error of either

    Shapes: prediction, truth: H×W; true_objects: H×W, `components` of the truth; each result is C×S.
    Source: Chan et al. 2021, "SegmentMeIfYouCan", section 3.2, after Rottmann et al. 2020.
    Example:
        >>> truth = np.array([[0, 1, 1, 0, 1]], np.uint8)
        >>> counts, sums = object_scores(np.array([[0, 1, 0, 0, 1]], np.uint8), truth, components(truth), 2)
        >>> counts[1, :2].tolist(), sums[1, :2].tolist()
        ([2, 0], [1.5, 0.0])
    """
    counts, sums = np.zeros((classes, SIZES), np.int64), np.zeros((classes, SIZES))
    objects = int(true_objects.max(initial=0))
    if not objects:
        return counts, sums
    regions = components(np.where(truth == IGNORE_INDEX, truth, prediction))
    agree = (truth == prediction) & (true_objects > 0)
    # pixels of each true object
    areas = np.bincount(true_objects.ravel(), minlength=objects + 1)
    # correctly predicted pixels of each true object
    hits = np.bincount(true_objects[agree], minlength=objects + 1)
    number = int(regions.max(initial=0)) + 1
    # pixels of each predicted region outside true objects of its class
    false = np.bincount(regions.ravel(), minlength=number) - np.bincount(regions[agree], minlength=number)
    # each pair of overlapping object and region once, as one integer
    pairs = np.unique(true_objects[agree].astype(np.int64) * number + regions[agree])
    beyond = np.bincount(pairs // number, weights=false[pairs % number], minlength=objects + 1)
    # class of each object, from any of its pixels
    class_of = np.zeros(objects + 1, np.int64)
    class_of[true_objects] = truth
    iou = in_steps(hits[1:] / (areas[1:] + beyond[1:]))
    index = (class_of[1:], size_of(areas[1:]))
    np.add.at(counts, index, 1)
    np.add.at(sums, index, iou)
    return counts, sums


def components(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the connected regions of equal labels, numbered from 1, and 0 at ignored pixels; 8-connectivity.

    Shapes: H×W to H×W.
    Example:
        >>> components(np.array([[0, 0, 1], [255, 1, 0]], np.uint8)).tolist()
        [[1, 1, 2], [0, 2, 1]]
    """
    regions: npt.NDArray[np.int32] = _components(np.ascontiguousarray(labels), IGNORE_INDEX)
    return regions


@_compiled
def _components(labels: npt.NDArray[np.uint8], ignored: int) -> npt.NDArray[np.int32]:
    # Union-find in two passes: join each pixel with its predecessors, then number the roots
    height, width = labels.shape
    parent = np.arange(height * width, dtype=np.int32)
    for y in range(height):
        for x in range(width):
            if labels[y, x] == ignored:
                continue
            here = y * width + x
            for dy, dx in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                v, u = y + dy, x + dx
                if v < 0 or u < 0 or u >= width or labels[v, u] != labels[y, x]:
                    continue
                one, other = here, v * width + u
                while parent[one] != one:
                    parent[one] = parent[parent[one]]
                    one = parent[one]
                while parent[other] != other:
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                if one < other:
                    parent[other] = one
                else:
                    parent[one] = other
    numbers = np.zeros(height * width, dtype=np.int32)
    count = 0
    for pixel in range(height * width):
        if labels[pixel // width, pixel % width] == ignored:
            continue
        root = pixel
        while parent[root] != root:
            root = parent[root]
        if numbers[root] == 0:
            count += 1
            numbers[root] = count
        numbers[pixel] = numbers[root]
    return numbers.reshape(height, width)
