"""Calls of the Triton kernels: terms and pixel losses of logits, statistics of the windows of any maps, gradients."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from segmi.losses.rmi.covariances import solve
from segmi.losses.rmi.cuda.pixel_kernels import _gradient_kernel, _pixel_kernel, _stencil_kernel
from segmi.losses.rmi.cuda.window_kernels import _dropped_kernel, _products_kernel, _windows_kernel

_PIXEL_BLOCK: Final = 1024
_PIXEL_STEPS: Final = 4
_PRODUCT_BLOCK: Final = 128  # one pixel per thread, whose registers hold four kinds of products for 8 displacements
_PRODUCT_SHIFTS: Final = 8
_PRODUCT_TILE: Final = 4096
_GRADIENT_BLOCK: Final = 512
_SUM_BLOCK: Final = 16


class CUDAResult(NamedTuple):
    """Result of the forward pass; for the fields see `segmi.losses.rmi.operators.KernelResult`.

    Terms and information are 0 where a map is not active, coefficients and offsets are arbitrary there.
    """

    pixels: Tensor
    terms: Tensor
    information: Tensor
    coefficients: Tensor
    offsets: Tensor
    jittered: Tensor


class Windows(NamedTuple):
    """Statistics of the windows of N·C maps: the centered sums of products, the means, and the numbers of windows."""

    sums: Tensor
    means: Tensor
    counts: Tensor


def compute_terms(
    logits: Tensor, classes: Tensor, active: Tensor, *, radius: int, published: bool, ridge: float, pixels: bool,
    whole: Tensor | None = None, integers: bool = False,
) -> CUDAResult:  # fmt: skip
    """Compute pixel losses and terms, and what `compute_gradient` needs.

    Args:
        logits: N×C×H×W, any float type, any strides; H and W at least ``radius``.
        classes: N×H×W, any signed integer type, -1 where ignored.
        active: N×C bool, the maps whose label varies over the included windows.
        radius: R.
        published: whether ``ridge`` is α, added to sums; else it is relative to the mean variance of the label window.
        ridge: see ``published``.
        pixels: whether to compute the pixel losses.
        whole: N×H'×W' bool, the included windows by their upper left pixel; None for all.
        integers: whether to sum integers and compute the gradient in float32, instead of float64.
    """
    n, c, d = *logits.shape[:2], radius**2
    losses, windows = sum_windows(
        logits, classes, active, whole, radius, integers=integers, sigmoid=True, pixels=pixels
    )
    present = active.flatten()
    solution = solve(*windows, published=published, ridge=ridge)
    return CUDAResult(
        losses,
        torch.where(present, solution.terms, 0).view(n, c),
        torch.where(present, solution.information, 0).view(n, c),
        solution.coefficients.view(n, c, d, 2 * d),
        solution.offsets.view(n, c, d),
        (solution.jittered & present).sum(),
    )


def sum_windows(
    maps: Tensor, labels: Tensor, active: Tensor, whole: Tensor | None, radius: int, *, integers: bool, sigmoid: bool,
    pixels: bool = False,
) -> tuple[Tensor, Windows]:  # fmt: skip
    """Return the N×C pixel losses and the statistics of all windows; the identity where a map is not active.

    Args:
        maps: N×C×H×W logits, or probabilities if not ``sigmoid``.
        labels: N×H×W integers, -1 where ignored; or, with C = 1, the share of the class, of a float type.
    """
    n, c, height, width = maps.shape
    d = radius * radius
    z, flags = _addressable(maps.detach()), active.contiguous().view(torch.uint8)
    tiles = max(1, triton.cdiv(height * width, _PIXEL_BLOCK * _PIXEL_STEPS))
    parts = maps.new_empty(3, n, c, tiles, dtype=torch.float64)
    strides = _sizes_and_strides(z, labels)
    types = {"SIGMOID": sigmoid, "dtype": tl.int32 if integers else tl.float64}
    if n * c:
        _pixel_kernel[(n * c * tiles,)](
            z, labels, flags, parts, *strides, tiles, n * c * tiles,
            PIXELS=pixels, SIGMOID=sigmoid, sum_type=tl.float32 if integers else tl.float64, BLOCK=_PIXEL_BLOCK,
            STEPS=_PIXEL_STEPS,
        )  # fmt: skip
    losses, mass = parts[:2].sum(-1)  # N×C: pixel losses, mean probability
    if integers:
        frames = _integer_frames(parts[2].amax(-1), mass)
    else:
        frames = torch.stack([torch.zeros_like(mass), torch.ones_like(mass), mass], -1)
    near, scale, center = frames.view(-1, 3).unbind(-1)
    center = center / scale
    sums = maps.new_empty(n * c, 2 * d, 2 * d, dtype=torch.float64)
    linear = maps.new_empty(n * c, 2 * d, dtype=torch.float64)
    sum_type = tl.int64 if integers else tl.float64
    summed = {"sum_type": sum_type, "count_type": sum_type if labels.is_floating_point() else tl.int32}
    if n * c:
        _sum_all(z, labels, flags, frames, radius, sums, linear, types, summed)
    counts = sums.new_full((n,), (height - radius + 1) * (width - radius + 1))
    if whole is not None and n * c:
        _drop_windows(z, labels, whole, flags, frames, radius, sums, linear, types, summed)
        counts = whole.flatten(1).sum(1).double().clamp(min=1)
    counts = counts.repeat_interleave(c) if c > 1 else counts
    # n Σ xxᵀ - Σx (Σx)ᵀ: sums of labels are integers, so nothing is rounded before the division
    sums = (counts[:, None, None] * sums - linear[:, :, None] * linear[:, None, :]) / counts[:, None, None]
    means = linear / counts[:, None]
    means[:, :d] += center[:, None] + near[:, None] * means[:, d:]  # of P, from P - center - near · Y
    sums[:, :d] += near[:, None, None] * sums[:, d:]
    sums[:, :, :d] += near[:, None, None] * sums[:, :, d:]
    eye = torch.eye(2 * d, dtype=sums.dtype, device=sums.device)
    sums = torch.where(active.view(-1, 1, 1), sums + 0 * mass.view(-1, 1, 1), eye)  # integers lose NaN
    return losses, Windows(sums, means, counts)


def _integer_frames(worst: Tensor, center: Tensor) -> Tensor:
    """Return N×C×3: whether the label is subtracted from P, the scale, and the center in units of 1 / scale.

    Probabilities become integers of 26 bits. If all are within 1/2 of their label, only the error is summed, in units
    of its largest value: a confident network has errors of 1e-7, and what remains of Y after the regression is smaller
    than the rounding of P.
    """
    near = worst < 0.5
    bits = torch.where(near, 25 - worst.clamp(min=1e-30).log2().ceil(), 26)
    scale = torch.exp2(bits)
    return torch.stack([near.double(), scale, torch.where(near, 0, (center * scale).round())], -1)


def compute_gradient(
    logits: Tensor, classes: Tensor, active: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, *, radius: int, whole: Tensor | None = None, integers: bool = False, sigmoid: bool = True,
) -> Tensor:  # fmt: skip
    """Return the gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` with respect to the logits.

    Shapes:
        logits, classes, active, whole: as in `compute_terms` or `sum_windows`; coefficients, offsets: as in its result;
        term_scale, pixel_scale: N×C; the result has shape, type and strides of the logits.
    """
    n, c, height, width = logits.shape
    side, margin, d = 2 * radius - 1, radius - 1, radius**2
    result = torch.empty_like(logits)
    if not result.numel():
        return result
    z, out, flags = _addressable(logits.detach()), _addressable(result), active.contiguous().view(torch.uint8)
    by_p, by_y = coefficients.split(d, -1)
    # where the weights of P and Y nearly cancel, P - Y has smaller ones of Y
    near = (by_p + by_y).square().sum((-2, -1)) < by_y.square().sum((-2, -1))
    coefficients = torch.cat([by_p, by_y + near[..., None, None] * by_p], -1)
    dtype = torch.float32 if integers else torch.float64
    offsets = offsets.contiguous()
    stencils = offsets.new_empty(n, c, 2, side, side, dtype=dtype)  # weights on P and Y
    constants = offsets.new_empty(n, c, dtype=dtype)
    _stencil_kernel[(n * c,)](
        flags, coefficients, offsets, stencils, constants,
        R=radius, TAPS=triton.next_power_of_2(2 * side * side), POSITIONS=triton.next_power_of_2(radius * radius),
    )  # fmt: skip
    inner = max(0, height - 2 * margin) * max(0, width - 2 * margin)  # pixels at least R - 1 from the border
    inner_blocks = triton.cdiv(inner, _GRADIENT_BLOCK)
    blocks = inner_blocks + triton.cdiv(height * width - inner, _GRADIENT_BLOCK)
    windows = flags if whole is None else whole.contiguous().view(torch.uint8)
    _gradient_kernel[(n * c * blocks,)](
        z, classes, windows, flags, near.view(torch.uint8), coefficients.to(dtype), offsets.to(dtype), stencils,
        constants, term_scale.double().contiguous(), pixel_scale.double().contiguous(), out,
        *_sizes_and_strides(z, classes), *out.stride(), inner_blocks, blocks,
        R=radius, DROP=whole is not None, SIGMOID=sigmoid, dtype=tl.float32 if integers else tl.float64,
        BLOCK=_GRADIENT_BLOCK,
    )  # fmt: skip
    return out if out is result else result.copy_(out)


def _addressable(logits: Tensor) -> Tensor:
    """Return logits whose pixels of one image are within 2³¹ elements, so that offsets fit 32 bits in the kernels."""
    reach = sum((size - 1) * stride for size, stride in zip(logits.shape[2:], logits.stride()[2:], strict=True))
    return logits if reach < 2**31 else logits.contiguous()


def _sizes_and_strides(logits: Tensor, classes: Tensor) -> tuple[int, ...]:
    return *logits.shape[1:], *logits.stride(), *classes.stride()


def _sum_all(
    maps: Tensor, labels: Tensor, flags: Tensor, frames: Tensor, radius: int, sums: Tensor, linear: Tensor,
    types: dict[str, Any], summed: dict[str, Any],
) -> None:  # fmt: skip
    """Write Σ x xᵀ and Σ x over all windows."""
    n, c, height, width = maps.shape
    shifts = 2 * radius * radius - 2 * radius + 1  # displacements up to sign
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(shifts))
    groups = triton.cdiv(shifts, group)
    tiles = triton.cdiv(height * width, _PRODUCT_TILE)
    slots = tiles + 4 * (radius - 1)
    products = sums.new_empty(n * c, slots, 4, groups * group)
    totals = sums.new_empty(n * c, slots, 2)
    strides = _sizes_and_strides(maps, labels)
    _products_kernel[(n * c * slots * groups,)](
        maps, labels, flags, frames, products, totals, *strides, tiles, groups, _PRODUCT_TILE,
        R=radius, K=group, BLOCK=_PRODUCT_BLOCK, **types, **summed,
    )  # fmt: skip
    _windows_kernel[(n * c * groups,)](
        maps, labels, flags, frames, products, totals, sums, linear, *strides, tiles, groups,
        R=radius, K=group, POSITIONS=triton.next_power_of_2(radius * radius), TILES=_SUM_BLOCK, **types,
    )  # fmt: skip


def _drop_windows(
    maps: Tensor, labels: Tensor, whole: Tensor, flags: Tensor, frames: Tensor, radius: int, sums: Tensor,
    linear: Tensor, types: dict[str, Any], summed: dict[str, Any],
) -> None:  # fmt: skip
    """Subtract the windows that are not ``whole`` from the sums, of which those of inactive maps are arbitrary."""
    n, c = maps.shape[:2]
    d, windows = radius * radius, whole[0].numel()
    pairs = (d + 1) * (d + 2) // 2  # i ≤ j of d + 1 positions
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(pairs))
    groups = triton.cdiv(pairs, group)
    # fewer slots for many groups, which fill the device by themselves and need memory for many sums; at most 2¹⁰
    # products of 52 bits per thread
    slots = max(1, min(triton.cdiv(windows, _PRODUCT_TILE), 512 // d), triton.cdiv(windows, _PRODUCT_BLOCK << 10))
    slot_windows = triton.cdiv(triton.cdiv(windows, slots), _PRODUCT_BLOCK) * _PRODUCT_BLOCK
    products = sums.new_empty(n * c, slots, 4, groups * group)
    _dropped_kernel[(n * c * slots * groups,)](
        maps, labels, whole.contiguous().view(torch.uint8), flags, frames, products,
        *_sizes_and_strides(maps, labels), slots, groups, slot_windows,
        R=radius, K=group, BLOCK=_PRODUCT_BLOCK, **types, **summed,
    )  # fmt: skip
    # the positions i ≤ j of every product, see `positions` in `segmi.losses.rmi.cuda.window_kernels`
    e = torch.arange(pairs, device=sums.device)
    i, rest = e // (d + 2), e % (d + 2)
    low = torch.where(rest <= d - i, i, d - i)
    high = low + torch.where(rest <= d - i, rest, rest - (d + 1 - i))
    pp, yp, py, yy = products.sum(1)[..., :pairs].unbind(1)
    excluded = sums.new_empty(n * c, 2, d + 1, 2, d + 1)
    for a, b, values in ((0, 0, pp), (1, 0, yp), (0, 1, py), (1, 1, yy)):
        excluded[:, a, low, b, high] = excluded[:, b, high, a, low] = values
    sums -= excluded[:, :, :d, :, :d].reshape(sums.shape)
    linear -= excluded[:, :, :d, 0, d].flatten(1)
