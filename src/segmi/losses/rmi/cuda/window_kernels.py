"""Triton kernels that sum products over all windows, and subtract the windows that are excluded.

Every program works on one map. A block of pixels is multiplied with itself displaced by up to 8 displacements at once.
Each program writes its partial sums, and one program adds them in a fixed order: without atomics, the result is
deterministic. For the names of arguments see `segmi.losses.rmi.cuda.loading`.

Excluded windows are those that contain an ignored pixel. They are usually few, and a block of windows without any costs
only a look at their flags. All their products of two positions are formed window by window. One more position, at which
P is 1 and Y is 0, gives the sums of P and Y as products.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segmi.losses.rmi.cuda.loading import SHARE_SCALE, load_exact, load_frame, load_maps, map_pointers, product, total


@triton.jit
def displacement(k, R: tl.constexpr):
    """Return rows s ≥ 0 and columns t of the k-th displacement of two positions in a window, one of each ± pair."""
    rest = tl.where(k < R, 0, k - R)
    s = tl.where(k < R, 0, 1 + rest // (2 * R - 1))
    t = tl.where(k < R, k, rest % (2 * R - 1) - (R - 1))
    return s, t


@triton.jit
def _store_totals(at, step, pp, yp, py, yy, scale, per_p, unit, count_type: tl.constexpr):
    shares: tl.constexpr = count_type == tl.int64
    tl.store(at, total(pp, True) / scale * per_p)
    tl.store(at + step, total(yp, shares) / unit * per_p)
    tl.store(at + 2 * step, total(py, shares) / scale / unit)
    tl.store(at + 3 * step, total(yy, True) / unit / unit)


@triton.jit
def _products_kernel(
    maps, labels, active, frames, products, totals, C, H, W, sn, sc, sh, sw, ln, lh, lw,
    tiles, groups, tile_pixels, R: tl.constexpr, K: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr,
    sum_type: tl.constexpr, count_type: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum the products of a map with itself displaced, over a tile, or over a row or column near the border.

    Writes ``products[pair, slot, kind, k]``: P P, Y P, P Y, Y Y for the displacement k of the second factor; and
    ``totals[pair, slot]``: P, Y. The mean over the image is subtracted from P. Slots are the tiles, the
    first R - 1 rows, the last ones, the first columns, the last ones.
    """
    M: tl.constexpr = R - 1
    unit = SHARE_SCALE if count_type == tl.int64 else 1.0  # of a label
    program = tl.program_id(0)
    channel, group = program % C, (program // C) % groups
    slots = tiles + 4 * M
    slot, n = (program // C // groups) % slots, program // C // groups // slots
    pair = n * C + channel
    if tl.load(active + pair) != 0:
        z_at, label_at = map_pointers(maps, labels, n, channel, sn, sc, ln)
        class_id = tl.where(C == 1, 1, channel)
        near, scale, shift = load_frame(frames + 3 * pair, dtype)
        edge = slot - tiles  # negative for tiles
        is_row, is_column = (edge >= 0) & (edge < 2 * M), edge >= 2 * M
        first_row = tl.where(is_row, tl.where(edge < M, edge, H - 2 * M + edge), 0)
        first_column = tl.where(is_column, tl.where(edge < 3 * M, edge - 2 * M, W - 4 * M + edge), 0)
        across = tl.where(is_column, 1, W)
        size = tl.where(is_row, W, tl.where(is_column, H, H * W))
        start = tl.where(edge < 0, slot * tile_pixels, 0)
        end = tl.where(edge < 0, tl.minimum(start + tile_pixels, size), size)
        k = group * K + tl.arange(0, K)
        s, t = displacement(k[:, None], R)
        known = k[:, None] < R + M * (2 * R - 1)  # the last group is padded
        pp = tl.zeros([K, BLOCK], sum_type)
        yp = tl.zeros([K, BLOCK], sum_type)
        py = tl.zeros([K, BLOCK], sum_type)
        yy = tl.zeros([K, BLOCK], count_type)
        p_sum = tl.zeros([BLOCK], sum_type)
        y_sum = tl.zeros([BLOCK], count_type)
        for base in range(start, end, BLOCK):
            q = base + tl.arange(0, BLOCK)
            r, c = first_row + q // across, first_column + q % across
            inside = q < end
            p1, y1 = load_maps(z_at, label_at, r, c, sh, sw, lh, lw, class_id, inside, near, scale, SIGMOID, dtype)
            p1 = tl.where(inside, p1 - shift, 0)
            p_sum += p1.to(sum_type)
            y_sum += y1.to(count_type)
            row, column = r[None, :] + s, c[None, :] + t
            reached = inside[None, :] & known & (row < H) & (column >= 0) & (column < W)
            p2, y2 = load_maps(
                z_at, label_at, row, column, sh, sw, lh, lw, class_id, reached, near, scale, SIGMOID, dtype
            )
            p2 = tl.where(reached, p2 - shift, 0)
            pp += product(p1[None, :], p2, sum_type)
            yp += product(y1[None, :], p2, sum_type)
            py += product(y2, p1[None, :], sum_type)
            yy += product(y1[None, :], y2, count_type)
        slot_index = pair.to(tl.int64) * slots + slot
        at = products + slot_index * (4 * groups * K) + k
        _store_totals(at, groups * K, pp, yp, py, yy, scale, 1 / scale, unit, count_type)
        if group == 0:
            tl.store(totals + slot_index * 2, tl.sum(p_sum, 0).to(tl.float64) / scale)
            tl.store(totals + slot_index * 2 + 1, tl.sum(y_sum, 0).to(tl.float64) / unit)


@triton.jit
def _over_tiles(parts, stride, tiles, k, K: tl.constexpr, dtype: tl.constexpr):
    """Return the sums over all tiles, K×1."""
    every = tl.zeros([K, dtype], tl.float64)
    for base in range(0, tiles, dtype):
        tile = base + tl.arange(0, dtype)[None, :]
        every += tl.load(parts + tile.to(tl.int64) * stride + k, mask=tile < tiles, other=0.0)
    return tl.sum(every, 1)[:, None]


@triton.jit
def _store_both(at, i, j, value, mask, D: tl.constexpr):
    tl.store(at + i * (2 * D) + j, value, mask=mask)
    tl.store(at + j * (2 * D) + i, value, mask=mask)


@triton.jit
def _windows_kernel(
    maps, labels, active, frames, products, totals, sums, linear, C, H, W, sn, sc, sh, sw, ln, lh, lw, tiles, groups,
    R: tl.constexpr, K: tl.constexpr, POSITIONS: tl.constexpr, TILES: tl.constexpr, SIGMOID: tl.constexpr,
    dtype: tl.constexpr,
):  # fmt: skip
    """Write Σ x xᵀ and Σ x over all windows x = (P, Y), for some displacements between the positions of a window.

    Position (a, b) does not reach the rows 0 … a - 1 and H' + a … H - 1, with H' rows of windows, and similarly
    columns. Pixels in both such a row and such a column are subtracted twice and added once.
    """
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    group, pair = tl.program_id(0) % groups, tl.program_id(0) // groups
    if tl.load(active + pair) != 0:
        n, channel = pair // C, pair % C
        z_at, label_at = map_pointers(maps, labels, n, channel, sn, sc, ln)
        class_id = tl.where(C == 1, 1, channel)
        near, scale, shift = load_frame(frames + 3 * pair, dtype)
        k = group * K + tl.arange(0, K)[:, None]
        s, t = displacement(k, R)
        i = tl.arange(0, POSITIONS)[None, :]
        a, b = i // R, i % R
        mask = (k < R + M * (2 * R - 1)) & (i < D) & (a + s < R) & (b + t >= 0) & (b + t < R)
        slot_index = pair.to(tl.int64) * (tiles + 4 * M)
        padded = groups * K  # displacements, padded to whole groups
        stride = 4 * padded
        parts = products + slot_index * stride
        pp = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts, stride, tiles, k, K, TILES)
        yp = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + padded, stride, tiles, k, K, TILES)
        py = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + 2 * padded, stride, tiles, k, K, TILES)
        yy = tl.zeros([K, POSITIONS], tl.float64) + _over_tiles(parts + 3 * padded, stride, tiles, k, K, TILES)
        for edge in range(2 * M):
            u = edge % M
            unreached = tiles + tl.where(edge < M, tl.where(u < a, u, M + u), tl.where(u < b, 2 * M + u, 3 * M + u))
            at = parts + unreached * stride + k
            pp -= tl.load(at, mask=mask, other=0.0)
            yp -= tl.load(at + padded, mask=mask, other=0.0)
            py -= tl.load(at + 2 * padded, mask=mask, other=0.0)
            yy -= tl.load(at + 3 * padded, mask=mask, other=0.0)
        for corner in range(M * M):
            u, v = corner // M, corner % M
            r, c = tl.where(u < a, u, H - M + u), tl.where(v < b, v, W - M + v)
            p1, y1 = load_exact(
                z_at, label_at, r, c, sh, sw, lh, lw, class_id, i < D, near, scale, shift, SIGMOID, dtype
            )
            reached = mask & (r + s < H) & (c + t >= 0) & (c + t < W)
            p2, y2 = load_exact(
                z_at, label_at, r + s, c + t, sh, sw, lh, lw, class_id, reached, near, scale, shift, SIGMOID, dtype
            )  # fmt: skip
            pp += product(p1, p2, tl.float64)
            yp += product(y1, p2, tl.float64)
            py += product(y2, p1, tl.float64)
            yy += product(y1, y2, tl.float64)
        j = i + s * R + t  # the second position
        at = sums + pair.to(tl.int64) * (4 * D * D)
        _store_both(at, i, j, pp, mask, D)
        _store_both(at, D + i, j, yp, mask, D)
        _store_both(at, i, D + j, py, mask, D)
        _store_both(at, D + i, D + j, yy, mask, D)
        if group == 0:
            _single_sums(
                z_at, label_at, totals + slot_index * 2, linear + pair.to(tl.int64) * (2 * D), H, W, sh, sw, lh, lw,
                class_id, near, scale, shift, tiles, R, POSITIONS, TILES, SIGMOID, dtype,
            )  # fmt: skip


