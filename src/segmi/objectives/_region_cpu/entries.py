"""What Python calls: pictures made ready, and maps gone through once in each direction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segmi.objectives._region_cpu.algebra import solve, varies
from segmi.objectives._region_cpu.compiling import compiled, entry, source_digest
from segmi.objectives._region_cpu.folding import fold_row, new_stencils
from segmi.objectives._region_cpu.listed import add_folded, add_moments, list_windows, mark_broken
from segmi.objectives._region_cpu.moments import add_row, collect, new_tables
from segmi.objectives._region_cpu.pixels import (
    STRETCH,
    add_scaled,
    exponentials,
    has_nan,
    negative_gradient,
    positive_gradient,
    slopes,
    softplus_sum,
    tails,
    tails_and_gradient,
    total,
)
from segmi.objectives._region_cpu.rows import find_rows, first_probability, is_narrow, new_rows, set_row
from segmi.objectives._region_cpu.runs import VOID, count_runs, index_rows, list_runs


class Picture(NamedTuple):
    """The label map of one picture, as `read_picture` leaves it.

    Args:
        runs: (row, begin, end) of every run, by slot.
        first: slots + 1: where the runs of a slot begin, and those of the last end.
        pixels: how many pixels a slot holds.
        starts: row and column of the windows that are listed.
        sign: -1 where the listed windows are left out, 1 where they alone count, 0 where there are none.
        windows: how many windows count.
    """

    runs: Any
    first: Any
    pixels: Any
    starts: Any
    sign: Any
    windows: Any


@compiled
def _row_loss(z: Any, e: Any, runs: Any, held: Any, void: Any, r: int) -> tuple[float, bool]:
    """The binary cross-entropy of row r, of its valid pixels, from its `exponentials`; whether a void logit is NaN."""
    result, bad, at = 0.0, False, 0
    for k in range(void[r], void[r + 1]):
        result += softplus_sum(z[at : runs[k, 1]], e[at : runs[k, 1]])
        at = runs[k, 2]
        bad = bad or has_nan(z[runs[k, 1] : at])
    result += softplus_sum(z[at:], e[at:])
    for k in range(held[r], held[r + 1]):
        result -= total(z[runs[k, 1] : runs[k, 2]])
    return result, bad


@compiled
def _map_loss(z: Any, runs: Any, held: Any, void: Any, e: Any) -> tuple[float, bool]:
    """`_row_loss` of all rows together; ``e`` is room for a row and for a stretch."""
    height, width = z.shape
    result, bad = 0.0, False
    if void[0] == void[height] and held[0] == held[height]:
        flat = z.reshape(height * width)
        for begin in range(0, flat.size, STRETCH):
            part = flat[begin : begin + STRETCH]
            exponentials(part, e)
            result += softplus_sum(part, e)
    else:
        for r in range(height):
            exponentials(z[r], e)
            part, worse = _row_loss(z[r], e, runs, held, void, r)
            result += part
            bad = bad or worse
    return result, bad


@compiled
def _map_moments(
    z: Any, runs: Any, held: Any, void: Any, starts: Any, sign: int, radius: int, with_pixels: bool, e: Any,
    first: Any, second: Any,
) -> tuple[float, bool]:  # fmt: skip
    """Write Σ x and Σ x xᵀ of the windows x = (P, Y); `_map_loss`, whose exponentials are those of the sigmoid."""
    height, width = z.shape
    margin = radius - 1
    ring = height if sign else 2 * margin + 1
    rows, q, narrow = new_rows(ring, width, radius), np.zeros(width, np.float32), is_narrow(z)
    offset = first_probability(z, narrow, runs, void)
    tables, found = new_tables(radius), np.empty(2 * margin + 1, np.int64)
    loss, bad = 0.0, False
    for r in range(height + margin):
        if r < height:
            exponentials(z[r], e)
            tails(z[r], e, q)
            if with_pixels:
                part, worse = _row_loss(z[r], e, runs, held, void, r)
                loss += part
            else:
                worse = has_nan(z[r])
            bad = bad or worse
            set_row(rows, r, ring, radius, z[r], q, narrow, offset, runs, held, void)
        if sign <= 0 and r >= margin:
            find_rows(r - margin, ring, height, width, radius, found)
            add_row(rows, found, r - margin, height, width, radius, runs, held, tables)
    first[:] = 0.0
    second[:] = 0.0
    if sign <= 0:
        collect(tables, height, width, radius, first, second)
    if sign:
        add_moments(rows, width, radius, starts, float(sign), first, second)
    return loss, bad


@compiled
def _mend_gradient(z: Any, runs: Any, held: Any, void: Any, begin: int, end: int, pixel_scale: Any, out: Any) -> None:
    """In these rows, turn the gradient of label 0 into that of label 1 where that is the label, and into 0 in void."""
    for k in range(held[begin], held[end]):
        r, a, b = runs[k]
        positive_gradient(z[r, a:b], pixel_scale, out[r, a:b])
    for k in range(void[begin], void[end]):
        r, a, b = runs[k]
        out[r, a:b] = 0.0


@compiled
def _map_gradient(
    z: Any, runs: Any, held: Any, void: Any, starts: Any, sign: int, radius: int, coefficients: Any, offsets: Any,
    term_scale: float, pixel_scale: Any, out: Any,
) -> None:  # fmt: skip
    height, width = z.shape
    margin = radius - 1
    ring = height if sign else 2 * margin + 1
    rows, q, narrow = new_rows(ring, width, radius), np.zeros(width, np.float32), is_narrow(z)
    offset = first_probability(z, narrow, runs, void)
    slope, folded = np.zeros((ring, width), np.float32), np.zeros((height if sign else 1, width))
    stencils, changes, found = new_stencils(radius), np.zeros(width + 1), np.empty(2 * margin + 1, np.int64)
    for r in range(height + margin):
        if r < height:
            tails_and_gradient(z[r], pixel_scale, q, out[r])
            slopes(q, slope[r % ring])
            set_row(rows, r, ring, radius, z[r], q, narrow, offset, runs, held, void)
            _mend_gradient(z, runs, held, void, r, r + 1, pixel_scale, out)
            for k in range(void[r], void[r + 1]):
                slope[r % ring, runs[k, 1] : runs[k, 2]] = 0.0
        done = r - margin
        if sign <= 0 and done >= 0:
            row = folded[done if sign else 0]
            find_rows(done, ring, height, width, radius, found)
            fold_row(
                rows, found, done, height, width, radius, runs, held, coefficients, offsets, stencils, changes, row
            )
            if sign == 0:
                add_scaled(term_scale, row, slope[done % ring], out[done])
    if sign:
        add_folded(rows, width, radius, starts, float(sign), coefficients, offsets, folded)
        for r in range(height):
            add_scaled(term_scale, folded[r], slope[r], out[r])


def _entries(digest: str) -> Any:
    @entry
    def read_picture(labels: Any, ignore_index: int, classes: int, radius: int, drop: bool) -> Any:
        _ = digest
        height, width = labels.shape
        counts, pixels = np.zeros(classes + 2, np.int64), np.zeros(classes + 2, np.int64)
        count_runs(labels, ignore_index, classes, counts, pixels)
        first = np.zeros(classes + 3, np.int64)
        first[1:] = np.cumsum(counts)
        runs = np.empty((first[-1], 3), np.int32)
        list_runs(labels, ignore_index, classes, first, runs)
        down, right = height - radius + 1, width - radius + 1
        windows, sign = down * right, 0
        starts = np.empty((0, 2), np.int32)
        if drop and counts[VOID]:
            broken = np.empty((down, right), np.bool_)
            found = mark_broken(runs, first[VOID], first[VOID + 1], radius, broken)
            few = 2 * found < windows
            sign = -1 if few else 1
            starts = np.empty((found if few else windows - found, 2), np.int32)
            list_windows(broken, few, starts)
            windows -= found
        return runs, first, pixels, starts, sign, windows

    @entry
    def forward_channels(
        logits: Any, channels: Any, heavy: Any, picture: Any, radius: int, reference: bool, ridge: float,
        absent: float, with_pixels: bool, pixels: Any, terms: Any, information: Any, counted: Any, coefficients: Any,
        offsets: Any, flags: Any,
    ) -> None:  # fmt: skip
        _ = digest
        runs, first, _, starts, sign, windows = picture
        height, width = logits.shape[1:]
        held, void = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        e = np.zeros(max(STRETCH, width), np.float32)
        sums, products = np.zeros(2 * radius * radius), np.zeros((2 * radius * radius, 2 * radius * radius))
        index_rows(runs, first[VOID], first[VOID + 1], void)
        for c in channels:
            z, slot = logits[c], c + 2 if len(logits) > 1 else 3
            index_rows(runs, first[slot], first[slot + 1], held)
            if heavy[c]:
                loss, bad = _map_moments(z, runs, held, void, starts, sign, radius, with_pixels, e, sums, products)
            elif with_pixels:
                loss, bad = _map_loss(z, runs, held, void, e)
            else:
                loss, bad = 0.0, has_nan(z.reshape(z.size))
            pixels[c] = loss
            flags[c, 1] = bad or np.isnan(loss)
            terms[c] = absent
            if not heavy[c]:
                continue
            if varies(sums, windows):
                counted[c] = True
                terms[c], information[c], flags[c, 0] = solve(
                    sums, products, windows, reference, ridge, coefficients[c], offsets[c]
                )

    @entry
    def backward_channels(
        logits: Any, channels: Any, counted: Any, picture: Any, radius: int, coefficients: Any, offsets: Any,
        term_scales: Any, pixel_scales: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        runs, first, _, starts, sign, _ = picture
        height, width = logits.shape[1:]
        held, void = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        index_rows(runs, first[VOID], first[VOID + 1], void)
        for c in channels:
            z, slot, pixel_scale = logits[c], c + 2 if len(logits) > 1 else 3, np.float32(pixel_scales[c])
            index_rows(runs, first[slot], first[slot + 1], held)
            if counted[c]:
                _map_gradient(
                    z, runs, held, void, starts, sign, radius, coefficients[c], offsets[c], term_scales[c],
                    pixel_scale, out[c],
                )  # fmt: skip
            else:
                negative_gradient(z.reshape(height * width), pixel_scale, out[c].reshape(height * width))
                _mend_gradient(z, runs, held, void, 0, height, pixel_scale, out[c])

    return read_picture, forward_channels, backward_channels


read_picture, forward_channels, backward_channels = _entries(source_digest())
