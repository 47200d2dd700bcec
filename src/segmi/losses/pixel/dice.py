"""Dice loss: the overlap of prediction and label, class by class."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Loss, Scope, Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.options import check_choice
from segmi.losses.probabilities import count_valid, image_counts, log_probabilities, memberships, precise
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

Over: TypeAlias = Literal["batch", "image"]


def dice(
    logits: Logits, labels: Labels, *, over: Over = "batch", smooth: float = 0.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """One minus twice the overlap of prediction and label over their sizes, averaged over the classes in the label.

    ``L = 1 - 1/|K| Σ_{c∈K} (2 Σ_u y_uc p_uc + s) / (Σ_u y_uc + Σ_u p_uc + s)``, sums over the valid pixels of the
    batch (or of an image, with a mean over images and classes), K the classes that are there

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        over: whether sums run over the ``batch``, as those of mIoU do over the dataset, or over each ``image``.
        smooth: s, at least 0, in pixels.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: none, between 0 and 1, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: an unknown ``over``, a negative smooth, shapes that do not match; on the CPU, ids that are neither
            class nor ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Milletari, Navab and Ahmadi, *V-Net*, 3DV 2016, with the sizes themselves instead of their squares, as is
    common since.

    Example:
        >>> dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))  # overlap 1/2, sizes 1 and 1, for either class
        tensor(0.5000)
    """
    return dice_term(logits, labels, over=over, smooth=smooth, ignore_index=ignore_index).value


def dice_term(
    logits: Logits, labels: Labels, *, over: Over = "batch", smooth: float = 0.0, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`dice` as a ratio: over classes and images, or times the valid pixels."""
    _check(over, smooth)
    targets = read_targets(logits, labels, ignore_index)
    p, dtype = log_probabilities(logits).exp(), upcast(logits).dtype
    networks = memberships(targets, class_count(logits))
    sums = [torch.where(networks, p, 0.0), torch.where(targets.valid.unsqueeze(1), p, 0.0), networks]
    found = torch.stack([precise(one.sum((2, 3))) for one in sums])
    if over == "image":
        distances, present = _distances(found, smooth)
        return Term(distances.sum().to(dtype) + targets.invalid, present.sum().to(dtype))
    everywhere = gathered(found.sum(1))
    distances, present = _distances(everywhere, smooth)
    value = distances.sum() / present.sum().clamp(min=1)
    term = coupled_term(value, found[2].sum().detach(), everywhere[2].sum().detach(), dtype=dtype)
    return term._replace(numerator=term.numerator + targets.invalid)


def _distances(sums: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    """One minus the overlap, 0 where a class is absent; and which are present."""
    overlap, predicted, true = sums
    present = true > 0
    size = torch.where(present, true + predicted + smooth, 1.0)
    return torch.where(present, 1 - (2 * overlap + smooth) / size, 0.0), present


def _check(over: str, smooth: float) -> None:
    check_choice("over", over, get_args(Over))
    if not smooth >= 0:
        raise ValueError(f"smooth: expected a number of at least 0, got {smooth!r}; 0 leaves the overlap as it is")


class Dice(Loss):
    """`dice` as a module.

    Assumes: that classes matter alike, however large they are, and absent ones not at all.
    Invariances: a constant added to the logits of a pixel; the names of the classes; over a batch, the order of pixels.
    Degenerate solutions: none where every class is present; false alarms for absent classes are felt only through the
        classes that they are taken from. Certainty is rewarded whatever the evidence: it does not calibrate.
    Cost: three maps of the size of the logits more than cross-entropy.

    Args:
        over: ``batch`` or ``image``.
        smooth: s, at least 0, in pixels.
        ignore_index: the label of ignored pixels.

    Example:
        >>> Dice()(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        tensor(0.5000)
    """

    family = "pixel"
    invariances: tuple[Invariance, ...] = ("logit shift", "class permutation", "pixel permutation")
    scope: Scope = "global"

    def __init__(self, *, over: Over = "batch", smooth: float = 0.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check(over, smooth)
        self.over, self.smooth, self.ignore_index = over, smooth, ignore_index
        if over == "image":
            self.scope, self.invariances = "image", ("logit shift", "class permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss as a ratio: over classes and images, or times the valid pixels."""
        return dice_term(logits, labels, over=self.over, smooth=self.smooth, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of pairs of image and class, or of valid pixels."""
        if self.over == "batch":
            return {"": count_valid(logits, labels, self.ignore_index)}
        counts = image_counts(read_targets(logits, labels, self.ignore_index), class_count(logits))
        return {"": (counts > 0).sum().to(upcast(logits).dtype)}
