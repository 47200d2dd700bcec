"""The CPU's kernel without an operator around it: the gradient in the visit that finds the value, if foreseen."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from segmi.losses.rmi.cpu import RegionResult, backward, forward
from segmi.losses.rmi.grad_scale import GradScale, Scales
from segmi.types import Labels, Logits


def visit(
    logits: Logits, labels: Labels, grad_scale: GradScale, options: dict[str, Any], ignore_index: int, varying: bool
) -> tuple[RegionResult, Tensor, Tensor]:
    """What `segmi.losses.rmi.cpu.forward` finds, and two float32 sums, attached to the graph.

    They are that of the pixel losses and that of the terms over d; NaN where no loss can be computed.

    Args:
        logits: N×C×H×W.
        labels: N×H×W.
        grad_scale: by what the two will be multiplied.
        options: those of the kernel besides ``ignore_index``.
        ignore_index: the label of ignored pixels.
        varying: whether only the terms of pairs whose label varies are added up.
    """
    found: list[RegionResult] = []
    pixels, terms = _Visit.apply(logits, labels, grad_scale, options, ignore_index, varying, found)
    return found[0], pixels, terms


class _Visit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, grad_scale: GradScale, options: dict[str, Any], ignore_index: int,
        varying: bool, found: list[RegionResult],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        wanted = ctx.needs_input_grad[0] and grad_scale.was_predicted_right
        foresee = partial(grad_scale.scales, *logits.shape[:2]) if wanted else None
        result = forward(logits.float(), labels, **options, ignore_index=ignore_index, foresee=foresee)
        ctx.ready = None if result.gradient is None else result.gradient.to(logits.dtype)
        ctx.grad_scale, ctx.scales = grad_scale, result.scales
        ctx.radius, ctx.drop, ctx.ignore_index = options["radius"], options["drop"], ignore_index
        ctx.save_for_backward(logits, labels, result.counted, result.coefficients, result.offsets)
        found.append(result._replace(gradient=None))
        terms = result.terms.numpy()
        summed = (terms[result.counted.numpy()] if varying else terms).sum() / grad_scale.dimension
        invalid = math.nan if result.poisoned else 0.0
        return (
            torch.tensor(result.pixels.numpy().sum() + invalid, dtype=torch.float32),
            torch.tensor(summed + invalid, dtype=torch.float32),
        )

    @staticmethod
    def backward(ctx: Any, pixels: Tensor, terms: Tensor) -> tuple[Tensor | None, ...]:
        ready, ctx.ready = ctx.ready, None  # handed out once: whoever gets it may add to it
        logits, labels, counted, coefficients, offsets = ctx.saved_tensors
        dimension, once = ctx.grad_scale.dimension, not torch.is_grad_enabled()
        if ready is not None and once:
            ctx.grad_scale.was_predicted_right = ctx.scales == Scales(pixels.item(), terms.item() / dimension)
        if ready is None or not (once and ctx.grad_scale.was_predicted_right):
            ready = torch.ops.segmi.region_backward(
                logits, labels, counted, coefficients, offsets, (terms.double() / dimension).expand(counted.shape),
                pixels.double().expand(counted.shape), ctx.radius, ctx.drop, ctx.ignore_index,
            )  # fmt: skip
        return ready, None, None, None, None, None, None


def visit_pixels(
    logits: Logits, labels: Labels, grad_scale: GradScale, ignore_index: int, plain: Callable[[Logits], Tensor]
) -> tuple[RegionResult, Tensor]:
    """The pixel losses alone, and their sum as a float32 that is attached to the graph.

    Further derivatives are those of ``plain``, which takes the same sum from the logits.
    """
    found: list[RegionResult] = []
    total = _PixelVisit.apply(logits, labels, grad_scale, ignore_index, plain, found)
    return found[0], total


class _PixelVisit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, grad_scale: GradScale, ignore_index: int, plain: Any,
        found: list[RegionResult],
    ) -> Tensor:  # fmt: skip
        wanted = ctx.needs_input_grad[0] and grad_scale.was_predicted_right
        result = forward(
            logits.float(), labels, radius=1, reference=True, drop=False, ridge=0.0, absent=0.0, pixels=True,
            regions=False, ignore_index=ignore_index,
            foresee=partial(grad_scale.scales, *logits.shape[:2]) if wanted else None,
        )  # fmt: skip
        ctx.ready = None if result.gradient is None else result.gradient.to(logits.dtype)
        ctx.grad_scale, ctx.scales, ctx.ignore_index = grad_scale, result.scales, ignore_index
        ctx.plain = plain
        ctx.save_for_backward(logits, labels, result.counted, result.coefficients, result.offsets)
        found.append(result._replace(gradient=None))
        return result.pixels.sum().float()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            logits = ctx.saved_tensors[0]
            return *torch.autograd.grad(ctx.plain(logits), logits, upstream, create_graph=True), *[None] * 5
        ready, ctx.ready = ctx.ready, None
        if ready is not None:
            ctx.grad_scale.was_predicted_right = upstream.item() == ctx.scales.pixel
        if ready is None or not ctx.grad_scale.was_predicted_right:
            logits, labels, counted, coefficients, offsets = ctx.saved_tensors
            scale = upstream.double().expand(logits.shape[:2])
            ready = backward(
                logits.float(), labels, counted, coefficients, offsets, torch.zeros_like(scale), scale,
                radius=1, drop=False, ignore_index=ctx.ignore_index,
            ).to(logits.dtype)  # fmt: skip
        return ready, None, None, None, None, None
