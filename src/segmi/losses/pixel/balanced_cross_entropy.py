"""Cross-entropy with equal weight for all classes of an image."""

from __future__ import annotations

from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.probabilities import count_pairs, image_counts, pixel_cross_entropies
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["BalancedCrossEntropy", "balanced_cross_entropy"]


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
