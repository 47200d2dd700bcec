"""Softmax over the channels of one image in float64, pooled row by row, and its gradient.

The probabilities of all channels of one row of pixels stay in the cache; none are stored for the whole image.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.pooling import pool_columns, pool_row, spread_columns, spread_peaks
from segmi.losses.compiled.runtime import compiled, entry

_LOG2_E: Final = 1 / math.log(2)
# Added to a much smaller float64, gives an integer whose lowest bits are the rounded number plus the bias 1023.
_ROUNDER: Final = 1.5 * 2.0**52 + 1023
_LOWEST: Final = -708.0  # e to this is about the smallest normal float64

_C: Final = tuple(math.log(2) ** k / math.factorial(k) for k in range(13))  # the series of 2^r, to 2e-16 on |r| ≤ ½


@njit(inline="always")
def _exponential(x: Any) -> Any:
    # e to a float64 of at most 0, to 2e-16 (1 + |x|), and at least 3e-308
    scaled = np.float64(max(x, _LOWEST) * _LOG2_E)
    shifted = np.float64(scaled + _ROUNDER)
    r = scaled - (shifted - _ROUNDER)
    low = ((_C[3] * r + _C[2]) * r + _C[1]) * r + _C[0]
    middle = ((_C[7] * r + _C[6]) * r + _C[5]) * r + _C[4]
    high = (((_C[12] * r + _C[11]) * r + _C[10]) * r + _C[9]) * r + _C[8]
    q = r * r
    q = q * q
    return ((high * q + middle) * q + low) * np.int64(shifted.view(np.int64) << np.int64(52)).view(np.float64)


@compiled
def _raise(z: Any, top: Any) -> None:
    for k in range(top.size):
        top[k] = max(top[k], np.float64(z[k]))


@compiled
def _write_exponentials(z: Any, top: Any, out: Any, total: Any) -> None:
    for k in range(out.size):
        out[k] = _exponential(np.float64(z[k]) - top[k])
        total[k] += out[k]


@compiled
def _multiply(factors: Any, out: Any) -> None:
    for k in range(out.size):
        out[k] *= factors[k]


@compiled
def _softmax_row(logits: Any, r: int, valid: Any, p: Any, top: Any, total: Any) -> None:
    """Write the probabilities (C×W) of row r, 0 in ignored pixels."""
    top[:] = -np.inf
    total[:] = 0.0
    for c in range(len(p)):
        _raise(logits[c, r], top)
    for c in range(len(p)):
        _write_exponentials(logits[c, r], top, p[c], total)
    for k in range(total.size):
        total[k] = 1.0 / total[k] if valid[r, k] else 0.0
    for c in range(len(p)):
        _multiply(total, p[c])


@compiled
def _add_products(p: Any, slope: Any, total: Any) -> None:
    for k in range(total.size):
        total[k] += p[k] * slope[k]


@compiled
def _add_gradient(p: Any, slope: Any, total: Any, weight: float, out: Any) -> None:
    for k in range(out.size):
        out[k] += np.float32(weight * p[k] * (slope[k] - total[k]))


def _entries(digest: str) -> Any:
    @entry
    def pool_softmax(
        logits: Any, valid: Any, channels: Any, grid: Any, maximum: bool, shift: float, begin: int, end: int, out: Any,
        at: Any,
    ) -> None:  # fmt: skip
        """Write the probabilities of ``channels`` in the rows begin … end - 1 of the grid, and where maxima are.

        Map m of ``out`` and ``at`` is for ``channels[m]``.
        """
        _ = digest
        height, width = valid.shape
        p, totals = np.empty((len(logits), width)), np.empty((len(logits), width))
        peaks, top, total = np.empty((len(logits), width)), np.empty(width), np.empty(width)
        for r in range(height):
            i = grid.rows[r]
            if not begin <= i < end:
                continue
            if r == 0 or grid.rows[r - 1] != i:
                totals[:] = 0.0
            _softmax_row(logits, r, valid, p, top, total)
            last = r + 1 == height or grid.rows[r + 1] != i  # pixel row of this row of cells
            for m in range(len(channels)):
                pool_row(grid, p[channels[m]], r, maximum, shift, totals[m], peaks[m])
                if last:
                    pool_columns(grid, totals[m], peaks[m], maximum, out[m, i], at[m, i if maximum else 0])

    @entry
    def softmax_backward(
        logits: Any, valid: Any, channels: Any, grid: Any, maximum: bool, begin: int, end: int, slopes: Any, at: Any,
        out: Any,
    ) -> None:  # fmt: skip
        """Add the gradient with respect to the logits, from the ``slopes`` with respect to the pooled probabilities.

        Map m of ``slopes`` and ``at`` is for ``channels[m]``; the other slopes are 0.
        """
        _ = digest
        height, width = valid.shape
        p, slope = np.empty((len(logits), width)), np.zeros((len(logits), width + 1))
        top, total = np.empty(width), np.empty(width)
        for r in range(height):
            i = grid.rows[r]
            if not begin <= i < end:
                continue
            _softmax_row(logits, r, valid, p, top, total)
            total[:] = 0.0
            for m in range(len(channels)):
                c = channels[m]
                if maximum:
                    spread_peaks(slopes[m, i], at[m, i], r, slope[c])
                elif r == 0 or grid.rows[r - 1] != i:
                    spread_columns(grid, slopes[m, i], slope[c, :width])
                _add_products(p[c], slope[c], total)
            for c in range(len(p)):
                _add_gradient(p[c], slope[c], total, grid.row_weights[r], out[c, r])

    return pool_softmax, softmax_backward


pool_softmax, softmax_backward = _entries(source_digest(Path(__file__).parent))
