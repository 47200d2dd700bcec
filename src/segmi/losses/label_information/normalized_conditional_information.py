"""Normalized conditional mutual information: compactness of the classes relative to their separation."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from segmi.information import PredictionSums, normalized_conditional_mutual_information
from segmi.losses.base import Term
from segmi.losses.coupling import gathered
from segmi.losses.label_information._information_loss import InformationLoss, MovingAverage, information_term
from segmi.losses.option_checks import check_choice
from segmi.losses.probabilities import class_sums, log_probabilities, precise
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["NormalizedConditionalInformation", "normalized_conditional_information"]

Ratio: TypeAlias = Literal["means", "pixels"]

_OFFSET: Final = 1e-10  # added to the divergence from the own class, as released
_LEAST_SEPARATION: Final = 1e-6  # lower bound of the denominator of a pixel, nats


def normalized_conditional_information(
    logits: Logits, labels: Labels, *, ratio: Ratio = "means", ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the conditional information of pixel and prediction given the class, divided by the class separation.

    ``L = I(X; Ŷ|Y) / Γ``, numerator and denominator as in `conditional_information`

    The released code minimizes a mean of ratios instead, which ``ratio="pixels"`` selects:
    ``L = 1/|V| Σ_{u∈V} [KL(p_u ‖ Q_{y_u}) + 10⁻¹⁰] / [1/C Σ_{a≠y_u} KL(Q_a ‖ p_u)]``, Q_a the mean prediction of class
    a, a constant. The denominator is at least 10⁻⁶; classes without a pixel are left out of its sum.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        ratio: of the ``means``, or the mean of the ratios of ``pixels``.
    Unit and sign: none, at least 0, minimized; 0, attached to the graph, if the batch has fewer than two classes.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning for
        Classification*, IEEE TNNLS 36(8), 2025; as the only loss, Ye, Chi, Plataniotis and Yang, arXiv 2601.02543, 2026
        (both abstracts, and the code of the second). The code stores the centroids Q_a and updates them by gradient
        steps; here they are means, with ``momentum`` over batches. Its normalized features are left to the user.
    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> compact = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 1, 4)
        >>> spread = torch.tensor([2.0, 0.0, -2.0, 0.0]).view(1, 1, 1, 4)
        >>> [round(normalized_conditional_information(z, labels).item(), 2) + 0.0 for z in (compact, spread)]
        [0.0, 0.16]
    """
    return _term(logits, labels, ratio, ignore_index, None).value


def _term(
    logits: Logits, labels: Labels, ratio: Ratio, ignore_index: int | None, average: MovingAverage | None
) -> Term:
    check_choice("ratio", ratio, get_args(Ratio))
    if ratio == "means":
        return information_term(logits, labels, normalized_conditional_mutual_information, ignore_index, average)
    targets, classes = read_targets(logits, labels, ignore_index), class_count(logits)
    log_p = precise(log_probabilities(logits))
    # C×C: the mean predictions of the classes; only their update depends on whether there is a gradient
    sums = gathered(class_sums(log_p.exp(), targets, classes))
    sums = (sums if average is None else average(sums.flatten()).view_as(sums)).detach()
    counts = sums.sum(1, keepdim=True)
    present = counts > 0
    centers = sums / torch.where(present, counts, 1.0)
    log_centers = centers.clamp(min=torch.finfo(centers.dtype).tiny).log()
    # N×C×H×W: KL(Q_a ‖ p_u), and its mean over the other classes
    apart = (centers * log_centers).sum(1).view(-1, 1, 1) - torch.einsum("ab,nbhw->nahw", centers, log_p)
    own = targets.classes.unsqueeze(1)
    others = present.view(-1, 1, 1) & (torch.arange(classes, device=own.device).view(-1, 1, 1) != own)
    separation = torch.where(others, apart, 0.0).sum(1) / classes
    # N×H×W: KL(p_u ‖ Q_y)
    within = (log_p.exp() * (log_p - log_centers[targets.classes].movedim(-1, 1))).sum(1) + _OFFSET
    counted = targets.valid & others.any(1)
    total = torch.where(counted, within / separation.clamp(min=_LEAST_SEPARATION), 0.0).sum()
    dtype = upcast(logits).dtype
    return Term(total.to(dtype) + targets.invalid, targets.valid.sum().to(dtype))


class NormalizedConditionalInformation(InformationLoss):
    """`normalized_conditional_information` as a module.

    Use: predictions that vary within a class, without a second weight to choose.
    Assumes: the pixels of a class in the batch are representative of the class.
    Invariances: permutations of the pixels and of the predicted classes; a shift of a pixel's logits.
    Degenerate solutions: one prediction for all pixels; permuted classes. The scale of the logits alone changes the
        value, not monotonically. So a loss that knows classes and confidence must be added.
    Cost: two maps of the size of the logits and a product of tables; nothing at inference.
    Args: see `normalized_conditional_information`; ``momentum`` of a moving average of the sums, 0 to use each batch
        alone.
    """

    def __init__(
        self, *, ratio: Ratio = "means", momentum: float = 0.0, ignore_index: int | None = IGNORE_INDEX
    ) -> None:
        super().__init__(momentum=momentum, ignore_index=ignore_index)
        check_choice("ratio", ratio, get_args(Ratio))
        self.ratio: Ratio = ratio

    def value(self, sums: PredictionSums) -> Tensor:
        """Return the ratio for the sums."""
        return normalized_conditional_mutual_information(sums)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss times the number of valid pixels, and that number."""
        return _term(logits, labels, self.ratio, self.ignore_index, self.memory)
