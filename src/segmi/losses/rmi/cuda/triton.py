"""Region mutual information and binary cross-entropy on a CUDA device, compiled by Triton.

Nothing here waits for the device: which maps are skipped, how many windows count and whether a covariance had to be
jittered stay there. The kernels never unfold the windows. The sums of products over all windows of two positions are
the sum over the whole map of the product displaced by the distance of the two, less the few rows and columns at the
border that this pair of positions does not reach; there are 2R² - 2R + 1 such displacements up to sign, and R⁴ pairs of
positions. Probabilities are centered; products and sums are float64, without which the gradient is wrong by percents
where the covariances are nearly singular. The only memory that grows with the maps is the gradient; partial sums take
about a twentieth of float32 logits.

With ``TRITON_INTERPRET=1`` set before Triton is first imported, all of it runs on the CPU, slowly.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import triton
from torch import Tensor

from segmi.losses.rmi.cuda.backward import gradient_kernel, stencil_kernel
from segmi.losses.rmi.cuda.dropped import dropped_kernel, subtract_kernel
from segmi.losses.rmi.cuda.forward import pixel_kernel, products_kernel, windows_kernel
from segmi.losses.rmi.solve import solve

_PIXEL_BLOCK: Final = 1024
_PIXEL_STEPS: Final = 4
_PRODUCT_BLOCK: Final = 128  # one pixel per thread, whose registers hold four kinds of products for 8 displacements
_PRODUCT_SHIFTS: Final = 8
_PRODUCT_TILE: Final = 4096
_GRADIENT_BLOCK: Final = 512
_SUM_BLOCK: Final = 16


class RegionResult(NamedTuple):
    """What one visit of the maps finds.

    Args:
        pixels: N×C, the binary cross-entropy of the class, summed over valid pixels, float64; 0 if not wanted.
        terms: N×C, what is minimized, before the division by d; 0 where not active.
        information: N×C, I_G in nats; 0 where not active.
        coefficients: N×C×d×2d, K, where active; arbitrary elsewhere.
        offsets: N×C×d, k₀: the derivative of the term by the window P_i is ``K (P_i, Y_i) - k₀``.
        jittered: scalar, how many covariances needed more than their ridge to be factored.
    """

    pixels: Tensor
    terms: Tensor
    information: Tensor
    coefficients: Tensor
    offsets: Tensor
    jittered: Tensor


def forward(
    logits: Tensor,
    classes: Tensor,
    active: Tensor,
    *,
    radius: int,
    reference: bool,
    ridge: float,
    pixels: bool,
    whole: Tensor | None = None,
) -> RegionResult:
    """Pixel losses, terms, and what `backward` needs.

    Args:
        logits: N×C×H×W, any float type, any strides; H and W at least ``radius``.
        classes: N×H×W, any signed integer type, -1 where ignored.
        active: N×C bool, the maps whose label varies over the windows that count.
        radius: R.
        reference: whether ``ridge`` is α, added to sums; else it is relative to the mean variance of the label window.
        ridge: see ``published``.
        pixels: whether the pixel losses are wanted.
        whole: N×H'×W' bool, by their upper left pixel the windows that count; None for all.
    """
    n, c, height, width = logits.shape
    d = radius * radius
    new = logits.new_empty
    z, work = _addressable(logits.detach()), active.contiguous().view(torch.uint8)
    tiles = max(1, triton.cdiv(height * width, _PIXEL_BLOCK * _PIXEL_STEPS))
    parts = new(2, n, c, tiles, dtype=torch.float64)
    maps = _maps(z, classes)
    if n * c:
        pixel_kernel[(n * c * tiles,)](
            z, classes, work, parts, *maps, tiles, n * c * tiles,
            PIXELS=pixels, BLOCK=_PIXEL_BLOCK, STEPS=_PIXEL_STEPS,
        )  # fmt: skip
    losses, center = parts.sum(-1)
    sums, linear = new(n * c, 2 * d, 2 * d, dtype=torch.float64), new(n * c, 2 * d, dtype=torch.float64)
    if n * c:
        _sum_windows(z, classes, work, center, radius, sums, linear)
    counts = sums.new_full((n,), (height - radius + 1) * (width - radius + 1))
    if whole is not None and n * c:
        _drop_windows(z, classes, whole, work, center, radius, sums, linear)
        counts = whole.flatten(1).sum(1).double().clamp(min=1)
    counts = counts.repeat_interleave(c) if c > 1 else counts
    present = active.flatten()
    # n Σ xxᵀ - Σx (Σx)ᵀ, so that for labels, which are counted, no rounding comes before the division
    centered = (counts[:, None, None] * sums - linear[:, :, None] * linear[:, None, :]) / counts[:, None, None]
    centered = torch.where(present[:, None, None], centered, torch.eye(2 * d, dtype=sums.dtype, device=sums.device))
    means = linear / counts[:, None]
    means[:, :d] += center.view(-1, 1)
    found = solve(centered, means, counts, reference=reference, ridge=ridge)
    return RegionResult(
        losses,
        torch.where(present, found.terms, 0).view(n, c),
        torch.where(present, found.information, 0).view(n, c),
        found.coefficients.view(n, c, d, 2 * d),
        found.offsets.view(n, c, d),
        (found.jittered & present).sum(),
    )


def backward(
    logits: Tensor,
    classes: Tensor,
    active: Tensor,
    coefficients: Tensor,
    offsets: Tensor,
    term_scale: Tensor,
    pixel_scale: Tensor,
    *,
    radius: int,
    whole: Tensor | None = None,
) -> Tensor:
    """The gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` by the logits, of their type and strides.

    Shapes:
        logits, classes, active, whole: as in `forward`; coefficients, offsets: as it returned them;
        term_scale, pixel_scale: N×C.
    """
    n, c, height, width = logits.shape
    side, margin = 2 * radius - 1, radius - 1
    result = torch.empty_like(logits)
    if not result.numel():
        return result
    z, out, work = _addressable(logits.detach()), _addressable(result), active.contiguous().view(torch.uint8)
    coefficients, offsets = coefficients.contiguous(), offsets.contiguous()
    stencils = offsets.new_empty(n, c, 2, side, side)
    constants = offsets.new_empty(n, c)
    stencil_kernel[(n * c,)](
        work, coefficients, offsets, stencils, constants,
        R=radius, TAPS=triton.next_power_of_2(2 * side * side), POSITIONS=triton.next_power_of_2(radius * radius),
    )  # fmt: skip
    inner = max(0, height - 2 * margin) * max(0, width - 2 * margin)
    inner_blocks = triton.cdiv(inner, _GRADIENT_BLOCK)
    blocks = inner_blocks + triton.cdiv(height * width - inner, _GRADIENT_BLOCK)
    flags = work if whole is None else whole.contiguous().view(torch.uint8)
    gradient_kernel[(n * c * blocks,)](
        z, classes, flags, work, coefficients, offsets, stencils, constants,
        term_scale.double().contiguous(), pixel_scale.double().contiguous(), out,
        *_maps(z, classes), *out.stride(), inner_blocks, blocks,
        R=radius, DROP=whole is not None, BLOCK=_GRADIENT_BLOCK,
    )  # fmt: skip
    return out if out is result else result.copy_(out)


def _addressable(logits: Tensor) -> Tensor:
    """Logits such that the pixels of one image lie within 2³¹ elements, so that the kernels' offsets fit 32 bits."""
    reach = sum((size - 1) * stride for size, stride in zip(logits.shape[2:], logits.stride()[2:], strict=True))
    return logits if reach < 2**31 else logits.contiguous()


def _maps(logits: Tensor, classes: Tensor) -> tuple[int, ...]:
    return *logits.shape[1:], *logits.stride(), *classes.stride()


def _sum_windows(
    logits: Tensor, classes: Tensor, work: Tensor, center: Tensor, radius: int, sums: Tensor, linear: Tensor
) -> None:
    n, c, height, width = logits.shape
    shifts = 2 * radius * radius - 2 * radius + 1
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(shifts))
    groups = triton.cdiv(shifts, group)
    tiles = triton.cdiv(height * width, _PRODUCT_TILE)
    slots = tiles + 4 * (radius - 1)
    products = sums.new_empty(n * c, slots, 4, groups * group)
    totals = sums.new_empty(n * c, slots, 2)
    maps = _maps(logits, classes)
    products_kernel[(n * c * slots * groups,)](
        logits, classes, work, center, products, totals, *maps, tiles, groups, _PRODUCT_TILE,
        R=radius, K=group, BLOCK=_PRODUCT_BLOCK,
    )  # fmt: skip
    windows_kernel[(n * c * groups,)](
        logits, classes, work, center, products, totals, sums, linear, *maps, tiles, groups,
        R=radius, K=group, POSITIONS=triton.next_power_of_2(radius * radius), T=_SUM_BLOCK,
    )  # fmt: skip


def _drop_windows(
    logits: Tensor,
    classes: Tensor,
    whole: Tensor,
    work: Tensor,
    center: Tensor,
    radius: int,
    sums: Tensor,
    linear: Tensor,
) -> None:
    n, c = logits.shape[:2]
    d = radius * radius
    pairs = (d + 1) * (d + 2) // 2
    group = min(_PRODUCT_SHIFTS, triton.next_power_of_2(pairs))
    groups = triton.cdiv(pairs, group)
    # fewer where there are many groups, which then fill the device, and many sums to be kept
    slots = max(1, min(triton.cdiv(whole[0].numel(), _PRODUCT_TILE), 512 // d))
    slot_windows = triton.cdiv(triton.cdiv(whole[0].numel(), slots), _PRODUCT_BLOCK) * _PRODUCT_BLOCK
    products = sums.new_empty(n * c, slots, 4, groups * group)
    dropped_kernel[(n * c * slots * groups,)](
        logits, classes, whole.contiguous().view(torch.uint8), work, center, products, *_maps(logits, classes),
        slots, groups, slot_windows, R=radius, K=group, BLOCK=_PRODUCT_BLOCK,
    )  # fmt: skip
    subtract_kernel[(n * c * groups,)](work, products, sums, linear, slots, groups, R=radius, K=group, num_warps=1)
