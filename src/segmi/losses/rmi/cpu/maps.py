"""One map from end to end: its pixel loss and the gradient of that, its moments, and the gradient of the region term.

The exponentials of a row serve the loss, its gradient and the sigmoid that the windows see. All rows of the sigmoid
stay, 4 bytes a pixel, so that a map that is visited for its moments need not be visited again for its gradient.
"""

from __future__ import annotations

import math
from typing import Any

from segmi.losses.rmi.cpu.compiling import compiled
from segmi.losses.rmi.cpu.edges import add_edge_moments, fold_edges, folded_edge, write_strips
from segmi.losses.rmi.cpu.folding import fold_row, prepare_stencils
from segmi.losses.rmi.cpu.listed import add_folded, add_moments
from segmi.losses.rmi.cpu.moments import add_row, clear, collect
from segmi.losses.rmi.cpu.pixels import (
    NOWHERE,
    STRETCH,
    add_scaled,
    add_softplus,
    exponentials,
    has_nan,
    negate,
    negative_gradient,
    slopes,
    tails,
    tails_and_gradient,
)
from segmi.losses.rmi.cpu.rows import find_rows, first_probability, is_narrow, set_row


@compiled
def _sign_row(layout: Any, z: Any, r: int, row: Any, e: Any) -> bool:
    """Write row r with its logits negated where the label is 1, and what costs nothing in ignored; its `exponentials`.

    Then the loss is ``softplus`` everywhere, and nothing has to be subtracted again, which would cancel.

    Returns:
        Whether an ignored logit is NaN.
    """
    runs, bad = layout.runs, False
    for x in range(len(row)):
        row[x] = z[r, x]
    for k in range(layout.held[r], layout.held[r + 1]):
        negate(row[runs[k, 1] : runs[k, 2]])
    for k in range(layout.ignored[r], layout.ignored[r + 1]):
        bad = bad or has_nan(row[runs[k, 1] : runs[k, 2]])
        row[runs[k, 1] : runs[k, 2]] = NOWHERE
    exponentials(row, e)
    return bad


@compiled
def _unsign_gradient(layout: Any, r: int, out: Any) -> None:
    """From the gradient by the signed row to that by its logits."""
    runs = layout.runs
    for k in range(layout.held[r], layout.held[r + 1]):
        negate(out[r, runs[k, 1] : runs[k, 2]])
    for k in range(layout.ignored[r], layout.ignored[r + 1]):
        out[r, runs[k, 1] : runs[k, 2]] = 0.0


@compiled
def _write_tails(layout: Any, r: int, room: Any, with_gradient: bool, scale: Any, out: Any) -> None:
    """The `tails` of row r, and the gradient of its pixel loss where wanted, from its signed row."""
    q, runs = room.q[r], layout.runs
    if with_gradient:
        tails_and_gradient(room.row, room.e, scale, q, out[r])
        _unsign_gradient(layout, r, out)
    else:
        tails(room.row, room.e, q)
    for k in range(layout.held[r], layout.held[r + 1]):
        negate(q[runs[k, 1] : runs[k, 2]])


@compiled
def _told(room: Any) -> float:
    return room.loss[0] + math.log(room.loss[1])


@compiled
def visit_pixels(
    layout: Any, z: Any, room: Any, with_loss: bool, with_gradient: bool, scale: Any, out: Any
) -> tuple[float, bool]:
    """The pixel loss of a map, 0 where not wanted, and whether a NaN does not show in it; its gradient, where wanted.

    Args:
        layout: the `Layout` of the map.
        z: H×W, the logits.
        room: the `Room` to work in.
        with_loss, with_gradient: what is wanted.
        scale: float32, by which the gradient is multiplied.
        out: H×W, where the gradient is written.
    """
    height = len(z)
    room.loss[0], room.loss[1], bad = 0.0, 1.0, False
    if with_gradient and scale == 0.0:
        out[:] = 0.0
        with_gradient = False
    if not with_loss:
        bad = has_nan(z.reshape(z.size))
    if not (with_loss or with_gradient):
        return 0.0, bad
    if layout.ignored[0] == layout.ignored[height] and layout.held[0] == layout.held[height]:
        flat, flat_out = z.reshape(z.size), out.reshape(out.size)
        for begin in range(0, flat.size, STRETCH):
            part = flat[begin : begin + STRETCH]
            exponentials(part, room.stretch)
            if with_loss:
                add_softplus(part, room.stretch, room.joined, room.loss)
            if with_gradient:
                negative_gradient(part, room.stretch, scale, flat_out[begin : begin + STRETCH])
        return _told(room), bad
    for r in range(height):
        bad = _sign_row(layout, z, r, room.row, room.e) or bad
        if with_loss:
            add_softplus(room.row, room.e, room.joined, room.loss)
        if with_gradient:
            negative_gradient(room.row, room.e, scale, out[r])
            _unsign_gradient(layout, r, out)
    return _told(room), bad


