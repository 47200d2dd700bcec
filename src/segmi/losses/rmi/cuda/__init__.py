"""Region mutual information and binary cross-entropy on a CUDA device, compiled by Triton.

Nothing here synchronizes with the device: which maps are skipped, how many windows are included and whether a
covariance had to be jittered stay there. Windows are never unfolded. The sum of products over all windows of two
positions is the sum over the whole map of the product displaced by the distance of the two, minus the few rows and
columns at the border that this pair of positions does not reach; there are 2R² - 2R + 1 such displacements up to sign,
but R⁴ pairs of positions. Probabilities are centered; products and sums are float64, since float32 makes the gradient
wrong by percents where covariances are nearly singular. The only memory that grows with the maps is the gradient;
partial sums take about a twentieth of float32 logits.

With ``TRITON_INTERPRET=1`` set before Triton is first imported, everything runs on the CPU, slowly.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
import triton
from torch import Tensor

from segmi.losses.rmi.covariances import solve
from segmi.losses.rmi.cuda.pixel_kernels import _gradient_kernel, _pixel_kernel, _stencil_kernel
from segmi.losses.rmi.cuda.window_kernels import _dropped_kernel, _products_kernel, _subtract_kernel, _windows_kernel
from segmi.losses.rmi.maps import counted_pairs, whole_windows
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import Targets

__all__ = ["CUDAResult", "backward", "compute_gradient", "compute_terms", "forward"]

_PIXEL_BLOCK: Final = 1024
_PIXEL_STEPS: Final = 4
_PRODUCT_BLOCK: Final = 128  # one pixel per thread, whose registers hold four kinds of products for 8 displacements
_PRODUCT_SHIFTS: Final = 8
_PRODUCT_TILE: Final = 4096
_GRADIENT_BLOCK: Final = 512
_SUM_BLOCK: Final = 16


# --- the operators of `segmi.losses.rmi.operators`


def forward(
    logits: Tensor, labels: Tensor, radius: int, published: bool, drop: bool, ridge: float, absent: float, pixels: bool,
    ignore_index: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return a `KernelResult`; unknown ids give NaN, since reading them would synchronize with the device."""
    classes, whole, targets = _read_labels(logits, labels, radius, drop, ignore_index)
    config = RMIConfig(radius=radius, ignored="drop" if drop else "zero", class_reduction="present")
    counted = counted_pairs(targets, logits.shape[1], config)
    result = compute_terms(
        logits, classes, counted, radius=radius, published=published, ridge=ridge, pixels=pixels, whole=whole
    )
    terms = torch.where(counted, result.terms, absent)
    return (
        result.pixels, terms, result.information, counted, targets.valid.sum(), result.coefficients, result.offsets,
        result.jittered, targets.invalid,
    )  # fmt: skip


def backward(
    logits: Tensor, labels: Tensor, counted: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, radius: int, drop: bool, ignore_index: int,
) -> Tensor:  # fmt: skip
    """Return the gradient with respect to the logits, contiguous and of their type."""
    classes, whole, _ = _read_labels(logits, labels, radius, drop, ignore_index)
    return compute_gradient(
        logits, classes, counted, coefficients, offsets, term_scale, pixel_scale, radius=radius, whole=whole
    ).contiguous()


def _read_labels(
    logits: Tensor, labels: Tensor, radius: int, drop: bool, ignore_index: int
) -> tuple[Tensor, Tensor | None, Targets]:
    """Return N×H×W int32 classes, -1 where ignored, the included windows (None for all), and the targets."""
    index = labels.long()
    ignored = index == ignore_index
    unknown = ~ignored & ((index < 0) | (index >= max(logits.shape[1], 2)))
    valid = ~(ignored | unknown)
    wrong = unknown.any() | logits.detach().isnan().any()
    invalid = torch.where(wrong, math.nan, 0.0).float()
    classes = index.masked_fill(~valid, -1).int()
    whole = whole_windows(valid, radius) if drop else None
    return classes, whole, Targets(classes.long().clamp(min=0), valid, invalid)


