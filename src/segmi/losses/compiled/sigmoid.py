"""Sigmoids of rows of logits in float32.

One exponential per pixel, of -|z|, gives the sigmoid, its derivative and the loss without cancellation, however large
z.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from segmi.losses.compiled.runtime import compiled

_f32 = np.float32
ZERO, ONE = _f32(0), _f32(1)
_LOG2_E: Final = _f32(1 / math.log(2))
_LN2_HIGH: Final = _f32(0.693359375)  # few enough bits that its product with the exponent is exact
_LN2_LOW: Final = _f32(math.log(2) - 0.693359375)
# Added to a much smaller float32, gives an integer whose lowest bits are the rounded number plus the exponent bias 127.
_ROUNDER: Final = _f32(1.5 * 2**23 + 127)
_LOWEST: Final = _f32(-87)  # e to this is about the smallest normal float32


def _exponential_coefficients() -> tuple[Any, ...]:
    # the coefficients of r², r³ … r⁶ of an approximation of e^r on |r| ≤ ½ log 2 (1 and r have 1)

    def rest(r: Any) -> Any:  # (e^r - 1 - r) / r² as a series, which does not cancel
        return sum(r**k / math.factorial(k + 2) for k in range(16))

    edge = math.log(2) / 2
    fitted = np.polynomial.Chebyshev.interpolate(rest, 4, domain=[-edge, edge])
    return tuple(_f32(c) for c in fitted.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef)


_C2, _C3, _C4, _C5, _C6 = _exponential_coefficients()


@njit(inline="always")
def _exponential(x: Any) -> Any:
    # e to a float32 of at most 0, to about 1e-7: 2^k times a polynomial on |r| ≤ ½ log 2. The result is at least about
    # 1.6e-38, never 0: in `tails` the sign shows whether a probability is above ½
    x = max(x, _LOWEST)
    shifted = np.float32(x * _LOG2_E + _ROUNDER)
    power = shifted - _ROUNDER
    r = (x - power * _LN2_HIGH) - power * _LN2_LOW
    q = _C6
    q = q * r + _C5
    q = q * r + _C4
    q = q * r + _C3
    q = q * r + _C2
    q = q * r + ONE
    q = q * r + ONE
    return q * np.int32(shifted.view(np.int32) << np.int32(23)).view(np.float32)


@compiled
def exponentials(z: Any, e: Any) -> None:
    """Write ``e = exp(-|z|)``."""
    for k in range(z.size):
        e[k] = _exponential(-abs(z[k]))


@compiled
def negate(x: Any) -> None:
    """Write ``x = -x``, in place."""
    for k in range(x.size):
        x[k] = -x[k]


@compiled
def has_nan(z: Any) -> bool:
    """Return whether any of ``z`` is NaN."""
    result = np.int32(0)
    for k in range(z.size):
        result |= np.int32(z[k] != z[k])
    return result != 0


@compiled
def tails(z: Any, e: Any, q: Any) -> None:
    """Write ``q = σ(z)`` where z is negative, else ``-σ(-z)``, so that values near 1 are as exact as those near 0.

    ``e`` are the `exponentials` of ``z``.
    """
    for k in range(z.size):
        # σ(-|z|) = e / (1 + e), at most ½
        tail = e[k] * (ONE / (ONE + e[k]))
        q[k] = -tail if z[k] >= ZERO else tail


@compiled
def tails_and_gradient(z: Any, e: Any, scale: Any, q: Any, out: Any) -> None:
    """Write `tails`, and the gradient ``scale · σ(z)`` of the pixel loss where the label is 0."""
    for k in range(z.size):
        rest = ONE / (ONE + e[k])
        tail = e[k] * rest
        q[k] = -tail if z[k] >= ZERO else tail
        out[k] = scale * (rest if z[k] >= ZERO else tail)


@compiled
def negative_gradient(z: Any, e: Any, scale: Any, out: Any) -> None:
    """Write ``scale · σ(z)``, the gradient of the pixel loss where the label is 0, from the `exponentials`."""
    for k in range(z.size):
        out[k] = scale * ((ONE if z[k] >= ZERO else e[k]) / (ONE + e[k]))


@compiled
def centered_from_tails(q: Any, offset: float, out: Any) -> None:
    """Write ``out = σ(z) - offset`` in float64, from the `tails`."""
    for k in range(q.size):
        out[k] = np.float64(q[k]) + ((1.0 if q[k] < ZERO else 0.0) - offset)


@compiled
def centered_probabilities(z: Any, offset: float, out: Any) -> None:
    """Write ``out = σ(z) - offset``, in float64 throughout, which is slow."""
    for k in range(z.size):
        v = np.float64(z[k])
        e = math.exp(-abs(v))
        out[k] = (1.0 if v >= 0.0 else e) / (1.0 + e) - offset


@compiled
def derivatives(q: Any, out: Any) -> None:
    """Write ``σ(z) σ(-z)`` from the `tails`, with the values of float64: 0 where σ(z) rounds to 1."""
    for k in range(q.size):
        p = np.float64(q[k]) + (1.0 if q[k] < ZERO else 0.0)
        out[k] = np.float32(p * (1.0 - p))


@compiled
def add_scaled(scale: float, values: Any, factors: Any, out: Any) -> None:
    """Add ``scale · values · factors`` to ``out``."""
    for k in range(out.size):
        out[k] += np.float32(scale * values[k]) * factors[k]
