"""Cross-entropy whose classes count by how rare they are in the dataset."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.probabilities import pixel_surprises
from segmi.losses.targets import check_targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def weighted_cross_entropy(
    logits: Logits, labels: Labels, weights: Tensor, *, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The mean of minus the log-probability of the true class, every pixel weighted by its class.

    ``L = -Σ_{u∈V} w_{y_u} log softmax(z_u)[y_u] / Σ_{u∈V} w_{y_u}``, V the valid pixels

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        weights: w, at least 0, one per class (two for a binary problem).
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: King and Zeng, *Logistic Regression in Rare Events Data*, Political Analysis 9(2), 2001.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # sure of class 0, then undecided
        >>> weighted_cross_entropy(logits, torch.tensor([[[0, 1]]]), torch.tensor([0.0, 1.0]))  # log 2
        tensor(0.6931)
    """
    return weighted_cross_entropy_term(logits, labels, weights, ignore_index=ignore_index).value


def weighted_cross_entropy_term(
    logits: Logits, labels: Labels, weights: Tensor, *, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`weighted_cross_entropy` as the weighted sum over valid pixels and the sum of their weights."""
    targets = read_targets(logits, labels, ignore_index)
    pixel_weights = weights.to(upcast(logits).dtype)[targets.classes] * targets.valid
    total = (pixel_weights * pixel_surprises(logits, targets)).sum()
    return Term(total + targets.invalid, pixel_weights.sum())


class WeightedCrossEntropy(Loss):
    """`weighted_cross_entropy` with weights ``w_c = π_c^-γ`` by the shares π of the classes in the training images.

    Assumes: that what a class is worth hangs on how many pixels it has in the dataset, wherever they are.
    Invariances: a constant added to the logits of a pixel; the order of the pixels.
    Degenerate solutions: none of its own. Rare classes are overrated: a weight is to the optimum what a prior is, so
        their recall rises and the share of right pixels falls.
    Cost: as cross-entropy.

    Args:
        class_counts: pixels or shares per class; taken from the training images by default.
        power: γ in [0, 1]: 1 makes the classes equal, 0 the pixels.
        ignore_index: the label of ignored pixels.

    Raises:
        RuntimeError: when called, no class counts are known.

    Example:
        >>> import torch
        >>> WeightedCrossEntropy(class_counts=[3, 1])(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 0, 1]]]))
        tensor(0.6931)
    """

    family = "pixel"
    requires = ("class counts",)
    invariances = ("logit shift", "pixel permutation")

    def __init__(
        self, *, class_counts: Sequence[float] | None = None, power: float = 1.0, ignore_index: int = IGNORE_INDEX
    ) -> None:
        super().__init__()
        if not 0 <= power <= 1:
            raise ValueError(f"power: expected a number from 0 to 1, got {power!r}; 1 makes all classes equal")
        self.classes, self.power, self.ignore_index = ClassCounts(class_counts), power, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The weighted sum over valid pixels and the sum of their weights."""
        weights = self._weights(logits, labels)
        return weighted_cross_entropy_term(logits, labels, weights, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The sum of the weights of the valid pixels."""
        weights = self._weights(logits, labels).to(upcast(logits).dtype)
        targets = read_targets(logits.detach(), labels, self.ignore_index)
        return {"": (weights[targets.classes] * targets.valid).sum()}

    def _weights(self, logits: Logits, labels: Labels) -> Tensor:
        check_targets(logits, labels)
        return self.classes.shares(logits) ** -self.power
