"""Region mutual information of every (image, class) pair, with a closed-form gradient.

The value depends on the maps through the covariances of their windows alone. So its derivative with respect to those
small matrices, taken by autograd, gives one d×2d matrix per pair, and the gradient of the map is that matrix applied to
the windows and folded back; down-sampling is undone by autograd, a few maps at a time. All this is done in the forward
pass, while the windows are at hand, and only the gradient is kept. Pairs whose label does not vary are skipped: their
value is a constant, their gradient zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information import conditional_cholesky
from segmi.losses.rmi.config import RMIConfig, Variant, absent_value
from segmi.losses.rmi.maps import class_ids, pooled_label, pooled_probability, pooled_size, pooled_valid
from segmi.losses.rmi.quantities import (
    FELT_BY_ABSENT_CLASSES,
    Moments,
    half_log_determinant,
    surrogate_terms,
)
from segmi.losses.rmi.shuffles import shuffled, shuffled_order, unshuffled
from segmi.losses.rmi.windows import OtherWindows, PickedWindows, RowWindows, Windows, Workspace
from segmi.losses.targets import Targets, upcast

__all__ = ["RMIConfig", "RegionTerms", "Variant", "absent_value", "counted_pairs", "region_terms"]

_CHUNK_BYTES = 16 * 2**20
"""How much memory the unfolded rows of one chunk of pairs may take; more does not fit the caches."""
_CHUNK_SHARE = 0.25
"""How much of the memory of the logits, in float32, they may take, if that is less."""

_ROUNDING = 1e-10
"""Labels that differ by less do so by rounding: the weights of an interpolation are at least 1 over the pixels."""


class RegionTerms(NamedTuple):
    """What is known of the N×C (image, class) pairs.

    Args:
        terms: N×C, what is minimized, before the division by d; in the mode ``corrected`` 0 where nothing varies.
        information: N×C, I_G in nats, without gradient.
        counted: N×C bool, `counted_pairs`.
        jittered: how many covariances needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    counted: Tensor
    jittered: int


def region_terms(logits: Tensor, targets: Targets, config: RMIConfig) -> RegionTerms:
    """The terms of all pairs; differentiable once with respect to ``logits``."""
    jittered: list[int] = []
    terms, information, counted = _RegionTerms.apply(logits, targets, config, jittered)
    return RegionTerms(terms, information, counted, sum(jittered))


