"""Cross-entropy against labels of which a share is spread over all classes."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.probabilities import count_valid, log_probabilities, pixel_surprises
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def label_smoothing(
    logits: Logits, labels: Labels, *, smoothing: float = 0.1, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The cross-entropy of the prediction relative to a label that is mixed with the uniform distribution.

    ``L = -1/|V| Σ_{u∈V} Σ_c [(1 - ε) y_uc + ε/C] log softmax(z_u)[c]``, V the valid pixels, y one-hot

    Mutual learning of two networks is cross-entropy against labels smoothed by each other; this one knows no peer.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        smoothing: ε in [0, 1).
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats per pixel, at least the entropy of the smoothed label, minimized; 0, attached to the graph,
    where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a smoothing outside [0, 1), shapes that do not match; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, *Rethinking the Inception Architecture for Computer Vision*,
    CVPR 2016, section 7.

    Example:
        >>> label_smoothing(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))  # log 4, whatever ε
        tensor(1.3863)
    """
    return label_smoothing_term(logits, labels, smoothing=smoothing, ignore_index=ignore_index).value


def label_smoothing_term(
    logits: Logits, labels: Labels, *, smoothing: float = 0.1, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`label_smoothing` as the sum over valid pixels and their number."""
    _check_smoothing(smoothing)
    targets = read_targets(logits, labels, ignore_index)
    everywhere = torch.where(targets.valid, 0 - log_probabilities(logits).mean(1), 0.0)
    total = ((1 - smoothing) * pixel_surprises(logits, targets) + smoothing * everywhere).sum()
    return Term(total + targets.invalid, targets.valid.sum().to(upcast(logits).dtype))


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing: expected a share from 0 to below 1, got {smoothing!r}; 0.1 is published")


class LabelSmoothing(Loss):
    """`label_smoothing` as a module: a loss by itself, in the place of the cross-entropy.

    Assumes: that labels are not certain, and that all classes are equally likely to be the right one instead.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes.
    Degenerate solutions: none of its own. Its optimum is less certain than the labels by design.
    Cost: one map of the size of the logits more than cross-entropy.

    Args:
        smoothing: ε in [0, 1).
        ignore_index: the label of ignored pixels.

    Example:
        >>> LabelSmoothing()(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        tensor(1.3863)
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, *, smoothing: float = 0.1, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check_smoothing(smoothing)
        self.smoothing, self.ignore_index = smoothing, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return label_smoothing_term(logits, labels, smoothing=self.smoothing, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
