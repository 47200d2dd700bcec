"""The rows of one map that are at work: probability and label side by side, in a ring that stays in the cache.

Row r of a picture is at ``(r % ring) * stride``, ``stride = W + 2m`` with margins of m = R - 1 zeros on either side, so
that a pixel displaced by up to m columns is at a place of its own. ``ring`` is 2m + 1, or H where all rows are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.objectives._region_cpu.compiling import compiled
from segmi.objectives._region_cpu.pixels import widen


@compiled
def new_rows(ring: int, width: int, radius: int) -> Any:
    """2 × (ring · stride + 1) zeros: probability, label, and one place that sliding sums may look at."""
    return np.zeros((2, ring * (width + 2 * (radius - 1)) + 1))


@compiled
def set_row(
    rows: Any, r: int, ring: int, width: int, radius: int, q: Any, offset: float, runs: Any, held: Any, void: Any
) -> None:
    """Write row r: the probability less ``offset``, from its tails; 0 less ``offset`` in void pixels; and the label."""
    begin = (r % ring) * (width + 2 * (radius - 1)) + radius - 1
    inner = rows[0, begin : begin + width]
    widen(q, offset, inner)
    for k in range(void[r], void[r + 1]):
        inner[runs[k, 1] : runs[k, 2]] = -offset
    label = rows[1, begin : begin + width]
    label[:] = 0.0
    for k in range(held[r], held[r + 1]):
        label[runs[k, 1] : runs[k, 2]] = 1.0