@triton.jit
def _single_sums(
    z_at, label_at, parts, linear, H, W, sh, sw, lh, lw,
    class_id, near, scale, shift, tiles, R: tl.constexpr, POSITIONS: tl.constexpr, TILES: tl.constexpr,
    SIGMOID: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """Write Σ x in the same way."""
    M: tl.constexpr = R - 1
    D: tl.constexpr = R * R
    i = tl.arange(0, POSITIONS)[None, :]
    a, b, mask = i // R, i % R, i < D
    which = tl.arange(0, 2)[:, None]
    result = tl.zeros([2, POSITIONS], tl.float64) + _over_tiles(parts, 2, tiles, which, 2, TILES)
    for edge in range(2 * M):
        u = edge % M
        unreached = tiles + tl.where(edge < M, tl.where(u < a, u, M + u), tl.where(u < b, 2 * M + u, 3 * M + u))
        result -= tl.load(parts + unreached * 2 + which, mask=mask, other=0.0)
    for corner in range(M * M):
        u, v = corner // M, corner % M
        r, c = tl.where(u < a, u, H - M + u), tl.where(v < b, v, W - M + v)
        p, y = load_exact(z_at, label_at, r, c, sh, sw, lh, lw, class_id, mask, near, scale, shift, SIGMOID, dtype)
        result += tl.where(which == 0, p, y.to(tl.float64))
    tl.store(linear + which * D + i, result, mask=mask)


@triton.jit
def positions(e, R: tl.constexpr):
    """Return the e-th pair i ≤ j of R² + 1 positions: row i of a triangle, followed by row R² - i."""
    D: tl.constexpr = R * R + 1
    i, rest = e // (D + 1), e % (D + 1)
    first = rest < D - i
    low = tl.where(first, i, D - 1 - i)
    return low, low + tl.where(first, rest, rest - (D - i))


@triton.jit
def _at_position(
    z_at, label_at, r, c, i, sh, sw, lh, lw, class_id, near, scale, shift, one, mask,
    R: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    pixel = mask & (i < R * R)
    p, y = load_maps(
        z_at, label_at, r + i // R, c + i % R, sh, sw, lh, lw, class_id, pixel, near, scale, SIGMOID, dtype
    )  # fmt: skip
    return tl.where(pixel, p - shift, tl.where(mask, one, 0).to(dtype)), y


@triton.jit
def _dropped_kernel(
    maps, labels, whole, active, frames, products, C, H, W, sn, sc, sh, sw, ln, lh, lw,
    slots, groups, slot_windows, R: tl.constexpr, K: tl.constexpr, SIGMOID: tl.constexpr, dtype: tl.constexpr,
    sum_type: tl.constexpr, count_type: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``products[pair, slot, kind, e]`` over the excluded windows of a slot: P P, Y P, P Y, Y Y."""
    D: tl.constexpr = R * R + 1
    unit = SHARE_SCALE if count_type == tl.int64 else 1.0  # of a label
    one = SHARE_SCALE if dtype == tl.int32 else 1.0  # P of the last position, in any unit
    program = tl.program_id(0)
    channel, group = program % C, (program // C) % groups
    slot, n = (program // C // groups) % slots, program // C // groups // slots
    pair = n * C + channel
    if tl.load(active + pair) != 0:
        z_at, label_at = map_pointers(maps, labels, n, channel, sn, sc, ln)
        class_id = tl.where(C == 1, 1, channel)
        near, scale, shift = load_frame(frames + 3 * pair, dtype)
        across = W - R + 1
        windows = (H - R + 1) * across
        whole_at = whole + n.to(tl.int64) * windows
        e = group * K + tl.arange(0, K)
        i, j = positions(e[:, None], R)
        known = e[:, None] < D * (D + 1) // 2
        pp = tl.zeros([K, BLOCK], sum_type)
        yp = tl.zeros([K, BLOCK], sum_type)
        py = tl.zeros([K, BLOCK], sum_type)
        yy = tl.zeros([K, BLOCK], count_type)
        end = tl.minimum((slot + 1) * slot_windows, windows)
        for base in range(slot * slot_windows, end, BLOCK):
            q = base + tl.arange(0, BLOCK)
            excluded = tl.load(whole_at + q, mask=q < end, other=1) == 0
            if tl.sum(excluded.to(tl.int32), 0) > 0:
                r, c = (q // across)[None, :], (q % across)[None, :]
                mask = excluded[None, :] & known
                p1, y1 = _at_position(
                    z_at, label_at, r, c, i, sh, sw, lh, lw, class_id, near, scale, shift, one, mask, R, SIGMOID, dtype
                )  # fmt: skip
                p2, y2 = _at_position(
                    z_at, label_at, r, c, j, sh, sw, lh, lw, class_id, near, scale, shift, one, mask, R, SIGMOID, dtype
                )  # fmt: skip
                pp += product(p1, p2, sum_type)
                yp += product(y1, p2, sum_type)
                py += product(y2, p1, sum_type)
                yy += product(y1, y2, count_type)
        at = products + (pair.to(tl.int64) * slots + slot) * (4 * groups * K) + e
        _, second = positions(e, R)
        per_p = 1 / tl.where(second < R * R, scale, one)
        _store_totals(at, groups * K, pp, yp, py, yy, scale, per_p, unit, count_type)
