"""Cross-entropy with smoothed labels."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.probabilities import log_probabilities, pixel_cross_entropies
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["LabelSmoothing", "label_smoothing"]


def label_smoothing(
    logits: Logits, labels: Labels, *, smoothing: float = 0.1, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the cross-entropy relative to a mixture of the label and the uniform distribution.

    ``L = -1/|V| Σ_{u∈V} Σ_c [(1 - ε) y_uc + ε/C] log softmax(z_u)[c]``, V the valid pixels, y one-hot

    A control for mutual learning, where the predictions of a peer smooth the labels.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        smoothing: ε in [0, 1).
    Unit and sign: nats per pixel, at least the entropy of the smoothed label, minimized; 0, attached to the graph, if
        no pixel is valid.
    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, *Rethinking the Inception Architecture for Computer Vision*,
        CVPR 2016, section 7.
    Example:
        >>> label_smoothing(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 4 for any ε
        tensor(1.3863)
    """
    return label_smoothing_term(logits, labels, smoothing, ignore_index).value


def label_smoothing_term(logits: Logits, labels: Labels, smoothing: float, ignore_index: int | None) -> Term:
    """Return `label_smoothing` as the sum over the valid pixels and their number."""
    _check_smoothing(smoothing)
    targets = read_targets(logits, labels, ignore_index)
    # cross-entropy relative to the uniform distribution
    uniform = torch.where(targets.valid, 0 - log_probabilities(logits).mean(1), 0.0)
    total = ((1 - smoothing) * pixel_cross_entropies(logits, targets) + smoothing * uniform).sum()
    return Term(total + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"smoothing: expected a number from 0 to below 1, got {smoothing!r}. Fix: use 0.1, as published"
        )


class LabelSmoothing(PixelLoss):
    """`label_smoothing` as a module; it replaces the cross-entropy.

    Use: calibration and wrong labels; the first control of mutual learning and distillation.
    Assumes: labels are uncertain, and every other class is equally likely to be the true one.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the classes.
    Degenerate solutions: none. Its optimum is less confident than the labels by design.
    Cost: one map of the size of the logits more than cross-entropy.
    Args: see `label_smoothing`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, smoothing: float = 0.1, ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        _check_smoothing(smoothing)
        self.smoothing = smoothing

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        return label_smoothing_term(logits, labels, self.smoothing, self.ignore_index)
