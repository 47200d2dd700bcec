"""Softmax cross-entropy, the pixel-wise loss that the others are compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def cross_entropy(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The mean over valid pixels of minus the log-probability of the true class.

    ``L = -1/|V| Σ_{u∈V} log softmax(z_u)[y_u]``, V the valid pixels; the sigmoid takes the place of the softmax where
    the logits have one channel. ``H(Y) - L`` is a lower bound on the mutual information of image and label.

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 6.2.2.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [3, 255]]]))  # log 4
        tensor(1.3863)
    """
    return cross_entropy_term(logits, labels, ignore_index=ignore_index).value


def cross_entropy_term(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`cross_entropy` as the sum over valid pixels and their number."""
    targets = read_targets(logits, labels, ignore_index)
    z = upcast(logits)
    if z.shape[1] == 1:
        weight, truth = targets.valid.to(z.dtype), targets.classes.to(z.dtype)
        total = F.binary_cross_entropy_with_logits(z[:, 0], truth, weight, reduction="sum")
    else:
        truth = targets.classes.masked_fill(~targets.valid, -100)
        total = F.cross_entropy(z, truth, ignore_index=-100, reduction="sum")
    return Term(total + targets.invalid, targets.valid.sum().to(z.dtype))


class CrossEntropy(Loss):
    """`cross_entropy` as a module.

    Assumes: that pixels count alike, and that a right label is certain: given the image, pixels are independent
        of each other.
    Invariances: a constant added to the logits of a pixel; other names for the classes, in labels and channels
        alike; the order of pixels.
    Degenerate solutions: where the labels can be told, none but logits that grow without end; it never says that a
        rare class is not worth having.
    Cost: one pass over the logits; the unit in which the cost of all others is told.

    Args:
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> CrossEntropy()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
        tensor(1.3863)
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return cross_entropy_term(logits, labels, ignore_index=self.ignore_index)
