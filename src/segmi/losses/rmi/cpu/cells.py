"""Region mutual information of maps on a feature grid: pooled, of a softmax, or shuffled.

Probability and label of all cells are written into the rows of `segmi.losses.rmi.cpu.workspace`, so that moments and
gradients are computed as for maps in place, except that the label is not in runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.label_runs import IGNORED, index_rows
from segmi.losses.compiled.pixel_loss import new_pixel_buffers, pixel_loss
from segmi.losses.compiled.pooling import copy, pool_columns, pool_row, spread_columns
from segmi.losses.compiled.runtime import allocating, compiled, entry, reordered
from segmi.losses.compiled.sigmoid import centered_from_tails, centered_probabilities
from segmi.losses.rmi.cpu.algebra import solve
from segmi.losses.rmi.cpu.entries import add_row_gradient, collect_moments, export_moments, fold_whole_row, tails_pass
from segmi.losses.rmi.cpu.folding import add_listed_folded
from segmi.losses.rmi.cpu.moments import add_row, clear
from segmi.losses.rmi.cpu.workspace import Layout, find_rows, is_narrow, new_workspace

_ROUNDING: Final = 1e-10  # as in `segmi.losses.rmi.maps`


class Cells(NamedTuple):
    """How the maps of all images become maps on the feature grid.

    Args:
        grid, label_grid: `Grid` of the probability and of the label.
        maximum: whether to take maxima instead of weighted sums.
        shift: added to every probability.
        whole: N×H'×W' bool, the included windows.
        order: N×(h·w) int64, for every cell the cell that replaces it; N×0 without a shuffle.
        shuffles_both: whether the order applies to the probability as well as to the label.
        softmax: N×C×h×w float64, the pooled probabilities of a softmax, which their gradients replace; N×C×0×0 for a
            sigmoid.
        at: N×C×h×w int64, the pixels with the maxima of a softmax; N×C×1×0 for weighted sums.
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


@reordered
def _mean(a: Any) -> float:
    total = 0.0
    for k in range(a.size):
        total += a[k]
    return total / a.size


@compiled
def _place(source: Any, order: Any, which: int, radius: int, work: Any) -> None:
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
def _write_maps(layout: Any, z: Any, number: int, c: int, cells: Any, radius: int, labeled: bool, work: Any) -> None:
    """Write both maps, and ``work.at`` of the probability of a sigmoid, which comes last."""
    order = cells.order[number]
    if labeled:
        _pool(layout, z, cells, 1, work)
    else:
        work.map[:] = 0.0
    _place(work.map, order, 1, radius, work)
    if cells.softmax.size:
        _place(cells.softmax[number, c], order[: order.size if cells.shuffles_both else 0], 0, radius, work)
    else:
        _pool(layout, z, cells, 0, work)
        _place(work.map, order[: order.size if cells.shuffles_both else 0], 0, radius, work)


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
                cells.softmax[number, c, i, j] = scale * work.map[i, j]
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


# --- windows


@compiled
def _varies_inside(rows: Any, whole: Any, radius: int) -> bool:
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
def _sum_windows(layout: Any, radius: int, labeled: bool, buffers: Any) -> None:
    """Write Σ x and the lower triangle of Σ x xᵀ over the included windows x = (P, Y)."""
    (h, w), work = buffers.map.shape, buffers.windows
    clear(work.tables)
    if layout.sign <= 0:
        for r in range(h):
            find_rows(r, h, h, w, radius, work.row_starts)
            add_row(layout, work.rows, work.row_starts, r, h, w, radius, labeled, work.tables)
    collect_moments(layout, h, w, radius, work)


@compiled
def _fold_windows(
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


# --- entries


def _entries(digest: str) -> Any:
    @entry
    def _forward_cells(
        every: Any, number: int, channels: Any, candidates: Any, image: Any, cells: Any, radius: int, published: bool,
        ridge: float, absent: float, with_pixels: bool, with_gradient: bool, term_scale: float, pixel_scale: Any,
        pixels: Any, terms: Any, information: Any, counted: Any, coefficients: Any, offsets: Any, sums: Any,
        flags: Any, out: Any,
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
            counted[number, c] = labeled and _varies_inside(work.windows.rows[1], whole, radius)
            work.map[:] = 0.0
            if len(sums) or counted[number, c]:
                _sum_windows(layout, radius, labeled, work)
            if len(sums):
                export_moments(work.windows.first, work.windows.second, sums[number, c])
            elif counted[number, c]:
                k, k0 = coefficients[number, c], offsets[number, c]
                terms[number, c], information[number, c], flag[c, 0] = solve(
                    work.windows.first, work.windows.second, image[5], published, ridge, k, k0
                )
                if with_gradient:
                    _fold_windows(layout, number, cells, radius, labeled, k, k0, work)
            if with_gradient and (softmax or counted[number, c]):
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
            _fold_windows(layout, number, cells, radius, labeled, coefficients[number, c], offsets[number, c], work)
            _spread(layout, number, c, cells, term_scales[number, c], work, gradient)

    return _forward_cells, _backward_cells


_forward_cells, _backward_cells = _entries(source_digest(Path(__file__).parent))


def compile_entries() -> None:
    """Compile all entry points or load them from the cache."""
    from segmi.losses.rmi import cpu

    cpu.compile_entries("softmax")
