"""Joint distributions of known mutual information, and Gaussian vectors among them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor

Disguise = Literal["none", "cubic", "asinh", "mixed"]


class Samples(NamedTuple):
    """Pairs of samples, independent unless stated otherwise."""

    x: Tensor  # n×D
    y: Tensor  # n×E


class Law(ABC):
    """Joint distribution of X and Y with known mutual information; abstract."""

    @property
    @abstractmethod
    def mutual_information(self) -> float:
        """``I(X; Y)`` in nats."""

    @abstractmethod
    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs; the same seed gives the same pairs."""


def generator(seed: int) -> torch.Generator:
    """Return a separate generator, so that sampling does not change PyTorch's."""
    return torch.Generator().manual_seed(seed)


class GaussianLaw(Law):
    """Pairs of standard Gaussians ``(x_i, y_i)`` of correlation ρ_i, independent of each other.

    ``I(X; Y) = -½ Σ_i log(1 - ρ_i²)``, invariant to invertible transforms of X and of Y

    Args:
        correlations: ρ_i, one per dimension of X and Y, between -1 and 1.
        disguise: a transform: ``none``; ``cubic``: ``y³``, heavy tails; ``asinh``: ``asinh(y)``, light tails;
            ``mixed``: orthogonal matrices on X and Y, which hide the pairs.
    Raises: ValueError for correlations out of range, or an unknown disguise.
    Example:
        >>> law = GaussianLaw.of(nats=2.0, dimensions=4)
        >>> x, y = law.sample(100)
        >>> x.shape, round(law.mutual_information, 6)
        (torch.Size([100, 4]), 2.0)
    """

    def __init__(self, correlations: Sequence[float], *, disguise: Disguise = "none") -> None:
        self.correlations = tuple(map(float, correlations))
        if not self.correlations or not all(-1 < rho < 1 for rho in self.correlations):
            raise ValueError(f"correlations: expected at least one, each between -1 and 1, got {self.correlations}")
        if disguise not in get_args(Disguise):
            raise ValueError(f"disguise: expected one of {', '.join(get_args(Disguise))}, got {disguise!r}")
        self.disguise = disguise

    @classmethod
    def of(cls, nats: float, dimensions: int, *, disguise: Disguise = "none") -> Self:
        """Return the law with ``nats`` in all, equal in all dimensions: ``ρ² = 1 - e^{-2 nats/dimensions}``."""
        if not nats >= 0 or dimensions < 1:
            raise ValueError(f"expected nats at least 0 and dimensions at least 1, got {nats} and {dimensions}")
        return cls([math.sqrt(-math.expm1(-2 * nats / dimensions))] * dimensions, disguise=disguise)

    @property
    def mutual_information(self) -> float:
        """``-½ Σ_i log(1 - ρ_i²)``, nats."""
        return -0.5 * sum(math.log1p(-(rho**2)) for rho in self.correlations)

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs, n×D each."""
        draw = generator(seed)
        x, noise = torch.randn(2, n, len(self.correlations), generator=draw, dtype=torch.float64)
        rho = torch.tensor(self.correlations, dtype=torch.float64)
        # correlation ρ and unit variance
        y = rho * x + (1 - rho**2).sqrt() * noise
        if self.disguise == "mixed":
            x, y = (v @ turn for v, turn in zip((x, y), self._turns(), strict=True))
        elif self.disguise != "none":
            y = y**3 if self.disguise == "cubic" else torch.asinh(y)
        return Samples(x.to(dtype), y.to(dtype))

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log p(x_i, y_j)/(p(x_i) p(y_j))``, n×n: the scores that make the bounds tight."""
        return self.log_conditional(x, y) + 0.5 * (y.square().sum(-1) + y.shape[-1] * math.log(2 * math.pi))

    def log_conditional(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log p(y_j|x_i)``, n×n, without a disguise."""
        if self.disguise != "none":
            raise ValueError(f"disguise: expected 'none' for densities, got {self.disguise!r}")
        rho = torch.tensor(self.correlations, dtype=x.dtype)
        variance = 1 - rho**2
        # n×n×D, x along the rows
        away = (y[None] - (rho * x)[:, None]).square() / variance
        return -0.5 * (away + variance.log() + math.log(2 * math.pi)).sum(-1)

    def _turns(self) -> list[Tensor]:
        size = len(self.correlations)
        square = torch.randn(2, size, size, generator=generator(0), dtype=torch.float64)
        return list(torch.linalg.qr(square).Q)
