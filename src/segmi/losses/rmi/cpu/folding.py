"""Gradient of a linear function of every window with respect to the pixels.

``Σ_i K (P_i, Y_i) - k₀`` is added to the pixels of window i. For a pixel that occurs in windows at all R² positions
this is one (2R - 1)² stencil on each of the two maps; the m = R - 1 rows and columns at the border have separate
stencils. Along a row, the stencil of a label changes only at the ends of its runs, so the changes are written there and
summed up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.compiled.runtime import compiled, reordered
from segmi.losses.rmi.cpu.moments import gather
from segmi.losses.rmi.cpu.workspace import edge_index, find_rows


@compiled
def fold_whole_row(
    layout: Any, r: int, ring: int, height: int, width: int, radius: int, dense: Any, coefficients: Any, offsets: Any,
    work: Any, out: Any,
) -> None:  # fmt: skip
    """Write row r of the gradient with respect to the map, for all windows; rows must come in order."""
    find_rows(r, ring, height, width, radius, work.row_starts)
    _prepare_stencils(coefficients, offsets, r, height, width, radius, work.stencils)
    _fold_row(layout, work.rows, work.row_starts, r, height, width, radius, dense, work.stencils, work.changes, out)
    _set_edges(r, height, width, radius, work, out)


@compiled
def _set_edges(r: int, height: int, width: int, radius: int, work: Any, out: Any) -> None:
    """Write the edges of row r; all inner rows share their stencils and are computed at row m."""
    margin = radius - 1
    inside = margin <= r < height - margin
    if r == margin and inside:
        _fold_edges(work.columns, height, radius, work.stencils, work.window, work.edges)
    for e in range(2 * margin):
        x = e if e < margin else width - 2 * margin + e
        out[x] = work.edges[e, r] if inside else _folded_edge(work.columns, r, e, radius, work.stencils)


@compiled
def _fold_row(
    layout: Any, rows: Any, starts: Any, r: int, height: int, width: int, radius: int, dense: Any, stencils: Any,
    changes: Any, out: Any,
) -> None:  # fmt: skip
    """Write row r except its edges from the rows at ``starts``; ``changes`` holds W + 1 zeros before and after.

    For ``dense`` see `segmi.losses.rmi.cpu.moments.add_row`.
    """
    margin = radius - 1
    weights, constants = stencils
    out[:] = -constants[0]  # Σ k₀ over the windows of an inner pixel
    begin, end = width, 0
    for s in range(2 * margin + 1):
        there = starts[s]
        if there < 0:
            continue
        if _is_any(weights[0, 0, s]):
            add_taps(rows[0], there, weights[0, 0, s], out)
        if dense is None:
            runs, first, last = layout.runs, layout.class_rows[r + s - margin], layout.class_rows[r + s - margin + 1]
            if first < last:
                _add_changes(runs, first, last, weights[0, 1, s], margin, width, changes)
                begin, end = min(begin, runs[first, 1] - margin), max(end, runs[last - 1, 2] + radius)
        elif dense:
            add_taps(rows[1], there, weights[0, 1, s], out)
    if begin < end:
        _add_running_sum(changes, max(begin, 0), min(end, width), out)


@compiled
def _prepare_stencils(
    coefficients: Any, offsets: Any, r: int, height: int, width: int, radius: int, stencils: Any
) -> None:
    """Write the stencils of row r if they differ from the row above; rows must come in order."""
    weights, constants = stencils
    margin = radius - 1
    down, right = height - margin, width - margin  # H', W'
    a0, a1 = max(0, r - down + 1), min(radius, r + 1)  # rows of a window that this row can be
    if r > 0 and a0 == max(0, r - down) and a1 == min(radius, r):
        return
    constants[0] = _stencil(coefficients, offsets, a0, a1, 0, radius, radius, weights[0])
    for e in range(2 * margin):
        x = e if e < margin else width - 2 * margin + e  # column of the edge
        b0, b1 = max(0, x - right + 1), min(radius, x + 1)
        constants[1 + e] = _stencil(coefficients, offsets, a0, a1, b0, b1, radius, weights[1 + e])


@compiled
def _is_any(weights: Any) -> bool:
    """Return whether any weight is not 0."""
    result = False
    for t in range(len(weights)):
        result = result or weights[t] != 0.0
    return result


@compiled
def _stencil(coefficients: Any, offsets: Any, a0: int, a1: int, b0: int, b1: int, radius: int, weights: Any) -> float:
    """Write the weights around a pixel that occurs at the positions a0 … a1 - 1, b0 … b1 - 1 of windows."""
    margin = radius - 1
    weights[:] = 0.0
    constant = 0.0
    for a in range(a0, a1):
        for b in range(b0, b1):
            position = a * radius + b
            constant += offsets[position]
            for which in range(2):
                for u in range(radius):
                    for v in range(radius):
                        weight = coefficients[position, (which * radius + u) * radius + v]
                        weights[which, u - a + margin, v - b + margin] += weight
    return constant


@reordered
def _add_taps5(a: Any, j: Any, w0: float, w1: float, w2: float, w3: float, w4: float, out: Any) -> None:
    for k in range(np.uintp(out.size)):
        out[k] += (
            w0 * a[j + k]
            + w1 * a[j + k + np.uintp(1)]
            + w2 * a[j + k + np.uintp(2)]
            + w3 * a[j + k + np.uintp(3)]
            + w4 * a[j + k + np.uintp(4)]
        )


@reordered
def _add_taps3(a: Any, j: Any, w0: float, w1: float, w2: float, out: Any) -> None:
    for k in range(np.uintp(out.size)):
        out[k] += w0 * a[j + k] + w1 * a[j + k + np.uintp(1)] + w2 * a[j + k + np.uintp(2)]


@reordered
def _add_tap(a: Any, j: Any, w: float, out: Any) -> None:
    for k in range(np.uintp(out.size)):
        out[k] += w * a[j + k]


@compiled
def add_taps(a: Any, begin: int, weights: Any, out: Any) -> None:
    """Add ``Σ_t weights[t] a[begin + k + t]`` to ``out[k]``."""
    first, t = np.uintp(begin), 0
    while t + 5 <= len(weights):
        _add_taps5(
            a, first + np.uintp(t), weights[t], weights[t + 1], weights[t + 2], weights[t + 3], weights[t + 4], out
        )
        t += 5
    while t + 3 <= len(weights):
        _add_taps3(a, first + np.uintp(t), weights[t], weights[t + 1], weights[t + 2], out)
        t += 3
    while t < len(weights):
        _add_tap(a, first + np.uintp(t), weights[t], out)
        t += 1


@compiled
def _add_changes(runs: Any, begin: int, end: int, weights: Any, margin: int, width: int, changes: Any) -> None:
    """Add the difference of ``Σ_t weights[t] y[x + t - m]`` between x and x - 1, for a row with these runs."""
    for k in range(begin, end):
        for t in range(2 * margin + 1):
            shift = margin - t
            changes[min(max(runs[k, 1] + shift, 0), width)] += weights[t]
            changes[min(max(runs[k, 2] + shift, 0), width)] -= weights[t]


@compiled
def _add_running_sum(changes: Any, begin: int, end: int, out: Any) -> None:
    """Add the running sum of the changes, all within begin … end - 1, to ``out``, and reset them to 0."""
    value = 0.0
    for x in range(begin, end):
        value += changes[x]
        changes[x] = 0.0
        out[x] += value
    changes[len(out)] = 0.0


# --- border columns


@compiled
def _fold_edges(columns: Any, height: int, radius: int, stencils: Any, column: Any, out: Any) -> None:
    """Write the edges of all rows, with the same ``stencils`` for each; ``column`` is a buffer for 2R - 1 values."""
    margin, taps = radius - 1, 2 * radius - 1
    weights, constants = stencils
    for e in range(2 * margin):
        at, row = edge_index(e, margin), out[e]
        row[:] = -constants[1 + e]
        for which in range(2):
            for t in range(taps):
                for s in range(taps):
                    column[s] = weights[1 + e, which, s, t]
                add_taps(columns[which, at + t - margin], 0, column[:taps], row)


@compiled
def _folded_edge(columns: Any, r: int, e: int, radius: int, stencils: Any) -> float:
    """Return edge e of row r."""
    margin, taps = radius - 1, 2 * radius - 1
    weights, constants = stencils
    at, value = edge_index(e, margin), -constants[1 + e]
    for which in range(2):
        for s in range(taps):
            for t in range(taps):
                value += weights[1 + e, which, s, t] * columns[which, at + t - margin, r + s]
    return value


# --- listed windows


@compiled
def add_listed_folded(
    rows: Any, width: int, radius: int, starts: Any, sign: float, window: Any, coefficients: Any, offsets: Any,
    folded: Any,
) -> None:  # fmt: skip
    """Add ``sign`` times ``K (P_i, Y_i) - k₀`` of the listed windows to the H×W pixels that they cover."""
    for number in range(len(starts)):
        r, k = starts[number]
        gather(rows, r, k, width, radius, window)
        for position in range(radius * radius):
            value = -offsets[position]
            for i in range(window.size):
                value += coefficients[position, i] * window[i]
            folded[r + position // radius, k + position % radius] += sign * value
