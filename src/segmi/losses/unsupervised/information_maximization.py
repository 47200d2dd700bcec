"""Information maximization: predictions that are confident one by one and diverse together."""

from __future__ import annotations

from torch import Tensor

from segmi.information import entropy
from segmi.losses.base import ImageSubset, Term
from segmi.losses.option_checks import check_non_negative
from segmi.losses.unsupervised._unlabeled import UnlabeledLoss, marginal_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["InformationMaximization", "information_maximization"]


def information_maximization(
    logits: Logits, labels: Labels, *, certainty: float = 1.0, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return minus the mutual information of pixel and predicted class: mean entropy minus entropy of the mean.

    ``L = α 1/|V| Σ_{u∈V} H(p_u) - H(p̄)``, ``p̄ = 1/|V| Σ_{u∈V} p_u``, V the valid pixels of all images

    For α = 1 it is ``-I(X; Ŷ) = -I(Y; Ŷ) - I(X; Ŷ|Y)`` for any labels Y: `soft_confusion` maximizes the first part,
    `conditional_information` minimizes the second.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; only ``ignore_index`` is used.
        certainty: α, at least 0, the weight of the mean entropy.
    Unit and sign: nats, at least -log C, minimized; 0 if all pixels have the same certain prediction, or for α = 1 any
        common prediction; 0, attached to the graph, if no pixel is valid.
    Source: Bridle, Heading and MacKay, *Unsupervised Classifiers, Mutual Information and 'Phantom Targets'*, NIPS 1991;
        Krause, Perona and Gomes, *Discriminative Clustering by Regularized Information Maximization*, NIPS 2010; with
        α, Boudiaf et al., *Transductive Information Maximization for Few-Shot Learning*, NeurIPS 2020 (abstract only;
        the older two from the literature).
    Example:
        >>> import torch
        >>> diverse = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> information_maximization(diverse, torch.zeros(1, 1, 2, dtype=torch.uint8))  # -log 2
        tensor(-0.6931)
    """
    return information_maximization_term(logits, labels, certainty, ignore_index).value


def information_maximization_term(logits: Logits, labels: Labels, certainty: float, ignore_index: int | None) -> Term:
    """Return `information_maximization` times the number of valid pixels, and that number."""
    check_non_negative(certainty=certainty)

    def value(mean: Tensor, mean_entropy: Tensor) -> Tensor:
        return certainty * mean_entropy - entropy(mean, check=False)

    return marginal_term(logits, labels, value, ignore_index)


class InformationMaximization(UnlabeledLoss):
    """`information_maximization` as a module, added to a pixel loss with a weight of about 0.01 to 0.1.

    Use: unlabeled images, or adaptation to other images, if the classes have similar frequencies.
    Assumes: all classes have the same number of pixels in a batch, which is false for scenes: if the class frequencies
        are known, use `segmi.losses.MarginalPrior` with entropy minimization.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the predicted classes.
    Degenerate solutions: any certain prediction with equal class frequencies, related to the image or not. The gradient
        is 0 if all pixels have the same prediction.
    Cost: two maps of the size of the logits, and the forward pass of the unlabeled images.
    Args: see `information_maximization` and `UnlabeledLoss`.
    """

    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(
        self, *, certainty: float = 1.0, applies_to: ImageSubset = "labeled", ignore_index: int | None = IGNORE_INDEX
    ) -> None:
        super().__init__(applies_to=applies_to, ignore_index=ignore_index)
        check_non_negative(certainty=certainty)
        self.certainty = certainty

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss times the number of valid pixels, and that number."""
        return information_maximization_term(logits, labels, self.certainty, self.ignore_index)
