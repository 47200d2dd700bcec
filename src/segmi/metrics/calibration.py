"""Calibration: accuracy as a function of confidence."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

BINS: Final = 20

STEP: Final = 2.0**-20
"""Unit of sums of fractions, which float64 adds exactly, in any order and over any split of images."""


def in_steps(fractions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return fractions rounded to `STEP`.

    >>> float(in_steps(np.array(0.1)) * 2**20)
    104858.0
    """
    rounded: npt.NDArray[np.float64] = np.rint(fractions.astype(np.float64) / STEP) * STEP
    return rounded


def reliability_counts(
    confidence: npt.NDArray[np.float32], correct: npt.NDArray[np.bool_], bins: int = BINS
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the number of pixels, the sum of confidences and the number of correct pixels per bin of confidence.

    ``bin(p) = min(⌊p · B⌋, B − 1)``: bins of equal width, and 1 belongs to the last.

    Shapes: confidence, correct N valid pixels; each result has B entries.
    Unit: confidence is the probability of the predicted class, in [0, 1].
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    Example:
        >>> counts, sums, right = reliability_counts(np.float32([0.2, 0.9, 1.0]), np.array([False, True, True]), bins=2)
        >>> counts.tolist(), sums.round(2).tolist(), right.tolist()
        ([1, 2], [0.2, 1.9], [0, 2])
    """
    # confidence 1 belongs to the last bin
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(index, minlength=bins).astype(np.int64)
    # exact sums of multiples of STEP
    sums = np.bincount(index, weights=in_steps(confidence), minlength=bins).astype(np.float64)
    right = np.bincount(index[correct], minlength=bins).astype(np.int64)
    return counts, sums, right
