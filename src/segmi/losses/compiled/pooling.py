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
def add_row(values: Any, weight: float, shift: float, total: Any) -> None:
    """Add ``weight · (values + shift)`` to ``total``."""
    for k in range(total.size):
        total[k] += weight * (values[k] + shift)


@compiled
def raise_row(values: Any, r: int, total: Any, peaks: Any) -> None:
    """Write the maximum of ``values``, of row r, and ``total``, and to ``peaks`` the row of its first maximum."""
    for k in range(total.size):
        larger = values[k] > total[k]
        total[k] = values[k] if larger else total[k]
        peaks[k] = float(r) if larger else peaks[k]


@compiled
def reduce_columns(grid: Any, total: Any, out: Any) -> None:
    """Write the weighted sums over the columns of every cell."""
    out[:] = 0.0
    for k in range(total.size):
        if grid.columns[k] >= 0:
            out[grid.columns[k]] += grid.column_weights[k] * total[k]


@compiled
def reduce_peaks(grid: Any, total: Any, peaks: Any, out: Any, at: Any) -> None:
    """Write the maxima over the columns of every cell and the flat index of their first pixels, -1 if all are 0."""
    out[:] = 0.0
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
    """Write to every pixel of a row its weight times the value of its cell; the reverse of `reduce_columns`."""
    for k in range(out.size):
        out[k] = grid.column_weights[k] * cells[max(grid.columns[k], 0)]
