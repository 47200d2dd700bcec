"""Normalized conditional mutual information: how compact classes are, relative to how far they stand apart."""

from __future__ import annotations

from torch import Tensor

from segmi.information import normalized_conditional_mutual_information
from segmi.losses.base import Loss, Term
from segmi.losses.label_information._sums import Memory, dependence_term
from segmi.losses.probabilities import count_valid
from segmi.types import IGNORE_INDEX, Labels, Logits


def normalized_conditional_information(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The information that a class holds of its pixels, over the distance of the classes.

    ``L = I(X; Ŷ|Y) / Γ``, numerator and denominator as in `conditional_information`

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: none, at least 0, minimized; 0, attached to the graph, where fewer than two classes are in the batch.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning for
    Classification*, IEEE TNNLS 36(8), 2025; as a loss by itself: Ye, Chi, Plataniotis and Yang, arXiv 2601.02543, 2026
    (both read in their abstracts).

    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> compact = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 1, 4)
        >>> spread = torch.tensor([2.0, 0.0, -2.0, 0.0]).view(1, 1, 1, 4)
        >>> [round(normalized_conditional_information(z, labels).item(), 2) + 0.0 for z in (compact, spread)]
        [0.0, 0.16]
    """
    return normalized_conditional_information_term(logits, labels, ignore_index=ignore_index).value


def normalized_conditional_information_term(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, memory: Memory | None = None
) -> Term:
    """`normalized_conditional_information` times the valid pixels, and their number."""
    return dependence_term(
        logits, labels, normalized_conditional_mutual_information, ignore_index=ignore_index, memory=memory
    )


class NormalizedConditionalInformation(Loss):
    """`normalized_conditional_information` as a module.

    Assumes: that the pixels of a class in the batch stand for the class.
    Invariances: any permutation of the predicted classes, and of the pixels; a constant added to the logits of a pixel.
    Degenerate solutions: all pixels with one prediction; classes under wrong names. It can be lowered by the scale of
        the logits alone, and is not monotone in it. So give it a loss beside it that knows names and certainty.
    Cost: two maps of the size of the logits, and a product of tables; nothing at inference.

    Args:
        momentum: m of a moving average of the batches' table (0.9, say), for batches too small to stand for the whole;
            0: of every batch its own. Every network has an average of its own.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> NormalizedConditionalInformation()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
        tensor(0.)
    """

    family = "label_information"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(self, *, momentum: float = 0.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.memory, self.stateful = Memory(momentum) if momentum else None, momentum > 0

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss times the valid pixels, and their number."""
        return normalized_conditional_information_term(
            logits, labels, ignore_index=self.ignore_index, memory=self.memory
        )

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
