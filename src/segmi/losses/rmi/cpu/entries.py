"""What Python calls: images made ready, and maps gone through once in each direction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segmi.losses.rmi.cpu.algebra import solve, varies
from segmi.losses.rmi.cpu.compiling import allocating, entry, source_digest
from segmi.losses.rmi.cpu.listed import list_windows, mark_broken
from segmi.losses.rmi.cpu.maps import add_region_gradient, visit_moments, visit_pixels, visit_tails
from segmi.losses.rmi.cpu.room import Layout, new_room
from segmi.losses.rmi.cpu.runs import IGNORE_INDEX, count_runs, index_rows, list_runs


class ImageFile(NamedTuple):
    """The label map of one image, as `read_image` leaves it.

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


@allocating
def _room(height: int, width: int, radius: int, sign: int, heavy: Any) -> Any:
    windows = heavy.any()
    return new_room(height, width, radius, windows and sign != 0, windows)


def _entries(digest: str) -> Any:
    @entry
    def read_image(labels: Any, ignore_index: int, classes: int, radius: int, drop: bool) -> Any:
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
        if drop and counts[IGNORE_INDEX]:
            broken = np.empty((down, right), np.bool_)
            found = mark_broken(runs, first[IGNORE_INDEX], first[IGNORE_INDEX + 1], radius, broken)
            few = 2 * found < windows
            sign = -1 if few else 1
            starts = np.empty((found if few else windows - found, 2), np.int32)
            list_windows(broken, few, starts)
            windows -= found
        return runs, first, pixels, starts, sign, windows

    @entry
    def forward_channels(
        every: Any, number: int, channels: Any, candidates: Any, image: Any, radius: int, reference: bool,
        ridge: float, absent: float, with_pixels: bool, with_gradient: bool, term_scale: float, pixel_scale: Any,
        pixels: Any, terms: Any, information: Any, counted: Any, coefficients: Any, offsets: Any, flags: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, heavy, flag, slopes = every[number], candidates[number], flags[number], out[number]
        runs, first, _, starts, sign, windows = image
        height, width = logits.shape[1:]
        held, ignored = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        layout, room = Layout(runs, held, ignored, starts, sign), _room(height, width, radius, sign, heavy[channels])
        index_rows(runs, first[IGNORE_INDEX], first[IGNORE_INDEX + 1], ignored)
        for c in channels:
            z, slot, gradient = logits[c], c + 2 if len(logits) > 1 else 3, slopes[c if with_gradient else 0]
            index_rows(runs, first[slot], first[slot + 1], held)
            if heavy[c]:
                loss, bad = visit_moments(layout, z, radius, room, with_pixels, with_gradient, pixel_scale, gradient)
            else:
                loss, bad = visit_pixels(layout, z, room, with_pixels, with_gradient, pixel_scale, gradient)
            pixels[number, c] = loss
            flag[c, 1] = bad or np.isnan(loss)
            terms[number, c] = absent
            if heavy[c] and varies(room.sums, windows):
                counted[number, c] = True
                k, constant = coefficients[number, c], offsets[number, c]
                terms[number, c], information[number, c], flag[c, 0] = solve(
                    room.sums, room.products, windows, reference, ridge, k, constant
                )
                if with_gradient:
                    add_region_gradient(layout, z, radius, room, k, constant, term_scale, gradient)

    @entry
    def backward_channels(
        every: Any, number: int, channels: Any, visited: Any, image: Any, radius: int, coefficients: Any,
        offsets: Any, term_scales: Any, pixel_scales: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        logits, heavy, slopes, factors = every[number], visited[number], out[number], term_scales[number]
        runs, first, _, starts, sign, _ = image
        height, width = logits.shape[1:]
        held, ignored = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        layout, room = Layout(runs, held, ignored, starts, sign), _room(height, width, radius, sign, heavy[channels])
        index_rows(runs, first[IGNORE_INDEX], first[IGNORE_INDEX + 1], ignored)
        for c in channels:
            z, slot, pixel_scale = logits[c], c + 2 if len(logits) > 1 else 3, np.float32(pixel_scales[number, c])
            index_rows(runs, first[slot], first[slot + 1], held)
            if heavy[c]:
                k, constant = coefficients[number, c], offsets[number, c]
                visit_tails(layout, z, radius, room, pixel_scale, slopes[c])
                add_region_gradient(layout, z, radius, room, k, constant, factors[c], slopes[c])
            else:
                visit_pixels(layout, z, room, False, True, pixel_scale, slopes[c])

    return read_image, forward_channels, backward_channels


read_image, forward_channels, backward_channels = _entries(source_digest())
