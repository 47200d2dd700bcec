"""Focal loss: correctly classified pixels have less weight."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.option_checks import check_non_negative
from segmi.losses.probabilities import log_probabilities, one_hot, pixel_cross_entropies
from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["Focal", "focal"]


def focal(logits: Logits, labels: Labels, *, focus: float = 2.0, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return the cross-entropy of each pixel, weighted by a power of the probability of the other classes.

    ``L = -1/|V| Σ_{u∈V} (1 - p_u)^γ log p_u``, p_u the softmax probability of the true class, V the valid pixels

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        focus: γ, at least 0; 0 gives cross-entropy.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Lin, Goyal, Girshick, He and Dollár, *Focal Loss for Dense Object Detection*, ICCV 2017, eq. 4, with a
        softmax instead of one sigmoid per class.
    Example:
        >>> focal(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 2 / 4
        tensor(0.1733)
    """
    return focal_term(logits, labels, focus, ignore_index).value


def focal_term(logits: Logits, labels: Labels, focus: float, ignore_index: int | None) -> Term:
    """Return `focal` as the sum over the valid pixels and their number."""
    check_non_negative(focus=focus)
    targets = read_targets(logits, labels, ignore_index)
    losses = pixel_cross_entropies(logits, targets)
    if focus:
        # (1 - p)^γ in the log domain; γ = 0 is left out, where 0 · -∞ would be NaN at p = 1
        losses = torch.exp(focus * _log_error(logits, targets)) * losses
    return Term(losses.sum() + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


def _log_error(logits: Tensor, targets: Targets) -> Tensor:
    # log(1 - p) as the log-probability of the other classes, which stays exact where p rounds to 1
    log_p = log_probabilities(logits)
    return log_p.masked_fill(one_hot(targets, log_p.shape[1]), float("-inf")).logsumexp(1)


class Focal(PixelLoss):
    """`focal` as a module.

    Use: many easy pixels that outweigh a few difficult ones, as with a small foreground.
    Assumes: misclassified pixels deserve more of the gradient than cross-entropy gives them.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the classes.
    Degenerate solutions: none. It is not a proper scoring rule: its optimum is less confident than the labels, and
        wrong labels, which stay hard, keep their gradient.
    Cost: two maps of the size of the logits more than cross-entropy.
    Args: see `focal`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, focus: float = 2.0, ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        check_non_negative(focus=focus)
        self.focus = focus

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        return focal_term(logits, labels, self.focus, self.ignore_index)
