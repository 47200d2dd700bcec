"""Class frequencies of the training images, for losses that weight classes by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segmi.losses.targets import class_count
from segmi.types import Logits

__all__ = ["ClassCounts"]


class ClassCounts(nn.Module):
    """Number of pixels per class, a part of losses that require "class counts"; saved in checkpoints.

    Args:
        given: pixels or frequencies per class, at least 0; None: `set_counts` is called before training.
    Raises: ValueError for fewer than two numbers, a negative one, or none above 0.
    Example:
        >>> ClassCounts([3, 1]).shares(torch.zeros(1, 2, 1, 1))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """

    counts: Tensor | None

    def __init__(self, given: Sequence[float] | None = None) -> None:
        super().__init__()
        self.given = given is not None
        # a buffer: moved to the device with the loss, and saved
        self.register_buffer("counts", None)
        if given is not None:
            if len(given) < 2 or min(given) < 0 or not sum(given) > 0:
                raise ValueError(
                    f"class_counts: expected two or more numbers, all at least 0, not all 0, got {list(given)}. "
                    "Fix: give the pixels of each class in the training images"
                )
            self.counts = torch.tensor(list(map(float, given)))

    def set_counts(self, counts: Tensor) -> None:
        """Set the number of pixels per class, unless the user gave it."""
        if not self.given:
            self.counts = counts.float()

    def shares(self, logits: Logits) -> Tensor:
        """Return the positive frequency of every class in float64; an absent class counts as a single pixel.

        Raises:
            RuntimeError: the counts are not set.
            ValueError: their number differs from the number of classes of the logits.
        """
        if self.counts is None:
            raise RuntimeError(
                "class counts: expected the pixels of each class in the training images, got none. Fix: give "
                "class_counts, or call set_counts before training"
            )
        classes = class_count(logits)
        if len(self.counts) != classes:
            raise ValueError(
                f"class counts: expected {classes} numbers for logits of shape {tuple(logits.shape)}, got "
                f"{len(self.counts)}. Fix: give one per class"
            )
        counts = self.counts.to(logits.device, torch.float32 if logits.device.type == "mps" else torch.float64)
        smallest = 1.0 if not self.given else counts.sum() * 1e-6  # given numbers may be frequencies
        # the logarithm and negative powers of a frequency must be finite
        counts = counts.clamp(min=smallest)
        return counts / counts.sum()
