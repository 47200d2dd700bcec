"""Pooling of maps on a coarser grid, row by row: weighted sums or maxima over the cells, and the way back.

Every pixel belongs to at most one cell. Sums are separable: the weight of a pixel is the product of the weights of its
row and its column.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from segmi.losses.compiled.runtime import compiled


class Grid(NamedTuple):
    """Cells of pixel rows and columns.

    Args:
        rows, columns: H and W int64, the cell of every pixel row and column, -1 for none.
        row_weights, column_weights: H and W float64, 0 outside of cells.
    """

    rows: Any
    columns: Any
    row_weights: Any
    column_weights: Any


@compiled
def copy(values: Any, out: Any) -> None:
    """Copy ``values``; an assignment to a slice would need memory."""
    for k in range(out.size):
        out[k] = values[k]


@compiled
def pool_row(grid: Any, values: Any, r: int, maximum: bool, shift: float, total: Any, peaks: Any) -> None:
    """Add row r to ``total`` with its weight, after ``shift`` is added to ``values``; or raise the maximum.

    ``peaks`` receives the row of the first maximum.
    """
    if maximum:
        for k in range(total.size):
            larger = values[k] > total[k]
            total[k] = values[k] if larger else total[k]
            peaks[k] = float(r) if larger else peaks[k]
    else:
        weight = grid.row_weights[r]
        for k in range(total.size):
            total[k] += weight * (values[k] + shift)


@compiled
def pool_columns(grid: Any, total: Any, peaks: Any, maximum: bool, out: Any, at: Any) -> None:
    """Write the weighted sums over the columns of every cell; or the maxima and the flat indices of their pixels.

    The index of a maximum is the index of its first pixel, -1 if all values are 0.
    """
    if total.size == out.size:  # not pooled
        copy(total, out)
        return
    out[:] = 0.0
    if not maximum:
        for k in range(total.size):
            if grid.columns[k] >= 0:
                out[grid.columns[k]] += grid.column_weights[k] * total[k]
        return
    at[:] = -1
    for k in range(total.size):
        cell = grid.columns[k]
        if cell < 0 or total[k] <= 0.0:
            continue
        flat = int(peaks[k]) * total.size + k
        # among equal maxima the first by rows, as in PyTorch
        if total[k] > out[cell] or (total[k] == out[cell] and flat < at[cell]):
            out[cell], at[cell] = total[k], flat


@compiled
def spread_columns(grid: Any, cells: Any, out: Any) -> None:
    """Write to every pixel of a row its weight times the value of its cell; the reverse of weighted sums."""
    for k in range(out.size):
        out[k] = grid.column_weights[k] * cells[max(grid.columns[k], 0)]


@compiled
def spread_peaks(cells: Any, at: Any, r: int, out: Any) -> None:
    """Write the value of every cell to its maximum, for the maxima in row r, and 0 elsewhere; ``out`` has W + 1."""
    width = out.size - 1  # without a branch: other maxima go beyond the end
    out[:] = 0.0
    for j in range(cells.size):
        k = at[j] - r * width
        out[k if 0 <= k < width else width] = cells[j]
