"""Region mutual information of every (picture, class) pair, with a closed-form gradient.

The value depends on the maps through the covariances of their windows alone. So its derivative with respect to those
small matrices, taken by autograd, gives one d×2d matrix per pair, and the gradient of the map is that matrix applied to
the windows and folded back. It is computed in the forward pass, while the windows are at hand, and only it is kept.
Pairs whose label does not vary are skipped: their value is a constant, their gradient zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information import conditional_cholesky, gaussian_entropy
from segmi.objectives._region_windows import PickedWindows, RowWindows, Windows, Workspace
from segmi.objectives.targets import Targets, widened

Mode = Literal["reference", "sound"]

_CHUNK_BYTES = 16 * 2**20
"""How much memory the unfolded rows of one chunk of pairs may take; more does not fit the caches."""


@dataclass(frozen=True)
class RegionKnobs:
    """The parameters of `region_mutual_information`, under their names there."""

    radius: int
    mode: Mode
    alpha: float
    relative_ridge: float

    @property
    def dimension(self) -> int:
        """d, the number of pixels of a window."""
        return self.radius**2


class RegionTerms(NamedTuple):
    """What is known of the N×C (picture, class) pairs.

    Args:
        terms: N×C, what is minimised, before the division by d; in the mode ``sound`` 0 where nothing varies.
        information: N×C, I_G in nats, without gradient.
        jittered: how many covariances needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    jittered: int


def region_terms(logits: Tensor, targets: Targets, knobs: RegionKnobs) -> RegionTerms:
    """The terms of all pairs; differentiable once with respect to ``logits``."""
    jittered: list[int] = []
    terms, information = _RegionTerms.apply(logits, targets, knobs, jittered)
    return RegionTerms(terms, information, sum(jittered))


def absent_value(knobs: RegionKnobs) -> float:
    """The term of a pair without variation: d (log √α + 1e-8) or nearly so as published, 0 where sound."""
    return knobs.dimension * math.log(math.sqrt(knobs.alpha) + 1e-8) if knobs.mode == "reference" else 0.0


def counted_pairs(targets: Targets, channels: int, knobs: RegionKnobs) -> Tensor:
    """N×C bool: the pairs whose label varies over the windows that count. What is False is certain not to vary."""
    if knobs.mode == "reference":
        held = _pixels_per_class(targets.classes, targets.valid, channels)
        return (held > 0) & (held < math.prod(targets.classes.shape[1:]))
    whole = whole_windows(targets.valid, knobs.radius)
    windows = whole.flatten(1).sum(1)[:, None]
    height, width = whole.shape[1:]
    varies = torch.zeros(len(whole), channels, dtype=torch.bool, device=whole.device)
    for i in range(knobs.radius):
        for j in range(knobs.radius):
            held = _pixels_per_class(targets.classes[:, i : i + height, j : j + width], whole, channels)
            varies |= (held > 0) & (held < windows)
    return varies


def whole_windows(valid: Tensor, radius: int) -> Tensor:
    """N×H'×W' bool: the windows, by their upper left pixel, that hold no void pixel."""
    return F.max_pool2d((~valid).float().unsqueeze(1), radius, stride=1).squeeze(1) == 0


def _pixels_per_class(index: Tensor, valid: Tensor, channels: int) -> Tensor:
    classes = max(channels, 2)
    picture = torch.arange(len(index), device=index.device).view(-1, 1, 1) * (classes + 1)
    cell = picture + torch.where(valid, index, classes)
    held = torch.bincount(cell.flatten(), minlength=len(index) * (classes + 1)).view(len(index), classes + 1)
    return held[:, 1:2] if channels == 1 else held[:, :classes]


class _RegionTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Targets, knobs: RegionKnobs, jittered: list[int]
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            home = logits.device
            z = logits.detach()
            if home.type == "mps":  # which has no float64
                z, targets = z.cpu(), Targets(*(tensor.cpu() for tensor in targets))
            terms = z.new_full(z.shape[:2], absent_value(knobs), dtype=torch.float64)
            information = torch.zeros_like(terms)
            outcome = widened(logits).dtype
            ctx.pairs = counted_pairs(targets, z.shape[1], knobs).nonzero()
            wanted = len(ctx.pairs) if ctx.needs_input_grad[0] else 0
            gradients = z.new_empty(wanted, *z.shape[2:], dtype=outcome)
            done = 0
            for pair, p, windows in _chunks(z, targets, knobs, ctx.pairs):
                value, nats, coefficients, count = _value_and_derivative(windows.sums, windows.count, knobs)
                terms[pair], information[pair] = value, nats
                jittered.append(count)
                if wanted:
                    # p - p² is the derivative of the sigmoid, and 0 in void pixels
                    gradients[done : done + len(p)] = windows.fold(coefficients).mul_(torch.addcmul(p, p, p, value=-1))
                    done += len(p)
            ctx.save_for_backward(gradients.to(home), logits)  # the logits only to know of a second derivative
            terms, information = terms.to(outcome).to(home), information.to(outcome).to(home)
        ctx.mark_non_differentiable(information)
        return terms, information

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, logits = ctx.saved_tensors
        return _Spread.apply(upstream[0], gradients, ctx.pairs, logits), None, None, None


