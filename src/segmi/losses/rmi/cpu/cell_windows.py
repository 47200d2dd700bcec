"""Windows of maps on a feature grid, whose cells are written into the rows of `segmi.losses.rmi.cpu.workspace`.

Moments and gradients are computed as for maps in place, except that the label is not in runs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from segmi.losses.compiled.pooling import copy
from segmi.losses.compiled.runtime import compiled, reordered
from segmi.losses.rmi.cpu.entries import collect_moments
from segmi.losses.rmi.cpu.folding import add_listed_folded, fold_whole_row
from segmi.losses.rmi.cpu.moments import add_row, clear
from segmi.losses.rmi.cpu.workspace import find_rows

_ROUNDING: Final = 1e-10  # as in `segmi.losses.rmi.maps`


@reordered
def _mean(a: Any) -> float:
    total = 0.0
    for k in range(a.size):
        total += a[k]
    return total / a.size


@compiled
def place(source: Any, order: Any, which: int, radius: int, work: Any) -> None:
    """Write a map into the rows and the border columns, in the given order of cells if there is one.

    The mean of a probability is subtracted, which reduces cancellation.
    """
    (h, w), margin = source.shape, radius - 1
    flat = source.reshape(source.size)
    mean = _mean(flat) if which == 0 else 0.0
    columns = work.windows.columns[which]
    for r in range(h):
        begin = r * (w + 2 * margin) + margin
        row = work.windows.rows[which, begin : begin + w]
        if len(order):
            for k in range(w):
                row[k] = flat[order[r * w + k]] - mean
        else:
            for k in range(w):
                row[k] = source[r, k] - mean
        for x in range(min(2 * margin, w)):
            columns[margin + x, r + margin] = row[x]
        for x in range(max(0, w - 2 * margin), w):
            columns[5 * margin + x - w, r + margin] = row[x]


@compiled
def varies_inside(rows: Any, whole: Any, radius: int) -> bool:
    """Return whether any position of the label window takes different values, beyond the rounding of pooling."""
    down, right = whole.shape
    stride = right + 3 * (radius - 1)
    for position in range(radius * radius):
        lowest, highest = np.inf, -np.inf
        for r in range(down):
            begin = (r + position // radius) * stride + radius - 1 + position % radius
            for k in range(right):
                if whole[r, k]:
                    lowest, highest = min(lowest, rows[begin + k]), max(highest, rows[begin + k])
            if highest - lowest > _ROUNDING:
                return True
    return False


@compiled
def sum_windows(layout: Any, radius: int, labeled: bool, buffers: Any) -> None:
    """Write Σ x and the lower triangle of Σ x xᵀ over the included windows x = (P, Y)."""
    (h, w), work = buffers.map.shape, buffers.windows
    clear(work.tables)
    if layout.sign <= 0:
        for r in range(h):
            find_rows(r, h, h, w, radius, work.row_starts)
            add_row(layout, work.rows, work.row_starts, r, h, w, radius, radius, labeled, work.tables)
    collect_moments(layout, h, w, radius, work)


@compiled
def fold_windows(
    layout: Any, number: int, cells: Any, radius: int, labeled: bool, coefficients: Any, offsets: Any, buffers: Any
) -> None:
    """Write ``K (P_i, Y_i) - k₀`` of the included windows, added to their cells, into ``map``."""
    (h, w), work = buffers.map.shape, buffers.windows
    work.folded[:] = 0.0
    if layout.sign <= 0:
        for r in range(h):
            fold_whole_row(layout, r, h, h, w, radius, labeled, coefficients, offsets, work, work.folded[r])
    if layout.sign:
        add_listed_folded(
            work.rows, w, radius, layout.starts, float(layout.sign), work.window, coefficients, offsets, work.folded
        )
    folded, out, order = work.folded.reshape(h * w), buffers.map.reshape(h * w), cells.order[number]
    if len(order) and cells.shuffles_both:
        for k in range(out.size):
            out[order[k]] = folded[k]
    else:
        copy(folded, out)
