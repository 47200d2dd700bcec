"""Region mutual information of maps on a feature grid: pooled, of a softmax, or shuffled.

Probability and label are stored as dense float64 maps of h×w cells. Arrays are flat: the window that starts at cell k
has its position (a, b) at k + a w + b, so that all windows are visited by loops over k, and a mask of zeros and ones
excludes windows, also those that would wrap around to the next row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.label_runs import IGNORED, index_rows
from segmi.losses.compiled.pixel_loss import PixelRuns, new_pixel_buffers, pixel_loss
from segmi.losses.compiled.pooling import add_row, raise_row, reduce_columns, reduce_peaks, spread_columns
from segmi.losses.compiled.runtime import allocating, compiled, entry
from segmi.losses.compiled.sigmoid import centered_from_tails, centered_probabilities
from segmi.losses.compiled.softmax import softmax_row
from segmi.losses.rmi.cpu.algebra import solve
from segmi.losses.rmi.cpu.cell_windows import fold_windows, sum_windows, total_of, varies_inside
from segmi.losses.rmi.cpu.entries import add_row_gradient, export_moments, tails_pass
from segmi.losses.rmi.cpu.workspace import is_narrow


class Cells(NamedTuple):
    """How the maps of all images become maps on the feature grid.

    Args:
        grid, label_grid: `Grid` of the probability and of the label.
        maximum: whether to take maxima instead of weighted sums.
        shift: added to every probability.
        whole: N×H'×W' bool, the included windows.
        order: N×(h·w) int64, for every cell the cell that replaces it; N×0 without a shuffle.
        shuffles_both: whether the order applies to the probability as well as to the label.
        normalizers: N×H×W of a softmax, infinite where ignored; N×0×0 for a sigmoid.
    """

    grid: Any
    label_grid: Any
    maximum: Any
    shift: Any
    whole: Any
    order: Any
    shuffles_both: Any
    normalizers: Any


class CellBuffers(NamedTuple):
    """Buffers for one map; the first seven as in `segmi.losses.rmi.cpu.workspace.Workspace`.

    Args:
        values, total: W float64, one row of pixels, and sums or maxima over the rows of a cell.
        peaks: W float64, the rows of the maxima.
        maps: 2×(h·w) float64, probability and label, centered.
        at: h×w int64, the flat index of the pixel with the maximal probability.
        mask: h·w float64, 1 where an included window starts.
        masked, folded: h·w float64.
        first, second: moments, see `Workspace`.
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
    maps: Any
    at: Any
    mask: Any
    masked: Any
    folded: Any
    first: Any
    second: Any


@allocating
def _new_buffers(height: int, width: int, radius: int, whole: Any) -> CellBuffers:
    pixel = new_pixel_buffers(width)
    down, right = whole.shape
    h, w, side = down + radius - 1, right + radius - 1, 2 * radius * radius
    mask = np.zeros((h, w))
    for i in range(down):
        for j in range(right):
            mask[i, j] = 1.0 if whole[i, j] else 0.0
    return CellBuffers(
        pixel.row, pixel.e, pixel.chunk, pixel.products, pixel.loss,
        np.empty((height, width), np.float32), np.empty(width, np.float32),  # q, slope
        np.empty(width), np.empty(width), np.empty(width),  # values, total, peaks
        np.empty((2, h * w)), np.empty((h, w), np.int64), mask.reshape(h * w),  # maps, at, mask
        np.empty(h * w), np.empty(h * w), np.empty(side), np.empty((side, side)),  # masked, folded, first, second
    )  # fmt: skip


# --- pooling


@compiled
def _write_values(layout: Any, z: Any, r: int, normalizers: Any, which: int, narrow: bool, work: Any) -> None:
    """Write the probability or the label of row r, 0 in ignored pixels."""
    values = work.values
    if which == 1:
        values[:] = 0.0
        for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
            values[layout.runs[k, 1] : layout.runs[k, 2]] = 1.0
    elif len(normalizers):
        softmax_row(z[r], normalizers[r], values)
    else:
        if narrow:
            centered_probabilities(z[r], 0.0, values)
        else:
            centered_from_tails(work.q[r], 0.0, values)
        for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
            values[layout.runs[k, 1] : layout.runs[k, 2]] = 0.0


@compiled
def _pool(layout: Any, z: Any, normalizers: Any, cells: Any, which: int, work: Any) -> None:
    """Write the probability or the label on the feature grid, centered."""
    height, w, out = len(z), work.at.shape[1], work.maps[which]
    grid = cells.label_grid if which else cells.grid
    narrow = which == 0 and not len(normalizers) and is_narrow(z)
    out[:] = 0.0
    begin = 0
    while begin < height:  # the rows begin … end - 1 belong to the same cells
        i, end = grid.rows[begin], begin + 1
        while end < height and grid.rows[end] == i:
            end += 1
        if i >= 0 and (which == 0 or layout.class_rows[begin] < layout.class_rows[end]):
            work.total[:] = 0.0
            for r in range(begin, end):
                _write_values(layout, z, r, normalizers, which, narrow, work)
                if cells.maximum:
                    raise_row(work.values, r, work.total, work.peaks)
                else:
                    add_row(work.values, grid.row_weights[r], 0.0 if which else cells.shift, work.total)
            row = out[i * w : i * w + w]
            if cells.maximum:
                reduce_peaks(grid, work.total, work.peaks, row, work.at[i])
            else:
                reduce_columns(grid, work.total, row)
        begin = end
    mean = total_of(out) / out.size
    for k in range(out.size):
        out[k] -= mean


