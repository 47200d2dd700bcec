"""Functions that Python calls: read a label map, forward and backward pass over some maps of one image.

The exponentials of a row serve the loss, its gradient and the probabilities. The tails of the sigmoid are kept for all
rows, 4 bytes per pixel, so that the gradient of the region term can follow without reading the logits again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.label_runs import IGNORED, find_runs, index_rows
from segmi.losses.compiled.pixel_loss import add_softplus, pixel_loss, summed_loss, unsign_gradient, write_signed_row
from segmi.losses.compiled.runtime import allocating, compiled, entry
from segmi.losses.compiled.sigmoid import add_scaled, derivatives, has_nan, negate, tails, tails_and_gradient
from segmi.losses.rmi.cpu.algebra import LOG_MSE, solve, varies
from segmi.losses.rmi.cpu.folding import add_listed_folded, fold_whole_row
from segmi.losses.rmi.cpu.moments import add_edge_moments, add_listed_moments, add_row, clear, collect
from segmi.losses.rmi.cpu.workspace import (
    Layout,
    find_rows,
    first_probability,
    is_narrow,
    new_workspace,
    write_columns,
    write_row,
)

# --- passes over one map


@compiled
def _write_tails(layout: Any, r: int, work: Any, with_gradient: bool, scale: Any, out: Any) -> None:
    """Write the `tails` of row r and, if wanted, the gradient of its pixel loss, from its signed row."""
    q, runs = work.q[r], layout.runs
    if with_gradient:
        tails_and_gradient(work.row, work.e, scale, q, out[r])
        unsign_gradient(layout, r, out)
    else:
        tails(work.row, work.e, q)
    for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
        negate(q[runs[k, 1] : runs[k, 2]])


@compiled
def tails_pass(
    layout: Any, z: Any, work: Any, with_loss: bool, with_gradient: bool, scale: Any, out: Any
) -> tuple[float, bool]:
    """Compute the pixel loss as `pixel_loss` does, and into ``work`` the tails of all rows."""
    work.loss[0], work.loss[1], bad = 0.0, 1.0, not with_loss and has_nan(z.reshape(z.size))
    if with_gradient and scale == 0.0:
        out[:] = 0.0
        with_gradient = False
    for r in range(len(z)):
        bad = write_signed_row(layout, z, r, work.row, work.e) or bad
        if with_loss:
            add_softplus(work.row, work.e, work.products, work.loss)
        _write_tails(layout, r, work, with_gradient, scale, out)
    return summed_loss(work), bad


@compiled
def moments_pass(
    layout: Any, z: Any, radius: int, quantity: Any, work: Any, with_loss: bool, with_gradient: bool, scale: Any,
    out: Any,
) -> tuple[float, bool]:  # fmt: skip
    """Compute the pixel loss as `pixel_loss` does, and into ``work`` the tails of all rows and all moments."""
    height, width = z.shape
    reach = radius
    if quantity is not None and quantity == LOG_MSE and layout.class_rows[0] == layout.class_rows[height]:
        reach = 1  # `log_mse` of an absent class needs only the variances
    margin, sign = radius - 1, layout.sign
    ring = height if sign else 2 * margin + 1  # rows that are kept
    narrow = is_narrow(z)
    offset = first_probability(layout, z, narrow, work)
    work.loss[0], work.loss[1], bad = 0.0, 1.0, not with_loss and has_nan(z.reshape(z.size))
    clear(work.tables)
    for r in range(height + margin):
        if r < height:
            bad = write_signed_row(layout, z, r, work.row, work.e) or bad
            if with_loss:
                add_softplus(work.row, work.e, work.products, work.loss)
            _write_tails(layout, r, work, with_gradient, scale, out)
            write_row(layout, work.rows, r, ring, radius, z, work.q, narrow, offset)
        if sign <= 0 and r >= margin:  # rows r - 2m … r are in the ring
            find_rows(r - margin, ring, height, width, radius, work.row_starts)
            add_row(layout, work.rows, work.row_starts, r - margin, height, width, radius, reach, None, work.tables)
    write_columns(layout, z, work.q, narrow, offset, radius, work.folded[0], work.columns)
    collect_moments(layout, height, width, radius, work)
    return summed_loss(work), bad


@compiled
def collect_moments(layout: Any, height: int, width: int, radius: int, work: Any) -> None:
    """Write the moments of the included windows from the tables of `add_row`, the columns and the listed windows."""
    work.first[:] = 0.0
    work.second[:] = 0.0  # only the lower triangle is used
    if layout.sign <= 0:
        add_edge_moments(work.columns, height, radius, work.window, work.tables)
        collect(work.tables, height, width, radius, work.first, work.second)
    if layout.sign:
        add_listed_moments(
            work.rows, width, radius, layout.starts, float(layout.sign), work.window, work.first, work.second
        )


@compiled
def add_region_gradient(
    layout: Any, z: Any, radius: int, work: Any, coefficients: Any, offsets: Any, scale: float, out: Any
) -> None:
    """Add ``scale`` times the gradient of the region term to ``out``; ``work`` holds the tails of all rows."""
    height, width = z.shape
    margin, sign = radius - 1, layout.sign
    ring = height if sign else 2 * margin + 1
    narrow = is_narrow(z)
    offset = first_probability(layout, z, narrow, work)
    folded = work.folded
    folded[:] = 0.0
    for r in range(height + margin):
        if r < height:
            write_row(layout, work.rows, r, ring, radius, z, work.q, narrow, offset)
        done = r - margin  # the last row all of whose neighbors are in the ring
        if sign <= 0 and done >= 0:
            row = folded[done if sign else 0]
            fold_whole_row(layout, done, ring, height, width, radius, None, coefficients, offsets, work, row)
            if sign == 0:
                add_row_gradient(layout, done, scale, folded[0], work, out)
    if sign:
        add_listed_folded(
            work.rows, width, radius, layout.starts, float(sign), work.window, coefficients, offsets, folded
        )
        for r in range(height):
            add_row_gradient(layout, r, scale, folded[r], work, out)


@compiled
def add_row_gradient(layout: Any, r: int, scale: float, folded: Any, work: Any, out: Any) -> None:
    """Add ``scale`` times the gradient with respect to the logits of row r, from that by the probability."""
    derivatives(work.q[r], work.slope)
    for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
        work.slope[layout.runs[k, 1] : layout.runs[k, 2]] = 0.0
    add_scaled(scale, folded, work.slope, out[r])


# --- entries


@compiled
def export_moments(first: Any, second: Any, out: Any) -> None:
    """Write Σ x and the lower triangle of Σ x xᵀ side by side."""
    for i in range(len(first)):
        out[i, 0] = first[i]
        for j in range(i + 1):
            out[i, 1 + j] = second[i, j]


class ImageRuns(NamedTuple):
    """The label map of one image as runs, the result of `read_image`.

    Args:
        runs, first, pixels: see `segmi.losses.compiled.label_runs.find_runs`.
        starts: row and column of the windows that are listed one by one.
        sign: -1 if the listed windows are excluded, 1 if only they are included, 0 if all windows are included.
        windows: number of included windows.
    """

    runs: Any
    first: Any
    pixels: Any
    starts: Any
    sign: Any
    windows: Any


@compiled
def _mark_broken(runs: Any, begin: int, end: int, radius: int, broken: Any) -> int:
    """Mark the H'×W' windows, by their upper left pixel, that overlap these runs, and return their number."""
    down, right = broken.shape
    broken[:] = False
    for k in range(begin, end):
        r, a, b = runs[k]
        broken[max(0, r - radius + 1) : min(down, r + 1), max(0, a - radius + 1) : min(right, b)] = True
    return broken.sum()


@compiled
def _list_windows(broken: Any, wanted: bool, starts: Any) -> None:
    """Write row and column of the windows whose ``broken`` is ``wanted``."""
    number = 0
    for r in range(broken.shape[0]):
        for k in range(broken.shape[1]):
            if broken[r, k] == wanted:
                starts[number, 0], starts[number, 1] = r, k
                number += 1


@allocating
def _new_workspace(height: int, width: int, radius: int, sign: int, channels: Any, varying: Any) -> Any:
    windows = False
    for c in channels:
        windows = bool(windows or varying[c])
    return new_workspace(height, width, radius, bool(windows and sign != 0), windows)


def _entries(digest: str) -> Any:
    @entry
    def read_image(labels: Any, ignore_index: int, classes: int, radius: int, drop: bool) -> Any:
        _ = digest
        height, width = labels.shape
        runs, first, pixels = find_runs(labels, ignore_index, classes)
        down, right = height - radius + 1, width - radius + 1
        windows, sign = down * right, 0  # all windows are included
        starts = np.empty((0, 2), np.int32)
        if drop and first[IGNORED] < first[IGNORED + 1]:
            broken = np.empty((down, right), np.bool_)
            count = _mark_broken(runs, first[IGNORED], first[IGNORED + 1], radius, broken)
            few = 2 * count < windows  # list the smaller of the two sets
            sign = -1 if few else 1
            starts = np.empty((count if few else windows - count, 2), np.int32)
            _list_windows(broken, few, starts)
            windows -= count
        return runs, first, pixels, starts, sign, windows

    @entry
    def _forward_channels(
        every: Any, number: int, channels: Any, candidates: Any, image: Any, radius: int, published: bool,
        ridge: float, quantity: Any, moves: bool, absent: float, with_pixels: bool, with_gradient: bool,
        term_scale: float, pixel_scale: Any, pixels: Any, terms: Any, information: Any, counted: Any,
        coefficients: Any, offsets: Any, sums: Any, flags: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, varying, flag, gradients = every[number], candidates[number], flags[number], out[number]
        runs, first, _pixels, starts, sign, windows = image
        height, width = logits.shape[1:]
        class_rows, ignored_rows = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        layout = Layout(runs, class_rows, ignored_rows, starts, sign)
        work = _new_workspace(height, width, radius, sign, channels, varying)
        index_rows(runs, first[IGNORED], first[IGNORED + 1], ignored_rows)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3  # the single channel of a binary problem is class 1
            z, gradient = logits[c], gradients[c if with_gradient else 0]
            index_rows(runs, first[slot], first[slot + 1], class_rows)
            if varying[c]:
                loss, bad = moments_pass(
                    layout, z, radius, quantity, work, with_pixels, with_gradient, pixel_scale, gradient
                )
            else:
                loss, bad = pixel_loss(layout, z, work, with_pixels, with_gradient, pixel_scale, gradient)
            pixels[number, c] = loss
            flag[c, 1] = bad or np.isnan(loss)
            terms[number, c] = absent  # replaced below if the label varies
            counted[number, c] = varying[c] and varies(work.first, windows)
            if len(sums) and varying[c]:
                export_moments(work.first, work.second, sums[number, c])
            elif counted[number, c] or (moves and varying[c]):
                k, k0 = coefficients[number, c], offsets[number, c]
                terms[number, c], information[number, c], flag[c, 0] = solve(
                    work.first, work.second, windows, published, ridge, quantity, counted[number, c], k, k0
                )
                if with_gradient:
                    add_region_gradient(layout, z, radius, work, k, k0, term_scale, gradient)

    @entry
    def _backward_channels(
        every: Any, number: int, channels: Any, selected: Any, image: Any, radius: int, coefficients: Any,
        offsets: Any, term_scales: Any, pixel_scales: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, varying, gradients, factors = every[number], selected[number], out[number], term_scales[number]
        runs, first, _pixels, starts, sign, _windows = image
        height, width = logits.shape[1:]
        class_rows, ignored_rows = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        layout = Layout(runs, class_rows, ignored_rows, starts, sign)
        work = _new_workspace(height, width, radius, sign, channels, varying)
        index_rows(runs, first[IGNORED], first[IGNORED + 1], ignored_rows)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3
            z, pixel_scale = logits[c], np.float32(pixel_scales[number, c])
            index_rows(runs, first[slot], first[slot + 1], class_rows)
            if varying[c]:
                k, k0 = coefficients[number, c], offsets[number, c]
                tails_pass(layout, z, work, False, True, pixel_scale, gradients[c])
                narrow = is_narrow(z)
                offset = first_probability(layout, z, narrow, work)
                write_columns(layout, z, work.q, narrow, offset, radius, work.folded[0], work.columns)
                add_region_gradient(layout, z, radius, work, k, k0, factors[c], gradients[c])
            else:
                pixel_loss(layout, z, work, False, True, pixel_scale, gradients[c])

    return read_image, _forward_channels, _backward_channels


read_image, _forward_channels, _backward_channels = _entries(source_digest(Path(__file__).parent))
