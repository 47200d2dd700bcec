"""Soft-confusion mutual information: what a class drawn from the prediction tells about the label."""

from __future__ import annotations

from torch import Tensor

from segmi.information import soft_confusion_mutual_information
from segmi.losses.base import Loss, Term
from segmi.losses.label_information._sums import Memory, dependence_term
from segmi.losses.probabilities import count_valid
from segmi.types import IGNORE_INDEX, Labels, Logits


def soft_confusion(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Minus the mutual information of the label and a class drawn from the prediction, over the pixels of a batch.

    ``L = -I(Y; Ŷ) = -Σ_ab Q(a, b) log [Q(a, b) / (Q(a) Q(b))]`` with ``Q(a, b) = 1/|V| Σ_{u∈V: y_u=a} p_u(b)``, V the
    valid pixels of all images

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: nats, between ``-H(Y)`` (every class has a prediction of its own) and 0 (the prediction tells
    nothing), minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: the loss of Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 3, with the
    label in the place of the second view. Nobody is known to have trained a segmentation network on it under this name.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[[0, 1], [0, 1]]])
        >>> certain = 30.0 * torch.nn.functional.one_hot(1 - labels, 2).movedim(-1, 1)  # always the other class
        >>> soft_confusion(certain, labels)  # -log 2
        tensor(-0.6931)
    """
    return soft_confusion_term(logits, labels, ignore_index=ignore_index).value


def soft_confusion_term(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, memory: Memory | None = None
) -> Term:
    """`soft_confusion` times the valid pixels, and their number."""
    return dependence_term(
        logits, labels, lambda sums: 0 - soft_confusion_mutual_information(sums), ignore_index=ignore_index,
        memory=memory,
    )  # fmt: skip


class SoftConfusion(Loss):
    """`soft_confusion` as a module, to be added to a pixel-wise loss with a weight of 0.01 to 0.1 or so.

    Assumes: that the images of a batch, those of all processes together, stand for the law of labels and predictions:
        a class with few pixels in the batch has a rough row in the table.
    Invariances: any permutation of the predicted classes, and of the pixels; a constant added to the logits of a pixel.
    Degenerate solutions: classes under wrong names are worth as much as right ones, so it needs a loss beside it that
        knows the names. Where all pixels get one prediction its gradient is 0.
    Cost: two maps of the size of the logits, and a product of tables; nothing at inference.

    Args:
        momentum: m of a moving average of the batches' table (0.9, say), for batches too small to stand for the whole;
            0: of every batch its own. Every network has an average of its own.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> SoftConfusion()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
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
        return soft_confusion_term(logits, labels, ignore_index=self.ignore_index, memory=self.memory)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
