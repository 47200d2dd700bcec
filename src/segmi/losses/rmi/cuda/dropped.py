"""The Triton kernels that take windows away again: those that hold an ignored pixel, where such windows do not count.

They are usually few, and blocks of windows without any cost a look at their flags. All products of two positions are
formed, window by window. One more position, where P is 1 and Y is 0, makes the sums of P and Y products as well.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segmi.losses.rmi.cuda.maps import load_maps


@triton.jit
def positions(e, R: tl.constexpr):
    """The e-th pair i ≤ j of R² + 1 positions: row i of a triangle, with row R² - i behind it."""
    D: tl.constexpr = R * R + 1
    i, rest = e // (D + 1), e % (D + 1)
    first = rest < D - i
    low = tl.where(first, i, D - 1 - i)
    return low, low + tl.where(first, rest, rest - (D - i))


@triton.jit
def _at_position(
    z_at, label_at, r, c, i, sh, sw, lh, lw, held, shift, mask,
    R: tl.constexpr,
):  # fmt: skip
    pixel = mask & (i < R * R)
    p, y = load_maps(z_at, label_at, r + i // R, c + i % R, sh, sw, lh, lw, held, pixel)
    return tl.where(pixel, p - shift, tl.where(mask, 1.0, 0.0)), y


@triton.jit
def dropped_kernel(
    logits, classes, whole, active, center, products,
    C, H, W, sn, sc, sh, sw, ln, lh, lw,
    slots, groups, slot_windows,
    R: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``products[pair, slot, kind, e]`` over the windows of a slot that do not count: P P, Y P, P Y, Y Y."""
    D: tl.constexpr = R * R + 1
    program = tl.program_id(0)
    channel, group = program % C, (program // C) % groups
    slot, n = (program // C // groups) % slots, program // C // groups // slots
    pair = n * C + channel
    if tl.load(active + pair) != 0:
        z_at = logits + n.to(tl.int64) * sn + channel.to(tl.int64) * sc
        label_at = classes + n.to(tl.int64) * ln
        held = tl.where(C == 1, 1, channel)
        shift = tl.load(center + pair)
        across = W - R + 1
        windows = (H - R + 1) * across
        whole_at = whole + n.to(tl.int64) * windows
        e = group * K + tl.arange(0, K)
        i, j = positions(e[:, None], R)
        known = e[:, None] < D * (D + 1) // 2
        pp = tl.zeros([K, BLOCK], tl.float64)
        yp = tl.zeros([K, BLOCK], tl.float64)
        py = tl.zeros([K, BLOCK], tl.float64)
        yy = tl.zeros([K, BLOCK], tl.int32)
        end = tl.minimum((slot + 1) * slot_windows, windows)
        for base in range(slot * slot_windows, end, BLOCK):
            q = base + tl.arange(0, BLOCK)
            left_out = tl.load(whole_at + q, mask=q < end, other=1) == 0
            if tl.sum(left_out.to(tl.int32), 0) > 0:
                r, c = (q // across)[None, :], (q % across)[None, :]
                mask = left_out[None, :] & known
                p1, y1 = _at_position(z_at, label_at, r, c, i, sh, sw, lh, lw, held, shift, mask, R)
                p2, y2 = _at_position(z_at, label_at, r, c, j, sh, sw, lh, lw, held, shift, mask, R)
                pp += p1 * p2
                yp += tl.where(y1, p2, 0.0)
                py += tl.where(y2, p1, 0.0)
                yy += (y1 & y2).to(tl.int32)
        at = products + (pair.to(tl.int64) * slots + slot) * (4 * groups * K) + e
        tl.store(at, tl.sum(pp, 1))
        tl.store(at + groups * K, tl.sum(yp, 1))
        tl.store(at + 2 * groups * K, tl.sum(py, 1))
        tl.store(at + 3 * groups * K, tl.sum(yy, 1).to(tl.float64))


@triton.jit
def _take(at, i, j, value, mask, D: tl.constexpr):
    rest = tl.load(at + i * (2 * D) + j, mask=mask, other=0.0) - value
    tl.store(at + i * (2 * D) + j, rest, mask=mask)
    tl.store(at + j * (2 * D) + i, rest, mask=mask)


@triton.jit
def _over_slots(parts, stride, slots, K: tl.constexpr):
    result = tl.zeros([K], tl.float64)
    for _ in range(slots):
        result += tl.load(parts)
        parts += stride
    return result


@triton.jit
def subtract_kernel(active, products, sums, linear, slots, groups, R: tl.constexpr, K: tl.constexpr):
    """Take the products of `dropped_kernel` from the sums over all windows."""
    D: tl.constexpr = R * R
    group, pair = tl.program_id(0) % groups, (tl.program_id(0) // groups).to(tl.int64)
    if tl.load(active + pair) != 0:
        e = group * K + tl.arange(0, K)
        i, j = positions(e, R)
        known = e < (D + 1) * (D + 2) // 2
        stride = 4 * groups * K
        parts = products + pair * slots * stride + e
        pp = _over_slots(parts, stride, slots, K)
        yp = _over_slots(parts + groups * K, stride, slots, K)
        py = _over_slots(parts + 2 * groups * K, stride, slots, K)
        yy = _over_slots(parts + 3 * groups * K, stride, slots, K)
        at = sums + pair * (4 * D * D)
        pixels = known & (j < D)
        _take(at, i, j, pp, pixels, D)
        _take(at, D + i, j, yp, pixels, D)
        _take(at, i, D + j, py, pixels & (i != j), D)  # else it is the one before
        _take(at, D + i, D + j, yy, pixels, D)
        single = known & (j == D) & (i < D)
        at = linear + pair * (2 * D)
        tl.store(at + i, tl.load(at + i, mask=single, other=0.0) - pp, mask=single)
        tl.store(at + D + i, tl.load(at + D + i, mask=single, other=0.0) - yp, mask=single)
