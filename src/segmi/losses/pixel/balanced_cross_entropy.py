"""Cross-entropy in which every class of an image counts the same, however few its pixels."""

from __future__ import annotations

from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.probabilities import image_counts, pixel_surprises
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def balanced_cross_entropy(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The cross-entropy averaged over the pixels of a class in an image first, then over these pairs.

    ``L = -1/|K| Σ_{(n,c)∈K} 1/|V_nc| Σ_{u∈V_nc} log softmax(z_u)[c]``, V_nc the pixels of class c in image n, K the
    pairs that have some

    Region mutual information divides by what is open of each class in each image; this is that balance by itself.

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: nats, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])
        >>> logits = torch.tensor([[[[30.0, 30.0, 30.0, 30.0]], [[0.0, 0.0, 0.0, 0.0]]]])  # class 0 everywhere
        >>> balanced_cross_entropy(logits, labels)  # half of 30; cross-entropy makes it a quarter
        tensor(15.)
    """
    return balanced_cross_entropy_term(logits, labels, ignore_index=ignore_index).value


def balanced_cross_entropy_term(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`balanced_cross_entropy` as the sum over pairs of image and class and their number."""
    targets = read_targets(logits, labels, ignore_index)
    counts = image_counts(targets, class_count(logits))
    shares = 1 / counts.clamp(min=1).to(upcast(logits).dtype)
    weights = shares.gather(1, targets.classes.flatten(1)).view_as(targets.classes) * targets.valid
    total = (weights * pixel_surprises(logits, targets)).sum()
    return Term(total + targets.invalid, (counts > 0).sum().to(total.dtype))


class BalancedCrossEntropy(Loss):
    """`balanced_cross_entropy` as a module.

    Assumes: that a class matters in an image as soon as it is there.
    Invariances: a constant added to the logits of a pixel; the names of the classes.
    Degenerate solutions: none of its own. A single pixel can count as much as a whole road: labels that are wrong in a
        few places weigh heavily.
    Cost: one map of the size of the logits more than cross-entropy, for counting.

    Args:
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> BalancedCrossEntropy()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation")

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over pairs of image and class and their number."""
        return balanced_cross_entropy_term(logits, labels, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of pairs."""
        counts = image_counts(read_targets(logits, labels, self.ignore_index), class_count(logits))
        return {"": (counts > 0).sum().to(upcast(logits).dtype)}
