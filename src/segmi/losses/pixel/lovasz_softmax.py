"""Lovász-softmax: a convex stand-in for the intersection over union."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Loss, Scope, Term
from segmi.losses.coupling import coupled_term
from segmi.losses.options import check_choice
from segmi.losses.pixel.dice import Over
from segmi.losses.probabilities import count_valid, log_probabilities, memberships
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def lovasz_softmax(logits: Logits, labels: Labels, *, over: Over = "batch", ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The Lovász extension of one minus the intersection over union, averaged over the classes in the label.

    ``L = 1/|K| Σ_{c∈K} Σ_i m_(i) [J_i - J_{i-1}]`` with the errors ``m_u = |y_uc - p_uc|`` of the valid pixels in
    falling order, J_i the Jaccard distance of the label if the i largest were wrong and the others right, K the classes
    that are there

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        over: whether pixels are ordered over the ``batch`` or in each ``image``, with a mean over those.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: none, between 0 and 1, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: an unknown ``over``, shapes that do not match; on the CPU, ids that are neither class nor ignored. On
            other devices those give NaN, and so do NaN logits everywhere.

    Source: Berman, Rannen Triki and Blaschko, *The Lovász-Softmax loss*, CVPR 2018, eq. 8, 9 and 11.

    Example:
        >>> lovasz_softmax(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        tensor(0.5000)
    """
    return lovasz_softmax_term(logits, labels, over=over, ignore_index=ignore_index).value


def lovasz_softmax_term(
    logits: Logits, labels: Labels, *, over: Over = "batch", ignore_index: int = IGNORE_INDEX
) -> Term:
    """`lovasz_softmax` as a ratio: over images that have valid pixels, or times the valid pixels."""
    check_choice("over", over, get_args(Over))
    targets = read_targets(logits, labels, ignore_index)
    p, dtype = log_probabilities(logits).exp(), upcast(logits).dtype
    networks, counted = memberships(targets, class_count(logits)), targets.valid.unsqueeze(1).expand_as(p)
    if over == "image":
        values = _extensions(p.flatten(2), networks.flatten(2), counted.flatten(2))
        return Term(values.sum() + targets.invalid, targets.valid.flatten(1).any(1).sum().to(dtype))
    values = _extensions(*(one.movedim(1, 0).flatten(1).unsqueeze(0) for one in (p, networks, counted)))
    own = targets.valid.sum()
    term = coupled_term(values.sum(), own, own, dtype=dtype)
    return term._replace(numerator=term.numerator + targets.invalid)


def _extensions(p: Tensor, networks: Tensor, counted: Tensor) -> Tensor:
    """A value for each of G groups of M pixels, from G×C×M probabilities, which are of the class, and which count."""
    errors = torch.where(counted, (networks.to(p.dtype) - p).abs(), -1.0)  # what does not count comes last
    ordered, order = errors.sort(dim=2, descending=True, stable=True)
    hits = networks.gather(2, order).to(p.dtype)
    size = hits.sum(2, keepdim=True)
    missed = size - hits.cumsum(2)
    united = size + (1 - hits).cumsum(2)
    jaccard = 1 - missed / united.clamp(min=1)
    steps = torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], 2)
    per_class = (ordered.clamp(min=0) * steps).sum(2)
    present = size[..., 0] > 0
    return torch.where(present, per_class, 0.0).sum(1) / present.sum(1).clamp(min=1)


class LovaszSoftmax(Loss):
    """`lovasz_softmax` as a module.

    Assumes: that what is wanted is the mean of the intersections over union, and that a batch stands for the dataset.
    Invariances: a constant added to the logits of a pixel; the names of the classes; over a batch, the order of pixels.
    Degenerate solutions: none where every class is present; false alarms for absent classes are felt only through the
        classes that they are taken from. Certainty is rewarded whatever the evidence: it does not calibrate.
    Cost: the pixels of every class are sorted, which is several times the cost of cross-entropy; nothing at inference.

    Args:
        over: ``batch``, which then must not be divided, or ``image``.
        ignore_index: the label of ignored pixels.

    Example:
        >>> LovaszSoftmax()(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        tensor(0.5000)
    """

    family = "pixel"
    invariances: tuple[Invariance, ...] = ("logit shift", "class permutation", "pixel permutation")
    scope: Scope = "batch"

    def __init__(self, *, over: Over = "batch", ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        check_choice("over", over, get_args(Over))
        self.over, self.ignore_index = over, ignore_index
        if over == "image":
            self.scope, self.invariances = "image", ("logit shift", "class permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss as a ratio: over images, or times the valid pixels."""
        return lovasz_softmax_term(logits, labels, over=self.over, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of images that have valid pixels, or of those pixels."""
        pixels = count_valid(logits, labels, self.ignore_index)
        if self.over == "batch":
            return {"": pixels}
        return {"": (labels != self.ignore_index).flatten(1).any(1).sum().to(pixels.dtype)}
