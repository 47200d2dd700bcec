"""Dice loss: the overlap of prediction and label, by class."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from segmi.losses.base import Invariance, PixelLoss, Scope, Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.option_checks import check_choice, check_non_negative
from segmi.losses.probabilities import count_pairs, log_probabilities, one_hot, precise
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["Dice", "dice"]

Over: TypeAlias = Literal["batch", "image"]


def dice(
    logits: Logits,
    labels: Labels,
    *,
    over: Over = "batch",
    smooth: float = 0.0,
    ignore_index: int | None = IGNORE_INDEX,
) -> Tensor:
    """Return one minus the Dice coefficient, averaged over the classes in the label.

    ``L = 1 - 1/|K| Σ_{c∈K} (2 Σ_u y_uc p_uc + s) / (Σ_u y_uc + Σ_u p_uc + s)``, K the classes with a pixel, the sums
    over the valid pixels

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        over: sum over the pixels of the ``batch``, as mIoU sums over a dataset, or of each ``image``, followed by a
            mean over images and classes.
        smooth: s, at least 0, in pixels.
    Unit and sign: none, between 0 and 1, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Milletari, Navab and Ahmadi, *V-Net*, 3DV 2016, with sums in the denominator instead of sums of squares, as
        is common since.
    Example:
        >>> dice(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))  # overlap 1/2, sizes 1 and 1, for either class
        tensor(0.5000)
    """
    return dice_term(logits, labels, over, smooth, ignore_index).value


def dice_term(logits: Logits, labels: Labels, over: Over, smooth: float, ignore_index: int | None) -> Term:
    """Return `dice` as a ratio: over classes and images for ``image``, times the valid pixels for ``batch``."""
    _check(over, smooth)
    targets = read_targets(logits, labels, ignore_index)
    p, dtype = log_probabilities(logits).exp(), upcast(logits).dtype
    truth = one_hot(targets, class_count(logits))
    maps = [torch.where(truth, p, 0.0), torch.where(targets.valid.unsqueeze(1), p, 0.0), truth]
    sums = torch.stack([precise(one.sum((2, 3))) for one in maps])  # overlap, predicted, true: 3×N×C
    if over == "image":
        distances, present = _distances(sums, smooth)
        return Term(distances.sum().to(dtype) + targets.invalid, present.sum().to(dtype))
    # 3×C over the batch and all processes
    everywhere = gathered(sums.sum(1))
    distances, present = _distances(everywhere, smooth)
    # mean over the present classes
    value = distances.sum() / present.sum().clamp(min=1)
    own, total = (one[2].sum().detach() for one in (sums, everywhere))
    return coupled_term(value, own, total, dtype=dtype, invalid=targets.invalid)


def _distances(sums: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    # one minus the Dice coefficient, 0 for absent classes, and which classes are present
    overlap, predicted, true = sums
    present = true > 0
    size = torch.where(present, true + predicted + smooth, 1.0)
    return torch.where(present, 1 - (2 * overlap + smooth) / size, 0.0), present


def _check(over: str, smooth: float) -> None:
    check_choice("over", over, get_args(Over))
    check_non_negative(smooth=smooth)


class Dice(PixelLoss):
    """`dice` as a module.

    Use: thin, small or rare objects, together with cross-entropy; part of the default of ``segmi train``.
    Assumes: all classes in the label have equal weight, whatever their size, and absent classes have none.
    Invariances: a shift of a pixel's logits; a permutation of the classes; for ``batch``, a permutation of the pixels.
    Degenerate solutions: none if every class is present. False positives of absent classes only matter as false
        negatives of others. It does not calibrate: confidence is rewarded regardless of the evidence.
    Cost: three maps of the size of the logits more than cross-entropy.
    Args: see `dice`.
    """

    family = "pixel"
    invariances: tuple[Invariance, ...] = ("logit shift", "class permutation", "pixel permutation")
    scope: Scope = "global"

    def __init__(self, *, over: Over = "batch", smooth: float = 0.0, ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        _check(over, smooth)
        self.over, self.smooth = over, smooth
        if over == "image":
            self.scope, self.invariances = "image", ("logit shift", "class permutation")

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss as a ratio."""
        return dice_term(logits, labels, self.over, self.smooth, self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of valid pixels, or of pairs of image and class."""
        if self.over == "batch":
            return super().denominators(logits, labels)
        return {"": count_pairs(logits, labels, self.ignore_index)}
