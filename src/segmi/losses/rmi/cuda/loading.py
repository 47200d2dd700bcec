"""Maps as the Triton kernels read them.

Logits are read again wherever a pixel is needed: a sigmoid costs less than the memory traffic of a stored one. It is
computed in the type of the logits, at least float32, from its tail ``w = σ(-|z|)``, so that it is as exact near 1 as
near 0. Probabilities (``SIGMOID`` false) are read as they are.

Strides: ``sn, sc, sh, sw`` of the maps (image, channel, row, column), ``ln, lh, lw`` of the labels. ``class_id`` is
the class of the channel, which is 1 for the single channel of a binary problem.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

_LOG2_E = tl.constexpr(1.44269502162933349609375)  # the float32 next to log₂ e
_LOG2_E_REST = tl.constexpr(math.log2(math.e) - 1.44269502162933349609375)
_LN2 = tl.constexpr(math.log(2))
SHARE_SCALE = tl.constexpr(2.0**26)  # of integers
_LOWEST = tl.constexpr(-87.0)  # e to this is the smallest normal float32


@triton.jit
def exp_of_negative(x):
    """Return e to x ≤ 0; in float32 to about 2e-7. ``tl.exp`` rounds x log₂ e and loses a digit at x = -20."""
    if x.dtype == tl.float64:
        result = tl.exp(x)
    else:
        x = tl.where(x < _LOWEST, _LOWEST, x)  # keeps NaN
        power = x * _LOG2_E
        rest = tl.fma(x, _LOG2_E, -power) + x * _LOG2_E_REST
        result = tl.exp2(power)
        result += result * (rest * _LN2)
    return result


@triton.jit
def log1p(e):
    """Return log(1 + e) for e in [0, 1] by the series of 2 artanh(e / (2 + e)), exact to rounding for any e."""
    if e.dtype == tl.float64:
        # log(u) / (u - 1) is smooth, so the rounding of u = 1 + e does not matter
        u = 1.0 + e
        result = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    else:
        t = e / (2.0 + e)
        q = t * t
        s = q * (1.0 / 15) + 1.0 / 13
        s = s * q + 1.0 / 11
        s = s * q + 1.0 / 9
        s = s * q + 1.0 / 7
        s = s * q + 1.0 / 5
        s = s * q + 1.0 / 3
        result = 2.0 * (t + t * q * s)
    return result


@triton.jit
def load_logits(at, inside):
    """Return logits in at least float32, 0 outside."""
    z = tl.load(at, mask=inside, other=0.0)
    if z.dtype != tl.float64:
        z = z.to(tl.float32)
    return z


@triton.jit
def map_pointers(maps, labels, n, channel, sn, sc, ln):
    """Return pointers to the first pixel of one map and of its labels."""
    return maps + n.to(tl.int64) * sn + channel.to(tl.int64) * sc, labels + n.to(tl.int64) * ln


@triton.jit
def load_maps(
    maps, labels, r, c, sh, sw, lh, lw, class_id, inside, near, scale, SIGMOID: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """Return the probability, minus the label if ``near``, and the label; both are 0 where ignored or outside.

    A label is bool, or, given as the share of a class, of the same type. Integers are in units of 1 / ``scale``, shares
    of 1 / `SHARE_SCALE`.
    """
    x = load_logits(maps + r * sh + c * sw, inside)
    if labels.dtype.element_ty.is_floating():
        share = tl.load(labels + r * lh + c * lw, mask=inside, other=0.0)
        result = x.to(tl.float64) if dtype == tl.float64 else x
        result -= tl.where(near, share, 0.0).to(result.dtype)
        y = tl.floor(share * SHARE_SCALE + 0.5).to(dtype) if dtype == tl.int32 else share.to(dtype)
    else:
        label = tl.load(labels + r * lh + c * lw, mask=inside, other=-1)
        y = label == class_id
        if SIGMOID:
            e = exp_of_negative(-tl.abs(x))
            tail = e / (1.0 + e)
            if dtype == tl.float64:
                tail = tail.to(tl.float64)
            result, rest = tl.where(x >= 0, 1.0 - tail, tail), tl.where(x >= 0, tail, 1.0 - tail)
        else:
            result = x.to(tl.float64) if dtype == tl.float64 else x
            rest = 1.0 - result
        result = tl.where(near, tl.where(y, -rest, result), result)
        result = tl.where(label >= 0, result, 0.0)
    if dtype == tl.int32:
        result = tl.floor(result * scale.to(result.dtype) + 0.5)
    return result.to(dtype), y


@triton.jit
def product(a, b, dtype: tl.constexpr):
    """Return a·b; a bool label selects."""
    if a.dtype == tl.int1:
        result = (a & b).to(dtype) if b.dtype == tl.int1 else tl.where(a, b, 0).to(dtype)
    else:
        result = tl.where(b, a, 0).to(dtype) if b.dtype == tl.int1 else a.to(dtype) * b.to(dtype)
    return result


@triton.jit
def total(values, COARSE: tl.constexpr):
    """Return the sums of rows in float64. Sums of products of two integers lose 8 of 52 bits to avoid an overflow."""
    if values.dtype == tl.int64 and COARSE:
        result = tl.sum(values >> 8, 1).to(tl.float64) * 256
    else:
        result = tl.sum(values, 1).to(tl.float64)
    return result


@triton.jit
def load_frame(at, dtype: tl.constexpr):
    """Return whether `load_maps` subtracts labels from a map, the scale, and the center."""
    return tl.load(at) != 0, tl.load(at + 1), tl.load(at + 2).to(dtype)


@triton.jit
def load_exact(
    maps, labels, r, c, sh, sw, lh, lw, class_id, inside, near, scale, center, SIGMOID: tl.constexpr,
    dtype: tl.constexpr,
):  # fmt: skip
    """Return the result of `load_maps`, centered, in float64."""
    p, y = load_maps(maps, labels, r, c, sh, sw, lh, lw, class_id, inside, near, scale, SIGMOID, dtype)
    p = tl.where(inside, p - center, 0).to(tl.float64) / scale
    if y.dtype == tl.int32:
        y = y.to(tl.float64) / SHARE_SCALE
    return p, y
