"""Marginal prior: the mean prediction of a batch is drawn to known class frequencies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.information import kl_divergence
from segmi.losses.base import ImageSubset, Requirement, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.probabilities import precise
from segmi.losses.targets import check_targets
from segmi.losses.unsupervised._unlabeled import UnlabeledLoss, marginal_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["MarginalPrior", "marginal_prior"]


def marginal_prior(
    logits: Logits, labels: Labels, shares: Tensor, *, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the divergence of the mean prediction of a batch from known class frequencies.

    ``L = KL(p̄ ‖ π)``, ``p̄ = 1/|V| Σ_{u∈V} p_u``, V the valid pixels of all images

    It replaces ``-H(p̄) = KL(p̄ ‖ uniform) - log C`` of information maximization for unbalanced classes.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; only ``ignore_index`` is used.
        shares: π, positive with sum 1, one per class (two for a binary problem).
    Unit and sign: nats, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Boudiaf et al., *Few-Shot Segmentation Without Meta-Learning: A Good Transductive Inference Is All You
        Need?*, CVPR 2021 (from a description), which estimates the frequencies of each image.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.uint8)
        >>> marginal_prior(torch.zeros(1, 2, 1, 2), labels, torch.tensor([0.75, 0.25]))
        tensor(0.1438)
    """
    return marginal_prior_term(logits, labels, shares, ignore_index).value


def marginal_prior_term(logits: Logits, labels: Labels, shares: Tensor, ignore_index: int | None) -> Term:
    """Return `marginal_prior` times the number of valid pixels, and that number."""

    def value(mean: Tensor, mean_entropy: Tensor) -> Tensor:
        return kl_divergence(mean, precise(shares), check=False) + 0 * mean_entropy

    return marginal_term(logits, labels, value, ignore_index)


class MarginalPrior(UnlabeledLoss):
    """`marginal_prior` as a module, with the class frequencies of the labeled training images.

    Use: unlabeled images and known class frequencies, together with `entropy_minimization`.
    Assumes: the images of a batch together have the class frequencies of the dataset; small batches do not.
    Invariances: a shift of a pixel's logits; a permutation of the pixels.
    Degenerate solutions: any prediction with the right frequencies, such as the frequencies at every pixel.
    Cost: two maps of the size of the logits, and the forward pass of the unlabeled images.
    Args:
        class_counts: pixels or frequencies per class; default: counted in the labeled training images.
        applies_to, ignore_index: see `UnlabeledLoss`.
    Raises: RuntimeError if the class counts are not set when it is called.
    """

    requires: tuple[Requirement, ...] = ("class counts",)
    invariances = ("logit shift", "pixel permutation")
    scope = "global"

    def __init__(
        self, *, class_counts: Sequence[float] | None = None, applies_to: ImageSubset = "labeled",
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(applies_to=applies_to, ignore_index=ignore_index)
        self.classes = ClassCounts(class_counts)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss times the number of valid pixels, and that number."""
        check_targets(logits, labels, self.ignore_index)
        return marginal_prior_term(logits, labels, self.classes.shares(logits), self.ignore_index)
