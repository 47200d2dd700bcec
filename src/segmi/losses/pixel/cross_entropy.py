"""Softmax cross-entropy, the baseline of all other losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["CrossEntropy", "cross_entropy"]


def cross_entropy(logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return the mean negative log-probability of the true class over the valid pixels.

    ``L = -1/|V| Σ_{u∈V} log softmax(z_u)[y_u]``, V the valid pixels; a single channel uses the sigmoid

    ``H(Y) - L`` is a lower bound on the mutual information of image and label.

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 6.2.2.
    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [3, 255]]]))  # log 4
        tensor(1.3863)
    """
    return cross_entropy_term(logits, labels, ignore_index).value


def cross_entropy_term(logits: Logits, labels: Labels, ignore_index: int | None) -> Term:
    """Return `cross_entropy` as the sum over the valid pixels and their number."""
    targets = read_targets(logits, labels, ignore_index)
    z = upcast(logits)
    if z.shape[1] == 1:
        weight, truth = targets.valid.to(z.dtype), targets.classes.to(z.dtype)
        total = F.binary_cross_entropy_with_logits(z[:, 0], truth, weight, reduction="sum")
    else:
        truth = targets.classes.masked_fill(~targets.valid, -100)
        # on CUDA the sum of PyTorch is not deterministic
        reduction = "none" if z.is_cuda else "sum"
        total = F.cross_entropy(z, truth, ignore_index=-100, reduction=reduction).sum()
    return Term(total + targets.invalid, targets.valid.sum().to(z.dtype))


class CrossEntropy(PixelLoss):
    """`cross_entropy` as a module.

    Use: the default; every other loss is compared with it.
    Assumes: all pixels have equal weight, labels are certain, and pixels are independent given the image.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the classes.
    Degenerate solutions: none, except logits that grow without bound on separable data.
    Cost: one pass over the logits; the unit of the cost of all other losses.
    Args: see `cross_entropy`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        return cross_entropy_term(logits, labels, self.ignore_index)
