"""Normalized conditional mutual information: compactness of the classes relative to their separation."""

from __future__ import annotations

from torch import Tensor

from segmi.information import PredictionSums, normalized_conditional_mutual_information
from segmi.losses.label_information._information_loss import InformationLoss, information_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["NormalizedConditionalInformation", "normalized_conditional_information"]


def normalized_conditional_information(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Return the conditional information of pixel and prediction given the class, divided by the class separation.

    ``L = I(X; Ŷ|Y) / Γ``, numerator and denominator as in `conditional_information`

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar.
    Unit and sign: none, at least 0, minimized; 0, attached to the graph, if the batch has fewer than two classes.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning for
        Classification*, IEEE TNNLS 36(8), 2025; as the only loss, Ye, Chi, Plataniotis and Yang, arXiv 2601.02543, 2026
        (both abstracts only).
    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> compact = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 1, 4)
        >>> spread = torch.tensor([2.0, 0.0, -2.0, 0.0]).view(1, 1, 1, 4)
        >>> [round(normalized_conditional_information(z, labels).item(), 2) + 0.0 for z in (compact, spread)]
        [0.0, 0.16]
    """
    return information_term(logits, labels, normalized_conditional_mutual_information, ignore_index).value


class NormalizedConditionalInformation(InformationLoss):
    """`normalized_conditional_information` as a module.

    Assumes: the pixels of a class in the batch are representative of the class.
    Invariances: permutations of the pixels and of the predicted classes; a shift of a pixel's logits.
    Degenerate solutions: one prediction for all pixels; permuted classes. The scale of the logits alone changes the
        value, not monotonically. So a loss that knows classes and confidence must be added.
    Cost: two maps of the size of the logits and a product of tables; nothing at inference.
    Args: ``momentum`` of a moving average of the sums, 0 to use each batch alone.
    """

    def value(self, sums: PredictionSums) -> Tensor:
        """Return the ratio for the sums."""
        return normalized_conditional_mutual_information(sums)