@compiled
def _pool_both(layout: Any, z: Any, number: int, cells: Any, work: Any) -> None:
    """Write both maps, and ``work.at`` of the probability, which comes last."""
    order = cells.order[number]
    for which in (1, 0):
        out = work.maps[which]
        _pool(layout, z, cells.normalizers[number], cells, which, work)
        if len(order) and (which == 1 or cells.shuffles_both):
            for k in range(out.size):
                work.masked[k] = out[k]
            for k in range(out.size):
                out[k] = work.masked[order[k]]


@compiled
def _spread(layout: Any, number: int, cells: Any, scale: float, work: Any, out: Any) -> None:
    """Add ``scale`` times the gradient with respect to the logits of a sigmoid, or the probabilities of a softmax."""
    height, width = out.shape
    w, softmax = work.at.shape[1], len(cells.normalizers[number]) > 0
    folded, grid, order, row = work.folded, cells.grid, cells.order[number], work.total
    if len(order) and cells.shuffles_both:
        for k in range(folded.size):
            work.masked[k] = folded[k]
        for k in range(folded.size):
            folded[order[k]] = work.masked[k]
    if cells.maximum:
        for k in range(folded.size):
            r, x = work.at[k // w, k % w] // width, work.at[k // w, k % w] % width
            if work.at[k // w, k % w] >= 0:
                p = np.float64(work.q[r, x]) + (1.0 if work.q[r, x] < 0 else 0.0)
                out[r, x] += np.float32(scale * folded[k] * (1.0 if softmax else p * (1.0 - p)))
        return
    last = -1
    for r in range(height):
        i = grid.rows[r]
        if i < 0:
            continue
        if i != last:
            spread_columns(grid, folded[i * w : i * w + w], row)
        last = i
        if softmax:
            for k in range(width):
                out[r, k] += np.float32(scale * grid.row_weights[r] * row[k])
        else:
            add_row_gradient(layout, r, scale * grid.row_weights[r], row, work, out)


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
        logits, flag = every[number], flags[number]
        height, width = logits.shape[1:]
        layout = PixelRuns(image[0], np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64))
        work = _new_buffers(height, width, radius, cells.whole[number])
        first = image[1]
        index_rows(layout.runs, first[IGNORED], first[IGNORED + 1], layout.ignored_rows)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3  # the single channel of a binary problem is class 1
            z, gradient = logits[c], out[number, c if with_gradient else 0]
            labeled = first[slot] < first[slot + 1]
            index_rows(layout.runs, first[slot], first[slot + 1], layout.class_rows)
            if candidates[number, c] and not len(cells.normalizers[number]):
                loss, bad = tails_pass(layout, z, work, with_pixels, with_gradient, pixel_scale, gradient)
            else:
                loss, bad = pixel_loss(layout, z, work, with_pixels, with_gradient, pixel_scale, gradient)
            pixels[number, c] = loss
            flag[c, 1] = bad or np.isnan(loss)
            terms[number, c] = absent  # replaced below if the label varies
            if not candidates[number, c]:
                continue
            _pool_both(layout, z, number, cells, work)
            counted[number, c] = varies_inside(work, radius)
            if len(sums):
                sum_windows(work, radius, labeled)
                export_moments(work.first, work.second, sums[number, c])
            elif counted[number, c]:
                sum_windows(work, radius, labeled)
                k, k0 = coefficients[number, c], offsets[number, c]
                terms[number, c], information[number, c], flag[c, 0] = solve(
                    work.first, work.second, total_of(work.mask), published, ridge, k, k0
                )
                if with_gradient:
                    fold_windows(work, radius, labeled, k, k0)
                    _spread(layout, number, cells, term_scale, work, gradient)

    @entry
    def _backward_cells(
        every: Any, number: int, channels: Any, selected: Any, image: Any, cells: Any, radius: int, coefficients: Any,
        offsets: Any, term_scales: Any, pixel_scales: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits = every[number]
        height, width = logits.shape[1:]
        layout = PixelRuns(image[0], np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64))
        work = _new_buffers(height, width, radius, cells.whole[number])
        first, softmax = image[1], len(cells.normalizers[number]) > 0
        index_rows(layout.runs, first[IGNORED], first[IGNORED + 1], layout.ignored_rows)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3
            z, gradient, scale = logits[c], out[number, c], np.float32(pixel_scales[number, c])
            labeled = first[slot] < first[slot + 1]
            index_rows(layout.runs, first[slot], first[slot + 1], layout.class_rows)
            if softmax or not selected[number, c]:
                pixel_loss(layout, z, work, False, True, scale, gradient)
            else:
                tails_pass(layout, z, work, False, True, scale, gradient)
            if selected[number, c]:
                _pool_both(layout, z, number, cells, work)
                fold_windows(work, radius, labeled, coefficients[number, c], offsets[number, c])
                _spread(layout, number, cells, term_scales[number, c], work, gradient)

    return _forward_cells, _backward_cells


_forward_cells, _backward_cells = _entries(source_digest(Path(__file__).parent))


def compile_entries() -> None:
    """Compile all entry points or load them from the cache."""
    from segmi.losses.rmi import cpu

    cpu.compile_entries("softmax")
