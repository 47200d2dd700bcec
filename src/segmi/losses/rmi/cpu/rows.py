"""The rows of one map that are at work: probability and label side by side, in a ring that stays in the cache.

Row r of an image is at ``(r % ring) * stride``, ``stride = W + 2m`` with margins of m = R - 1 zeros on either side, so
that a pixel displaced by up to m columns is at a place of its own. ``ring`` is 2m + 1, or H where all rows are needed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating, compiled
from segmi.losses.rmi.cpu.pixels import exponentials, probabilities, tails, widen

_NARROW: Final = np.float32(1)


@allocating
def new_rows(ring: int, width: int, radius: int) -> Any:
    """2 × (ring · stride + 1) zeros: probability, label, and one place that sliding sums may look at."""
    return np.zeros((2, ring * (width + 2 * (radius - 1)) + 1))


@compiled
def find_rows(r: int, ring: int, height: int, width: int, radius: int, found: Any) -> None:
    """Where rows r - m … r + m begin, margins included; -1 where the image has none.

    Once per row of a map, since a division takes as long as dozens of products.
    """
    margin, stride = radius - 1, width + 2 * (radius - 1)
    slot = (r - margin) % ring
    for s in range(2 * margin + 1):
        found[s] = slot * stride if 0 <= r + s - margin < height else -1
        slot = slot + 1 if slot + 1 < ring else 0


@compiled
def is_narrow(z: Any) -> bool:
    """Whether the logits differ so little that a float32 does not tell their probabilities apart well enough."""
    height, width = z.shape
    for r in range(height):
        for k in range(width):
            if not abs(z[r, k] - z[0, 0]) < _NARROW:
                return False
    return True


@compiled
def first_probability(layout: Any, z: Any, narrow: bool, e: Any, q: Any, p: Any) -> float:
    """The probability of the first pixel, which all others are taken less: the smaller they are, the less cancels.

    ``e``, ``q`` and ``p`` are room for one pixel each.
    """
    if layout.ignored[0] < layout.ignored[1] and layout.runs[layout.ignored[0], 1] == 0:
        return 0.0
    if narrow:
        probabilities(z[0, :1], 0.0, p)
    else:
        exponentials(z[0, :1], e)
        tails(z[0, :1], e, q)
        widen(q, 0.0, p)
    return p[0]


@compiled
def set_row(
    layout: Any, rows: Any, r: int, ring: int, radius: int, z: Any, q: Any, narrow: bool, offset: float
) -> None:
    """Write row r: the probability less ``offset``, 0 less ``offset`` in ignored; the label, where windows are listed.

    The probability is taken from its tails ``q``, or, where logits are ``narrow``, from these.
    """
    runs, held, ignored = layout.runs, layout.held, layout.ignored
    width = z.shape[1]
    begin = (r % ring) * (width + 2 * (radius - 1)) + radius - 1
    inner = rows[0, begin : begin + width]
    if narrow:
        probabilities(z[r], offset, inner)
    else:
        widen(q[r], offset, inner)
    for k in range(ignored[r], ignored[r + 1]):
        inner[runs[k, 1] : runs[k, 2]] = -offset
    if not layout.sign:
        return
    label = rows[1, begin : begin + width]
    label[:] = 0.0
    for k in range(held[r], held[r + 1]):
        label[runs[k, 1] : runs[k, 2]] = 1.0
