"""Soft-confusion mutual information: of the label and a class drawn from the prediction."""

from __future__ import annotations

from torch import Tensor

from segmi.information import PredictionSums, soft_confusion_mutual_information
from segmi.losses.label_information._information_loss import InformationLoss, information_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["SoftConfusion", "soft_confusion"]


def soft_confusion(logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return minus the mutual information of the label and a class drawn from the prediction.

    ``L = -I(Y; Ŷ) = -Σ_ab Q(a, b) log [Q(a, b) / (Q(a) Q(b))]``, ``Q(a, b) = 1/|V| Σ_{u∈V: y_u=a} p_u(b)``, V the valid
    pixels of all images

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar.
    Unit and sign: nats, between ``-H(Y)`` (a distinct certain prediction for every class) and 0 (independent),
        minimized; 0, attached to the graph, if no pixel is valid.
    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 3, with the label as the
        second view. No published segmentation network trained with it under this name is known to us.
    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 1], [0, 1]]])
        >>> certain = 30.0 * torch.nn.functional.one_hot(1 - labels, 2).movedim(-1, 1)  # always the other class
        >>> soft_confusion(certain, labels)  # -log 2
        tensor(-0.6931)
    """
    return information_term(logits, labels, _value, ignore_index).value


def _value(sums: PredictionSums) -> Tensor:
    # 0 - x instead of -x gives +0
    return 0 - soft_confusion_mutual_information(sums)


class SoftConfusion(InformationLoss):
    """`soft_confusion` as a module, added to a pixel loss with a weight of about 0.01 to 0.1.

    Use: classes that are confused systematically, added to cross-entropy with a small weight.
    Assumes: the images of a batch, over all processes, are representative: rare classes have noisy rows.
    Invariances: permutations of the pixels and of the predicted classes; a shift of a pixel's logits.
    Degenerate solutions: permuted classes have the same value as correct ones, so a loss that knows the classes must be
        added. The gradient is 0 if all pixels have the same prediction.
    Cost: two maps of the size of the logits and a product of tables; nothing at inference.
    Args: ``momentum`` of a moving average of the sums, 0 to use each batch alone.
    """

    def value(self, sums: PredictionSums) -> Tensor:
        """Return minus the mutual information of the sums."""
        return _value(sums)
