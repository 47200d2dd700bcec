"""The PyTorch routine: region mutual information of every (image, class) pair, with a closed-form gradient.

The value depends on the maps only through the covariances of their windows. Its derivative with respect to these small
matrices is one d×2d matrix per pair, and the gradient with respect to the map is this matrix applied to the windows and
folded back; autograd differentiates the pooling, a few maps at a time. All this is done in the forward pass, while the
windows are in the cache, and only the gradient is kept. Pairs whose label does not vary are skipped: their value is a
constant, their gradient zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from segmi.losses.rmi.covariances import moves_absent_classes, skipped_value, value_and_derivative
from segmi.losses.rmi.maps import (
    CHUNK_BYTES,
    counted_pairs,
    included_windows,
    label_cells,
    pooled_probability,
    pooled_size,
    pooled_valid,
    shuffled,
    shuffled_order,
    unshuffled,
    whole_windows,
)
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.rmi.windows import ListedWindows, OtherWindows, RowWindows, Windows, Workspace
from segmi.losses.targets import Targets, upcast

_CHUNK_SHARE: Final = 0.25  # upper bound of the memory of a chunk, as a share of the logits in float32

SECOND_DERIVATIVE: Final = (
    "region_mutual_information: expected to be differentiated once, got a second derivative, which the closed-form "
    "gradient does not have. Fix: use segmi.losses.region_mutual_information_plain."
)


class RegionTerms(NamedTuple):
    """Results for the N×C (image, class) pairs.

    Args:
        terms: N×C, the loss times d; 0 for the variant ``corrected`` where the label does not vary.
        information: N×C, I_G in nats, without gradient.
        counted: N×C bool, `counted_pairs`.
        jittered: number of covariances that needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    counted: Tensor
    jittered: int | Tensor


def region_terms(logits: Tensor, targets: Targets, config: RMIConfig) -> RegionTerms:
    """Return the terms of all pairs; differentiable once with respect to ``logits``."""
    jittered: list[int] = []
    terms, information, counted = _RegionTerms.apply(logits, targets, config, jittered)
    return RegionTerms(terms, information, counted, sum(jittered))


class _RegionTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Targets, config: RMIConfig, jittered: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            device, valid = logits.device, targets.valid
            z = logits.detach()
            if device.type == "mps":  # without float64
                z, targets = z.cpu(), Targets(*(tensor.cpu() for tensor in targets))
            terms = z.new_full(z.shape[:2], skipped_value(config), dtype=torch.float64)
            information = torch.zeros_like(terms)
            dtype = upcast(logits).dtype
            counted = counted_pairs(targets, z.shape[1], config)
            computed = counted
            if moves_absent_classes(config):
                computed = counted | included_windows(targets, config).flatten(1).any(1)[:, None]
            ctx.pairs, ctx.config = computed.nonzero(), config
            wanted = len(ctx.pairs) if ctx.needs_input_grad[0] else 0
            gradients = z.new_empty(wanted, *z.shape[2:], dtype=dtype)  # pairs×H×W
            done = 0
            for pair, windows, backward in _chunks(z, targets, config, ctx.pairs):
                value, nats, coefficients, count = value_and_derivative(windows.sums, windows.count, config)
                terms[pair], information[pair] = value, nats
                jittered.append(count)
                if wanted:
                    gradients[done : done + len(value)] = backward(windows.fold(coefficients))
                    done += len(value)
            ctx.save_for_backward(gradients.to(device), logits, valid)
            terms, information = terms.to(dtype).to(device), information.to(dtype).to(device)
        counted = counted.to(device)
        ctx.mark_non_differentiable(information, counted)
        return terms, information, counted

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, logits, valid = ctx.saved_tensors
        softmax = ctx.config.probability == "softmax"
        return (
            _ScaledGradient.apply(upstream[0], gradients, ctx.pairs, logits, valid if softmax else None),
            None,
            None,
            None,
        )


class _ScaledGradient(torch.autograd.Function):
    """Multiply the saved gradient of every pair by its upstream gradient; refuses a second derivative.

    With ``valid``, the saved gradients are with respect to the probabilities of a softmax, which is differentiated
    here, where the upstream gradients of all classes are known.
    """

    @staticmethod
    def forward(
        ctx: Any, upstream: Tensor, gradients: Tensor, pairs: Tensor, logits: Tensor, valid: Tensor | None
    ) -> Tensor:
        result = upstream.new_zeros(logits.shape)  # N×C×H×W
        for gradient, (image, channel) in zip(gradients, pairs.tolist(), strict=True):
            torch.mul(gradient, upstream[image, channel], out=result[image, channel])
        if valid is not None:
            _softmax_backward(result, logits, valid, pairs[:, 0].unique().tolist())
        return result.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(SECOND_DERIVATIVE)


