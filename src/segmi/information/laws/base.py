"""What a law is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor


class Samples(NamedTuple):
    """Pairs, independent of each other.

    Args:
        x: n×D.
        y: n×E.
    """

    x: Tensor
    y: Tensor


class Law(ABC):
    """A joint law of X and Y."""

    @property
    @abstractmethod
    def mutual_information(self) -> float:
        """``I(X; Y)`` in nats."""

    @abstractmethod
    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """``n`` independent pairs, the same ones for the same seed."""


def generator(seed: int) -> torch.Generator:
    """A generator of its own, so that sampling leaves PyTorch's alone."""
    return torch.Generator().manual_seed(seed)


def expect_correlations(correlations: tuple[float, ...]) -> tuple[float, ...]:
    """``correlations`` if there are some and all lie between -1 and 1, neither included."""
    if not correlations or not all(-1 < rho < 1 for rho in correlations):
        raise ValueError(f"correlations: expected at least one, each between -1 and 1, got {correlations}")
    return correlations
