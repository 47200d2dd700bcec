"""Buffers for one map, and the functions that write probability and label into them.

Notation in this package: R is the radius, m = R - 1 the margin, H'×W' = (H - m)×(W - m) the number of windows.

Rows: probability and label side by side in a ring buffer that stays in the cache. Row r starts at ``(r % ring) *
stride``, ``stride = W + 2m``, with m zeros on either side so that a displacement by up to m columns stays inside.
``ring`` is 2m + 1, or H if all rows are needed.

Border columns: the 2m columns at either border, which fewer windows cover, and m columns of zeros beyond it, stored
column by column with m zeros above and below. Index c of the 3m columns on the left is column c - m, index 3m + c is
column W - 2m + c, and row r is at r + m. Edge e of 2m is column e for e < m, else column W - 2m + e; it has index
`edge_index`, and its neighbor t columns to the right has index ``edge_index + t``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from segmi.losses.compiled.pixel_loss import new_pixel_buffers
from segmi.losses.compiled.runtime import allocating, compiled
from segmi.losses.compiled.sigmoid import centered_from_tails, centered_probabilities, exponentials, tails

_NARROW: Final = np.float32(1)  # a smaller range of logits needs float64 sigmoids


class Layout(NamedTuple):
    """Runs of the class of one map, and the windows that are listed one by one.

    Args:
        runs: (row, begin, end) of every run of the image.
        class_rows: H + 1; the runs of the class in row r are ``class_rows[r]`` … ``class_rows[r + 1] - 1``.
        ignored_rows: H + 1; the same for runs of ignored pixels.
        starts: row and column of the listed windows.
        sign: -1 if the listed windows are excluded, 1 if only they are included, 0 if all windows are included.
    """

    runs: Any
    class_rows: Any
    ignored_rows: Any
    starts: Any
    sign: Any


class Workspace(NamedTuple):
    """Buffers for one map; values are written before they are read unless stated otherwise.

    Args:
        row, e, chunk, products, loss: see `segmi.losses.compiled.pixel_loss.PixelBuffers`.
        q: H×W float32, the tails of the map.
        slope: W float32, the derivative of the sigmoid in one row.
        folded: W float64, or H×W if windows are listed: the gradient with respect to the probability.
        rows: ring buffer of probability and label; its margins are always 0.
        columns: border columns; the zeros beyond the border stay 0.
        edges: 2m×H float64, the gradient at the edges.
        row_starts: 2R - 1, see `find_rows`.
        tables: see `segmi.losses.rmi.cpu.moments.add_row`.
        stencils: see `segmi.losses.rmi.cpu.folding.fold_row`.
        changes: W + 1 zeros, which are zeros again after use.
        window: 2R² float64, one window.
        first: 2R² float64, Σ x over the windows x = (P, Y).
        second: 2R²×2R² float64, Σ x xᵀ, lower triangle.
    """

    row: Any
    e: Any
    chunk: Any
    products: Any
    loss: Any
    q: Any
    slope: Any
    folded: Any
    rows: Any
    columns: Any
    edges: Any
    row_starts: Any
    tables: Any
    stencils: Any
    changes: Any
    window: Any
    first: Any
    second: Any


@allocating
def new_workspace(height: int, width: int, radius: int, listed: bool, windows: bool) -> Workspace:
    """Allocate buffers for maps of this size; without ``windows`` only the buffers of the pixel loss have full size."""
    margin, size, slots = radius - 1, 2 * radius * radius, 2 * radius - 1
    pixel = new_pixel_buffers(width)
    ring = height if listed else slots
    rows = np.zeros((2, ring * (width + 2 * margin) + 1)) if windows else np.zeros((2, 1))
    down = height if windows else 0
    # PP, YP, YY by row slot, row displacement, column slot, column displacement; P and Y by row slot and column slot
    tables = (
        np.zeros((slots, radius, slots, slots)),
        np.zeros((slots, slots, slots, slots)),
        np.zeros((slots, radius, slots, slots)),
        np.zeros((2, slots, slots)),
    )
    stencils = np.zeros((slots, 2, slots, slots)), np.zeros(slots)  # by column slot: weights on P and Y, constants
    return Workspace(
        pixel.row, pixel.e, pixel.chunk, pixel.products, pixel.loss,
        np.empty((down, width), np.float32), np.empty(width, np.float32),  # q, slope
        np.empty((height if listed else 1, width)), rows,  # folded, rows
        np.zeros((2, 6 * margin, down + 2 * margin)), np.empty((2 * margin, down)),  # columns, edges
        np.empty(slots, np.int64), tables, stencils, np.zeros(width + 1),  # row_starts, tables, stencils, changes
        np.empty(size), np.empty(size), np.empty((size, size)),  # window, first, second
    )  # fmt: skip


# --- rows


@compiled
def find_rows(r: int, ring: int, height: int, width: int, radius: int, starts: Any) -> None:
    """Write where rows r - m … r + m start in the ring, margins included; -1 for rows outside the image.

    Called once per row of a map, since a division takes as long as dozens of products.
    """
    margin, stride = radius - 1, width + 2 * (radius - 1)
    slot = (r - margin) % ring
    for s in range(2 * margin + 1):
        starts[s] = slot * stride if 0 <= r + s - margin < height else -1
        slot = slot + 1 if slot + 1 < ring else 0


@compiled
def is_narrow(z: Any) -> bool:
    """Return whether the logits differ so little that float32 cannot resolve their probabilities well enough."""
    height, width = z.shape
    for r in range(height):
        for k in range(width):
            if not abs(z[r, k] - z[0, 0]) < _NARROW:
                return False
    return True


@compiled
def first_probability(layout: Any, z: Any, narrow: bool, work: Any) -> float:
    """Return the probability of the first pixel, which is subtracted everywhere to reduce cancellation."""
    e, q, p = work.e[:1], work.slope[:1], work.window[:1]
    if layout.ignored_rows[0] < layout.ignored_rows[1] and layout.runs[layout.ignored_rows[0], 1] == 0:
        return 0.0
    if narrow:
        centered_probabilities(z[0, :1], 0.0, p)
    else:
        exponentials(z[0, :1], e)
        tails(z[0, :1], e, q)
        centered_from_tails(q, 0.0, p)
    return p[0]


@compiled
def write_row(
    layout: Any, rows: Any, r: int, ring: int, radius: int, z: Any, q: Any, narrow: bool, offset: float
) -> None:
    """Write row r: the probability, 0 where ignored, minus ``offset``; the label only if windows are listed.

    The probability comes from its tails ``q``, or from the logits if they are ``narrow``.
    """
    runs, class_rows, ignored_rows = layout.runs, layout.class_rows, layout.ignored_rows
    width = z.shape[1]
    begin = (r % ring) * (width + 2 * (radius - 1)) + radius - 1
    inner = rows[0, begin : begin + width]
    if narrow:
        centered_probabilities(z[r], offset, inner)
    else:
        centered_from_tails(q[r], offset, inner)
    for k in range(ignored_rows[r], ignored_rows[r + 1]):
        inner[runs[k, 1] : runs[k, 2]] = -offset
    if not layout.sign:
        return
    label = rows[1, begin : begin + width]
    label[:] = 0.0
    for k in range(class_rows[r], class_rows[r + 1]):
        label[runs[k, 1] : runs[k, 2]] = 1.0


# --- border columns


@compiled
def edge_index(e: int, margin: int) -> int:
    """Return the index of edge e among the border columns."""
    return margin + e if e < margin else 3 * margin + e


@compiled
def write_columns(
    layout: Any, z: Any, q: Any, narrow: bool, offset: float, radius: int, buffer: Any, columns: Any
) -> None:
    """Write probability minus ``offset`` and label of the border columns; ``buffer`` holds W values."""
    height, width = z.shape
    margin, runs = radius - 1, layout.runs
    columns[1] = 0.0
    for side in range(2):
        begin = 0 if side == 0 else max(0, width - 2 * margin)
        end = min(width, 2 * margin) if side == 0 else width
        first = margin if side == 0 else 3 * margin - (width - 2 * margin)  # the index of column 0
        part = buffer[: end - begin]
        for r in range(height):
            if narrow:
                centered_probabilities(z[r, begin:end], offset, part)
            else:
                centered_from_tails(q[r, begin:end], offset, part)
            for k in range(end - begin):
                columns[0, first + begin + k, r + margin] = part[k]
            for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
                for x in range(max(begin, runs[k, 1]), min(end, runs[k, 2])):
                    columns[0, first + x, r + margin] = -offset
            for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
                for x in range(max(begin, runs[k, 1]), min(end, runs[k, 2])):
                    columns[1, first + x, r + margin] = 1.0