# --- calls of the kernels


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


def compute_terms(
    logits: Tensor, classes: Tensor, active: Tensor, *, radius: int, published: bool, ridge: float, pixels: bool,
    whole: Tensor | None = None,
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
    """
    n, c, height, width = logits.shape
    d = radius * radius
    new = logits.new_empty
    z, flags = _addressable(logits.detach()), active.contiguous().view(torch.uint8)
    tiles = max(1, triton.cdiv(height * width, _PIXEL_BLOCK * _PIXEL_STEPS))
    parts = new(2, n, c, tiles, dtype=torch.float64)
    maps = _sizes_and_strides(z, classes)
    if n * c:
        _pixel_kernel[(n * c * tiles,)](
            z, classes, flags, parts, *maps, tiles, n * c * tiles,
            PIXELS=pixels, BLOCK=_PIXEL_BLOCK, STEPS=_PIXEL_STEPS,
        )  # fmt: skip
    losses, center = parts.sum(-1)  # N×C: pixel losses, mean probability
    sums, linear = new(n * c, 2 * d, 2 * d, dtype=torch.float64), new(n * c, 2 * d, dtype=torch.float64)
    if n * c:
        _sum_windows(z, classes, flags, center, radius, sums, linear)
    counts = sums.new_full((n,), (height - radius + 1) * (width - radius + 1))
    if whole is not None and n * c:
        _drop_windows(z, classes, whole, flags, center, radius, sums, linear)
        counts = whole.flatten(1).sum(1).double().clamp(min=1)
    counts = counts.repeat_interleave(c) if c > 1 else counts
    present = active.flatten()  # N·C
    # n Σ xxᵀ - Σx (Σx)ᵀ: sums of labels are integers, so nothing is rounded before the division
    centered = (counts[:, None, None] * sums - linear[:, :, None] * linear[:, None, :]) / counts[:, None, None]
    centered = torch.where(present[:, None, None], centered, torch.eye(2 * d, dtype=sums.dtype, device=sums.device))
    means = linear / counts[:, None]
    means[:, :d] += center.view(-1, 1)  # the kernels subtract the mean probability
    solution = solve(centered, means, counts, published=published, ridge=ridge)
    return CUDAResult(
        losses,
        torch.where(present, solution.terms, 0).view(n, c),
        torch.where(present, solution.information, 0).view(n, c),
        solution.coefficients.view(n, c, d, 2 * d),
        solution.offsets.view(n, c, d),
        (solution.jittered & present).sum(),
    )


def compute_gradient(
    logits: Tensor, classes: Tensor, active: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, *, radius: int, whole: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` with respect to the logits.

    Shapes:
        logits, classes, active, whole: as in `compute_terms`; coefficients, offsets: as in its result;
        term_scale, pixel_scale: N×C; the result has shape, type and strides of the logits.
    """
    n, c, height, width = logits.shape
    side, margin = 2 * radius - 1, radius - 1
    result = torch.empty_like(logits)
    if not result.numel():
        return result
    z, out, flags = _addressable(logits.detach()), _addressable(result), active.contiguous().view(torch.uint8)
    coefficients, offsets = coefficients.contiguous(), offsets.contiguous()
    stencils = offsets.new_empty(n, c, 2, side, side)  # weights on P and Y
    constants = offsets.new_empty(n, c)
    _stencil_kernel[(n * c,)](
        flags, coefficients, offsets, stencils, constants,
        R=radius, TAPS=triton.next_power_of_2(2 * side * side), POSITIONS=triton.next_power_of_2(radius * radius),
    )  # fmt: skip
    inner = max(0, height - 2 * margin) * max(0, width - 2 * margin)  # pixels at least R - 1 from the border
    inner_blocks = triton.cdiv(inner, _GRADIENT_BLOCK)
    blocks = inner_blocks + triton.cdiv(height * width - inner, _GRADIENT_BLOCK)
    windows = flags if whole is None else whole.contiguous().view(torch.uint8)
    _gradient_kernel[(n * c * blocks,)](
        z, classes, windows, flags, coefficients, offsets, stencils, constants,
        term_scale.double().contiguous(), pixel_scale.double().contiguous(), out,
        *_sizes_and_strides(z, classes), *out.stride(), inner_blocks, blocks,
        R=radius, DROP=whole is not None, BLOCK=_GRADIENT_BLOCK,
    )  # fmt: skip
    return out if out is result else result.copy_(out)


def _addressable(logits: Tensor) -> Tensor:
    """Return logits whose pixels of one image are within 2³¹ elements, so that offsets fit 32 bits in the kernels."""
    reach = sum((size - 1) * stride for size, stride in zip(logits.shape[2:], logits.stride()[2:], strict=True))
    return logits if reach < 2**31 else logits.contiguous()


def _sizes_and_strides(logits: Tensor, classes: Tensor) -> tuple[int, ...]:
    return *logits.shape[1:], *logits.stride(), *classes.stride()


def _sum_windows(
    logits: Tensor, classes: Tensor, flags: Tensor, center: Tensor, radius: int, sums: Tensor, linear: Tensor
) -> None:
    """Write Σ x xᵀ and Σ x over all windows."""
    n, c, height, width = logits.shape
    shifts = 2 * radius * radius - 2 * radius + 1  # displacements up to sign
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(shifts))
    groups = triton.cdiv(shifts, group)
    tiles = triton.cdiv(height * width, _PRODUCT_TILE)
    slots = tiles + 4 * (radius - 1)
    products = sums.new_empty(n * c, slots, 4, groups * group)
    totals = sums.new_empty(n * c, slots, 2)
    maps = _sizes_and_strides(logits, classes)
    _products_kernel[(n * c * slots * groups,)](
        logits, classes, flags, center, products, totals, *maps, tiles, groups, _PRODUCT_TILE,
        R=radius, K=group, BLOCK=_PRODUCT_BLOCK,
    )  # fmt: skip
    _windows_kernel[(n * c * groups,)](
        logits, classes, flags, center, products, totals, sums, linear, *maps, tiles, groups,
        R=radius, K=group, POSITIONS=triton.next_power_of_2(radius * radius), T=_SUM_BLOCK,
    )  # fmt: skip


