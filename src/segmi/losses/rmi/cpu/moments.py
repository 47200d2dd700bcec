"""First and second moments of all R×R windows of a probability and a label map, without unfolding a window.

The sum of products over all windows of two positions in them is that over the whole map of the product displaced by
the distance of the two, less the m = R - 1 rows and the m columns that the first position does not reach. There are
(2R - 1)² displacements, and R⁴ pairs of positions. So products are summed by displacement: over all rows and columns
(place 0), and again over each of the 2m rows and columns that some position misses (places 1 … 2m).

Where a factor is a label, a sum of products is one over its runs; displaced by one more column, it changes at their
ends alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating, compiled, reordered


@allocating
def new_tables(radius: int) -> Any:
    """PP, YP, YY, by place of row, row displacement, place of column, column displacement; P and Y by places."""
    places, taps = 2 * radius - 1, 2 * radius - 1
    return (
        np.zeros((places, radius, places, taps)),
        np.zeros((places, taps, places, taps)),
        np.zeros((places, radius, places, taps)),
        np.zeros((2, places, places)),
    )


@compiled
def clear(tables: Any) -> None:
    """Make all of them 0."""
    pp, yp, yy, first = tables
    pp[:] = 0.0
    yp[:] = 0.0
    yy[:] = 0.0
    first[:] = 0.0


@compiled
def add_row(layout: Any, rows: Any, found: Any, r: int, height: int, width: int, radius: int, tables: Any) -> None:
    """Add the products of row r with the rows around it, which are ``found``, to the tables, over all columns alone."""
    margin = radius - 1
    pp, yp, yy, first = tables
    down = height - margin
    # One call in a loop, not three calls: each would be compiled anew into its caller.
    for u in (0, 1 + r if r < margin else -1, 1 + margin + r - down if r >= down else -1):
        if u >= 0:
            _add_row_at(layout, rows, found, r, width, radius, pp[u], yp[u], yy[u], first[:, u])


@compiled
def _add_row_at(
    layout: Any, rows: Any, found: Any, r: int, width: int, radius: int, pp: Any, yp: Any, yy: Any, first: Any
) -> None:
    runs, held = layout.runs, layout.held
    margin, taps = radius - 1, 2 * radius - 1
    here = found[margin]
    p = rows[0]
    labeled = held[r] < held[r + 1]
    first[0, 0] += _span(p, here + margin, width)
    for k in range(held[r], held[r + 1]):
        first[1, 0] += runs[k, 2] - runs[k, 1]
    for s in range(-margin, radius):
        there = found[s + margin]
        if there < 0:
            continue
        if s >= 0:
            t = margin if s == 0 else 0  # in the same row, what is displaced to the left is the same
            displaced(p, here + margin, p, there + t, width, taps - t, pp[s, 0, t:])
        if labeled:
            _add_runs_by_probability(p, there, taps, runs, held[r], held[r + 1], yp[s + margin, 0])
            if s >= 0:
                _add_runs_by_runs(margin, runs, held[r], held[r + 1], held[r + s], held[r + s + 1], yy[s, 0])


@compiled
def _add_runs_by_probability(p: Any, there: int, taps: int, runs: Any, begin: int, end: int, out: Any) -> None:
    for k in range(begin, end):
        a, b = there + runs[k, 1], there + runs[k, 2]
        value = _span(p, a, b - a)
        for t in range(taps):
            out[t] += value
            value += p[b + t] - p[a + t]


@compiled
def _add_runs_by_runs(margin: int, runs: Any, begin: int, end: int, other: int, last: int, out: Any) -> None:
    for k in range(begin, end):
        a, b = runs[k, 1], runs[k, 2]
        while other < last and runs[other, 2] + margin <= a:
            other += 1
        for j in range(other, last):
            if runs[j, 1] - margin >= b:
                break
            for t in range(2 * margin + 1):
                shared = min(b, runs[j, 2] - (t - margin)) - max(a, runs[j, 1] - (t - margin))
                if shared > 0:
                    out[t] += shared


@reordered
def _span(a: Any, begin: int, size: int) -> float:
    total, first = 0.0, np.uintp(begin)
    for k in range(np.uintp(max(size, 0))):
        total += a[first + k]
    return total


@reordered
def _dots5(a: Any, i: Any, b: Any, j: Any, size: Any) -> tuple[float, float, float, float, float]:
    s0, s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(size):
        v = a[i + k]
        s0 += v * b[j + k]
        s1 += v * b[j + k + np.uintp(1)]
        s2 += v * b[j + k + np.uintp(2)]
        s3 += v * b[j + k + np.uintp(3)]
        s4 += v * b[j + k + np.uintp(4)]
    return s0, s1, s2, s3, s4


@reordered
def _dots3(a: Any, i: Any, b: Any, j: Any, size: Any) -> tuple[float, float, float]:
    s0, s1, s2 = 0.0, 0.0, 0.0
    for k in range(size):
        v = a[i + k]
        s0 += v * b[j + k]
        s1 += v * b[j + k + np.uintp(1)]
        s2 += v * b[j + k + np.uintp(2)]
    return s0, s1, s2


@reordered
def _dot(a: Any, i: Any, b: Any, j: Any, size: Any) -> float:
    total = 0.0
    for k in range(size):
        total += a[i + k] * b[j + k]
    return total


@compiled
def displaced(a: Any, i: int, b: Any, j: int, size: int, taps: int, out: Any) -> None:
    """``out[t] += Σ_k a[i + k] b[j + k + t]``, k < size, t < taps. Unsigned indices need no check for their sign."""
    first, second, count = np.uintp(i), np.uintp(j), np.uintp(max(size, 0))
    t = 0
    while t + 5 <= taps:
        s0, s1, s2, s3, s4 = _dots5(a, first, b, second + np.uintp(t), count)
        out[t] += s0
        out[t + 1] += s1
        out[t + 2] += s2
        out[t + 3] += s3
        out[t + 4] += s4
        t += 5
    while t + 3 <= taps:
        s0, s1, s2 = _dots3(a, first, b, second + np.uintp(t), count)
        out[t] += s0
        out[t + 1] += s1
        out[t + 2] += s2
        t += 3
    while t < taps:
        out[t] += _dot(a, first, b, second + np.uintp(t), count)
        t += 1


@compiled
def collect(tables: Any, height: int, width: int, radius: int, first: Any, second: Any) -> None:
    """Write Σ x and the lower triangle of Σ x xᵀ over all windows, x = (P, Y), from the tables."""
    margin, d = radius - 1, radius * radius
    pp, yp, yy, single = tables
    for which in range(2):
        for a in range(radius):
            for b in range(radius):
                first[which * d + a * radius + b] = _reached(single[which], a, b, margin)
    for s in range(-margin, radius):
        for a in range(max(0, -s), radius - max(0, s)):
            for t in range(-margin, radius):
                for b in range(max(0, -t), radius - max(0, t)):
                    i, j = a * radius + b, (a + s) * radius + b + t
                    second[d + i, j] = _reached(yp[:, s + margin, :, t + margin], a, b, margin)
                    if s > 0 or (s == 0 and t >= 0):
                        second[j, i] = _reached(pp[:, s, :, t + margin], a, b, margin)
                        second[d + j, d + i] = _reached(yy[:, s, :, t + margin], a, b, margin)


@compiled
def _reached(table: Any, a: int, b: int, margin: int) -> float:
    """What is summed over all rows and columns, less those that position (a, b) misses: m rows and m columns.

    It misses the rows 0 … a - 1 and H' + a … H - 1, H' the number of rows of windows, and columns likewise.
    """
    value = table[0, 0]
    for v in range(margin):
        value -= table[0, 1 + v if v < b else 1 + margin + v]
    for u in range(margin):
        row = 1 + u if u < a else 1 + margin + u
        value -= table[row, 0]
        for v in range(margin):
            value += table[row, 1 + v if v < b else 1 + margin + v]
    return value
