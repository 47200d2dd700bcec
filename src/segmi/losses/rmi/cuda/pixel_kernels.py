"""Triton kernels that work pixel by pixel: pixel losses, and the gradient.

Gradient: a pixel whose windows are all included has the same weights for its neighbors as every other such pixel: a
stencil of (2R - 1)² weights of P and as many of Y. Near the border and near excluded windows, every pixel sums its own
weights. For the names of arguments see `segmi.losses.rmi.cuda.loading`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segmi.losses.rmi.cuda.loading import exp_of_negative, load_logits, load_maps, log1p, map_pointers, product


@triton.jit
def _pixel_kernel(
    maps, labels, active, parts, C, H, W, sn, sc, sh, sw, ln, lh, lw, tiles, stop,
    PIXELS: tl.constexpr, SIGMOID: tl.constexpr, sum_type: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Sum the binary cross-entropy over one tile of a map, and the probability divided by H·W; largest error."""
    program = tl.program_id(0)
    channel, tile, n = program % C, (program // C) % tiles, (program // C) // tiles
    pair = n * C + channel
    class_id = tl.where(C == 1, 1, channel)
    loss = tl.zeros([BLOCK], sum_type)
    mass = tl.zeros([BLOCK], sum_type)
    worst = tl.zeros([BLOCK], tl.float32)
    if PIXELS or tl.load(active + pair) != 0:
        z_at, label_at = map_pointers(maps, labels, n, channel, sn, sc, ln)
        for step in range(STEPS):
            q = (tile * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
            r, c = q // W, q % W
            inside = q < H * W
            p, y = load_maps(
                z_at, label_at, r, c, sh, sw, lh, lw, class_id, inside, False, 1.0, SIGMOID, sum_type
            )  # fmt: skip
            error, _ = load_maps(
                z_at, label_at, r, c, sh, sw, lh, lw, class_id, inside, True, 1.0, SIGMOID, sum_type
            )  # fmt: skip
            if PIXELS:
                z = load_logits(z_at + r * sh + c * sw, inside)
                label = tl.load(label_at + r * lh + c * lw, mask=inside, other=-1)
                each = tl.where(z > 0, z, 0.0) - tl.where(y, z, 0.0) + log1p(exp_of_negative(-tl.abs(z)))
                loss += tl.where(label >= 0, each, 0.0).to(sum_type)
            mass += tl.where(inside, p, 0.0)
            worst = tl.maximum(worst, tl.where(inside, tl.abs(error), 0.0).to(tl.float32))
    at = parts + pair.to(tl.int64) * tiles + tile
    tl.store(at, tl.sum(loss, 0).to(tl.float64))
    tl.store(at + stop, tl.sum(mass, 0).to(tl.float64) / (H * W))
    tl.store(at + 2 * stop, tl.max(worst, 0).to(tl.float64))


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
    z_at, label_at, r, c, inside, class_id, sh, sw, lh, lw, near,
    stencil, constant, R: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = R - 1
    SIDE: tl.constexpr = 2 * R - 1
    result = tl.zeros([BLOCK], dtype) - constant
    for row in range(SIDE):
        for column in tl.static_range(SIDE):
            p, y = load_maps(
                z_at, label_at, r + row - M, c + column - M, sh, sw, lh, lw, class_id, inside, near, 1.0, SIGMOID, dtype
            )  # fmt: skip
            at = stencil + row * SIDE + column
            result += tl.load(at) * p + product(y, tl.load(at + SIDE * SIDE), dtype)
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
    H, W, sh, sw, lh, lw, near, coefficients, offsets,
    R: tl.constexpr, DROP: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    result = tl.zeros([BLOCK], dtype)
    for position in range(D):
        counts = _counts(whole, r - position // R, c - position % R, inside, H, W, R, DROP)
        result -= tl.where(counts, tl.load(offsets + position), 0.0)
    for s in range(-M, R):
        for t in range(-M, R):
            row, column = r + s, c + t
            reached = inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            p, y = load_maps(
                z_at, label_at, row, column, sh, sw, lh, lw, class_id, reached, near, 1.0, SIGMOID, dtype
            )  # fmt: skip
            by_p = tl.zeros([BLOCK], dtype)
            by_y = tl.zeros([BLOCK], dtype)
            for a in range(tl.maximum(0, -s), tl.minimum(R, R - s)):
                rows = inside & (r >= a) & (r - a <= H - R)
                for b in range(tl.maximum(0, -t), tl.minimum(R, R - t)):
                    counts = rows & (c >= b) & (c - b <= W - R)
                    if DROP:
                        counts = tl.load(whole + (r - a) * (W - R + 1) + c - b, mask=counts, other=0) != 0
                    at = coefficients + (a * R + b) * (2 * D) + (a + s) * R + b + t
                    by_p += tl.where(counts, tl.load(at), 0.0)
                    by_y += tl.where(counts, tl.load(at + D), 0.0)
            result += by_p * p + product(y, by_y, dtype)
    return result


@triton.jit
def _gradient_kernel(
    maps, labels, whole, active, near, coefficients, offsets, stencils, constants,
    term_scale, pixel_scale, out,
    C, H, W, sn, sc, sh, sw, ln, lh, lw,
    on, oc, oh, ow, inner_blocks, blocks,
    R: tl.constexpr, DROP: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr, BLOCK: tl.constexpr,
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
    z_at, label_at = map_pointers(maps, labels, n, channel, sn, sc, ln)
    z = load_logits(z_at + r * sh + c * sw, inside)
    slope = z * 0.0 + 1.0  # of the probability
    result = slope - 1.0
    if SIGMOID:
        label = tl.load(label_at + r * lh + c * lw, mask=inside, other=-1)
        e = exp_of_negative(-tl.abs(z))
        tail = e / (1.0 + e)
        # σ(z) - y as σ(z) or -σ(-z), which does not cancel; nor does the derivative of the sigmoid, tail (1 - tail)
        of_pixel = tl.where(label == class_id, tl.where(z >= 0, -tail, tail - 1.0), tl.where(z >= 0, 1.0 - tail, tail))
        valid = (label >= 0).to(z.dtype)
        result = valid * of_pixel * tl.load(pixel_scale + pair).to(z.dtype)
        slope = valid * (tail * (1.0 - tail))
    scale = tl.load(term_scale + pair)
    if (tl.load(active + pair) != 0) & (scale != 0.0):
        whole_at = whole + n.to(tl.int64) * ((H - R + 1) * (W - R + 1))
        is_near = tl.load(near + pair) != 0
        plain = inner
        if DROP:
            missing = tl.zeros([BLOCK], tl.int32)
            for position in range(D):
                counts = _counts(whole_at, r - position // R, c - position % R, inside, H, W, R, DROP)
                missing += (inside & (counts == 0)).to(tl.int32)
            plain = inner & (tl.sum(missing, 0) == 0)  # all windows of all pixels in the block are included
        if plain:
            folded = _fold_inside(
                z_at, label_at, r, c, inside, class_id, sh, sw, lh, lw, is_near,
                stencils + pair * (2 * SIDE * SIDE), tl.load(constants + pair), R, SIGMOID, dtype, BLOCK,
            )  # fmt: skip
        else:
            folded = _fold_outside(
                z_at, label_at, whole_at, r, c, inside, class_id, H, W, sh, sw, lh, lw, is_near,
                coefficients + pair * (2 * D * D), offsets + pair * D, R, DROP, SIGMOID, dtype, BLOCK,
            )  # fmt: skip
        result += (scale.to(dtype) * folded).to(z.dtype) * slope
    at = out + n.to(tl.int64) * on + channel.to(tl.int64) * oc + r * oh + c * ow
    tl.store(at, result.to(out.dtype.element_ty), mask=inside)
