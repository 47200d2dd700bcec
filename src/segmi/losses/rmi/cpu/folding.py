"""A linear function of every window brought back to the pixels: ``Σ_i K (P_i, Y_i) - k₀``, added where window i lies.

On a pixel that is in windows at all R² positions this is one (2R - 1)² stencil on each of the two maps; the m = R - 1
rows and columns at the border have stencils of their own. Along a row, the stencil of a label changes at the ends of
runs alone, so its changes are written there and then summed up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating, compiled, reordered


@allocating
def new_stencils(radius: int) -> Any:
    """Weights on P and Y, by place of column: 0 inside, 1 … 2m at the border; and the constants of each."""
    places, taps = 2 * radius - 1, 2 * radius - 1
    return np.zeros((places, 2, taps, taps)), np.zeros(places)


@compiled
def fold_row(
    layout: Any, rows: Any, found: Any, r: int, height: int, width: int, radius: int, stencils: Any,
    changes: Any, out: Any,
) -> None:  # fmt: skip
    """Write row r but for its edges, the rows around it being ``found``; ``changes`` is W + 1 zeros, and is left so."""
    runs, held, margin = layout.runs, layout.held, radius - 1
    weights, constants = stencils
    out[:] = -constants[0]
    begin, end = width, 0
    for s in range(2 * margin + 1):
        there = found[s]
        if there < 0:
            continue
        add_taps(rows[0], there, weights[0, 0, s], out)
        first, last = held[r + s - margin], held[r + s - margin + 1]
        if first < last:
            _add_changes(runs, first, last, weights[0, 1, s], margin, width, changes)
            begin, end = min(begin, runs[first, 1] - margin), max(end, runs[last - 1, 2] + radius)
    if begin < end:
        _add_running_sum(changes, max(begin, 0), min(end, width), out)


@compiled
def prepare_stencils(
    coefficients: Any, offsets: Any, r: int, height: int, width: int, radius: int, stencils: Any
) -> None:
    """Write the stencils of row r, where they are not those of the row above; rows are to be asked for in order."""
    weights, constants = stencils
    margin = radius - 1
    down, right = height - margin, width - margin
    a0, a1 = max(0, r - down + 1), min(radius, r + 1)
    if r > 0 and a0 == max(0, r - down) and a1 == min(radius, r):
        return
    constants[0] = _stencil(coefficients, offsets, a0, a1, 0, radius, radius, weights[0])
    for e in range(2 * margin):
        x = e if e < margin else width - 2 * margin + e
        b0, b1 = max(0, x - right + 1), min(radius, x + 1)
        constants[1 + e] = _stencil(coefficients, offsets, a0, a1, b0, b1, radius, weights[1 + e])


@compiled
def _stencil(coefficients: Any, offsets: Any, a0: int, a1: int, b0: int, b1: int, radius: int, weights: Any) -> float:
    """Write the weights around a pixel that is in windows at the positions a0 … a1 - 1, b0 … b1 - 1."""
    margin = radius - 1
    weights[:] = 0.0
    constant = 0.0
    for a in range(a0, a1):
        for b in range(b0, b1):
            position = a * radius + b
            constant += offsets[position]
            for which in range(2):
                for u in range(radius):
                    for v in range(radius):
                        weight = coefficients[position, (which * radius + u) * radius + v]
                        weights[which, u - a + margin, v - b + margin] += weight
    return constant


@reordered
def _add_taps5(a: Any, j: Any, w0: float, w1: float, w2: float, w3: float, w4: float, out: Any) -> None:
    for k in range(np.uintp(out.size)):
        out[k] += (
            w0 * a[j + k]
            + w1 * a[j + k + np.uintp(1)]
            + w2 * a[j + k + np.uintp(2)]
            + w3 * a[j + k + np.uintp(3)]
            + w4 * a[j + k + np.uintp(4)]
        )


@reordered
def _add_tap(a: Any, j: Any, w: float, out: Any) -> None:
    for k in range(np.uintp(out.size)):
        out[k] += w * a[j + k]


@compiled
def add_taps(a: Any, begin: int, weights: Any, out: Any) -> None:
    """``out[k] += Σ_t weights[t] a[begin + k + t]``."""
    first, t = np.uintp(begin), 0
    while t + 5 <= len(weights):
        _add_taps5(
            a, first + np.uintp(t), weights[t], weights[t + 1], weights[t + 2], weights[t + 3], weights[t + 4], out
        )
        t += 5
    while t < len(weights):
        _add_tap(a, first + np.uintp(t), weights[t], out)
        t += 1


@compiled
def _add_changes(runs: Any, begin: int, end: int, weights: Any, margin: int, width: int, changes: Any) -> None:
    """Add by how much ``Σ_t weights[t] y[x + t - m]`` differs from that at x - 1, of a row with these runs."""
    for k in range(begin, end):
        for t in range(2 * margin + 1):
            shift = margin - t
            changes[min(max(runs[k, 1] + shift, 0), width)] += weights[t]
            changes[min(max(runs[k, 2] + shift, 0), width)] -= weights[t]


@compiled
def _add_running_sum(changes: Any, begin: int, end: int, out: Any) -> None:
    """Add the sums of the changes so far to ``out``, begin … end - 1, where all changes lie; these become 0 again."""
    value = 0.0
    for x in range(begin, end):
        value += changes[x]
        changes[x] = 0.0
        out[x] += value
    changes[len(out)] = 0.0
