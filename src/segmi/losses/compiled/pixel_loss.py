"""Binary cross-entropy of one map: the sum over its valid pixels, and the gradient."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from segmi.losses.compiled.runtime import allocating, compiled, reordered
from segmi.losses.compiled.sigmoid import ZERO, exponentials, has_nan, negate, negative_gradient

_NO_LOSS: Final = np.float32(-1e30)  # a logit whose loss is 0 where the label is 0
_CHUNK: Final = 512  # factors 1 + e, each at most 2, that are multiplied before the product is checked
_LARGE: Final = 2.0**500  # times 2⁵¹² this is still a float64
_PARTS: Final = 8
_PART: Final = _CHUNK // _PARTS


class PixelRuns(NamedTuple):
    """Runs of the class of one map, and of ignored pixels."""

    runs: Any  # (row, begin, end) of every run of the image
    class_rows: Any  # H + 1; the runs of the class in row r are ``class_rows[r]`` … ``class_rows[r + 1] - 1``
    ignored_rows: Any  # H + 1; the same for runs of ignored pixels


class PixelBuffers(NamedTuple):
    """Buffers of the pixel loss; every value is written before it is read."""

    row: Any  # W float32, a row of logits, negated where the label is 1
    e: Any  # W float32, its exponentials
    chunk: Any  # float32, exponentials of consecutive pixels
    products: Any  # 2 × part, see `add_softplus`
    loss: Any  # 2 float64, the sum so far, see `add_softplus`


@allocating
def new_pixel_buffers(width: int) -> PixelBuffers:
    """Allocate `PixelBuffers` for maps of this width."""
    row, e, chunk = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(_CHUNK, np.float32)
    return PixelBuffers(row, e, chunk, np.empty((2, _PART), np.float32), np.empty(2))


@compiled
def _multiply_parts(e: Any, z: Any, products: Any, n: int) -> None:
    # Write ``Π (1 + e) - 1`` and ``Σ max(z, 0)`` over eight parts of n pixels each, element by element. 1 is never
    # added, so that the smallest e still counts in float32
    size = np.uintp(n)
    for k in range(size):
        a, b, c, d = e[k], e[k + size], e[k + size + size], e[k + size + size + size]
        a, c = a + b + a * b, c + d + c * d
        products[0, k] = a + c + a * c
    i = size + size + size + size
    for k in range(size):
        a, b, c, d = e[k + i], e[k + i + size], e[k + i + size + size], e[k + i + size + size + size]
        a, c = a + b + a * b, c + d + c * d
        a = a + c + a * c
        products[0, k] += a + products[0, k] * a
    for k in range(size):
        products[1, k] = ZERO
    for part in range(_PARTS):
        first = np.uintp(part) * size
        for k in range(size):
            v = z[first + k]
            products[1, k] += ZERO if v <= ZERO else v  # NaN where v is NaN


@reordered
def _add_products(products: Any, n: int, total: Any) -> None:
    product, positive = 1.0, 0.0
    for k in range(n):
        product *= 1.0 + np.float64(products[0, k])
        positive += np.float64(products[1, k])
    total[0] += positive
    total[1] *= product


@reordered
def _add_rest(z: Any, e: Any, total: Any) -> None:
    product, positive = 1.0, 0.0
    for k in range(z.size):
        v = z[k]
        product *= 1.0 + np.float64(e[k])
        positive += np.float64(ZERO if v <= ZERO else v)
    total[0] += positive
    total[1] *= product


@compiled
def add_softplus(z: Any, e: Any, products: Any, total: Any) -> None:
    """Add ``Σ log(1 + exp(z))``, the loss where the label is 0, to ``total[0] + log(total[1])``.

    Logarithms are expensive, so factors are multiplied in ``total[1]`` until it is large. ``e`` are the `exponentials`.
    """
    begin = 0
    while begin < z.size:
        n = min(_PART, (z.size - begin) // _PARTS)
        end = begin + n * _PARTS if n else z.size
        if n:
            _multiply_parts(e[begin:end], z[begin:end], products, n)
            _add_products(products, n, total)
        else:
            _add_rest(z[begin:end], e[begin:end], total)
        # before the next chunk could overflow float64
        if total[1] > _LARGE:
            total[0] += np.log(total[1])
            total[1] = 1.0
        begin = end


@compiled
def write_signed_row(layout: Any, z: Any, r: int, row: Any, e: Any) -> bool:
    """Write row r, negated where the label is 1 and with zero loss where ignored, and its `exponentials`.

    The loss is then ``softplus`` everywhere, so that no subtraction cancels.

    Returns: Whether an ignored logit is NaN.
    """
    runs, bad = layout.runs, False
    for x in range(len(row)):
        row[x] = z[r, x]
    for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
        negate(row[runs[k, 1] : runs[k, 2]])
    for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
        bad = bad or has_nan(row[runs[k, 1] : runs[k, 2]])
        row[runs[k, 1] : runs[k, 2]] = _NO_LOSS
    exponentials(row, e)
    return bad


@compiled
def unsign_gradient(layout: Any, r: int, out: Any) -> None:
    """Turn the gradient with respect to a signed row into the gradient with respect to its logits, in place."""
    runs = layout.runs
    for k in range(layout.class_rows[r], layout.class_rows[r + 1]):
        negate(out[r, runs[k, 1] : runs[k, 2]])
    for k in range(layout.ignored_rows[r], layout.ignored_rows[r + 1]):
        out[r, runs[k, 1] : runs[k, 2]] = 0.0


@compiled
def summed_loss(buffers: Any) -> float:
    """Return the sum that `add_softplus` has collected."""
    return buffers.loss[0] + math.log(buffers.loss[1])


@compiled
def pixel_loss(
    layout: Any, z: Any, buffers: Any, with_loss: bool, with_gradient: bool, scale: Any, out: Any
) -> tuple[float, bool]:
    """Compute the pixel loss of a map and its gradient.

    Args:
        layout: `PixelRuns` of the map, or a tuple with its fields.
        z: H×W float32, the logits.
        buffers: `PixelBuffers`, or a tuple with its fields.
        with_loss, with_gradient: which of the two to compute.
        scale: float32, factor of the gradient.
        out: H×W float32, receives the gradient.
    Returns: The loss, 0 if not wanted, and whether a logit is NaN without making the loss NaN.
    """
    height = len(z)
    buffers.loss[0], buffers.loss[1], bad = 0.0, 1.0, False
    if with_gradient and scale == 0.0:
        out[:] = 0.0
        # the gradient is 0 everywhere
        with_gradient = False
    if not with_loss:
        bad = has_nan(z.reshape(z.size))
    if not (with_loss or with_gradient):
        return 0.0, bad
    no_ignored = layout.ignored_rows[0] == layout.ignored_rows[height]
    if no_ignored and layout.class_rows[0] == layout.class_rows[height]:  # the label is 0 everywhere: ignore the rows
        flat, flat_out = z.reshape(z.size), out.reshape(out.size)
        for begin in range(0, flat.size, _CHUNK):
            part = flat[begin : begin + _CHUNK]
            exponentials(part, buffers.chunk)
            if with_loss:
                add_softplus(part, buffers.chunk, buffers.products, buffers.loss)
            if with_gradient:
                negative_gradient(part, buffers.chunk, scale, flat_out[begin : begin + _CHUNK])
        return summed_loss(buffers), bad
    for r in range(height):
        bad = write_signed_row(layout, z, r, buffers.row, buffers.e) or bad
        if with_loss:
            add_softplus(buffers.row, buffers.e, buffers.products, buffers.loss)
        if with_gradient:
            negative_gradient(buffers.row, buffers.e, scale, out[r])
            unsign_gradient(layout, r, out)
    return summed_loss(buffers), bad
