"""Common parts of losses that also apply to unlabeled images, and of losses on two views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information import entropy, joint_entropy
from segmi.losses.base import ImageSubset, Objective, Outputs, PixelLoss, Requirement, Term
from segmi.losses.coupling import coupled_term, gathered_with_count
from segmi.losses.option_checks import check_choice
from segmi.losses.probabilities import class_sums, inner_products, log_probabilities, pixel_entropies, precise
from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits


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


class TwoViewObjective(Objective):
    """Minus the mutual information of two views of unlabeled images, for every trained network; abstract.

    Args: see `Objective`; frozen networks get no term, and unlabeled images have no ignored pixels.
    """

    family = "unsupervised"
    requires = ("two views",)
    scope = "global"
    displacement: int = 0
    window: int | None = None
    entropy_weight: float = 1.0

    def between(self, first: Logits, second: Logits, labels: Labels) -> Term:
        """Return the term of two aligned views; ignored labels mark the pixels outside the images."""
        return two_view_term(
            first, second, labels, displacement=self.displacement, window=self.window,
            entropy_weight=self.entropy_weight, ignore_index=self.ignore_index,
        )  # fmt: skip

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return one term per trained network."""
        return {
            f"{self.name}/{network}": self.between(*self._aligned(output.logits, batch))._replace(weight=self.weight)
            for network, output in outputs.items()
            if network not in self.frozen
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of pixels of the first views."""
        counts = {}
        for network, output in outputs.items():
            if network not in self.frozen:
                count = (self._aligned(output.logits, batch)[2] != IGNORE_INDEX).sum()
                counts[f"{self.name}/{network}"] = count.to(upcast(output.logits).dtype)
        return counts

    def _aligned(self, logits: Logits, batch: Batch) -> tuple[Logits, Logits, Labels]:
        # the logits of both views, aligned by pixel, and labels: 0 inside an image, ignored outside
        if batch.views is None or batch.views.flipped is None:
            raise ValueError(
                f"{self.name}: expected two views of unlabeled images in the batch, got none. Fix: hide labels with "
                "training.labeled"
            )
        first, count = batch.labeled, len(batch.views.seen)
        # rows of the batch: labeled images, first views, second views
        one, other = logits[first : first + count], logits[first + count : first + 2 * count]
        mirrored = batch.views.flipped.view(-1, 1, 1, 1)
        inside = torch.zeros_like(batch.labels[first : first + count]).masked_fill(~batch.views.seen, IGNORE_INDEX)
        return one, torch.where(mirrored, other.flip(-1), other), inside


def two_view_term(
    first: Logits, second: Logits, labels: Labels, *, entropy_weight: float, displacement: int = 0,
    window: int | None = None, ignore_index: int | None
) -> Term:  # fmt: skip
    """Return minus the mean mutual information of pixels and their partners in the other view, times the valid pixels.

    The tables of all displacements and windows are summed over the processes and weighted by their number of pairs.

    Raises: ValueError for views of different shapes, or a displacement that is not smaller than the image.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"second: expected the shape of first, {tuple(first.shape)}, got {tuple(second.shape)}. Fix: undo the "
            "transformation of the second view"
        )
    targets, other = (read_targets(one, labels, ignore_index) for one in (first, second))
    if displacement and displacement >= min(labels.shape[-2:]):
        raise ValueError(
            f"displacement: expected less than the side of the images, {min(labels.shape[-2:])}, got {displacement}"
        )
    valid = targets.valid.unsqueeze(1)
    own = torch.stack(list(_tables(first, second, valid, displacement, window)))
    count = precise(targets.valid.sum())
    everywhere, total = gathered_with_count(own, count)
    value = 0 - _mean_information(everywhere, entropy_weight)
    invalid = targets.invalid + other.invalid
    return coupled_term(value, count, total, dtype=upcast(first).dtype, invalid=invalid)


def _tables(first: Tensor, second: Tensor, valid: Tensor, displacement: int, window: int | None) -> Iterator[Tensor]:
    # Yield the sums of products of probabilities, G×C×C in float64 for G windows, of every displacement
    p, q = (torch.where(valid, log_probabilities(one).exp(), 0.0) for one in (first, second))
    mask = valid.to(p.dtype)
    for rows, columns in product(range(-displacement, displacement + 1), repeat=2):
        # a negative pad crops: shifts the second view by (rows, columns)
        pads = (-columns, columns, -rows, rows)
        partner, partner_mask = F.pad(q, pads), F.pad(mask, pads)
        # pairs with an ignored pixel have probability 0 on one side
        yield precise(inner_products(_windows(p * partner_mask, window), _windows(partner, window)))


def _windows(maps: Tensor, window: int | None) -> Tensor:
    # N×C×H×W maps as G×C×M: the pixels of each window over all images; None is one window
    n, classes, height, width = maps.shape
    if window is None:
        return maps.movedim(1, 0).reshape(1, classes, -1)
    # padded with probability 0 to full windows
    maps = F.pad(maps, (0, -width % window, 0, -height % window))
    rows, columns = maps.shape[2] // window, maps.shape[3] // window
    parts = maps.view(n, classes, rows, window, columns, window).permute(2, 4, 1, 0, 3, 5)
    return parts.reshape(rows * columns, classes, -1)


def _mean_information(sums: Tensor, entropy_weight: float) -> Tensor:
    # ``λ (H(P_a) + H(P_b)) - H(P)`` of the symmetric joint P, averaged over tables by their number of pairs
    pairs = sums.detach().sum((-2, -1), keepdim=True)
    # symmetric, since the order of the views is arbitrary
    joint = (sums + sums.mT) / 2 / pairs.clamp(min=1e-12)
    marginal = joint.sum(-1)
    information = 2 * entropy_weight * entropy(marginal, check=False) - joint_entropy(joint, check=False)
    weights = pairs[..., 0, 0]
    return (weights * information).sum() / weights.sum().clamp(min=1e-12)
