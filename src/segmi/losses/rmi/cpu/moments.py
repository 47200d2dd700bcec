"""First and second moments of all R×R windows of a probability and a label map, without unfolding the windows.

The sum over all windows of the product of two positions is the sum over the whole map of the product with itself,
displaced by the distance of the two, minus the m = R - 1 rows and m columns that the first position does not reach.
There are (2R - 1)² displacements but R⁴ pairs of positions. Products are summed by displacement over all rows and
columns (slot 0), and again over each of the 2m rows and columns that some position does not reach (slots 1 … 2m).

A sum of products with a label is a sum over the label's runs; for the next displacement it changes only at their ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.compiled.runtime import compiled, reordered
from segmi.losses.rmi.cpu.workspace import edge_index


@compiled
def clear(tables: Any) -> None:
    """Set all tables to 0."""
    pp, yp, yy, first = tables
    pp[:] = 0.0
    yp[:] = 0.0
    yy[:] = 0.0
    first[:] = 0.0


@compiled
def add_row(
    layout: Any, rows: Any, starts: Any, r: int, height: int, width: int, radius: int, reach: int, dense: Any,
    tables: Any,
) -> None:  # fmt: skip
    """Add the products of row r with the rows around it, at ``starts``, to the tables of column slot 0.

    Args:
        reach: R, or fewer rows, starting with row r, whose products of probabilities are needed.
        dense: None for a label in runs; else the label is in ``rows``, and ``dense`` is whether it is not 0.
    """
    margin = radius - 1
    pp, yp, yy, first = tables
    down = height - margin  # H'
    # One call in a loop instead of three calls, since each call would be inlined.
    for u in (0, 1 + r if r < margin else -1, 1 + margin + r - down if r >= down else -1):
        if u >= 0:
            _add_row_at(layout, rows, starts, r, width, radius, reach, dense, pp[u], yp[u], yy[u], first[:, u])


@compiled
def _add_row_at(
    layout: Any, rows: Any, starts: Any, r: int, width: int, radius: int, reach: int, dense: Any, pp: Any, yp: Any,
    yy: Any, first: Any,
) -> None:  # fmt: skip
    margin, taps = radius - 1, 2 * radius - 1
    here = starts[margin]  # start of row r
    p = rows[0]
    first[0, 0] += _span(p, here + margin, width)
    if dense is None:
        runs, begin, end = layout.runs, layout.class_rows[r], layout.class_rows[r + 1]
        labeled = begin < end
        for k in range(begin, end):
            first[1, 0] += runs[k, 2] - runs[k, 1]
    else:  # the branch of the other type is not compiled
        labeled = dense
        first[1, 0] += _span(rows[1], here + margin, width)
    for s in range(-margin, radius):
        there = starts[s + margin]
        if there < 0:
            continue
        if 0 <= s < reach:
            t = margin if s == 0 else 0  # in the same row, displacements to the left repeat those to the right
            displaced(p, here + margin, p, there + t, width, taps - t, pp[s, 0, t:])
        if not labeled:
            continue
        if dense is not None:
            displaced(rows[1], here + margin, p, there, width, taps, yp[s + margin, 0])
            if s >= 0:
                displaced(rows[1], here + margin, rows[1], there, width, taps, yy[s, 0])
        else:
            _add_runs_by_probability(p, there, taps, runs, begin, end, yp[s + margin, 0])
            if s >= 0:
                other, last = layout.class_rows[r + s], layout.class_rows[r + s + 1]
                _add_runs_by_runs(margin, runs, begin, end, other, last, yy[s, 0])


@compiled
def _add_runs_by_probability(p: Any, there: int, taps: int, runs: Any, begin: int, end: int, out: Any) -> None:
    for k in range(begin, end):
        a, b = there + runs[k, 1], there + runs[k, 2]
        value = _span(p, a, b - a)  # Σ p over the run, displaced by t - m
        for t in range(taps):
            out[t] += value
            value += p[b + t] - p[a + t]  # the next displacement


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
    """Add ``Σ_k a[i + k] b[j + k + t]`` to ``out[t]``, k < size, t < taps. Unsigned indices need no sign check."""
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
    pp, yp, yy, single = tables  # see `new_workspace` for the axes
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
    """Return the sum over all rows and columns minus the m rows and m columns that position (a, b) does not reach.

    These are the rows 0 … a - 1 and H' + a … H - 1, with H' rows of windows, and similarly columns. Their crossings are
    subtracted twice and added once.
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


# --- border columns


@reordered
def _total(a: Any) -> float:
    result = 0.0
    for k in range(a.size):
        result += a[k]
    return result


@compiled
def add_edge_moments(columns: Any, height: int, radius: int, sums: Any, tables: Any) -> None:
    """Add the products of the edges with their neighbors to the tables; ``sums`` is a buffer for 2R - 1 numbers."""
    margin = radius - 1
    _add_edges(columns, 0, height, radius, sums, tables, 0)
    for u in range(2 * margin):
        r = u if u < margin else height - 2 * margin + u
        _add_edges(columns, r, r + 1, radius, sums, tables, 1 + u)


@compiled
def _add_edges(columns: Any, begin: int, end: int, radius: int, sums: Any, tables: Any, u: int) -> None:
    """Add the products of the rows begin … end - 1 to row slot u."""
    margin, taps, count = radius - 1, 2 * radius - 1, end - begin
    pp, yp, yy, first = tables
    for e in range(2 * margin):
        at, here = edge_index(e, margin), begin + margin
        labeled = _total(columns[1, at, here : here + count])  # number of pixels of the class
        first[0, u, 1 + e] += _total(columns[0, at, here : here + count])
        first[1, u, 1 + e] += labeled
        for t in range(taps):
            other = at + t - margin
            _add_displaced(columns[0, at], here, columns[0, other], here, count, radius, sums, pp[u, :, 1 + e, t])
            if labeled:
                _add_displaced(
                    columns[1, at], here, columns[0, other], here - margin, count, taps, sums, yp[u, :, 1 + e, t]
                )
                _add_displaced(columns[1, at], here, columns[1, other], here, count, radius, sums, yy[u, :, 1 + e, t])


@compiled
def _add_displaced(a: Any, i: int, b: Any, j: int, size: int, taps: int, sums: Any, out: Any) -> None:
    sums[:taps] = 0.0
    displaced(a, i, b, j, size, taps, sums)
    for s in range(taps):
        out[s] += sums[s]


# --- listed windows


@compiled
def gather(rows: Any, r: int, k: int, width: int, radius: int, out: Any) -> None:
    """Write the window (P, Y) that starts at row r and column k."""
    margin, i = radius - 1, 0
    for which in range(2):
        for a in range(radius):
            begin = (r + a) * (width + 2 * margin) + margin + k
            for b in range(radius):
                out[i] = rows[which, begin + b]
                i += 1


@compiled
def add_listed_moments(
    rows: Any, width: int, radius: int, starts: Any, sign: float, window: Any, first: Any, second: Any
) -> None:
    """Add ``sign`` times Σ x and the lower triangle of Σ x xᵀ of the listed windows; ``rows`` holds all rows."""
    for k in range(len(starts)):
        gather(rows, starts[k, 0], starts[k, 1], width, radius, window)
        for i in range(window.size):
            value = sign * window[i]
            first[i] += value
            for j in range(i + 1):
                second[i, j] += value * window[j]