@compiled
def visit_tails(layout: Any, z: Any, radius: int, room: Any, scale: Any, out: Any) -> None:
    """The gradient of the pixel loss, and into ``room`` the tails of all rows and the strips."""
    for r in range(len(z)):
        _sign_row(layout, z, r, room.row, room.e)
        _write_tails(layout, r, room, True, scale, out)
    narrow = is_narrow(z)
    offset = first_probability(layout, z, narrow, room.e[:1], room.slope[:1], room.window[:1])
    write_strips(layout, z, room.q, narrow, offset, radius, room.folded[0], room.strips)


@compiled
def visit_moments(
    layout: Any, z: Any, radius: int, room: Any, with_loss: bool, with_gradient: bool, scale: Any, out: Any
) -> tuple[float, bool]:
    """`visit_pixels`, and into ``room`` the tails of all rows and the moments of all windows."""
    height, width = z.shape
    margin, sign = radius - 1, layout.sign
    ring = height if sign else 2 * margin + 1
    narrow = is_narrow(z)
    offset = first_probability(layout, z, narrow, room.e[:1], room.slope[:1], room.window[:1])
    room.loss[0], room.loss[1], bad = 0.0, 1.0, not with_loss and has_nan(z.reshape(z.size))
    clear(room.tables)
    for r in range(height + margin):
        if r < height:
            bad = _sign_row(layout, z, r, room.row, room.e) or bad
            if with_loss:
                add_softplus(room.row, room.e, room.joined, room.loss)
            _write_tails(layout, r, room, with_gradient, scale, out)
            set_row(layout, room.rows, r, ring, radius, z, room.q, narrow, offset)
        if sign <= 0 and r >= margin:
            find_rows(r - margin, ring, height, width, radius, room.found)
            add_row(layout, room.rows, room.found, r - margin, height, width, radius, room.tables)
    write_strips(layout, z, room.q, narrow, offset, radius, room.folded[0], room.strips)
    room.sums[:] = 0.0
    room.products[:] = 0.0
    if sign <= 0:
        add_edge_moments(room.strips, height, radius, room.window, room.tables)
        collect(room.tables, height, width, radius, room.sums, room.products)
    if sign:
        add_moments(room.rows, width, radius, layout.starts, float(sign), room.window, room.sums, room.products)
    return _told(room), bad


@compiled
def add_region_gradient(
    layout: Any, z: Any, radius: int, room: Any, coefficients: Any, offsets: Any, scale: float, out: Any
) -> None:
    """Add ``scale`` times the gradient of the region term to ``out``; the tails of all rows are in ``room``."""
    height, width = z.shape
    margin, sign = radius - 1, layout.sign
    ring = height if sign else 2 * margin + 1
    narrow = is_narrow(z)
    offset = first_probability(layout, z, narrow, room.e[:1], room.slope[:1], room.window[:1])
    folded = room.folded
    folded[:] = 0.0
    for r in range(height + margin):
        if r < height:
            set_row(layout, room.rows, r, ring, radius, z, room.q, narrow, offset)
        done = r - margin
        if sign <= 0 and done >= 0:
            find_rows(done, ring, height, width, radius, room.found)
            prepare_stencils(coefficients, offsets, done, height, width, radius, room.stencils)
            row = folded[done if sign else 0]
            fold_row(layout, room.rows, room.found, done, height, width, radius, room.stencils, room.changes, row)
            _set_edges(done, height, width, radius, room, row)
            if sign == 0:
                _add_row_gradient(layout, done, scale, folded[0], room, out)
    if sign:
        add_folded(room.rows, width, radius, layout.starts, float(sign), room.window, coefficients, offsets, folded)
        for r in range(height):
            _add_row_gradient(layout, r, scale, folded[r], room, out)


@compiled
def _set_edges(r: int, height: int, width: int, radius: int, room: Any, out: Any) -> None:
    """Write the edges of row r, those of all rows that share their stencils at the first of these."""
    margin = radius - 1
    inside = margin <= r < height - margin
    if r == margin and inside:
        fold_edges(room.strips, height, radius, room.stencils, room.window, room.edges)
    for e in range(2 * margin):
        x = e if e < margin else width - 2 * margin + e
        out[x] = room.edges[e, r] if inside else folded_edge(room.strips, r, e, radius, room.stencils)


@compiled
def _add_row_gradient(layout: Any, r: int, scale: float, folded: Any, room: Any, out: Any) -> None:
    slopes(room.q[r], room.slope)
    for k in range(layout.ignored[r], layout.ignored[r + 1]):
        room.slope[layout.runs[k, 1] : layout.runs[k, 2]] = 0.0
    add_scaled(scale, folded, room.slope, out[r])
