"""Confidence penalty: predictions of low entropy are penalized."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.probabilities import log_probabilities, pixel_entropies
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["ConfidencePenalty", "confidence_penalty"]


def confidence_penalty(logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return minus the mean entropy of the predictions.

    ``L = -1/|V| Σ_{u∈V} H(p_u)``, V the valid pixels

    The opposite of information maximization and entropy minimization, which increase confidence.

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar; only ``ignore_index`` matters.
    Unit and sign: nats per pixel, between -log C (uniform) and 0 (certain), minimized; 0, attached to the graph, if no
        pixel is valid.
    Source: Pereyra, Tucker, Chorowski, Kaiser and Hinton, *Regularizing Neural Networks by Penalizing Confident Output
        Distributions*, 2017 (abstract only; the usual weight of 0.1 is from citations).
    Example:
        >>> confidence_penalty(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # -log 4
        tensor(-1.3863)
    """
    return confidence_penalty_term(logits, labels, ignore_index).value


def confidence_penalty_term(logits: Logits, labels: Labels, ignore_index: int | None) -> Term:
    """Return `confidence_penalty` as the sum over the valid pixels and their number."""
    targets = read_targets(logits, labels, ignore_index)
    entropies = pixel_entropies(log_probabilities(logits))
    total = 0 - torch.where(targets.valid, entropies, 0.0).sum()
    return Term(total + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


class ConfidencePenalty(PixelLoss):
    """`confidence_penalty` as a module, added to a cross-entropy with a weight of about 0.1.

    Use: overconfident predictions, added to cross-entropy with a weight of about 0.1; a control of mutual learning.
    Assumes: more confidence than the labels require is overfitting.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the predicted classes.
    Degenerate solutions: uniform predictions are its optimum.
    Cost: two maps of the size of the logits.
    Args: see `confidence_penalty`.
    """

    family = "pixel"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        return confidence_penalty_term(logits, labels, self.ignore_index)
