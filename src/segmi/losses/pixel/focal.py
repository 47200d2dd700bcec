"""Focal loss: pixels that are right already count less."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.probabilities import count_valid, log_probabilities, memberships, pixel_surprises
from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def focal(logits: Logits, labels: Labels, *, focus: float = 2.0, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The cross-entropy of every pixel times a power of the probability that it is wrong.

    ``L = -1/|V| Σ_{u∈V} (1 - p_u)^γ log p_u`` with p_u the softmax probability of the true class, V the valid pixels

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        focus: γ, at least 0; 0 is cross-entropy.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a negative focus, shapes that do not match; on the CPU, ids that are neither class nor ignored. On
            other devices those give NaN, and so do NaN logits everywhere.

    Source: Lin, Goyal, Girshick, He and Dollár, *Focal Loss for Dense Object Detection*, ICCV 2017, eq. 4, with the
    softmax in the place of a sigmoid per class.

    Example:
        >>> focal(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 2 / 4
        tensor(0.1733)
    """
    return focal_term(logits, labels, focus=focus, ignore_index=ignore_index).value


def focal_term(logits: Logits, labels: Labels, *, focus: float = 2.0, ignore_index: int = IGNORE_INDEX) -> Term:
    """`focal` as the sum over valid pixels and their number."""
    _check_focus(focus)
    targets = read_targets(logits, labels, ignore_index)
    surprises = pixel_surprises(logits, targets)
    if focus:
        surprises = torch.exp(focus * _log_doubt(logits, targets)) * surprises
    return Term(surprises.sum() + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


def _log_doubt(logits: Tensor, targets: Targets) -> Tensor:
    """``log(1 - p)`` as the log-probability of the other classes, which stays exact where p rounds to 1."""
    log_p = log_probabilities(logits)
    true = memberships(targets, log_p.shape[1])
    return log_p.masked_fill(true, float("-inf")).logsumexp(1)


def _check_focus(focus: float) -> None:
    if not focus >= 0:
        raise ValueError(f"focus: expected a number of at least 0, got {focus!r}; 2 is published")


class Focal(Loss):
    """`focal` as a module.

    Assumes: that pixels which are wrong deserve more of the gradient than they have.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes.
    Degenerate solutions: none of its own. It is no proper scoring rule: its optimum is less certain than the labels,
        and wrong labels, which stay hard, keep the gradient.
    Cost: two maps of the size of the logits more than cross-entropy.

    Args:
        focus: γ, at least 0.
        ignore_index: the label of ignored pixels.

    Example:
        >>> Focal(focus=0.0)(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, focus: float = 2.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check_focus(focus)
        self.focus, self.ignore_index = focus, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return focal_term(logits, labels, focus=self.focus, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
