"""The Triton kernels of the forward direction: pixel losses, and the sums of products over all windows.

Every program works on one map. Blocks of pixels are multiplied with themselves displaced by up to 8 displacements
at once; each program writes its partial sums, and one program adds them in a fixed order: there are no atomics, and
the result is the same every time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segmi.losses.rmi.cuda.maps import exp_of_negative, load_logits, load_maps, log_of_one_more


@triton.jit
def pixel_kernel(
    logits, classes, active, parts,
    C, H, W, sn, sc, sh, sw, ln, lh, lw, tiles, stop,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Over one tile of a map, the sums of the binary cross-entropy and of the probability over H·W."""
    program = tl.program_id(0)
    channel, tile, n = program % C, (program // C) % tiles, (program // C) // tiles
    pair = n * C + channel
    held = tl.where(C == 1, 1, channel)
    loss = tl.zeros([BLOCK], tl.float64)
    mass = tl.zeros([BLOCK], tl.float64)
    if PIXELS or tl.load(active + pair) != 0:
        z_at = logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc
        label_at = classes + n.to(tl.int64) * ln
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
                each = tl.where(z > 0, z, 0.0) - tl.where(label == held, z, 0.0) + log_of_one_more(e)
                loss += tl.where(valid, each, 0.0).to(tl.float64)
            mass += tl.where(valid, tl.where(z >= 0, 1.0 - tail, tail), 0.0).to(tl.float64)
    at = parts + pair.to(tl.int64) * tiles + tile
    tl.store(at, tl.sum(loss, 0))
    tl.store(at + stop, tl.sum(mass, 0) / (H * W))


@triton.jit
def displacement(k, R: tl.constexpr):
    """Rows s ≥ 0 and columns t of the k-th displacement between two positions of a window, one of each ± pair."""
    rest = tl.where(k < R, 0, k - R)
    s = tl.where(k < R, 0, 1 + rest // (2 * R - 1))
    t = tl.where(k < R, k, rest % (2 * R - 1) - (R - 1))
    return s, t


@triton.jit
def products_kernel(
    logits, classes, active, center, products, totals,
    C, H, W, sn, sc, sh, sw, ln, lh, lw,
    tiles, groups, tile_pixels,
    R: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Over a tile, or over a row or a column near the border, the products of a map with itself displaced.

    Writes ``products[pair, slot, kind, k]``: P P, Y P, P Y, Y Y for the displacement k of the second factor; and
    ``totals[pair, slot]``: P, Y. P is less its mean over the image. Slots are the tiles, the first R - 1 rows, the
    last ones, the first columns, the last ones.
    """
    M: tl.constexpr = R - 1
    program = tl.program_id(0)
    channel, group = program % C, (program // C) % groups
    slots = tiles + 4 * M
    slot, n = (program // C // groups) % slots, program // C // groups // slots
    pair = n * C + channel
    if tl.load(active + pair) != 0:
        z_at = logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc
        label_at = classes + n.to(tl.int64) * ln
        held = tl.where(C == 1, 1, channel)
        shift = tl.load(center + pair)
        edge = slot - tiles
        is_row, is_column = (edge >= 0) & (edge < 2 * M), edge >= 2 * M
        first_row = tl.where(is_row, tl.where(edge < M, edge, H - 2 * M + edge), 0)
        first_column = tl.where(is_column, tl.where(edge < 3 * M, edge - 2 * M, W - 4 * M + edge), 0)
        across = tl.where(is_column, 1, W)
        size = tl.where(is_row, W, tl.where(is_column, H, H * W))
        start = tl.where(edge < 0, slot * tile_pixels, 0)
        end = tl.where(edge < 0, tl.minimum(start + tile_pixels, size), size)
        k = group * K + tl.arange(0, K)
        s, t = displacement(k[:, None], R)
        known = k[:, None] < R + M * (2 * R - 1)
        pp = tl.zeros([K, BLOCK], tl.float64)
        yp = tl.zeros([K, BLOCK], tl.float64)
        py = tl.zeros([K, BLOCK], tl.float64)
        yy = tl.zeros([K, BLOCK], tl.int32)
        p_sum = tl.zeros([BLOCK], tl.float64)
        y_sum = tl.zeros([BLOCK], tl.int32)
        for base in range(start, end, BLOCK):
            q = base + tl.arange(0, BLOCK)
            r, c = first_row + q // across, first_column + q % across
            inside = q < end
            p1, y1 = load_maps(z_at, label_at, r, c, sh, sw, lh, lw, held, inside)
            p1 = tl.where(inside, p1 - shift, 0.0)
            p_sum += p1
            y_sum += y1.to(tl.int32)
            row, column = r[None, :] + s, c[None, :] + t
            reached = inside[None, :] & known & (row < H) & (column >= 0) & (column < W)
            p2, y2 = load_maps(z_at, label_at, row, column, sh, sw, lh, lw, held, reached)
            p2 = tl.where(reached, p2 - shift, 0.0)
            pp += p1[None, :] * p2
            yp += tl.where(y1[None, :], p2, 0.0)
            py += tl.where(y2, p1[None, :], 0.0)
            yy += (y1[None, :] & y2).to(tl.int32)
        place = pair.to(tl.int64) * slots + slot
        at = products + place * (4 * groups * K) + k
        tl.store(at, tl.sum(pp, 1))
        tl.store(at + groups * K, tl.sum(yp, 1))
        tl.store(at + 2 * groups * K, tl.sum(py, 1))
        tl.store(at + 3 * groups * K, tl.sum(yy, 1).to(tl.float64))
        if group == 0:
            tl.store(totals + place * 2, tl.sum(p_sum, 0))
            tl.store(totals + place * 2 + 1, tl.sum(y_sum, 0).to(tl.float64))


@triton.jit
def _over_tiles(parts, stride, tiles, k, K: tl.constexpr, T: tl.constexpr):
    """K×1: the sums over all tiles."""
    every = tl.zeros([K, T], tl.float64)
    for base in range(0, tiles, T):
        tile = base + tl.arange(0, T)[None, :]
        every += tl.load(parts + tile.to(tl.int64) * stride + k, mask=tile < tiles, other=0.0)
    return tl.sum(every, 1)[:, None]


@triton.jit
def _store_both(at, i, j, value, mask, D: tl.constexpr):
    tl.store(at + i * (2 * D) + j, value, mask=mask)
    tl.store(at + j * (2 * D) + i, value, mask=mask)


@triton.jit
def windows_kernel(
    logits, classes, active, center, products, totals, sums, linear,
    C, H, W, sn, sc, sh, sw, ln, lh, lw, tiles, groups,
    R: tl.constexpr, K: tl.constexpr, POSITIONS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Σ x xᵀ and Σ x over all windows x = (P, Y), for some displacements between the positions of a window.

    Position (a, b) misses the rows 0 … a - 1 and H' + a … H - 1, H' the number of windows, and columns likewise. What
    is taken away for both its row and its column is given back, pixel by pixel.
    """
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    group, pair = tl.program_id(0) % groups, tl.program_id(0) // groups
    if tl.load(active + pair) != 0:
        n, channel = pair // C, pair % C
        z_at = logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc
        label_at = classes + n.to(tl.int64) * ln
        held = tl.where(C == 1, 1, channel)
        shift = tl.load(center + pair)
        k = group * K + tl.arange(0, K)[:, None]
        s, t = displacement(k, R)
        i = tl.arange(0, POSITIONS)[None, :]
        a, b = i // R, i % R
        mask = (k < R + M * (2 * R - 1)) & (i < D) & (a + s < R) & (b + t >= 0) & (b + t < R)
        place = pair.to(tl.int64) * (tiles + 4 * M)
        padded = groups * K
        stride = 4 * padded
        parts = products + place * stride
        pp = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts, stride, tiles, k, K, T)
        yp = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + padded, stride, tiles, k, K, T)
        py = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + 2 * padded, stride, tiles, k, K, T)
        yy = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + 3 * padded, stride, tiles, k, K, T)
        for edge in range(2 * M):
            u = edge % M
            missed = tiles + tl.where(edge < M, tl.where(u < a, u, M + u), tl.where(u < b, 2 * M + u, 3 * M + u))
            at = parts + missed * stride + k
            pp -= tl.load(at, mask=mask, other=0.0)
            yp -= tl.load(at + padded, mask=mask, other=0.0)
            py -= tl.load(at + 2 * padded, mask=mask, other=0.0)
            yy -= tl.load(at + 3 * padded, mask=mask, other=0.0)
        for corner in range(M * M):
            u, v = corner // M, corner % M
            r, c = tl.where(u < a, u, H - M + u), tl.where(v < b, v, W - M + v)
            p1, y1 = load_maps(z_at, label_at, r, c, sh, sw, lh, lw, held, i < D)
            reached = mask & (r + s < H) & (c + t >= 0) & (c + t < W)
            p2, y2 = load_maps(z_at, label_at, r + s, c + t, sh, sw, lh, lw, held, reached)
            p1, p2 = p1 - shift, tl.where(reached, p2 - shift, 0.0)
            pp += p1 * p2
            yp += tl.where(y1, p2, 0.0)
            py += tl.where(y2, p1, 0.0)
            yy += (y1 & y2).to(tl.float64)
        j = i + s * R + t
        at = sums + pair.to(tl.int64) * (4 * D * D)
        _store_both(at, i, j, pp, mask, D)
        _store_both(at, D + i, j, yp, mask, D)
        _store_both(at, i, D + j, py, mask, D)
        _store_both(at, D + i, D + j, yy, mask, D)
        if group == 0:
            _single_sums(
                z_at, label_at, totals + place * 2, linear + pair.to(tl.int64) * (2 * D), H, W, sh, sw, lh, lw,
                held, shift, tiles, R, POSITIONS, T,
            )  # fmt: skip


@triton.jit
def _single_sums(
    z_at, label_at, parts, linear, H, W, sh, sw, lh, lw,
    held, shift, tiles, R: tl.constexpr, POSITIONS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Σ x alone, in the same way."""
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    i = tl.arange(0, POSITIONS)[None, :]
    a, b, mask = i // R, i % R, i < D
    which = tl.arange(0, 2)[:, None]
    result = tl.zeros([2, POSITIONS], tl.float64) + _over_tiles(parts, 2, tiles, which, 2, T)
    for edge in range(2 * M):
        u = edge % M
        missed = tiles + tl.where(edge < M, tl.where(u < a, u, M + u), tl.where(u < b, 2 * M + u, 3 * M + u))
        result -= tl.load(parts + missed * 2 + which, mask=mask, other=0.0)
    for corner in range(M * M):
        u, v = corner // M, corner % M
        r, c = tl.where(u < a, u, H - M + u), tl.where(v < b, v, W - M + v)
        p, y = load_maps(z_at, label_at, r, c, sh, sw, lh, lw, held, mask)
        result += tl.where(which == 0, p - shift, y.to(tl.float64))
    tl.store(linear + which * D + i, result, mask=mask)
