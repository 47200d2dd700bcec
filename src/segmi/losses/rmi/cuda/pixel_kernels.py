"""Triton kernels that work pixel by pixel: pixel losses, and the gradient.

Logits are read again wherever a pixel is needed: a sigmoid costs less than the memory traffic of a stored one. It is
computed in the type of the logits, at least float32, from its tail ``w = σ(-|z|)``, and converted to float64 only as
``w`` or ``1 - w``, so that it is as exact near 1 as near 0.

Strides: ``sn, sc, sh, sw`` of the logits (image, channel, row, column), ``ln, lh, lw`` of the labels. ``class_id`` is
the class of the channel, which is 1 for the single channel of a binary problem.

Gradient: a pixel whose windows are all included has the same weights for its neighbors as every other such pixel: a
stencil of (2R - 1)² weights of P and as many of Y. Near the border and near excluded windows, every pixel sums its own
weights.
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
def map_pointers(logits, classes, n, channel, sn, sc, ln):
    """Return pointers to the first pixel of one map and of its labels."""
    return logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc, classes + n.to(tl.int64) * ln


@triton.jit
def load_maps(logits, classes, r, c, sh, sw, lh, lw, class_id, inside):
    """Return the probability, float64 and 0 where ignored or outside, and whether the label is ``class_id``."""
    z = load_logits(logits + r * sh + c * sw, inside)
    label = tl.load(classes + r * lh + c * lw, mask=inside, other=-1)
    e = exp_of_negative(-tl.abs(z))
    tail = (e / (1.0 + e)).to(tl.float64)
    p = tl.where(z >= 0, 1.0 - tail, tail)
    return tl.where(label >= 0, p, 0.0), label == class_id


@triton.jit
def _pixel_kernel(
    logits, classes, active, parts, C, H, W, sn, sc, sh, sw, ln, lh, lw, tiles, stop,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Sum the binary cross-entropy over one tile of a map, and the probability divided by H·W."""
    program = tl.program_id(0)
    channel, tile, n = program % C, (program // C) % tiles, (program // C) // tiles
    pair = n * C + channel
    class_id = tl.where(C == 1, 1, channel)
    loss = tl.zeros([BLOCK], tl.float64)
    mass = tl.zeros([BLOCK], tl.float64)
    if PIXELS or tl.load(active + pair) != 0:
        z_at, label_at = map_pointers(logits, classes, n, channel, sn, sc, ln)
        for step in range(STEPS):
            q = (tile * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
            r, c = q // W, q % W
            inside = q < H * W
            z = load_logits(z_at + r * sh + c * sw, inside)
            label = tl.load(label_at + r * lh + c * lw, mask=inside, other=-1)
            e = exp_of_negative(-tl.abs(z))
            tail = e / (1.0 + e)
            valid = label >= 0
            if PIXELS:
                each = tl.where(z > 0, z, 0.0) - tl.where(label == class_id, z, 0.0) + log1p(e)
                loss += tl.where(valid, each, 0.0).to(tl.float64)
            mass += tl.where(valid, tl.where(z >= 0, 1.0 - tail, tail), 0.0).to(tl.float64)
    at = parts + pair.to(tl.int64) * tiles + tile
    tl.store(at, tl.sum(loss, 0))
    tl.store(at + stop, tl.sum(mass, 0) / (H * W))


@triton.jit
def _stencil_kernel(
    active, coefficients, offsets, stencils, constants,
    R: tl.constexpr, TAPS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Write ``stencils[pair, which, s, t] = Σ_ab K[(a, b), which, (a + s, b + t)]``, constants ``Σ_ab k₀[(a, b)]``."""
    D: tl.constexpr = R * R
    SIDE: tl.constexpr = 2 * R - 1
    pair = tl.program_id(0).to(tl.int64)
    if tl.load(active + pair) != 0:
        tap = tl.arange(0, TAPS)
        which, rest = tap // (SIDE * SIDE), tap % (SIDE * SIDE)
        s, t = rest // SIDE - (R - 1), rest % SIDE - (R - 1)
        weights = tl.zeros([TAPS], tl.float64)
        for position in range(D):
            u, v = position // R + s, position % R + t
            mask = (which < 2) & (u >= 0) & (u < R) & (v >= 0) & (v < R)
            at = coefficients + pair * (2 * D * D) + position * (2 * D)
            weights += tl.load(at + which * D + u * R + v, mask=mask, other=0.0)
        tl.store(stencils + pair * (2 * SIDE * SIDE) + tap, weights, mask=which < 2)
        i = tl.arange(0, POSITIONS)
        tl.store(constants + pair, tl.sum(tl.load(offsets + pair * D + i, mask=i < D, other=0.0), 0))


@triton.jit
def _fold_inside(
    z_at, label_at, r, c, inside, class_id, sh, sw, lh, lw,
    stencil, constant, R: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = R - 1
    SIDE: tl.constexpr = 2 * R - 1
    result = tl.zeros([BLOCK], tl.float64) - constant
    for row in range(SIDE):
        for column in tl.static_range(SIDE):
            p, y = load_maps(z_at, label_at, r + row - M, c + column - M, sh, sw, lh, lw, class_id, inside)
            at = stencil + row * SIDE + column
            result += tl.load(at) * p + tl.where(y, tl.load(at + SIDE * SIDE), 0.0)
    return result


@triton.jit
def _counts(whole, r, c, inside, H, W, R: tl.constexpr, DROP: tl.constexpr):
    """Return whether a window that starts at (r, c) exists and is included."""
    result = inside & (r >= 0) & (r <= H - R) & (c >= 0) & (c <= W - R)
    if DROP:
        result = tl.load(whole + r * (W - R + 1) + c, mask=result, other=0) != 0
    return result


@triton.jit
def _fold_outside(
    z_at, label_at, whole, r, c, inside, class_id,
    H, W, sh, sw, lh, lw, coefficients, offsets,
    R: tl.constexpr, DROP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    result = tl.zeros([BLOCK], tl.float64)
    for position in range(D):
        counts = _counts(whole, r - position // R, c - position % R, inside, H, W, R, DROP)
        result -= tl.where(counts, tl.load(offsets + position), 0.0)
    for s in range(-M, R):
        for t in range(-M, R):
            row, column = r + s, c + t
            reached = inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            p, y = load_maps(z_at, label_at, row, column, sh, sw, lh, lw, class_id, reached)
            by_p = tl.zeros([BLOCK], tl.float64)
            by_y = tl.zeros([BLOCK], tl.float64)
            for a in range(tl.maximum(0, -s), tl.minimum(R, R - s)):
                rows = inside & (r >= a) & (r - a <= H - R)
                for b in range(tl.maximum(0, -t), tl.minimum(R, R - t)):
                    counts = rows & (c >= b) & (c - b <= W - R)
                    if DROP:
                        counts = tl.load(whole + (r - a) * (W - R + 1) + c - b, mask=counts, other=0) != 0
                    at = coefficients + (a * R + b) * (2 * D) + (a + s) * R + b + t
                    by_p += tl.where(counts, tl.load(at), 0.0)
                    by_y += tl.where(counts, tl.load(at + D), 0.0)
            result += by_p * p + tl.where(y, by_y, 0.0)
    return result


@triton.jit
def _gradient_kernel(
    logits, classes, whole, active, coefficients, offsets, stencils, constants,
    term_scale, pixel_scale, out,
    C, H, W, sn, sc, sh, sw, ln, lh, lw,
    on, oc, oh, ow, inner_blocks, blocks,
    R: tl.constexpr, DROP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of one block of pixels of one map, all at least R - 1 from the border or all nearer.

    If ``inner_blocks`` is 0, all pixels are treated as near the border.
    """
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    SIDE: tl.constexpr = 2 * R - 1
    program = tl.program_id(0)
    channel, block, n = program % C, (program // C) % blocks, (program // C) // blocks
    pair = (n * C + channel).to(tl.int64)
    class_id = tl.where(C == 1, 1, channel)
    inner = block < inner_blocks
    q = tl.where(inner, block, block - inner_blocks) * BLOCK + tl.arange(0, BLOCK)
    across = tl.where(inner, W - 2 * M, W)  # pixels per row of the region
    r, c = q // across, q % across
    inside = q < H * W
    if inner:
        r, c = r + M, c + M
        inside = r < H - M
    elif inner_blocks > 0:  # whole rows above and below, then the rest of the columns left and right
        rest = q - 2 * M * W
        beside, which = rest // tl.maximum(2 * M, 1), rest % tl.maximum(2 * M, 1)
        inside = beside < H - 2 * M
        r = tl.where(rest < 0, tl.where(r < M, r, H - 2 * M + r), M + beside)
        c = tl.where(rest < 0, c, tl.where(which < M, which, W - 2 * M + which))
    z_at, label_at = map_pointers(logits, classes, n, channel, sn, sc, ln)
    z = load_logits(z_at + r * sh + c * sw, inside)
    label = tl.load(label_at + r * lh + c * lw, mask=inside, other=-1)
    e = exp_of_negative(-tl.abs(z))
    tail = e / (1.0 + e)
    # σ(z) - y as σ(z) or -σ(-z), which does not cancel
    of_pixel = tl.where(label == class_id, tl.where(z >= 0, -tail, tail - 1.0), tl.where(z >= 0, 1.0 - tail, tail))
    result = of_pixel * tl.load(pixel_scale + pair).to(z.dtype)
    scale = tl.load(term_scale + pair)
    if (tl.load(active + pair) != 0) & (scale != 0.0):
        whole_at = whole + n.to(tl.int64) * ((H - R + 1) * (W - R + 1))
        plain = inner
        if DROP:
            missing = tl.zeros([BLOCK], tl.int32)
            for position in range(D):
                counts = _counts(whole_at, r - position // R, c - position % R, inside, H, W, R, DROP)
                missing += (inside & (counts == 0)).to(tl.int32)
            plain = inner & (tl.sum(missing, 0) == 0)  # all windows of all pixels in the block are included
        if plain:
            folded = _fold_inside(
                z_at, label_at, r, c, inside, class_id, sh, sw, lh, lw,
                stencils + pair * (2 * SIDE * SIDE), tl.load(constants + pair), R, BLOCK,
            )  # fmt: skip
        else:
            folded = _fold_outside(
                z_at, label_at, whole_at, r, c, inside, class_id, H, W, sh, sw, lh, lw,
                coefficients + pair * (2 * D * D), offsets + pair * D, R, DROP, BLOCK,
            )  # fmt: skip
        # tail (1 - tail) is the derivative of the sigmoid, and does not cancel
        result += (scale * folded).to(z.dtype) * (tail * (1.0 - tail))
    at = out + n.to(tl.int64) * on + channel.to(tl.int64) * oc + r * oh + c * ow
    tl.store(at, tl.where(label >= 0, result, 0.0).to(out.dtype.element_ty), mask=inside)
