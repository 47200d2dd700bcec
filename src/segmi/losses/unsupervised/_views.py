"""The two views of images without labels as they lie in a batch, and a loss that compares them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Objective, Outputs, Term
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits


def aligned(logits: Logits, batch: Batch, name: str) -> tuple[Logits, Logits, Labels]:
    """The logits of both views, pixel upon pixel, and labels that tell where an image is (0) and where none (ignored).

    Raises:
        ValueError: there are no two views in the batch.
    """
    if batch.views is None or batch.views.flipped is None:
        raise ValueError(
            f"{name}: expected images without labels in two views, got none; hide labels with training.labeled"
        )
    first, count = batch.labeled, len(batch.views.seen)
    one, other = logits[first : first + count], logits[first + count : first + 2 * count]
    mirrored = batch.views.flipped.view(-1, 1, 1, 1)
    where = torch.zeros_like(batch.labels[first : first + count]).masked_fill(~batch.views.seen, IGNORE_INDEX)
    return one, torch.where(mirrored, other.flip(-1), other), where


class TwoViews(Objective):
    """A loss on the two views of the images without labels, for every network that is trained; abstract.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        frozen: networks that get no term.
        ignore_index: the label of ignored pixels, of which there are none among images without labels.
    """

    family = "unsupervised"
    requires = ("two views",)
    scope = "global"

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight, self.frozen, self.ignore_index = name, float(weight), tuple(frozen), ignore_index

    @abstractmethod
    def between(self, first: Logits, second: Logits, labels: Labels) -> Term:
        """The term of two views that lie upon each other; labels tell where an image is."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term per trained network."""
        return {
            f"{self.name}/{network}": self.between(*aligned(output.logits, batch, self.name))._replace(
                weight=self.weight
            )
            for network, output in outputs.items()
            if network not in self.frozen
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The pixels that the first views show."""
        return {
            f"{self.name}/{network}": (aligned(output.logits, batch, self.name)[2] != IGNORE_INDEX)
            .sum()
            .to(upcast(output.logits).dtype)
            for network, output in outputs.items()
            if network not in self.frozen
        }
