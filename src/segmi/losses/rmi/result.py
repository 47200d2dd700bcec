"""What the losses of this family are made from, whichever routine finds it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segmi.losses.pixel.binary_cross_entropy import PixelKernel, binary_cross_entropy_term
from segmi.losses.rmi.config import RMIConfig
from segmi.losses.rmi.dispatch import Kernel, choose_kernel, is_plain, kernel_options, region_kernel_result
from segmi.losses.rmi.grad_scale import GradScale
from segmi.losses.rmi.maps import pooled_size
from segmi.losses.rmi.torch import region_terms
from segmi.losses.targets import Targets, check_targets, read_targets, upcast
from segmi.types import Labels, Logits


class RegionFound(NamedTuple):
    """Region terms of the N×C (image, class) pairs, and the pixel loss of the same visit.

    Args:
        numerator: (), attached: the sum of the terms over d; of all pairs, or, where pairs are counted, of those that
            vary; NaN where no loss can be computed.
        information: N×C, I_G in nats, at least 0.
        counted: N×C bool, the pairs whose label varies over the windows that count. In the mode ``published``, without
            a count of pairs, a pair more may be True.
        jittered: (), how many covariances needed more than their ridge to be factored.
        invalid: (), 0, or NaN where no loss can be computed; see `segmi.losses.targets.Targets`.
        pixels: (), attached: the binary cross-entropy summed over classes and valid pixels; 0 where not wanted.
        valid: (), how many pixels are not ignored; 0 where not wanted.
    """

    numerator: Tensor
    information: Tensor
    counted: Tensor
    jittered: Tensor
    invalid: Tensor
    pixels: Tensor
    valid: Tensor


def found_regions(
    logits: Logits,
    labels: Labels,
    config: RMIConfig,
    ignore_index: int,
    kernel: Kernel,
    *,
    pixels: bool = False,
    grad_scale: GradScale | None = None,
    pixel_kernel: PixelKernel = "auto",
) -> RegionFound:
    """Visit the maps once, by the routine that `choose_kernel` names; with ``pixels``, take the pixel loss as well.

    Where PyTorch is what finds the terms, ``pixel_kernel`` is what finds the pixel loss.
    """
    check_targets(logits, labels)
    check_windows(logits, config)
    if choose_kernel(logits, config, kernel) == "torch":
        targets = read_targets(logits, labels, ignore_index)
        found = _found_by_torch(logits, targets, config)
        if not pixels:
            return found
        sums = binary_cross_entropy_term(
            logits, labels, ignore_index=ignore_index, kernel=pixel_kernel, grad_scale=grad_scale, targets=targets
        )
        return found._replace(pixels=sums.numerator, valid=sums.denominator)
    if grad_scale and logits.device.type == "cpu" and is_plain(logits):
        return _found_in_one_visit(logits, labels, config, ignore_index, pixels=pixels, grad_scale=grad_scale)
    result = region_kernel_result(logits, labels, config, ignore_index, pixels=pixels)
    dtype = upcast(logits).dtype
    return RegionFound(
        numerator=_numerator(result.terms, result.counted, config).to(dtype) + result.invalid,
        information=result.information.clamp(min=0).to(dtype),
        counted=result.counted,
        jittered=result.jittered,
        invalid=result.invalid,
        pixels=result.pixels.sum().to(dtype) + result.invalid,
        valid=result.valid.to(dtype),
    )


def _found_in_one_visit(
    logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int, *, pixels: bool, grad_scale: GradScale
) -> RegionFound:
    from segmi.losses.rmi.fused import visit  # which imports Numba

    result, summed, numerator = visit(
        logits, labels, grad_scale, kernel_options(config, pixels), ignore_index, config.class_reduction == "present"
    )
    if result.unknown:
        read_targets(logits, labels, ignore_index)  # which refuses them by name
    return RegionFound(
        numerator=numerator,
        information=result.information.clamp(min=0).float(),
        counted=result.counted,
        jittered=torch.tensor(result.jittered),
        invalid=torch.tensor(math.nan if result.poisoned else 0.0, dtype=torch.float32),
        pixels=summed,
        valid=torch.tensor(result.valid, dtype=torch.float32),
    )


def _found_by_torch(logits: Logits, targets: Targets, config: RMIConfig) -> RegionFound:
    found = region_terms(logits, targets, config)
    nothing = torch.zeros((), dtype=found.terms.dtype, device=logits.device)
    return RegionFound(
        numerator=_numerator(found.terms, found.counted, config).to(upcast(logits).dtype) + targets.invalid,
        information=found.information.clamp(min=0),
        counted=found.counted,
        jittered=torch.tensor(found.jittered, device=logits.device),
        invalid=targets.invalid,
        pixels=nothing,
        valid=nothing,
    )


def _numerator(terms: Tensor, counted: Tensor, config: RMIConfig) -> Tensor:
    if config.class_reduction == "present":
        terms = torch.where(counted, terms, 0)
    return terms.sum() / config.dimension


def check_windows(logits: Logits, config: RMIConfig) -> None:
    """Refuse logits on which the windows of ``config`` cannot be laid."""
    if config.probability == "softmax" and logits.shape[1] == 1:
        raise ValueError(
            "logits: expected two or more channels for probability 'softmax', which makes a single one 1 everywhere, "
            "got 1; use probability 'sigmoid'"
        )
    (height, width), radius = logits.shape[2:], config.radius
    cells = pooled_size((height, width), config)
    if min(cells) < radius and config.pooling == "none":
        raise ValueError(
            f"logits: expected images of at least {radius}×{radius} pixels, the window, got {height}×{width}; "
            "use larger crops or a smaller radius"
        )
    if min(cells) < radius:
        raise ValueError(
            f"logits: expected images of at least {radius}×{radius} cells, the window, after down-sampling by "
            f"{config.stride}, got {cells[0]}×{cells[1]} cells of {height}×{width} pixels; use larger crops, a smaller "
            "stride or a smaller radius"
        )
