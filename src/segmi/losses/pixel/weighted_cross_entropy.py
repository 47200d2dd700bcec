"""Cross-entropies with class weights: from the class frequencies of the dataset, or equal within an image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.probabilities import count_pairs, image_counts, pixel_cross_entropies
from segmi.losses.targets import check_targets, class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["BalancedCrossEntropy", "WeightedCrossEntropy", "balanced_cross_entropy", "weighted_cross_entropy"]


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

    Use: rare classes, weighted by their frequency in the dataset; works with any batch size.
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


def balanced_cross_entropy(logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return the cross-entropy, averaged over the pixels of each class in each image, then over these pairs.

    ``L = -1/|K| Σ_{(n,c)∈K} 1/|V_nc| Σ_{u∈V_nc} log softmax(z_u)[c]``, V_nc the pixels of class c in image n, K the
    pairs with at least one pixel

    A control for region mutual information, which has the same balance among others.

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar.
    Unit and sign: nats, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.
    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])
        >>> logits = torch.tensor([[[[30.0, 30.0, 30.0, 30.0]], [[0.0, 0.0, 0.0, 0.0]]]])  # class 0 everywhere
        >>> balanced_cross_entropy(logits, labels)  # half of 30; cross-entropy gives a quarter
        tensor(15.)
    """
    return balanced_cross_entropy_term(logits, labels, ignore_index).value


def balanced_cross_entropy_term(logits: Logits, labels: Labels, ignore_index: int | None) -> Term:
    """Return `balanced_cross_entropy` as the sum over pairs of image and class and their number."""
    targets = read_targets(logits, labels, ignore_index)
    counts = image_counts(targets, class_count(logits))
    # N×C weights: one over the pixels of the class in the image
    shares = 1 / counts.clamp(min=1).to(upcast(logits).dtype)
    # the weight of each pixel's class, N×H×W
    weights = shares.gather(1, targets.classes.flatten(1)).view_as(targets.classes) * targets.valid
    total = (weights * pixel_cross_entropies(logits, targets)).sum()
    return Term(total + targets.invalid, (counts > 0).sum().to(total.dtype))


class BalancedCrossEntropy(PixelLoss):
    """`balanced_cross_entropy` as a module.

    Use: small or rare classes that matter as much as large ones in each image.
    Assumes: a class has the same weight in every image that contains it.
    Invariances: a shift of a pixel's logits; a permutation of the classes.
    Degenerate solutions: none. A single pixel can have as much weight as a whole road, so a few wrong labels have a
        large effect.
    Cost: one map of the size of the logits more than cross-entropy.
    Args: see `balanced_cross_entropy`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over pairs of image and class and their number."""
        return balanced_cross_entropy_term(logits, labels, self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of pairs."""
        return {"": count_pairs(logits, labels, self.ignore_index)}