class _Spread(torch.autograd.Function):
    """The saved gradient of every pair times its upstream gradient; a function of its own, to refuse a second one."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, gradients: Tensor, pairs: Tensor, logits: Tensor) -> Tensor:
        result = upstream.new_zeros(logits.shape)
        for gradient, (picture, channel) in zip(gradients, pairs.tolist(), strict=True):
            torch.mul(gradient, upstream[picture, channel], out=result[picture, channel])
        return result.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(
            "region_mutual_information: expected to be differentiated once, got a second derivative, which its "
            "closed-form gradient does not have; use segmi.objectives.region_mutual_information_plain for that"
        )


def _chunks(
    z: Tensor, targets: Targets, knobs: RegionKnobs, pairs: Tensor
) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor, Windows]]:
    """The ``pairs``, a few at a time and in order: their indices, their probabilities, their windows."""
    height, width = z.shape[2:]
    size = min(len(pairs), max(1, _CHUNK_BYTES // (16 * knobs.radius * height * width)))
    workspace: Workspace | None = None
    for group, picked in _by_kind(targets, knobs, pairs):
        step = size if picked is None else max(1, size // knobs.radius)  # a list of windows is R times their rows
        for picture, channel in (chunk.unbind(1) for chunk in group.split(step)):
            valid = targets.valid[picture]
            p = z[picture, channel].double().sigmoid() * valid
            y = (targets.classes[picture] == (channel if z.shape[1] > 1 else channel + 1)[:, None, None]) & valid
            # The published 1e-6, added to every probability, is the same everywhere and goes with the mean.
            if picked is not None:
                windows: Windows = PickedWindows(p, y, knobs.radius, picked)
            else:
                workspace = workspace or Workspace(size, height, width, knobs.radius, z.device)
                windows = RowWindows(p, y, workspace)
            yield (picture, channel), p, windows


def _by_kind(targets: Targets, knobs: RegionKnobs, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Runs of pairs with the windows that they are to use: None for all, else the flat indices of their first pixels.

    Where windows with void pixels are left out, a run stays in one picture.
    """
    if not len(pairs):
        return
    if knobs.mode == "reference" or bool(targets.valid.all()):
        yield pairs, None
        return
    width = targets.valid.shape[-1]
    for picture, run in enumerate(pairs.split(torch.bincount(pairs[:, 0], minlength=len(targets.valid)).tolist())):
        if len(run):
            starts = whole_windows(targets.valid[picture : picture + 1], knobs.radius)[0].nonzero()
            yield run, starts[:, 0] * width + starts[:, 1]


def _value_and_derivative(sums: Tensor, count: int, knobs: RegionKnobs) -> tuple[Tensor, Tensor, Tensor, int]:
    """Terms and I_G of m pairs, the m×d×2d derivative of the terms by P in units of (P, Y), and the jittered pairs."""
    d = knobs.dimension
    sums = sums.requires_grad_()
    with torch.enable_grad():
        if knobs.mode == "reference":
            covariance, ridge = sums, sums.new_full((len(sums),), knobs.alpha)
        else:
            covariance = sums / count
            ridge = knobs.relative_ridge * covariance[:, d:, d:].diagonal(dim1=-2, dim2=-1).mean(-1).detach()
        ridged = covariance + ridge[:, None, None] * torch.eye(2 * d, dtype=sums.dtype, device=sums.device)
        factor, jittered = factor_with_jitter(ridged, d)
        diagonal = factor.diagonal(dim1=-2, dim2=-1)
        remaining = torch.log(diagonal).sum(-1)  # ½ log det of what the prediction leaves open
        nats = _half_log_determinant(ridged[:, d:, d:].detach()) - remaining
        terms = torch.log(diagonal + 1e-8).sum(-1) if knobs.mode == "reference" else -nats
        derivative = torch.autograd.grad(terms.sum(), sums)[0]
    return terms.detach(), nats.detach(), (derivative + derivative.mT)[:, :d], jittered


def _half_log_determinant(covariance: Tensor) -> Tensor:
    return gaussian_entropy(covariance, check=False) - covariance.shape[-1] / 2 * math.log(2 * math.pi * math.e)


def factor_with_jitter(ridged: Tensor, split: int, *, steps: int = 6) -> tuple[Tensor, int]:
    """`conditional_cholesky` with at most ``steps`` growing jitters where it fails, and how many matrices needed one.

    The jitter starts at 1e-14 of the mean of the diagonal and grows a hundredfold. What still fails, or holds NaN, is
    NaN in the result, so that it is seen.
    """
    factor = conditional_cholesky(ridged, split, check=False)
    finite = ridged.detach().isfinite().flatten(1).all(1)
    failed = finite & factor.detach().isnan().flatten(1).any(1)
    count = int(failed.sum())
    eye = torch.eye(ridged.shape[-1], dtype=ridged.dtype, device=ridged.device)
    scale = ridged.detach().diagonal(dim1=-2, dim2=-1).mean(-1).abs()
    for step in range(steps if count else 0):
        ridged = ridged + (failed * scale * 1e-14 * 100.0**step)[:, None, None] * eye
        factor = conditional_cholesky(ridged, split, check=False)
        failed = finite & factor.detach().isnan().flatten(1).any(1)
        if not failed.any():
            break
    return factor, count
