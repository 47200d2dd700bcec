"""Entropy minimization: predictions shall be certain, also where nobody has said what is right."""

from __future__ import annotations

from torch import Tensor

from segmi.losses.base import ImageSubset, Loss, Term
from segmi.losses.pixel.confidence_penalty import confidence_penalty_term
from segmi.losses.probabilities import count_valid
from segmi.losses.unsupervised._rows import required_by
from segmi.types import IGNORE_INDEX, Labels, Logits


def entropy_minimization(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The mean entropy of the predictions.

    ``L = 1/|V| Σ_{u∈V} H(p_u)``, V the valid pixels

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type, which only tell
            which pixels are ignored.

    Unit and sign: nats per pixel, between 0 (certain) and log C (uniform), minimized; 0, attached to the graph, where
    no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Grandvalet and Bengio, *Semi-supervised Learning by Entropy Minimization*, NIPS 2004; for segmentation, Vu,
    Jain, Bucher, Cord and Pérez, *ADVENT*, CVPR 2019 (read in its abstract), whose map is divided by log C.

    Example:
        >>> import torch
        >>> entropy_minimization(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 4
        tensor(1.3863)
    """
    return entropy_minimization_term(logits, labels, ignore_index=ignore_index).value


def entropy_minimization_term(logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`entropy_minimization` as the sum over valid pixels and their number."""
    term = confidence_penalty_term(logits, labels, ignore_index=ignore_index)
    return term._replace(numerator=0 - term.numerator)


class EntropyMinimization(Loss):
    """`entropy_minimization` as a module, to be added to a pixel-wise loss with a weight of 0.001 to 0.1.

    Assumes: that borders between classes lie where images have few pixels to show, so that a certain network is a
        right one.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes, right or
        wrong.
    Degenerate solutions: one class everywhere, or any other certain prediction. What is wrong is pulled further.
    Cost: two maps of the size of the logits, and the forward pass of the images without labels.

    Args:
        applies_to: the images that it looks at: ``labeled``, ``unlabeled`` or ``all``.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> EntropyMinimization()(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        tensor(1.3863)
    """

    family = "unsupervised"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def __init__(self, *, applies_to: ImageSubset = "labeled", ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.requires, self.applies_to, self.ignore_index = required_by(applies_to), applies_to, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return entropy_minimization_term(logits, labels, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
