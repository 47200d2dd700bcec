"""Sigmoids and the binary cross-entropy, by stretches of pixels.

One exponential per pixel, of -|z|, gives the sigmoid, its slope and the loss, none of which cancels however large z is.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

from segmi.losses.rmi.cpu.compiling import compiled, reordered

_f32 = np.float32
_LOG2_E: Final = _f32(1 / math.log(2))
_LN2_HIGH: Final = _f32(0.693359375)  # few enough bits that its product with the exponent is exact
_LN2_LOW: Final = _f32(math.log(2) - 0.693359375)
_ROUNDER: Final = _f32(1.5 * 2**23 + 127)
"""Added to a far smaller float32, it gives a whole number, in the lowest bits of which is the rounded one plus 127."""
_ZERO, _ONE = _f32(0), _f32(1)
_LOWEST: Final = _f32(-87)  # e to this is about the smallest normal number

NOWHERE: Final = _f32(-1e30)
"""A logit that costs nothing where the label is 0."""

STRETCH: Final = 512
"""How many factors 1 + e, each at most 2, are multiplied before it is seen whether the product has grown large."""
_MUCH: Final = 2.0**500  # which times 2⁵¹² is a float64
_PARTS: Final = 8
PART: Final = STRETCH // _PARTS


def _fitted() -> tuple[Any, ...]:
    """The coefficients of r², r³ … r⁶ of an approximation of e^r on |r| ≤ ½ log 2; those of 1 and r are 1."""

    def rest(r: Any) -> Any:  # (e^r - 1 - r) / r², by its series, which does not cancel
        return sum(r**k / math.factorial(k + 2) for k in range(16))

    edge = math.log(2) / 2
    fitted = np.polynomial.Chebyshev.interpolate(rest, 4, domain=[-edge, edge])
    return tuple(_f32(c) for c in fitted.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef)


_C2, _C3, _C4, _C5, _C6 = _fitted()


@njit(inline="always")
def _exponential(x: Any) -> Any:
    """e to a float32 of at most 0, to about 1e-7: 2^k times a polynomial on |r| ≤ ½ log 2.

    At least about 1.6e-38, never 0: its sign tells `tails` on which side of ½ a probability lies.
    """
    x = max(x, _LOWEST)
    shifted = np.float32(x * _LOG2_E + _ROUNDER)
    power = shifted - _ROUNDER
    r = (x - power * _LN2_HIGH) - power * _LN2_LOW
    q = _C6
    q = q * r + _C5
    q = q * r + _C4
    q = q * r + _C3
    q = q * r + _C2
    q = q * r + _ONE
    q = q * r + _ONE
    return q * np.int32(shifted.view(np.int32) << np.int32(23)).view(np.float32)


@compiled
def exponentials(z: Any, e: Any) -> None:
    """``e = exp(-|z|)``."""
    for k in range(z.size):
        e[k] = _exponential(-abs(z[k]))


@compiled
def _join(e: Any, z: Any, joined: Any, n: int) -> None:
    """Of eight parts of n pixels each, place by place: ``Π (1 + e) - 1`` and ``Σ max(z, 0)``, into ``joined``.

    Without ever adding 1, so that in float32 the smallest e still counts in full.
    """
    size = np.uintp(n)
    for k in range(size):
        a, b, c, d = e[k], e[k + size], e[k + size + size], e[k + size + size + size]
        a, c = a + b + a * b, c + d + c * d
        joined[0, k] = a + c + a * c
    i = size + size + size + size
    for k in range(size):
        a, b, c, d = e[k + i], e[k + i + size], e[k + i + size + size], e[k + i + size + size + size]
        a, c = a + b + a * b, c + d + c * d
        a = a + c + a * c
        joined[0, k] += a + joined[0, k] * a
    for k in range(size):
        joined[1, k] = _ZERO
    for part in range(_PARTS):
        first = np.uintp(part) * size
        for k in range(size):
            v = z[first + k]
            joined[1, k] += _ZERO if v <= _ZERO else v  # which is NaN where v is


@reordered
def _add_joined(joined: Any, n: int, total: Any) -> None:
    product, positive = 1.0, 0.0
    for k in range(n):
        product *= 1.0 + np.float64(joined[0, k])
        positive += np.float64(joined[1, k])
    total[0] += positive
    total[1] *= product


@reordered
def _add_rest(z: Any, e: Any, total: Any) -> None:
    product, positive = 1.0, 0.0
    for k in range(z.size):
        v = z[k]
        product *= 1.0 + np.float64(e[k])
        positive += np.float64(_ZERO if v <= _ZERO else v)
    total[0] += positive
    total[1] *= product


@compiled
def add_softplus(z: Any, e: Any, joined: Any, total: Any) -> None:
    """Add ``Σ log(1 + exp(z))``, the loss where the label is 0, from the `exponentials`.

    Args:
        z, e: of any length.
        joined: room of 2 × PART.
        total: what the sum is so far, as a number and, since logarithms cost much, one whose logarithm is to be added.
    """
    begin = 0
    while begin < z.size:
        n = min(PART, (z.size - begin) // _PARTS)
        end = begin + n * _PARTS if n else z.size
        if n:
            _join(e[begin:end], z[begin:end], joined, n)
            _add_joined(joined, n, total)
        else:
            _add_rest(z[begin:end], e[begin:end], total)
        if total[1] > _MUCH:
            total[0] += np.log(total[1])
            total[1] = 1.0
        begin = end


@compiled
def negate(x: Any) -> None:
    """``x = -x``, in place."""
    for k in range(x.size):
        x[k] = -x[k]


@compiled
def has_nan(z: Any) -> bool:
    """Whether any of ``z`` is NaN."""
    found = np.int32(0)
    for k in range(z.size):
        found |= np.int32(z[k] != z[k])
    return found != 0


@compiled
def tails(z: Any, e: Any, q: Any) -> None:
    """``q = σ(z)`` where z is negative, else ``-σ(-z)``, so that what is near 1 is as exact as what is near 0.

    From the `exponentials` ``e``.
    """
    for k in range(z.size):
        tail = e[k] * (_ONE / (_ONE + e[k]))
        q[k] = -tail if z[k] >= _ZERO else tail


@compiled
def tails_and_gradient(z: Any, e: Any, scale: Any, q: Any, out: Any) -> None:
    """`tails`, and the gradient ``scale · σ(z)`` of the loss where the label is 0."""
    for k in range(z.size):
        rest = _ONE / (_ONE + e[k])
        tail = e[k] * rest
        q[k] = -tail if z[k] >= _ZERO else tail
        out[k] = scale * (rest if z[k] >= _ZERO else tail)


@compiled
def negative_gradient(z: Any, e: Any, scale: Any, out: Any) -> None:
    """``scale · σ(z)``, the gradient of the loss where the label is 0, from the `exponentials`."""
    for k in range(z.size):
        out[k] = scale * ((_ONE if z[k] >= _ZERO else e[k]) / (_ONE + e[k]))


@compiled
def widen(q: Any, offset: float, out: Any) -> None:
    """``out = σ(z) - offset`` in float64, from its `tails`."""
    for k in range(q.size):
        out[k] = np.float64(q[k]) + ((1.0 if q[k] < _ZERO else 0.0) - offset)


@compiled
def probabilities(z: Any, offset: float, out: Any) -> None:
    """``out = σ(z) - offset``, in float64 throughout, which is slow."""
    for k in range(z.size):
        v = np.float64(z[k])
        e = math.exp(-abs(v))
        out[k] = (1.0 if v >= 0.0 else e) / (1.0 + e) - offset


@compiled
def slopes(q: Any, out: Any) -> None:
    """``σ(z) σ(-z)`` from the `tails`, as float64 has it: 0 where σ(z) is 1."""
    for k in range(q.size):
        p = np.float64(q[k]) + (1.0 if q[k] < _ZERO else 0.0)
        out[k] = np.float32(p * (1.0 - p))


@compiled
def add_scaled(scale: float, folded: Any, slope: Any, out: Any) -> None:
    """``out += scale · folded · slope``."""
    for k in range(out.size):
        out[k] += np.float32(scale * folded[k]) * slope[k]