def counted_pairs(targets: Targets, channels: int, config: RMIConfig) -> Tensor:
    """N×C bool: the pairs whose label varies over the windows that count.

    What is False is certain not to vary. What is True may not either, where that does no harm to the value and telling
    would cost more than it spares: in the mode ``published`` with ignored zeroed, unless pairs are to be counted.
    """
    held = _pixels_per_class(targets.classes, targets.valid, channels)
    exact = config.variant == "corrected" or config.ignored == "drop" or config.class_reduction == "present"
    if not exact:
        full = math.prod(targets.classes.shape[1:])
        return (held > 0) & (held < full) if config.pooling == "none" else held > 0
    whole, order = _counted_windows(targets, config), shuffled_order(targets, config)
    if config.pooling == "none" and order is None:
        return _varying_pixels(targets, whole, channels, config.radius)
    result = held > 0
    pairs = result.nonzero()
    height, width = targets.classes.shape[1:]
    for image, channel in (chunk.unbind(1) for chunk in pairs.split(max(1, _CHUNK_BYTES // (64 * height * width)))):
        y = _label_cells(targets, image, channel, channels, config, order).double()
        result[image, channel] = _varying_maps(y, whole[image], config.radius)
    return result


def _unvisited_value(config: RMIConfig) -> float:
    """The term of a pair whose windows are left alone."""
    if config.quantity == "information" or config.variant == "corrected":
        return absent_value(config)
    nothing = torch.zeros(1, 2 * config.dimension, 2 * config.dimension, dtype=torch.float64)
    return _value_and_derivative(nothing, 1, config)[0].item()


def _visited_pairs(counted: Tensor, targets: Targets, config: RMIConfig) -> Tensor:
    """N×C bool: the pairs whose term is not `_unvisited_value`, or whose gradient is not zero."""
    if (
        config.quantity not in FELT_BY_ABSENT_CLASSES
        or config.variant == "corrected"
        or config.class_reduction == "present"
    ):
        return counted
    return counted | _counted_windows(targets, config).flatten(1).any(1)[:, None]


def _counted_windows(targets: Targets, config: RMIConfig) -> Tensor:
    cells = pooled_valid(targets.valid, config)
    return whole_windows(cells if config.ignored == "drop" else torch.ones_like(cells), config.radius)


def whole_windows(valid: Tensor, radius: int) -> Tensor:
    """N×H'×W' bool: the windows, by their upper left pixel, that hold no ignored pixel."""
    return F.max_pool2d((~valid).float().unsqueeze(1), radius, stride=1).squeeze(1) == 0


def _varying_pixels(targets: Targets, whole: Tensor, channels: int, radius: int) -> Tensor:
    windows = whole.flatten(1).sum(1)[:, None]
    height, width = whole.shape[1:]
    varies = torch.zeros(len(whole), channels, dtype=torch.bool, device=whole.device)
    for i in range(radius):
        for j in range(radius):
            here = (slice(None), slice(i, i + height), slice(j, j + width))
            held = _pixels_per_class(targets.classes[here], whole & targets.valid[here], channels)
            varies |= (held > 0) & (held < windows)
    return varies


def _varying_maps(y: Tensor, whole: Tensor, radius: int) -> Tensor:
    height, width = whole.shape[1:]
    varies = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for i in range(radius):
        for j in range(radius):
            position = y[:, i : i + height, j : j + width]
            lowest, highest = (torch.where(whole, position, bound) for bound in (math.inf, -math.inf))
            varies |= highest.flatten(1).amax(1) - lowest.flatten(1).amin(1) > _ROUNDING
    return varies


def _pixels_per_class(index: Tensor, valid: Tensor, channels: int) -> Tensor:
    classes = max(channels, 2)
    image = torch.arange(len(index), device=index.device).view(-1, 1, 1) * (classes + 1)
    cell = image + torch.where(valid, index, classes)
    held = _occurrences(cell.flatten(), len(index) * (classes + 1)).view(len(index), classes + 1)
    return held[:, 1:2] if channels == 1 else held[:, :classes]


def _occurrences(numbers: Tensor, below: int) -> Tensor:
    """How often each of the numbers 0 to ``below`` - 1 occurs."""
    if numbers.device.type == "cpu":
        return torch.bincount(numbers, minlength=below)
    # `bincount` looks for the largest number first, and a GPU would be waited for
    return torch.zeros(below, dtype=torch.int64, device=numbers.device).scatter_add_(
        0, numbers, torch.ones_like(numbers)
    )


def _label_maps(targets: Targets, image: Tensor, channel: Tensor, channels: int) -> Tensor:
    """m×H×W bool: where the images hold the class of the channel."""
    wanted = class_ids(channels, channel.device)[channel]
    return (targets.classes[image] == wanted[:, None, None]) & targets.valid[image]


def _label_cells(
    targets: Targets, image: Tensor, channel: Tensor, channels: int, config: RMIConfig, order: Tensor | None
) -> Tensor:
    """m×h×w: the label maps on the grid of the statistics, as bool where that is the pixels; in the order given."""
    y = _label_maps(targets, image, channel, channels)
    y = y if config.pooling == "none" else pooled_label(y.double(), config)
    return y if order is None else shuffled(y, order[image])


class _RegionTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Targets, config: RMIConfig, jittered: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            home, valid = logits.device, targets.valid
            z = logits.detach()
            if home.type == "mps":  # which has no float64
                z, targets = z.cpu(), Targets(*(tensor.cpu() for tensor in targets))
            terms = z.new_full(z.shape[:2], _unvisited_value(config), dtype=torch.float64)
            information = torch.zeros_like(terms)
            outcome = upcast(logits).dtype
            counted = counted_pairs(targets, z.shape[1], config)
            ctx.pairs, ctx.config = _visited_pairs(counted, targets, config).nonzero(), config
            wanted = len(ctx.pairs) if ctx.needs_input_grad[0] else 0
            gradients = z.new_empty(wanted, *z.shape[2:], dtype=outcome)
            done = 0
            for pair, windows, pull_back in _chunks(z, targets, config, ctx.pairs):
                value, nats, coefficients, count = _value_and_derivative(windows.sums, windows.count, config)
                terms[pair], information[pair] = value, nats
                jittered.append(count)
                if wanted:
                    gradients[done : done + len(value)] = pull_back(windows.fold(coefficients))
                    done += len(value)
            ctx.save_for_backward(gradients.to(home), logits, valid)
            terms, information = terms.to(outcome).to(home), information.to(outcome).to(home)
        counted = counted.to(home)
        ctx.mark_non_differentiable(information, counted)
        return terms, information, counted

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, logits, valid = ctx.saved_tensors
        softmax = ctx.config.probability == "softmax"
        return _Spread.apply(upstream[0], gradients, ctx.pairs, logits, valid if softmax else None), None, None, None


class _Spread(torch.autograd.Function):
    """The saved gradient of every pair times its upstream gradient; a function of its own, to refuse a second one.

    With ``valid``, those are gradients by the probabilities of a softmax, which is undone here, where the upstream
    gradients of all classes are known.
    """

    @staticmethod
    def forward(
        ctx: Any, upstream: Tensor, gradients: Tensor, pairs: Tensor, logits: Tensor, valid: Tensor | None
    ) -> Tensor:
        result = upstream.new_zeros(logits.shape)
        for gradient, (image, channel) in zip(gradients, pairs.tolist(), strict=True):
            torch.mul(gradient, upstream[image, channel], out=result[image, channel])
        if valid is not None:
            _undo_softmax(result, logits, valid, pairs[:, 0].unique().tolist())
        return result.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(
            "region_mutual_information: expected to be differentiated once, got a second derivative, which its "
            "closed-form gradient does not have; use segmi.losses.region_mutual_information_plain for that"
        )


def _undo_softmax(gradient: Tensor, logits: Tensor, valid: Tensor, images: list[int]) -> None:
    """Replace gradients by the probabilities of these images by those by their logits, some rows at a time."""
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    for image in images:
        for rows in _strips(logits):
            p = logits[image, :, rows].to(wide).softmax(0) * valid[image, rows]
            part = gradient[image, :, rows]
            part.copy_(p * (part - (p * part).sum(0)))


def _strips(logits: Tensor) -> list[slice]:
    """Rows of one image, as many as a chunk may take with all their channels."""
    channels, height, width = logits.shape[1:]
    step = max(1, _CHUNK_BYTES // (128 * channels * width))
    return [slice(start, start + step) for start in range(0, height, step)]


_Chunk = tuple[tuple[Tensor, Tensor], Windows, Callable[[Tensor], Tensor]]


def _chunks(z: Tensor, targets: Targets, config: RMIConfig, pairs: Tensor) -> Iterator[_Chunk]:
    """The ``pairs``, a few at a time and in order.

    Their indices, their windows, and what brings a gradient by the pooled map (m×h×w) back to the pixels (m×H×W): by
    the logits of a sigmoid, by the probabilities of a softmax.
    """
    if not len(pairs):
        return
    (height, width), radius = pooled_size(z.shape[2:], config), config.radius
    pixels = 0 if config.pooling == "none" else math.prod(z.shape[2:])
    room = min(_CHUNK_BYTES, int(_CHUNK_SHARE * 4 * z.numel()))
    size = min(len(pairs), max(1, room // max(16 * radius * height * (width + 2 * radius**2), 128 * pixels)))
    probability, order = _Probability(z, targets, config), shuffled_order(targets, config)
    workspace: Workspace | None = None
    for group, picked, left_out in _by_kind(targets, config, pairs):
        # a list of windows takes 2R times the memory of their rows
        listed = 0 if picked is None else len(picked) / (height * width)
        for image, channel in (chunk.unbind(1) for chunk in group.split(max(1, int(size / (1 + 2 * radius * listed))))):
            p, pull_back = probability.pooled(image, channel)
            if order is not None and config.shuffle == "pixels":
                p, pull_back = shuffled(p, order[image]), _from_shuffled(pull_back, order[image])
            y = _label_cells(targets, image, channel, z.shape[1], config, order)
            if picked is not None and not left_out:
                yield (image, channel), PickedWindows(p, y, radius, picked), pull_back
                continue
            workspace = workspace or Workspace(size, height, width, radius, z.device)
            windows = RowWindows(p, y, workspace) if picked is None else OtherWindows(p, y, workspace, picked)
            yield (image, channel), windows, pull_back


def _from_shuffled(pull_back: Callable[[Tensor], Tensor], order: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: pull_back(unshuffled(gradient, order))


class _Probability:
    """The probability maps of single (image, class) pairs, in float64."""

    def __init__(self, z: Tensor, targets: Targets, config: RMIConfig) -> None:
        self.z, self.valid, self.config = z, targets.valid, config
        if config.probability == "softmax":
            self.normalizer = torch.cat([z[:, :, rows].double().logsumexp(1) for rows in _strips(z)], 1)

    def pooled(self, image: Tensor, channel: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The maps on the grid of the statistics, without the published 1e-6 where it goes with the mean."""
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
        # p - p² is the derivative of the sigmoid, and 0 in ignored pixels
        return gradient.mul_(torch.addcmul(p, p, p, value=-1)) if self.config.probability == "sigmoid" else gradient


def _by_kind(targets: Targets, config: RMIConfig, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor | None, bool]]:
    """Runs of pairs with a list of windows, by the flat indices of their first pixels, and whether to leave those out.

    None for the list stands for all windows. Where windows with ignored pixels are left out, a run stays in one image.
    """
    cells = pooled_valid(targets.valid, config)
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


def _value_and_derivative(sums: Tensor, count: int, config: RMIConfig) -> tuple[Tensor, Tensor, Tensor, int]:
    """Terms and I_G of m pairs, the m×d×2d derivative of the terms by P in units of (P, Y), and the jittered pairs."""
    d = config.dimension
    sums = sums.requires_grad_()
    with torch.enable_grad():
        if config.variant == "published":
            covariance, ridge = sums, sums.new_full((len(sums),), config.alpha)
        else:
            covariance = sums / count
            ridge = config.relative_ridge * covariance[:, d:, d:].diagonal(dim1=-2, dim2=-1).mean(-1).detach()
        ridged = covariance + ridge[:, None, None] * torch.eye(2 * d, dtype=sums.dtype, device=sums.device)
        factor, jittered = factor_with_jitter(ridged, d)
        diagonal = factor.diagonal(dim1=-2, dim2=-1)
        remaining = torch.log(diagonal).sum(-1)  # ½ log det of what the prediction leaves open
        nats = half_log_determinant(ridged[:, d:, d:].detach()) - remaining
        if config.quantity != "information":
            windows = count if config.variant == "published" else 1
            terms = surrogate_terms(Moments.of(covariance, ridge, factor, windows), config)
        else:
            terms = torch.log(diagonal + 1e-8).sum(-1) if config.variant == "published" else -nats
        derivative = torch.autograd.grad(terms.sum(), sums)[0]
    return terms.detach(), nats.detach(), (derivative + derivative.mT)[:, :d], jittered


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
