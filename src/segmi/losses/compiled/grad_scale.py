"""Gradient scale, predicted before the forward pass so that the backward pass can be fused into it.

The gradient of a loss is linear in the factors of the sums that a kernel computes. For `RMILoss` these are λ
over the number of valid pixels, and (1 - λ) over the number of images and d. A loss that knows them in advance computes
the gradient in the same pass as the value and saves the second pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Scales(NamedTuple):
    """Factors of the sums over all (image, class) pairs: of the pixel losses and of the region terms."""

    pixel: float
    term: float


@dataclass
class GradScale:
    """Factors that a loss expects to apply to the sums, and whether the last prediction was right.

    If autograd asks for other factors, as in a weighted sum or with accumulated batches, the gradient is computed again
    in a separate pass, equal to the last bit, and no later pass is fused.
    """

    pixel_weight: float  # weight of the pixel losses, which are divided by the number of valid pixels
    extra_pixels: float = 0.0  # added to that number
    term_weight: float = 0.0  # weight of the region terms
    # denominator of the terms: ``sum`` images, ``mean`` pairs, ``present`` pairs whose label varies
    reduction: str | None = "sum"
    dimension: int = 1  # d, the divisor of the terms
    was_predicted_right: bool = field(default=True, init=False)

    def scales(self, images: int, channels: int, valid: int, varying: int) -> Scales:
        """Return the factors in the arithmetic of the loss: float32, in the same order of operations.

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
    # The same lower bound as in `Term.value`.
    denominator = np.maximum(np.float32(count) + np.float32(extra), np.float32(1e-12))
    return float(np.float32(weight) / denominator)