def _drop_windows(
    logits: Tensor, classes: Tensor, whole: Tensor, flags: Tensor, center: Tensor, radius: int, sums: Tensor,
    linear: Tensor,
) -> None:  # fmt: skip
    """Subtract the windows that are not ``whole`` from the sums."""
    n, c = logits.shape[:2]
    d = radius * radius
    pairs = (d + 1) * (d + 2) // 2  # i ≤ j of d + 1 positions
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(pairs))
    groups = triton.cdiv(pairs, group)
    # fewer slots for many groups, which fill the device by themselves and need memory for many sums
    slots = max(1, min(triton.cdiv(whole[0].numel(), _PRODUCT_TILE), 512 // d))
    slot_windows = triton.cdiv(triton.cdiv(whole[0].numel(), slots), _PRODUCT_BLOCK) * _PRODUCT_BLOCK
    products = sums.new_empty(n * c, slots, 4, groups * group)
    _dropped_kernel[(n * c * slots * groups,)](
        logits, classes, whole.contiguous().view(torch.uint8), flags, center, products,
        *_sizes_and_strides(logits, classes), slots, groups, slot_windows, R=radius, K=group, BLOCK=_PRODUCT_BLOCK,
    )  # fmt: skip
    _subtract_kernel[(n * c * groups,)](flags, products, sums, linear, slots, groups, R=radius, K=group, num_warps=1)
