"""Binary cross-entropy on a CPU, compiled by Numba, with the gradient fused into the forward pass when possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segmi.losses.compiled.grad_scale import GradScale
from segmi.losses.compiled.kernel_cache import source_digest
from segmi.losses.compiled.label_runs import IGNORED, find_runs, index_rows
from segmi.losses.compiled.pixel_loss import PixelRuns, new_pixel_buffers, pixel_loss
from segmi.losses.compiled.runtime import as_array, entry, new_maps, parallel_for, portions
from segmi.types import Labels, Logits


class PixelSum(NamedTuple):
    """Result of one pass over the maps."""

    total: Tensor  # scalar float32, attached: the loss summed over classes and valid pixels, NaN if a logit is NaN
    valid: int  # number of pixels that are not ignored
    unknown: int  # number of pixels whose id is neither a class nor ignored


def pixel_sum(
    logits: Logits, labels: Labels, grad_scale: GradScale, ignore_index: int, plain: Callable[[Logits], Tensor]
) -> PixelSum:
    """Sum the pixel losses of N×C×H×W logits of at most 32 bits and N×H×W labels of any integer type.

    ``grad_scale`` predicts the factor of the sum; ``plain`` is the same sum in PyTorch, for second derivatives.
    """
    counts: list[int] = []
    total: Tensor = _FusedPixelSum.apply(logits, labels, grad_scale, ignore_index, plain, counts)
    valid, unknown, invalid = counts
    return PixelSum(total + (math.nan if invalid else 0.0), valid, unknown)


def compile_entries() -> None:
    """Compile all entry points or load them from the cache, by calls on one pixel."""
    _run(torch.zeros(1, 1, 1, 1), _read_labels(torch.zeros(1, 1, 1, dtype=torch.long), 255, 1), with_loss=True, scale=1)


class _FusedPixelSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, grad_scale: GradScale, ignore_index: int, plain: Any,
        counts: list[int]
    ) -> Tensor:  # fmt: skip
        images, channels = logits.shape[:2]
        runs = _read_labels(labels, ignore_index, channels)
        valid = sum(int(pixels[IGNORED + 1 :].sum()) for _, _, pixels in runs)
        # gradient of the forward pass, if its factor could be predicted
        ctx.fused = None
        scale = None
        if ctx.needs_input_grad[0] and grad_scale.was_predicted_right:
            scale = grad_scale.scales(images, channels, valid, 0).pixel
        losses, invalid, gradient = _run(logits.float(), runs, with_loss=True, scale=scale)
        if scale is not None:
            ctx.fused = torch.from_numpy(gradient).to(logits.dtype)
        ctx.grad_scale, ctx.scale, ctx.plain, ctx.runs = grad_scale, scale, plain, runs
        ctx.save_for_backward(logits)
        counts += [valid, sum(int(pixels[IGNORED + 1]) for _, _, pixels in runs), int(invalid.any())]
        # N×C sums in float64, rounded once
        return torch.from_numpy(losses).sum().float()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (logits,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *torch.autograd.grad(ctx.plain(logits), logits, upstream, create_graph=True), *[None] * 5
        gradient, ctx.fused = ctx.fused, None  # returned once: the caller may write to it
        if gradient is not None:
            ctx.grad_scale.was_predicted_right = upstream.item() == ctx.scale
        if gradient is None or not ctx.grad_scale.was_predicted_right:
            *_, computed = _run(logits.float(), ctx.runs, with_loss=False, scale=upstream.item())
            gradient = torch.from_numpy(computed).to(logits.dtype)
        return gradient, None, None, None, None, None


def _read_labels(labels: Tensor, ignore_index: int, channels: int) -> list[Any]:
    maps = as_array(labels.long())
    results = dict[int, Any]()

    def run(number: int) -> None:
        results[number] = _read_image(maps[number], ignore_index, max(channels, 2))

    parallel_for(run, range(len(maps)))
    return [results[number] for number in range(len(maps))]


def _run(
    logits: Tensor, runs: list[Any], *, with_loss: bool, scale: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # losses (N×C float64), which maps hold NaN (N×C bool), and the gradient times ``scale`` (N×C×H×W)
    images, channels = logits.shape[:2]
    z, losses, invalid = as_array(logits), np.empty((images, channels)), np.zeros((images, channels), bool)
    out = new_maps((images, 1, 0, 0) if scale is None else logits.shape)
    factor = np.float32(scale or 0.0)

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, some = portion
        _run_maps(
            z[number], some, runs[number], with_loss, scale is not None, factor, losses[number], invalid[number],
            out[number],
        )  # fmt: skip

    parallel_for(run, portions(np.zeros((images, channels), bool)))
    return losses, invalid, out


def _entries(digest: str) -> Any:
    @entry
    def read_image(labels: Any, ignore_index: int, classes: int) -> Any:
        _ = digest
        return find_runs(labels, ignore_index, classes)

    @entry
    def run_maps(
        logits: Any, channels: Any, image: Any, with_loss: bool, with_gradient: bool, scale: Any,
        losses: Any, invalid: Any, out: Any,
    ) -> None:  # fmt: skip
        _ = digest
        runs, first, _pixels = image
        height, width = logits.shape[1:]
        class_rows, ignored_rows = np.zeros(height + 1, np.int64), np.zeros(height + 1, np.int64)
        layout, buffers = PixelRuns(runs, class_rows, ignored_rows), new_pixel_buffers(width)
        index_rows(runs, first[IGNORED], first[IGNORED + 1], ignored_rows)
        for c in channels:
            slot = c + 2 if len(logits) > 1 else 3  # the single channel of a binary problem is class 1
            index_rows(runs, first[slot], first[slot + 1], class_rows)
            loss, bad = pixel_loss(
                layout, logits[c], buffers, with_loss, with_gradient, scale, out[c if with_gradient else 0]
            )
            losses[c], invalid[c] = loss, bad or np.isnan(loss)

    return read_image, run_maps


_read_image, _run_maps = _entries(source_digest(Path(__file__).parent))
