"""Lovász-softmax: a convex surrogate of the intersection over union."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from segmi.losses.base import Invariance, PixelLoss, Scope, Term
from segmi.losses.coupling import coupled_term
from segmi.losses.option_checks import check_choice
from segmi.losses.pixel.dice import Over
from segmi.losses.probabilities import log_probabilities, one_hot
from segmi.losses.targets import class_count, is_valid, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["LovaszSoftmax", "lovasz_softmax"]


def lovasz_softmax(
    logits: Logits, labels: Labels, *, over: Over = "batch", ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the Lovász extension of one minus the intersection over union, averaged over the classes in the label.

    ``L = 1/|K| Σ_{c∈K} Σ_i m_(i) [J_i - J_{i-1}]``, ``m_u = |y_uc - p_uc|`` the errors of the valid pixels in
    descending order, J_i the Jaccard distance if the i largest errors were wrong and all others right, K the classes
    with a pixel

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        over: sort the pixels of the ``batch``, or of each ``image``, followed by a mean over images.
    Unit and sign: none, between 0 and 1, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Berman, Rannen Triki and Blaschko, *The Lovász-Softmax loss*, CVPR 2018, eq. 8, 9 and 11.
    Example:
        >>> lovasz_softmax(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        tensor(0.5000)
    """
    return lovasz_softmax_term(logits, labels, over, ignore_index).value


def lovasz_softmax_term(logits: Logits, labels: Labels, over: Over, ignore_index: int | None) -> Term:
    """Return `lovasz_softmax` as a ratio: over images with a valid pixel, or times the valid pixels of the batch."""
    check_choice("over", over, get_args(Over))
    targets = read_targets(logits, labels, ignore_index)
    p, dtype = log_probabilities(logits).exp(), upcast(logits).dtype
    truth, valid = one_hot(targets, class_count(logits)), targets.valid.unsqueeze(1).expand_as(p)
    if over == "image":
        values = _extensions(p.flatten(2), truth.flatten(2), valid.flatten(2))
        return Term(values.sum() + targets.invalid, targets.valid.flatten(1).any(1).sum().to(dtype))
    values = _extensions(*(one.movedim(1, 0).flatten(1).unsqueeze(0) for one in (p, truth, valid)))
    own = targets.valid.sum()
    return coupled_term(values.sum(), own, own, dtype=dtype, invalid=targets.invalid)


def _extensions(p: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    # the mean over the present classes for each of G groups of M pixels; all arguments are G×C×M
    errors = torch.where(valid, (truth.to(p.dtype) - p).abs(), -1.0)  # ignored pixels are sorted to the end
    errors, order = errors.sort(dim=2, descending=True, stable=True)
    # 1 where the pixel of this rank is of the class
    hits = truth.gather(2, order).to(p.dtype)
    size = hits.sum(2, keepdim=True)
    intersection = size - hits.cumsum(2)
    union = size + (1 - hits).cumsum(2)
    # Jaccard distance if the i largest errors were wrong, for every i
    jaccard = 1 - intersection / union.clamp(min=1)
    # discrete derivative of the Jaccard distance
    steps = torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], 2)
    per_class = (errors.clamp(min=0) * steps).sum(2)
    present = size[..., 0] > 0
    return torch.where(present, per_class, 0.0).sum(1) / present.sum(1).clamp(min=1)


class LovaszSoftmax(PixelLoss):
    """`lovasz_softmax` as a module.

    Use: mIoU as the score and rare classes, together with cross-entropy, on a GPU; it is slow on a CPU.
    Assumes: the mean intersection over union is the goal, and a batch is representative of the dataset.
    Invariances: a shift of a pixel's logits; a permutation of the classes; for ``batch``, a permutation of the pixels.
    Degenerate solutions: none if every class is present. False positives of absent classes only matter as false
        negatives of others. It does not calibrate: confidence is rewarded regardless of the evidence.
    Cost: sorting the pixels of every class, several times the cost of cross-entropy; nothing at inference.
    Args: see `lovasz_softmax`; with ``batch``, a batch must not be divided.
    """

    family = "pixel"
    invariances: tuple[Invariance, ...] = ("logit shift", "class permutation", "pixel permutation")
    scope: Scope = "batch"

    def __init__(self, *, over: Over = "batch", ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        check_choice("over", over, get_args(Over))
        self.over = over
        if over == "image":
            self.scope, self.invariances = "image", ("logit shift", "class permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss as a ratio."""
        return lovasz_softmax_term(logits, labels, self.over, self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of valid pixels, or of images with a valid pixel."""
        pixels = super().denominators(logits, labels)[""]
        if self.over == "batch":
            return {"": pixels}
        return {"": is_valid(labels, self.ignore_index).flatten(1).any(1).sum().to(pixels.dtype)}
