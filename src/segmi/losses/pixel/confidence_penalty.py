"""Confidence penalty: predictions shall not be surer than they need."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.probabilities import count_valid, log_probabilities, pixel_entropies
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def confidence_penalty(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Minus the mean entropy of the predictions.

    ``L = -1/|V| Σ_{u∈V} H(p_u)``, V the valid pixels; of labels only ignored counts

    It pulls the other way than information maximization and entropy minimization do, which want certainty.

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    Unit and sign: nats per pixel, between -log C (uniform) and 0 (certain), minimized; 0, attached to the graph, where
    no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Pereyra, Tucker, Chorowski, Kaiser and Hinton, *Regularizing Neural Networks by Penalizing Confident Output
    Distributions*, 2017; read in its abstract. A weight of 0.1 is what others quote.

    Example:
        >>> confidence_penalty(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # -log 4
        tensor(-1.3863)
    """
    return confidence_penalty_term(logits, labels, ignore_index=ignore_index).value


def confidence_penalty_term(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`confidence_penalty` as the sum over valid pixels and their number."""
    targets = read_targets(logits, labels, ignore_index)
    entropies = pixel_entropies(log_probabilities(logits))
    total = 0 - torch.where(targets.valid, entropies, 0.0).sum()
    return Term(total + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


class ConfidencePenalty(Loss):
    """`confidence_penalty` as a module, to be added to a pixel-wise loss with a weight of 0.1 or so.

    Assumes: that certainty beyond what the labels ask for is overfitting.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes, right or
        wrong.
    Degenerate solutions: uniform predictions are its optimum.
    Cost: two maps of the size of the logits.

    Args:
        ignore_index: the label of ignored pixels.

    Example:
        >>> ConfidencePenalty()(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        tensor(-1.3863)
    """

    family = "pixel"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return confidence_penalty_term(logits, labels, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
