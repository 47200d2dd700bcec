"""Windows that are listed one by one: those with ignored pixels in them, to be left out, or the few that have none."""

from __future__ import annotations

from typing import Any

from segmi.losses.rmi.cpu.compiling import compiled


@compiled
def mark_broken(runs: Any, begin: int, end: int, radius: int, broken: Any) -> int:
    """Mark the H'×W' windows, by their upper left pixel, that reach into these runs, and count them."""
    down, right = broken.shape
    broken[:] = False
    for k in range(begin, end):
        r, a, b = runs[k]
        broken[max(0, r - radius + 1) : min(down, r + 1), max(0, a - radius + 1) : min(right, b)] = True
    return broken.sum()


@compiled
def list_windows(broken: Any, wanted: bool, starts: Any) -> None:
    """Write row and column of the windows that are ``wanted``: the broken ones or the others."""
    place = 0
    for r in range(broken.shape[0]):
        for k in range(broken.shape[1]):
            if broken[r, k] == wanted:
                starts[place, 0], starts[place, 1] = r, k
                place += 1


@compiled
def _gather(rows: Any, r: int, k: int, width: int, radius: int, out: Any) -> None:
    margin, place = radius - 1, 0
    for which in range(2):
        for a in range(radius):
            begin = (r + a) * (width + 2 * margin) + margin + k
            for b in range(radius):
                out[place] = rows[which, begin + b]
                place += 1


@compiled
def add_moments(
    rows: Any, width: int, radius: int, starts: Any, sign: float, window: Any, first: Any, second: Any
) -> None:
    """Add ``sign`` times Σ x and the lower triangle of Σ x xᵀ of these windows; the rows are all in place."""
    for place in range(len(starts)):
        _gather(rows, starts[place, 0], starts[place, 1], width, radius, window)
        for i in range(window.size):
            value = sign * window[i]
            first[i] += value
            for j in range(i + 1):
                second[i, j] += value * window[j]


@compiled
def add_folded(
    rows: Any,
    width: int,
    radius: int,
    starts: Any,
    sign: float,
    window: Any,
    coefficients: Any,
    offsets: Any,
    folded: Any,
) -> None:
    """Add ``sign`` times ``K (P_i, Y_i) - k₀`` of these windows to the H×W pixels where they lie."""
    for place in range(len(starts)):
        r, k = starts[place]
        _gather(rows, r, k, width, radius, window)
        for position in range(radius * radius):
            value = -offsets[position]
            for i in range(window.size):
                value += coefficients[position, i] * window[i]
            folded[r + position // radius, k + position % radius] += sign * value
