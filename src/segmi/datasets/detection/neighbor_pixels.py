"""Pixels of a mask whose neighbors have the same value, nearly the same value, or another one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIMILAR: Final = 8  # gray levels; neighbors that differ more are along an edge


def inside_pixels(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels have four neighbors of nearly the same gray level."""
    inside = np.zeros(codes.shape, dtype=bool)
    levels = codes.astype(np.int64)
    near = [np.abs(np.diff(levels, axis=axis)) <= SIMILAR for axis in (0, 1)]
    inside[1:-1, 1:-1] = near[0][:-1, 1:-1] & near[0][1:, 1:-1] & near[1][1:-1, :-1] & near[1][1:-1, 1:]
    return inside


def isolated_pixels(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels have no value in common with any of their four neighbors."""
    isolated = np.ones(codes.shape, dtype=bool)
    down, right = codes[1:] == codes[:-1], codes[:, 1:] == codes[:, :-1]
    isolated[1:] &= ~down
    isolated[:-1] &= ~down
    isolated[:, 1:] &= ~right
    isolated[:, :-1] &= ~right
    return isolated
