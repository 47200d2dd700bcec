"""The columns at the left and right border, which windows reach less often than the others: down the image at once.

Strips hold the 2m columns at either border, m = R - 1, and m columns of zeros beyond it, column by column, each with m
zeros above and below: place c of the 3m columns on the left is column c - m, place 3m + c is column W - 2m + c, and
row r is at r + m. Edge e of 2m is column e on the left for e < m, else column W - 2m + e: both times at `_place`, and
its neighbor t columns further on stands t places further on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating, compiled, reordered
from segmi.losses.rmi.cpu.folding import add_taps
from segmi.losses.rmi.cpu.moments import displaced
from segmi.losses.rmi.cpu.pixels import probabilities, widen


@allocating
def new_strips(height: int, radius: int) -> Any:
    """Probability and label by column and row."""
    margin = radius - 1
    return np.zeros((2, 6 * margin, height + 2 * margin))


@compiled
def _place(e: int, margin: int) -> int:
    return margin + e if e < margin else 3 * margin + e


@compiled
def write_strips(layout: Any, z: Any, q: Any, narrow: bool, offset: float, radius: int, room: Any, strips: Any) -> None:
    """From the tails ``q`` of all rows, or from logits that are ``narrow``; ``room`` is for W pixels."""
    height, width = z.shape
    margin, runs = radius - 1, layout.runs
    strips[1] = 0.0
    for side in range(2):
        begin = 0 if side == 0 else max(0, width - 2 * margin)
        end = min(width, 2 * margin) if side == 0 else width
        first = margin if side == 0 else 3 * margin - (width - 2 * margin)  # the place of column 0
        part = room[: end - begin]
        for r in range(height):
            if narrow:
                probabilities(z[r, begin:end], offset, part)
            else:
                widen(q[r, begin:end], offset, part)
            for k in range(end - begin):
                strips[0, first + begin + k, r + margin] = part[k]
            for k in range(layout.ignored[r], layout.ignored[r + 1]):
                for x in range(max(begin, runs[k, 1]), min(end, runs[k, 2])):
                    strips[0, first + x, r + margin] = -offset
            for k in range(layout.held[r], layout.held[r + 1]):
                for x in range(max(begin, runs[k, 1]), min(end, runs[k, 2])):
                    strips[1, first + x, r + margin] = 1.0


@reordered
def _total(a: Any) -> float:
    result = 0.0
    for k in range(a.size):
        result += a[k]
    return result


@compiled
def add_edge_moments(strips: Any, height: int, radius: int, sums: Any, tables: Any) -> None:
    """Add the products of the edges with what is around them to the tables; ``sums`` is room for 2R - 1 numbers."""
    margin = radius - 1
    _add_edges(strips, 0, height, radius, sums, tables, 0)
    for u in range(2 * margin):
        r = u if u < margin else height - 2 * margin + u
        _add_edges(strips, r, r + 1, radius, sums, tables, 1 + u)


@compiled
def _add_edges(strips: Any, begin: int, end: int, radius: int, sums: Any, tables: Any, u: int) -> None:
    """Those of the rows begin … end - 1, at place u."""
    margin, taps, count = radius - 1, 2 * radius - 1, end - begin
    pp, yp, yy, first = tables
    for e in range(2 * margin):
        at, here = _place(e, margin), begin + margin
        labeled = _total(strips[1, at, here : here + count])
        first[0, u, 1 + e] += _total(strips[0, at, here : here + count])
        first[1, u, 1 + e] += labeled
        for t in range(taps):
            other = at + t - margin
            _add_displaced(strips[0, at], here, strips[0, other], here, count, radius, sums, pp[u, :, 1 + e, t])
            if labeled:
                _add_displaced(
                    strips[1, at], here, strips[0, other], here - margin, count, taps, sums, yp[u, :, 1 + e, t]
                )
                _add_displaced(strips[1, at], here, strips[1, other], here, count, radius, sums, yy[u, :, 1 + e, t])


@compiled
def _add_displaced(a: Any, i: int, b: Any, j: int, size: int, taps: int, sums: Any, out: Any) -> None:
    sums[:taps] = 0.0
    displaced(a, i, b, j, size, taps, sums)
    for s in range(taps):
        out[s] += sums[s]


@compiled
def fold_edges(strips: Any, height: int, radius: int, stencils: Any, column: Any, out: Any) -> None:
    """Write the edges of the rows whose stencils are those of ``stencils``; ``column`` is room for at least 2R - 1."""
    margin, taps = radius - 1, 2 * radius - 1
    weights, constants = stencils
    for e in range(2 * margin):
        at, row = _place(e, margin), out[e]
        row[:] = -constants[1 + e]
        for which in range(2):
            for t in range(taps):
                for s in range(taps):
                    column[s] = weights[1 + e, which, s, t]
                add_taps(strips[which, at + t - margin], 0, column[:taps], row)


@compiled
def folded_edge(strips: Any, r: int, e: int, radius: int, stencils: Any) -> float:
    """Edge e of row r alone."""
    margin, taps = radius - 1, 2 * radius - 1
    weights, constants = stencils
    at, value = _place(e, margin), -constants[1 + e]
    for which in range(2):
        for s in range(taps):
            for t in range(taps):
                value += weights[1 + e, which, s, t] * strips[which, at + t - margin, r + s]
    return value
