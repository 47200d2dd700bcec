"""What the work on one map is given: where its labels lie, and room to work in, made once for many maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating
from segmi.losses.rmi.cpu.edges import new_strips
from segmi.losses.rmi.cpu.folding import new_stencils
from segmi.losses.rmi.cpu.moments import new_tables
from segmi.losses.rmi.cpu.pixels import PART, STRETCH
from segmi.losses.rmi.cpu.rows import new_rows


class Layout(NamedTuple):
    """Where the pixels of a class, and those without a label, lie in an image.

    Args:
        runs: (row, begin, end) of every run of the image.
        held: H + 1: the runs of the class in row r are ``held[r]`` … ``held[r + 1] - 1``.
        ignored: H + 1: likewise those without a label.
        starts: row and column of the windows that are listed.
        sign: -1 where the listed windows are left out, 1 where they alone count, 0 where there are none.
    """

    runs: Any
    held: Any
    ignored: Any
    starts: Any
    sign: Any


class Room(NamedTuple):
    """Arrays that are written before they are read, unless something else is said.

    Args:
        row: W float32, a signed row.
        e: W float32, its exponentials.
        stretch: STRETCH float32, exponentials of a stretch of a map.
        joined, loss: for `segmi.losses.rmi.cpu.pixels.add_softplus`.
        q: H×W float32, the tails of a map.
        slope: W float32.
        folded: W float64, or H×W where windows are listed.
        rows: see `segmi.losses.rmi.cpu.rows`; its margins are 0 and stay so.
        strips: see `segmi.losses.rmi.cpu.edges`; the zeros beyond the border stay so.
        edges: 2(R - 1)×H float64, what is folded onto the edges.
        found: 2R - 1, where rows begin.
        tables: for `segmi.losses.rmi.cpu.moments.add_row`.
        stencils: for `segmi.losses.rmi.cpu.folding.fold_row`.
        changes: W + 1 zeros, which are zeros again after use.
        window: 2R² float64.
        sums: 2R² float64, Σ x over the windows x = (P, Y).
        products: 2R²×2R² float64, Σ x xᵀ.
    """

    row: Any
    e: Any
    stretch: Any
    joined: Any
    loss: Any
    q: Any
    slope: Any
    folded: Any
    rows: Any
    strips: Any
    edges: Any
    found: Any
    tables: Any
    stencils: Any
    changes: Any
    window: Any
    sums: Any
    products: Any


@allocating
def new_room(height: int, width: int, radius: int, listed: bool, windows: bool) -> Room:
    """Room for maps of this size, whose windows are ``listed`` or not; no room for ``windows`` where none are seen."""
    ring = height if listed else 2 * radius - 1
    size = 2 * radius * radius
    rows = new_rows(ring, width, radius) if windows else np.zeros((2, 1))
    return Room(
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(STRETCH, np.float32),
        np.empty((2, PART), np.float32),
        np.empty(2),
        np.empty((height if windows else 0, width), np.float32),
        np.empty(width, np.float32),
        np.empty((height if listed else 1, width)),
        rows,
        new_strips(height if windows else 0, radius),
        np.empty((2 * radius - 2, height if windows else 0)),
        np.empty(2 * radius - 1, np.int64),
        new_tables(radius),
        new_stencils(radius),
        np.zeros(width + 1),
        np.empty(size),
        np.empty(size),
        np.empty((size, size)),
    )
