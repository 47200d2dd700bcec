"""Losses as ratios whose parts may be summed over batches."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor


class Diagnostic(NamedTuple):
    """A logged ratio, never minimized, whose parts may be summed over batches."""

    numerator: Tensor  # () or (C,), without gradient
    denominator: Tensor  # same shape; entries whose sum over all batches is 0 are not logged


class Term(NamedTuple):
    """One term of a loss: a ratio whose parts may be summed over batches before dividing."""

    numerator: Tensor  # scalar, attached to the graph of the logits even if nothing is counted (it is then 0)
    denominator: Tensor  # scalar without gradient: the number of pixels, images or pairs. It depends on the labels only
    weight: float = 1.0  # factor of this term in the sum that is minimized
    denominator_offset: float = 0.0  # added once to the summed denominator, however many batches were summed
    diagnostics: Mapping[str, Diagnostic] = MappingProxyType({})  # quantities to log with the term, by name

    @property
    def value(self) -> Tensor:
        """Numerator divided by denominator, unweighted; 0, attached to the graph, if the denominator is 0."""
        return self.numerator / (self.denominator + self.denominator_offset).clamp(min=1e-12)
