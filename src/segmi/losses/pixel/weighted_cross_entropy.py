"""Cross-entropy with a weight per class, from the class frequencies of the dataset."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.probabilities import pixel_cross_entropies
from segmi.losses.targets import check_targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["WeightedCrossEntropy", "weighted_cross_entropy"]


def weighted_cross_entropy(
    logits: Logits, labels: Labels, weights: Tensor, *, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the mean negative log-probability of the true class, weighted by class.

    ``L = -Σ_{u∈V} w_{y_u} log softmax(z_u)[y_u] / Σ_{u∈V} w_{y_u}``, V the valid pixels

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        weights: w, at least 0, one per class (two for a binary problem).
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: King and Zeng, *Logistic Regression in Rare Events Data*, Political Analysis 9(2), 2001.
    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # confident in class 0, then uniform
        >>> weighted_cross_entropy(logits, torch.tensor([[[0, 1]]]), torch.tensor([0.0, 1.0]))  # log 2
        tensor(0.6931)
    """
    return weighted_cross_entropy_term(logits, labels, weights, ignore_index).value


def weighted_cross_entropy_term(logits: Logits, labels: Labels, weights: Tensor, ignore_index: int | None) -> Term:
    """Return `weighted_cross_entropy` as the weighted sum over the valid pixels and the sum of their weights."""
    targets = read_targets(logits, labels, ignore_index)
    # weight of each pixel's class, 0 at ignored pixels
    pixel_weights = weights.to(upcast(logits).dtype)[targets.classes] * targets.valid
    total = (pixel_weights * pixel_cross_entropies(logits, targets)).sum()
    return Term(total + targets.invalid, pixel_weights.sum())


class WeightedCrossEntropy(PixelLoss):
    """`weighted_cross_entropy` with weights ``w_c = π_c^-γ``, π the class frequencies in the training images.

    Assumes: the weight of a class depends only on its number of pixels in the dataset.
    Invariances: a shift of a pixel's logits; a permutation of the pixels.
    Degenerate solutions: none. Rare classes are overestimated, as by a changed prior: their recall increases and pixel
        accuracy decreases.
    Cost: as cross-entropy.
    Args:
        class_counts: pixels or frequencies per class; default: counted in the training images.
        power: γ in [0, 1]; 1 gives equal weight to classes, 0 to pixels.
    Raises: RuntimeError if the class counts are not set when it is called.
    """

    family = "pixel"
    requires = ("class counts",)
    invariances = ("logit shift", "pixel permutation")

    def __init__(
        self,
        *,
        class_counts: Sequence[float] | None = None,
        power: float = 1.0,
        ignore_index: int | None = IGNORE_INDEX,
    ) -> None:
        super().__init__(ignore_index=ignore_index)
        if not 0 <= power <= 1:
            raise ValueError(f"power: expected a number from 0 to 1, got {power!r}. Fix: use 1 for equal classes")
        self.classes, self.power = ClassCounts(class_counts), power

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the weighted sum over the valid pixels and the sum of their weights."""
        return weighted_cross_entropy_term(logits, labels, self._weights(logits, labels), self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the sum of the weights of the valid pixels."""
        weights = self._weights(logits, labels).to(upcast(logits).dtype)
        targets = read_targets(logits.detach(), labels, self.ignore_index)
        return {"": (weights[targets.classes] * targets.valid).sum()}

    def _weights(self, logits: Logits, labels: Labels) -> Tensor:
        check_targets(logits, labels, self.ignore_index)
        # shares are at least one pixel's, so the weights are finite
        return self.classes.shares(logits) ** -self.power
