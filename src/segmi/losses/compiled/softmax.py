"""Softmax over the channels of one image in float64, row by row, and its gradient."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit

from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.runtime import compiled, entry

_LOG2_E: Final = 1 / math.log(2)
_LN2_HIGH: Final = float(np.float32(math.log(2)))  # few enough bits that its product with the exponent is exact
_LN2_LOW: Final = math.log(2) - _LN2_HIGH
# Added to a much smaller float64, gives an integer whose lowest bits are the rounded number plus the bias 1023.
_ROUNDER: Final = 1.5 * 2.0**52 + 1023
_LOWEST: Final = -708.0  # e to this is about the smallest normal float64
_TERMS: Final = tuple(1 / math.factorial(k) for k in range(13))


@njit(inline="always")
def _exponential(x: Any) -> Any:
    # e to a float64 of at most 0: 2^k times the Taylor series on |r| ≤ ½ log 2; 0 below -708
    shifted = np.float64(max(x, _LOWEST) * _LOG2_E + _ROUNDER)
    power = shifted - _ROUNDER
    r = (max(x, _LOWEST) - power * _LN2_HIGH) - power * _LN2_LOW
    low = ((_TERMS[3] * r + _TERMS[2]) * r + 1.0) * r + 1.0
    middle = ((_TERMS[7] * r + _TERMS[6]) * r + _TERMS[5]) * r + _TERMS[4]
    high = (((_TERMS[12] * r + _TERMS[11]) * r + _TERMS[10]) * r + _TERMS[9]) * r + _TERMS[8]
    q = r * r
    q = q * q
    value = ((high * q + middle) * q + low) * np.int64(shifted.view(np.int64) << np.int64(52)).view(np.float64)
    return 0.0 if x < _LOWEST else value


@compiled
def softmax_row(z: Any, normalizer: Any, out: Any) -> None:
    """Write ``out = exp(z - normalizer)``; the normalizer is infinite where the probability is to be 0."""
    for k in range(out.size):
        out[k] = _exponential(np.float64(z[k]) - normalizer[k])


@compiled
def _raise(z: Any, top: Any) -> None:
    for k in range(top.size):
        top[k] = max(top[k], np.float64(z[k]))


@compiled
def _add_exponentials(z: Any, top: Any, total: Any) -> None:
    for k in range(top.size):
        total[k] += _exponential(np.float64(z[k]) - top[k])


@compiled
def _add_products(p: Any, gradient: Any, total: Any) -> None:
    for k in range(total.size):
        total[k] += p[k] * np.float64(gradient[k])


@compiled
def _multiply(p: Any, total: Any, gradient: Any) -> None:
    for k in range(total.size):
        gradient[k] = np.float32(p[k] * (np.float64(gradient[k]) - total[k]))


def _entries(digest: str) -> Any:
    @entry
    def write_normalizers(logits: Any, begin: int, end: int, out: Any) -> None:
        """Write ``log Σ_c exp(z_c)`` of the rows begin … end - 1 of C×H×W logits."""
        _ = digest
        top, total = np.empty(logits.shape[2]), np.empty(logits.shape[2])
        for r in range(begin, end):
            top[:] = -np.inf
            total[:] = 0.0
            for c in range(len(logits)):
                _raise(logits[c, r], top)
            for c in range(len(logits)):
                _add_exponentials(logits[c, r], top, total)
            for k in range(len(top)):
                out[r, k] = top[k] + math.log(total[k])

    @entry
    def softmax_backward(logits: Any, normalizers: Any, channels: Any, begin: int, end: int, gradients: Any) -> None:
        """Turn gradients with respect to probabilities into gradients with respect to logits, in place.

        Only ``channels`` have a gradient that is not 0.
        """
        _ = digest
        p, total = np.empty(logits.shape[2]), np.empty(logits.shape[2])
        for r in range(begin, end):
            total[:] = 0.0
            for c in channels:
                softmax_row(logits[c, r], normalizers[r], p)
                _add_products(p, gradients[c, r], total)
            for c in range(len(logits)):
                softmax_row(logits[c, r], normalizers[r], p)
                _multiply(p, total, gradients[c, r])

    return write_normalizers, softmax_backward


write_normalizers, softmax_backward = _entries(source_digest(Path(__file__).parent))
