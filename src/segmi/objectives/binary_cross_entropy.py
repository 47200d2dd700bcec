"""Binary cross-entropy: one yes-or-no question per class, the pixel-wise part of the published region loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.arrays import VOID, Labels, Logits
from segmi.objectives.contract import Loss, Term
from segmi.objectives.targets import read_targets, widened


def binary_cross_entropy(logits: Logits, labels: Labels, *, ignore_index: int = VOID) -> Tensor:
    """The binary cross-entropy of every class against the others, summed over classes, averaged over valid pixels.

    ``L = -1/|V| Σ_{u∈V} Σ_c [y_uc log σ(z_uc) + (1 - y_uc) log(1 - σ(z_uc))]``, V the valid pixels, y one-hot; with one
    channel, y is the label itself.

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: nats per pixel, at least 0, minimised; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor void. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, 2019, eq. 17.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [3, 255]]]))  # 4 log 2
        tensor(2.7726)
    """
    return binary_cross_entropy_term(logits, labels, ignore_index=ignore_index).value


def binary_cross_entropy_term(
    logits: Logits, labels: Labels, *, ignore_index: int = VOID, extra_pixels: int = 0
) -> Term:
    """`binary_cross_entropy` as the sum over valid pixels and their number, and ``extra_pixels``, added once."""
    targets = read_targets(logits, labels, ignore_index)
    z = widened(logits)
    total: Tensor = _SummedPixels.apply(z, targets.classes, targets.valid)
    return Term(total + targets.poison, targets.valid.sum().to(z.dtype), once=float(extra_pixels))


class _SummedPixels(torch.autograd.Function):
    """``Σ log(1 + exp(±z))`` over valid pixels and classes, minus where the class is the label's.

    The label stays an index and the gradient is written down instead of recorded, so that no map is kept but the
    logits. The gradient is made of differentiable operations: there are further
    derivatives.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(z, classes, valid)
        index = classes.unsqueeze(1)
        # the sign goes into the logit: log(1 + exp(z)) - z would cancel where z is large
        signed = z.where(index == 0, -z) if z.shape[1] == 1 else z.scatter(1, index, -z.gather(1, index))
        return F.softplus(signed).sum(1).masked_fill_(~valid, 0.0).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        z, classes, valid = ctx.saved_tensors
        index = classes.unsqueeze(1)
        p = z.sigmoid()
        truth_taken = p - index if z.shape[1] == 1 else p.scatter_add(1, index, -torch.ones_like(index, dtype=z.dtype))
        del p
        return truth_taken * (valid.unsqueeze(1) * upstream[0]), None, None


class BinaryCrossEntropy(Loss):
    """`binary_cross_entropy` as a module.

    Args:
        ignore_index: the label of void pixels.

    Example:
        >>> import torch
        >>> BinaryCrossEntropy()(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
        tensor(0.6931)
    """

    family = "pixel-wise"
    invariances = ("class names", "pixel order")

    def __init__(self, *, ignore_index: int = VOID) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return binary_cross_entropy_term(logits, labels, ignore_index=self.ignore_index)
