"""The operators of `_region_kernels` on a CUDA device: labels made ready for the kernels of `_region_triton`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segmi.losses.rmi.config import RMIConfig
from segmi.losses.rmi.cuda import triton
from segmi.losses.rmi.torch import counted_pairs, whole_windows
from segmi.losses.targets import Targets


class _Prepared(NamedTuple):
    classes: Tensor
    whole: Tensor | None
    targets: Targets


def forward(
    logits: Tensor,
    labels: Tensor,
    radius: int,
    reference: bool,
    drop: bool,
    ridge: float,
    absent: float,
    pixels: bool,
    ignore_index: int,
) -> tuple[Tensor, ...]:
    """See `segmi.losses.rmi.dispatch.KernelResult`; unknown ids give NaN, since to look at them would wait."""
    ready = _prepared(logits, labels, radius, drop, ignore_index)
    config = RMIConfig(radius=radius, ignored="drop" if drop else "zero", class_reduction="present")
    counted = counted_pairs(ready.targets, logits.shape[1], config)
    found = triton.forward(
        logits, ready.classes, counted, radius=radius, reference=reference, ridge=ridge, pixels=pixels,
        whole=ready.whole,
    )  # fmt: skip
    terms = torch.where(counted, found.terms, absent)
    valid, invalid = ready.targets.valid.sum(), ready.targets.invalid
    return (
        found.pixels,
        terms,
        found.information,
        counted,
        valid,
        found.coefficients,
        found.offsets,
        found.jittered,
        invalid,
    )


def backward(
    logits: Tensor,
    labels: Tensor,
    counted: Tensor,
    coefficients: Tensor,
    offsets: Tensor,
    term_scale: Tensor,
    pixel_scale: Tensor,
    radius: int,
    drop: bool,
    ignore_index: int,
) -> Tensor:
    """The gradient by the logits, contiguous and of their type."""
    ready = _prepared(logits, labels, radius, drop, ignore_index)
    gradient = triton.backward(
        logits, ready.classes, counted, coefficients, offsets, term_scale, pixel_scale, radius=radius, whole=ready.whole
    )
    return gradient.contiguous()


def _prepared(logits: Tensor, labels: Tensor, radius: int, drop: bool, ignore_index: int) -> _Prepared:
    index = labels.long()
    ignored = index == ignore_index
    unknown = ~ignored & ((index < 0) | (index >= max(logits.shape[1], 2)))
    valid = ~(ignored | unknown)
    wrong = unknown.any() | logits.detach().isnan().any()
    invalid = torch.where(wrong, math.nan, 0.0).float()
    classes = index.masked_fill(~valid, -1).int()
    whole = whole_windows(valid, radius) if drop else None
    return _Prepared(classes, whole, Targets(classes.long().clamp(min=0), valid, invalid))
