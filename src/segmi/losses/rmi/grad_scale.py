"""By what a region loss multiplies the sums that its kernel finds, told before they are found.

A gradient is linear in these scales, in `RMILoss` λ over the number of valid pixels and (1 - λ) over that of images.
Whoever knows them beforehand can take the gradient in the visit that finds the value, and saves another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Scales(NamedTuple):
    """By what a loss multiplies the sums of all pairs: the pixel losses by ``pixel``, the terms by ``term``."""

    pixel: float
    term: float


@dataclass
class GradScale:
    """What a loss will do with the sums, and whether that has come true so far.

    Should a gradient be asked for with other scales after all, in a weighted sum or over accumulated batches, it is
    taken anew, the same to the last bit, and nothing more is foreseen.

    Args:
        pixel_weight: the weight of the pixel losses, which are divided by the number of valid pixels.
        extra_pixels: what is added to that number.
        term_weight: the weight of the terms.
        reduction: over what the terms are averaged: ``sum`` images, ``mean`` pairs, ``present`` those that vary.
        dimension: d, by which the terms are divided.
    """

    pixel_weight: float
    extra_pixels: float
    term_weight: float
    reduction: str | None
    dimension: int
    was_predicted_right: bool = field(default=True, init=False)

    def scales(self, images: int, channels: int, valid: int, varying: int) -> Scales:
        """In the arithmetic of the loss: float32, in this order.

        Example:
            >>> GradScale(0.5, 1, 0.5, "sum", 9).scales(images=2, channels=3, valid=7, varying=4)
            Scales(pixel=0.0625, term=0.027777777777777776)
        """
        averaged = {"sum": images, "mean": images * channels, "present": varying}[str(self.reduction)]
        return Scales(
            pixel=_quotient(self.pixel_weight, valid, self.extra_pixels),
            term=_quotient(self.term_weight, averaged, 0.0) / self.dimension,
        )


def _quotient(weight: float, count: float, extra: float) -> float:
    denominator = np.maximum(np.float32(count) + np.float32(extra), np.float32(1e-12))
    return float(np.float32(weight) / denominator)
