"""Entropy minimization: confident predictions, also without labels."""

from __future__ import annotations

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.pixel.confidence_penalty import confidence_penalty_term
from segmi.losses.unsupervised._unlabeled import UnlabeledLoss
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["EntropyMinimization", "entropy_minimization"]


def entropy_minimization(logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return the mean entropy of the predictions.

    ``L = 1/|V| Σ_{u∈V} H(p_u)``, V the valid pixels

    Shapes: logits N×C×H×W (C = 1 if binary) and labels N×H×W, integer, to a scalar; only ``ignore_index`` matters.
    Unit and sign: nats per pixel, between 0 (certain) and log C (uniform), minimized; 0, attached to the graph, if no
        pixel is valid.
    Source: Grandvalet and Bengio, *Semi-supervised Learning by Entropy Minimization*, NIPS 2004; for segmentation, Vu,
        Jain, Bucher, Cord and Pérez, *ADVENT*, CVPR 2019 (abstract only), which divides by log C.
    Example:
        >>> import torch
        >>> entropy_minimization(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """
    return entropy_minimization_term(logits, labels, ignore_index).value


def entropy_minimization_term(logits: Logits, labels: Labels, ignore_index: int | None) -> Term:
    """Return `entropy_minimization` as the sum over the valid pixels and their number."""
    term = confidence_penalty_term(logits, labels, ignore_index)
    return term._replace(numerator=0 - term.numerator)


class EntropyMinimization(UnlabeledLoss):
    """`entropy_minimization` as a module, added to a pixel loss with a weight of about 0.001 to 0.1.

    Use: unlabeled images, with a small weight; the first control of other unsupervised losses.
    Assumes: class borders are in regions with few pixels, so that a confident network is a correct one.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the predicted classes.
    Degenerate solutions: one class everywhere, or any other certain prediction. Errors are reinforced.
    Cost: two maps of the size of the logits, and the forward pass of the unlabeled images.
    Args: see `UnlabeledLoss`.
    """

    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        return entropy_minimization_term(logits, labels, self.ignore_index)