def _softmax_backward(gradient: Tensor, logits: Tensor, valid: Tensor, images: list[int]) -> None:
    """Replace gradients with respect to probabilities by gradients with respect to logits, some rows at a time."""
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    for image in images:
        for rows in _strips(logits):
            p = logits[image, :, rows].to(wide).softmax(0) * valid[image, rows]
            part = gradient[image, :, rows]
            part.copy_(p * (part - (p * part).sum(0)))


def _strips(logits: Tensor) -> list[slice]:
    """Return slices of rows whose channels fit into a chunk."""
    channels, height, width = logits.shape[1:]
    step = max(1, CHUNK_BYTES // (128 * channels * width))
    return [slice(start, start + step) for start in range(0, height, step)]


_Chunk = tuple[tuple[Tensor, Tensor], Windows, Callable[[Tensor], Tensor]]


def _chunks(z: Tensor, targets: Targets, config: RMIConfig, pairs: Tensor) -> Iterator[_Chunk]:
    """Yield the ``pairs``, a few at a time and in order.

    Yields their indices, their windows, and the function from a gradient on the feature grid (m×h×w) to the gradient on
    the pixels (m×H×W): with respect to the logits of a sigmoid, or the probabilities of a softmax.
    """
    if not len(pairs):
        return
    (height, width), radius = pooled_size(z.shape[2:], config), config.radius  # of the feature grid
    pixels = 0 if config.pooling == "none" else math.prod(z.shape[2:])
    limit = min(CHUNK_BYTES, int(_CHUNK_SHARE * 4 * z.numel()))
    size = min(len(pairs), max(1, limit // max(16 * radius * height * (width + 2 * radius**2), 128 * pixels)))
    probability, order = _Probability(z, targets, config), shuffled_order(targets, config)
    workspace: Workspace | None = None  # allocated when the first chunk needs it
    for group, listed, excluded in _by_kind(targets, config, pairs):
        # a list of windows takes 2R times the memory of their rows
        share = 0 if listed is None else len(listed) / (height * width)
        for image, channel in (chunk.unbind(1) for chunk in group.split(max(1, int(size / (1 + 2 * radius * share))))):
            p, backward = probability.pooled(image, channel)
            if order is not None and config.shuffle == "pixels":
                p, backward = shuffled(p, order[image]), _from_shuffled(backward, order[image])
            y = label_cells(targets, image, channel, z.shape[1], config, order)
            if listed is not None and not excluded:
                yield (image, channel), ListedWindows(p, y, radius, listed), backward
                continue
            workspace = workspace or Workspace(size, height, width, radius, z.device)
            windows = RowWindows(p, y, workspace) if listed is None else OtherWindows(p, y, workspace, listed)
            yield (image, channel), windows, backward


def _from_shuffled(backward: Callable[[Tensor], Tensor], order: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: backward(unshuffled(gradient, order))


class _Probability:
    """Probability maps of single (image, class) pairs, in float64."""

    def __init__(self, z: Tensor, targets: Targets, config: RMIConfig) -> None:
        self.z, self.valid, self.config = z, targets.valid, config
        if config.probability == "softmax":
            self.normalizer = torch.cat([z[:, :, rows].double().logsumexp(1) for rows in _strips(z)], 1)

    def pooled(self, image: Tensor, channel: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return maps on the feature grid and their backward function; without pooling the published 1e-6 is omitted.

        Windows are centered, so that a constant has no effect.
        """
        p = self.z[image, channel].double()
        if self.config.probability == "sigmoid":
            p = p.sigmoid() * self.valid[image]
        else:
            p = (p - self.normalizer[image]).exp() * self.valid[image]
        if self.config.pooling == "none":
            return p, lambda gradient: self._by_logit(gradient, p)
        with torch.enable_grad():
            leaf = p.requires_grad_()
            cells = pooled_probability(leaf, self.config)
        return cells.detach(), lambda gradient: self._by_logit(
            torch.autograd.grad(cells, leaf, gradient)[0], leaf.detach()
        )

    def _by_logit(self, gradient: Tensor, p: Tensor) -> Tensor:
        # p - p² is the derivative of the sigmoid, 0 in ignored pixels
        return gradient.mul_(torch.addcmul(p, p, p, value=-1)) if self.config.probability == "sigmoid" else gradient


def _by_kind(targets: Targets, config: RMIConfig, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor | None, bool]]:
    """Yield groups of pairs, a list of windows (flat indices of their first pixels), and whether these are excluded.

    The list is None if all windows are included. Otherwise a group has pairs of one image only.
    """
    cells = pooled_valid(targets.valid, config)  # N×h×w bool
    if config.ignored == "zero" or bool(cells.all()):
        yield pairs, None, False
        return
    width = cells.shape[-1]
    for image, run in enumerate(pairs.split(torch.bincount(pairs[:, 0], minlength=len(cells)).tolist())):
        if len(run):
            whole = whole_windows(cells[image : image + 1], config.radius)[0]
            few_broken = 2 * int(whole.sum()) > whole.numel()
            starts = (~whole if few_broken else whole).nonzero()
            yield run, starts[:, 0] * width + starts[:, 1] if len(starts) else None, few_broken
