"""Region mutual information of maps on a feature grid: pooled, of a softmax, or shuffled.

Probability and label of all cells are written into the buffers of `segmi.losses.rmi.cpu.cell_windows`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.label_runs import IGNORED, index_rows
from segmi.losses.compiled.pixel_loss import new_pixel_buffers, pixel_loss
from segmi.losses.compiled.pooling import copy, pool_columns, pool_row, spread_columns
from segmi.losses.compiled.runtime import allocating, compiled, entry
from segmi.losses.compiled.sigmoid import centered_from_tails, centered_probabilities
from segmi.losses.rmi.cpu.algebra import solve
from segmi.losses.rmi.cpu.cell_windows import fold_windows, place, sum_windows, varies_inside
from segmi.losses.rmi.cpu.entries import add_row_gradient, export_moments, tails_pass
from segmi.losses.rmi.cpu.workspace import Layout, is_narrow, new_workspace


class Cells(NamedTuple):
    """How the maps of all images become maps on the feature grid.

    Args:
        grid, label_grid: `Grid` of the probability and of the label.
        maximum: whether to take maxima instead of weighted sums.
        shift: added to every probability.
        whole: N×H'×W' bool, the included windows.
        order: N×(h·w) int64, for every cell the cell that replaces it; N×0 without a shuffle.
        shuffles_both: whether the order applies to the probability as well as to the label.
        softmax: m×h×w float64, the pooled probabilities of a softmax, which their gradients replace; 0×h×w for a
            sigmoid.
        at: m×h×w int64, the pixels with the maxima of a softmax; m×1×0 for weighted sums.
        slots: N×C int64, the index of each pair in ``softmax``.
    """

    grid: Any
    label_grid: Any
    maximum: Any
    shift: Any
    whole: Any
    order: Any
    shuffles_both: Any
    softmax: Any
    at: Any
    slots: Any


class CellBuffers(NamedTuple):
    """Buffers for one map; the first seven as in `segmi.losses.rmi.cpu.workspace.Workspace`.

    Args:
        values, total, peaks: W float64, one row of pixels, sums or maxima over the rows of a cell, rows of maxima.
        map: h×w float64, a probability, label or gradient in the order of the image.
        at: h×w int64, the flat index of the pixel with the maximal probability.
        windows: `Workspace` of the feature grid.
    """

    row: Any
    e: Any
    chunk: Any
    products: Any
    loss: Any
    q: Any
    slope: Any
    values: Any
    total: Any
    peaks: Any
    map: Any
    at: Any
    windows: Any


@allocating
def _start(height: int, width: int, radius: int, whole: Any, image: Any) -> tuple[Layout, CellBuffers]:
    """Return the layout of an image, whose ``class_rows`` are not set, and buffers for one map."""
    runs, first, _pixels, starts, sign, _windows = image
    layout = Layout(runs, np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64), starts, sign)
    index_rows(runs, first[IGNORED], first[IGNORED + 1], layout.ignored_rows)
    pixel = new_pixel_buffers(width)
    h, w = whole.shape[0] + radius - 1, whole.shape[1] + radius - 1
    work = CellBuffers(
        pixel.row, pixel.e, pixel.chunk, pixel.products, pixel.loss,
        np.empty((height, width), np.float32), np.empty(width, np.float32),  # q, slope
        np.empty(width), np.empty(width), np.empty(width),  # values, total, peaks
        np.empty((h, w)), np.empty((h, w), np.int64), new_workspace(h, w, radius, True, True),
    )  # fmt: skip
    return layout, work


# --- pooling


@compiled
def _write_values(layout: Any, z: Any, r: int, which: int, narrow: bool, work: Any) -> None:
    """Write the probability of a sigmoid or the label of row r, 0 in ignored pixels."""
    values = work.values
    if which == 1:
        values[:] = 0.0
        for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
            values[layout.runs[k, 1] : layout.runs[k, 2]] = 1.0
        return
    if narrow:
        centered_probabilities(z[r], 0.0, values)
    else:
        centered_from_tails(work.q[r], 0.0, values)
    for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
        values[layout.runs[k, 1] : layout.runs[k, 2]] = 0.0


@compiled
def _pool(layout: Any, z: Any, cells: Any, which: int, work: Any) -> None:
    """Write the probability of a sigmoid or the label on the feature grid."""
    height, grid = len(z), cells.label_grid if which else cells.grid
    narrow = which == 0 and is_narrow(z)
    work.map[:] = 0.0
    begin = 0
    while begin < height:  # the rows begin … end - 1 belong to the same cells
        i, end = grid.rows[begin], begin + 1
        while end < height and grid.rows[end] == i:
            end += 1
        if i >= 0 and (which == 0 or layout.class_rows[begin] < layout.class_rows[end]):
            work.total[:] = 0.0
            for r in range(begin, end):
                _write_values(layout, z, r, which, narrow, work)
                pool_row(grid, work.values, r, cells.maximum, 0.0 if which else cells.shift, work.total, work.peaks)
            pool_columns(grid, work.total, work.peaks, cells.maximum, work.map[i], work.at[i])
        begin = end


@compiled
def _write_maps(layout: Any, z: Any, number: int, c: int, cells: Any, radius: int, labeled: bool, work: Any) -> None:
    """Write both maps, and ``work.at`` of the probability of a sigmoid, which comes last."""
    order = cells.order[number]
    if labeled:
        _pool(layout, z, cells, 1, work)
    else:
        work.map[:] = 0.0
    place(work.map, order, 1, radius, work)
    if cells.softmax.size:
        place(cells.softmax[cells.slots[number, c]], order[: order.size if cells.shuffles_both else 0], 0, radius, work)
    else:
        _pool(layout, z, cells, 0, work)
        place(work.map, order[: order.size if cells.shuffles_both else 0], 0, radius, work)


@compiled
def _spread(layout: Any, number: int, c: int, cells: Any, scale: float, work: Any, out: Any) -> None:
    """Add ``scale`` times the gradient with respect to the logits of a sigmoid, from that by the cells in ``map``.

    For a softmax, the gradient by the cells replaces the probabilities instead.
    """
    height, width = out.shape
    grid, row, w = cells.grid, work.total, work.map.shape[1]
    if cells.softmax.size:
        for i in range(len(work.map)):
            for j in range(w):
                cells.softmax[cells.slots[number, c], i, j] = scale * work.map[i, j]
        return
    if cells.maximum:
        for i in range(len(work.map)):
            for j in range(w):
                if work.at[i, j] >= 0:
                    r, x = work.at[i, j] // width, work.at[i, j] % width
                    p = np.float64(work.q[r, x]) + (1.0 if work.q[r, x] < 0 else 0.0)
                    out[r, x] += np.float32(scale * work.map[i, j] * (p * (1.0 - p)))
        return
    for r in range(height):
        i = grid.rows[r]
        if i < 0:
            continue
        if w == width:  # not pooled
            copy(work.map[i], row)
        elif r == 0 or grid.rows[r - 1] != i:
            spread_columns(grid, work.map[i], row)
        add_row_gradient(layout, r, scale * grid.row_weights[r], row, work, out)


# --- entries


def _entries(digest: str) -> Any:
    @entry
    def _forward_cells(
        every: Any, number: int, channels: Any, candidates: Any, image: Any, cells: Any, radius: int, published: bool,
        ridge: float, quantity: int, moves: bool, absent: float, with_pixels: bool, with_gradient: bool,
        term_scale: float, pixel_scale: Any, pixels: Any, terms: Any, information: Any, counted: Any,
        coefficients: Any, offsets: Any, sums: Any, flags: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, flag, softmax, whole = every[number], flags[number], cells.softmax.size > 0, cells.whole[number]
        runs, first = image[:2]
        layout, work = _start(logits.shape[1], logits.shape[2], radius, whole, image)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3  # the single channel of a binary problem is class 1
            z, gradient = logits[c], out[number, c if with_gradient else 0]
            labeled = first[slot] < first[slot + 1]
            index_rows(runs, first[slot], first[slot + 1], layout.class_rows)
            if candidates[number, c] and not softmax:
                loss, bad = tails_pass(layout, z, work, with_pixels, with_gradient, pixel_scale, gradient)
            else:
                loss, bad = pixel_loss(layout, z, work, with_pixels, with_gradient, pixel_scale, gradient)
            pixels[number, c] = loss
            flag[c, 1] = bad or np.isnan(loss)
            terms[number, c] = absent  # replaced below if the label varies
            if not candidates[number, c]:
                continue
            _write_maps(layout, z, number, c, cells, radius, labeled, work)
            counted[number, c] = labeled and varies_inside(work.windows.rows[1], whole, radius)
            work.map[:] = 0.0
            solved = counted[number, c] or moves
            if len(sums) or solved:
                sum_windows(layout, radius, labeled, work)
            if len(sums):
                export_moments(work.windows.first, work.windows.second, sums[number, c])
            elif solved:
                k, k0 = coefficients[number, c], offsets[number, c]
                terms[number, c], information[number, c], flag[c, 0] = solve(
                    work.windows.first,
                    work.windows.second,
                    image[5],
                    published,
                    ridge,
                    quantity,
                    counted[number, c],
                    k,
                    k0,
                )
                if with_gradient:
                    fold_windows(layout, number, cells, radius, labeled, k, k0, work)
            if with_gradient and (softmax or solved):
                _spread(layout, number, c, cells, term_scale, work, gradient)

    @entry
    def _backward_cells(
        every: Any, number: int, channels: Any, selected: Any, image: Any, cells: Any, radius: int, coefficients: Any,
        offsets: Any, term_scales: Any, pixel_scales: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, softmax = every[number], cells.softmax.size > 0
        runs, first = image[:2]
        layout, work = _start(logits.shape[1], logits.shape[2], radius, cells.whole[number], image)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3
            z, gradient, scale = logits[c], out[number, c], np.float32(pixel_scales[number, c])
            labeled = first[slot] < first[slot + 1]
            index_rows(runs, first[slot], first[slot + 1], layout.class_rows)
            if softmax or not selected[number, c]:
                pixel_loss(layout, z, work, False, True, scale, gradient)
            else:
                tails_pass(layout, z, work, False, True, scale, gradient)
            if not selected[number, c]:
                continue
            _write_maps(layout, z, number, c, cells, radius, labeled, work)
            fold_windows(layout, number, cells, radius, labeled, coefficients[number, c], offsets[number, c], work)
            _spread(layout, number, c, cells, term_scales[number, c], work, gradient)

    return _forward_cells, _backward_cells


_forward_cells, _backward_cells = _entries(source_digest(Path(__file__).parent))


def compile_entries() -> None:
    """Compile all entry points or load them from the cache."""
    from segmi.losses.rmi import cpu

    cpu.compile_entries(probability="softmax")
