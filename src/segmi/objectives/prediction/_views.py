"""The two views of pictures without labels as they lie in a batch, and an objective that compares them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.arrays import VOID, Batch, Labels, Logits
from segmi.objectives.contract import Objective, Outputs, Term
from segmi.objectives.targets import widened


def aligned(logits: Logits, batch: Batch, name: str) -> tuple[Logits, Logits, Labels]:
    """The logits of both views, pixel upon pixel, and labels that tell where a picture is (0) and where none (void).

    Raises:
        ValueError: there are no two views in the batch.
    """
    if batch.views is None or batch.views.flipped is None:
        raise ValueError(
            f"{name}: expected pictures without labels in two views, got none; hide labels with training.labelled"
        )
    first, count = batch.labelled, len(batch.views.seen)
    one, other = logits[first : first + count], logits[first + count : first + 2 * count]
    mirrored = batch.views.flipped.view(-1, 1, 1, 1)
    where = torch.zeros_like(batch.labels[first : first + count]).masked_fill(~batch.views.seen, VOID)
    return one, torch.where(mirrored, other.flip(-1), other), where


class TwoViews(Objective):
    """An objective on the two views of the pictures without labels, for every member that is trained; abstract.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimised.
        frozen: members that get no term.
        ignore_index: the label of void pixels, of which there are none among pictures without labels.
    """

    family = "prediction"
    needs = ("two views",)
    scope = "global"

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight, self.frozen, self.ignore_index = name, float(weight), tuple(frozen), ignore_index

    @abstractmethod
    def between(self, first: Logits, second: Logits, labels: Labels) -> Term:
        """The term of two views that lie upon each other; labels tell where a picture is."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term per trained member."""
        return {
            f"{self.name}/{member}": self.between(*aligned(output.logits, batch, self.name))._replace(
                weight=self.weight
            )
            for member, output in outputs.items()
            if member not in self.frozen
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The pixels that the first views show."""
        return {
            f"{self.name}/{member}": (aligned(output.logits, batch, self.name)[2] != VOID)
            .sum()
            .to(widened(output.logits).dtype)
            for member, output in outputs.items()
            if member not in self.frozen
        }
