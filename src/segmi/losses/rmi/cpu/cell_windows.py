"""Moments of the windows of dense maps, and the gradient with respect to the maps.

Maps are flat: the window that starts at cell k has its position (a, b) at k + a w + b, so that all windows are visited
by loops over k, and a mask excludes windows, also those that would continue in the next row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from segmi.losses.compiled.runtime import compiled, reordered
from segmi.losses.rmi.cpu.folding import add_taps
from segmi.losses.rmi.cpu.moments import displaced

_ROUNDING: Final = 1e-10  # as in `segmi.losses.rmi.maps`
_BLOCK: Final = 2048  # windows that are visited together, whose cells stay in the cache


@reordered
def total_of(a: Any) -> float:
    """Return the sum of ``a``."""
    result = 0.0
    for k in range(a.size):
        result += a[k]
    return result


@compiled
def _multiply(a: Any, begin: int, b: Any, out: Any) -> None:
    first = np.uintp(begin)
    for k in range(np.uintp(out.size)):
        out[k] = a[first + k] * b[k]


@compiled
def _add_at(values: Any, begin: int, out: Any) -> None:
    first = np.uintp(begin)
    for k in range(np.uintp(values.size)):
        out[first + k] += values[k]


@compiled
def varies_inside(work: Any, radius: int) -> bool:
    """Return whether any position of the label window takes different values, beyond the rounding of pooling."""
    w, size = work.at.shape[1], work.mask.size - (radius - 1) * (work.at.shape[1] + 1)
    for position in range(radius * radius):
        begin = position // radius * w + position % radius
        lowest, highest = np.inf, -np.inf
        for k in range(size):
            if work.mask[k] > 0.0:
                value = work.maps[1, begin + k]
                lowest, highest = min(lowest, value), max(highest, value)
                if highest - lowest > _ROUNDING:
                    return True
    return False


@compiled
def sum_windows(work: Any, radius: int, labeled: bool) -> None:
    """Write Σ x and at least the lower triangle of Σ x xᵀ over the included windows x = (P, Y).

    Y is 0 everywhere unless ``labeled``, here and in `fold_windows`.
    """
    w, d = work.at.shape[1], radius * radius
    size = work.mask.size - (radius - 1) * (w + 1)
    work.first[:] = 0.0
    work.second[:] = 0.0
    for begin in range(0, size, _BLOCK):
        mask = work.mask[begin : min(begin + _BLOCK, size)]
        masked = work.masked[: mask.size]
        for i in range(2 * d if labeled else d):
            _multiply(work.maps[i // d], begin + i % d // radius * w + i % radius, mask, masked)
            work.first[i] += total_of(masked)
            for g in range(i // radius + 1):  # R neighboring positions of the second factor
                out = work.second[i, g * radius : g * radius + radius]
                displaced(masked, 0, work.maps[g // radius], begin + g % radius * w, mask.size, radius, out)


@compiled
def fold_windows(work: Any, radius: int, labeled: bool, coefficients: Any, offsets: Any) -> None:
    """Add ``K (P_i, Y_i) - k₀`` of the included windows to their cells."""
    w, d = work.at.shape[1], radius * radius
    size = work.mask.size - (radius - 1) * (w + 1)
    work.folded[:] = 0.0
    for begin in range(0, size, _BLOCK):
        mask = work.mask[begin : min(begin + _BLOCK, size)]
        masked = work.masked[: mask.size]
        for i in range(d):
            masked[:] = -offsets[i]
            for g in range(2 * radius if labeled else radius):
                weights = coefficients[i, g * radius : g * radius + radius]
                add_taps(work.maps[g // radius], begin + g % radius * w, weights, masked)
            _multiply(masked, 0, mask, masked)
            _add_at(masked, begin + i // radius * w + i % radius, work.folded)
