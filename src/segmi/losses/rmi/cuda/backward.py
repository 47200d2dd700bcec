"""The Triton kernels of the backward direction: a linear function of the windows, folded back onto the pixels.

A pixel all of whose windows count has the same weights for the pixels around it as every other such pixel: a stencil of
(2R - 1)² weights of P and as many of Y. Elsewhere, near the border and near windows that are left out, every pixel adds
up its own weights.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segmi.losses.rmi.cuda.maps import exp_of_negative, load_logits, load_maps


@triton.jit
def stencil_kernel(
    active, coefficients, offsets, stencils, constants,
    R: tl.constexpr, TAPS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """``stencils[pair, which, s, t] = Σ_ab K[(a, b), which, (a + s, b + t)]`` and the constant ``Σ_ab k₀[(a, b)]``."""
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
    z_at, label_at, r, c, inside, held, sh, sw, lh, lw,
    stencil, constant, R: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = R - 1
    SIDE: tl.constexpr = 2 * R - 1
    result = tl.zeros([BLOCK], tl.float64) - constant
    for row in range(SIDE):
        for column in tl.static_range(SIDE):
            p, y = load_maps(z_at, label_at, r + row - M, c + column - M, sh, sw, lh, lw, held, inside)
            at = stencil + row * SIDE + column
            result += tl.load(at) * p + tl.where(y, tl.load(at + SIDE * SIDE), 0.0)
    return result


@triton.jit
def _counts(whole, r, c, inside, H, W, R: tl.constexpr, DROP: tl.constexpr):
    """Whether there are windows that start at (r, c), and count."""
    result = inside & (r >= 0) & (r <= H - R) & (c >= 0) & (c <= W - R)
    if DROP:
        result = tl.load(whole + r * (W - R + 1) + c, mask=result, other=0) != 0
    return result


@triton.jit
def _fold_outside(
    z_at, label_at, whole, r, c, inside, held,
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
            p, y = load_maps(z_at, label_at, row, column, sh, sw, lh, lw, held, reached)
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
def gradient_kernel(
    logits, classes, whole, active, coefficients, offsets, stencils, constants,
    term_scale, pixel_scale, out,
    C, H, W, sn, sc, sh, sw, ln, lh, lw,
    on, oc, oh, ow, inner_blocks, blocks,
    R: tl.constexpr, DROP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of one block of pixels of one map, either all at least R - 1 from the border, or all nearer.

    Where ``inner_blocks`` is 0 all pixels are treated as those near the border are.
    """
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    SIDE: tl.constexpr = 2 * R - 1
    program = tl.program_id(0)
    channel, block, n = program % C, (program // C) % blocks, (program // C) // blocks
    pair = (n * C + channel).to(tl.int64)
    held = tl.where(C == 1, 1, channel)
    inner = block < inner_blocks
    q = tl.where(inner, block, block - inner_blocks) * BLOCK + tl.arange(0, BLOCK)
    across = tl.where(inner, W - 2 * M, W)
    r, c = q // across, q % across
    inside = q < H * W
    if inner:
        r, c = r + M, c + M
        inside = r < H - M
    elif inner_blocks > 0:  # whole rows above and below, then what is left of the columns left and right
        rest = q - 2 * M * W
        beside, which = rest // tl.maximum(2 * M, 1), rest % tl.maximum(2 * M, 1)
        inside = beside < H - 2 * M
        r = tl.where(rest < 0, tl.where(r < M, r, H - 2 * M + r), M + beside)
        c = tl.where(rest < 0, c, tl.where(which < M, which, W - 2 * M + which))
    z_at = logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc
    label_at = classes + n.to(tl.int64) * ln
    z = load_logits(z_at + r * sh + c * sw, inside)
    label = tl.load(label_at + r * lh + c * lw, mask=inside, other=-1)
    e = exp_of_negative(-tl.abs(z))
    tail = e / (1.0 + e)
    # σ(z) - y as σ(z) or -σ(-z), which does not cancel
    of_pixel = tl.where(label == held, tl.where(z >= 0, -tail, tail - 1.0), tl.where(z >= 0, 1.0 - tail, tail))
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
            plain = inner & (tl.sum(missing, 0) == 0)
        if plain:
            folded = _fold_inside(
                z_at, label_at, r, c, inside, held, sh, sw, lh, lw,
                stencils + pair * (2 * SIDE * SIDE), tl.load(constants + pair), R, BLOCK,
            )  # fmt: skip
        else:
            folded = _fold_outside(
                z_at, label_at, whole_at, r, c, inside, held, H, W, sh, sw, lh, lw,
                coefficients + pair * (2 * D * D), offsets + pair * D, R, DROP, BLOCK,
            )  # fmt: skip
        # tail (1 - tail) is the slope of the sigmoid, and does not cancel
        result += (scale * folded).to(z.dtype) * (tail * (1.0 - tail))
    at = out + n.to(tl.int64) * on + channel.to(tl.int64) * oc + r * oh + c * ow
    tl.store(at, tl.where(label >= 0, result, 0.0).to(out.dtype.element_ty), mask=inside)
