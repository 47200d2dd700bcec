"""The counting of `segmi.metrics.confusion`, compiled: every pixel is visited once, and no map is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

TABLES: Final = 4
"""Neighboring pixels fall into the same cell; counting them into tables of their own spares waiting for each other."""

_compiled: Final[Callable[..., Any]] = njit(nogil=True, cache=True)


@_compiled
def count_pixels(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ignore_index: int
) -> tuple[NDArray[np.int64], bool]:
    """The counts of two flat maps, and whether every id was a class or ignored; where not, the counts say nothing.

    Shapes: N and N, any integer dtypes, to C×C int64, rows the truth.
    """
    tables = np.zeros((TABLES, classes * classes), np.int64)
    known = True
    for i in range(labels.size):
        label = np.int64(labels[i])
        if label != ignore_index:
            prediction = np.int64(predictions[i])
            if 0 <= label < classes and 0 <= prediction < classes:
                tables[i % TABLES, label * classes + prediction] += 1
            else:
                known = False
    return tables.sum(0).reshape(classes, classes), known
