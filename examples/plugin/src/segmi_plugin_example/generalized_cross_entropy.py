"""Generalized cross-entropy: between cross-entropy and the mean absolute error."""

import torch

from segmi.losses import PixelLoss, Term
from segmi.losses.probabilities import pixel_cross_entropies
from segmi.losses.targets import read_targets, upcast


class GeneralizedCrossEntropy(PixelLoss):
    """Return ``1/|V| Σ_{u∈V} (1 - p_u^q) / q``, p_u the probability of the true class, V the valid pixels.

    Pixels with wrong labels have less weight than in cross-entropy, the limit for q → 0.

    Args:
        q: above 0, at most 1, where the loss is the absolute error.
        ignore_index: label of ignored pixels.
    Source: Zhang and Sabuncu, *Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels*,
        NeurIPS 2018.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, q: float = 0.7, ignore_index: int | None = 255) -> None:
        super().__init__(ignore_index=ignore_index)
        if not 0 < q <= 1:
            raise ValueError(f"q: expected a number above 0 and at most 1, got {q}. Fix: use 0.7, as the paper does")
        self.q = q

    def term(self, logits: torch.Tensor, labels: torch.Tensor) -> Term:
        """Return the sum over the valid pixels and their number."""
        targets = read_targets(logits, labels, self.ignore_index)
        cross_entropies = pixel_cross_entropies(logits, targets)  # -log p, and 0 at ignored pixels
        total = (-torch.expm1(-self.q * cross_entropies) / self.q).sum()
        return Term(total + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))
