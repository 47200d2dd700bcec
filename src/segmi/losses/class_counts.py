"""How often the classes are in the images that train: for the losses that weigh classes by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segmi.losses.targets import class_count
from segmi.types import Logits


class ClassCounts(nn.Module):
    """Class counts as a part of a loss: given by the user, or told before training; kept in checkpoints.

    Args:
        given: pixels or shares per class, at least 0; None: to be told by `set_counts`.

    Raises:
        ValueError: fewer than two numbers, a negative one, or none above 0.

    Example:
        >>> ClassCounts([3, 1]).shares(torch.zeros(1, 2, 1, 1))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """

    counts: Tensor | None

    def __init__(self, given: Sequence[float] | None = None) -> None:
        super().__init__()
        self.given = given is not None
        self.register_buffer("counts", None)
        if given is not None:
            if len(given) < 2 or min(given) < 0 or not sum(given) > 0:
                raise ValueError(
                    f"class_counts: expected two or more numbers, all at least 0, not all 0, got {list(given)}; give "
                    "the pixels of each class in the training images"
                )
            self.counts = torch.tensor(list(map(float, given)))

    def set_counts(self, counts: Tensor) -> None:
        """Be told the number of pixels per class; what the user gave stands."""
        if not self.given:
            self.counts = counts.float()

    def shares(self, logits: Logits) -> Tensor:
        """The share of every class, float64 and positive: one that never occurs counts as a single pixel.

        Raises:
            RuntimeError: nobody has told the counts.
            ValueError: they are of another number of classes than the logits.
        """
        if self.counts is None:
            raise RuntimeError(
                "class counts: expected the pixels of each class in the training images, got none; give "
                "class_counts, or call set_counts before training"
            )
        classes = class_count(logits)
        if len(self.counts) != classes:
            raise ValueError(
                f"class counts: expected {classes} numbers for logits of shape {tuple(logits.shape)}, got "
                f"{len(self.counts)}; give one per class"
            )
        counts = self.counts.to(logits.device, torch.float32 if logits.device.type == "mps" else torch.float64)
        smallest = 1.0 if not self.given else counts.sum() * 1e-6
        counts = counts.clamp(min=smallest)
        return counts / counts.sum()
