"""The common part of losses that also apply to unlabeled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from segmi.losses.base import ImageSubset, PixelLoss, Requirement, Term
from segmi.losses.coupling import coupled_term, gathered_with_count
from segmi.losses.option_checks import check_choice
from segmi.losses.probabilities import class_sums, log_probabilities, pixel_entropies, precise
from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


class UnlabeledLoss(PixelLoss):
    """A loss that reads no class from the labels, so it may be computed on unlabeled images; abstract.

    Args:
        applies_to: the images it is computed on: ``labeled``, ``unlabeled`` or ``all``.
        ignore_index: label of ignored pixels.
    """

    family = "unsupervised"
    requires: tuple[Requirement, ...] = ()

    def __init__(self, *, applies_to: ImageSubset = "labeled", ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        check_choice("applies_to", applies_to, get_args(ImageSubset))
        self.applies_to = applies_to
        if applies_to != "labeled":
            self.requires = (*self.requires, "unlabeled images")


def marginal_term(
    logits: Logits, labels: Labels, value: Callable[[Tensor, Tensor], Tensor], ignore_index: int | None
) -> Term:
    """Return a function of the mean prediction and mean entropy of a batch, times the number of valid pixels.

    The means are over the valid pixels of all processes. The term is 0, attached to the graph, if no pixel is valid.

    Args:
        value: function of the mean prediction, C, and the mean entropy, a scalar.
    """
    targets = read_targets(logits, labels, ignore_index)
    log_p = log_probabilities(logits)
    maps = torch.cat([log_p.exp(), pixel_entropies(log_p).unsqueeze(1)], 1)
    # all pixels as one class: sums over all valid pixels
    single = Targets(torch.zeros_like(targets.classes), targets.valid, targets.invalid)
    own, count = class_sums(maps, single, 1)[0], precise(targets.valid.sum())
    everywhere, total = gathered_with_count(own, count)
    means = everywhere / total.clamp(min=1)
    # means.sum() is 0 and keeps the graph
    quantity = torch.where(total > 0, value(means[:-1], means[-1]), means.sum())
    return coupled_term(quantity, count, total, dtype=upcast(logits).dtype, invalid=targets.invalid)
