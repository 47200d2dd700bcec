"""How the Triton kernels read logits and labels.

Logits are read anew wherever a pixel is needed: a sigmoid costs less than the memory that would hold it. It is computed
in the type of the logits, at least float32, from its tail ``w = σ(-|z|)``, and becomes float64 only as ``w`` or
``1 - w``, so that it is as exact near 1 as near 0.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

_LOG2_E = tl.constexpr(1.44269502162933349609375)  # the float32 next to log₂ e
_LOG2_E_REST = tl.constexpr(math.log2(math.e) - 1.44269502162933349609375)
_LN2 = tl.constexpr(math.log(2))
_LOWEST = tl.constexpr(-87.0)  # e to this is the smallest normal float32


@triton.jit
def exp_of_negative(x):
    """e to x ≤ 0; in float32 to about 2e-7, where the plain one loses a digit at -20, as it rounds x log₂ e."""
    if x.dtype == tl.float64:
        result = tl.exp(x)
    else:
        x = tl.where(x < _LOWEST, _LOWEST, x)  # which leaves NaN alone
        power = x * _LOG2_E
        rest = tl.fma(x, _LOG2_E, -power) + x * _LOG2_E_REST
        result = tl.exp2(power)
        result += result * (rest * _LN2)
    return result


@triton.jit
def log_of_one_more(e):
    """log(1 + e) for e in [0, 1], by the series of 2 artanh(e / (2 + e)), exact to rounding however small e is."""
    if e.dtype == tl.float64:
        # log(u) / (u - 1) is smooth, so that the rounding of u = 1 + e does no harm
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
    """Logits in at least float32, 0 outside."""
    z = tl.load(at, mask=inside, other=0.0)
    if z.dtype != tl.float64:
        z = z.to(tl.float32)
    return z


@triton.jit
def load_maps(logits, classes, r, c, sh, sw, lh, lw, held, inside):
    """The probability, float64 and 0 in ignored pixels and outside, and whether the label is ``held``."""
    z = load_logits(logits + r * sh + c * sw, inside)
    label = tl.load(classes + r * lh + c * lw, mask=inside, other=-1)
    e = exp_of_negative(-tl.abs(z))
    tail = (e / (1.0 + e)).to(tl.float64)
    p = tl.where(z >= 0, 1.0 - tail, tail)
    return tl.where(label >= 0, p, 0.0), label == held
