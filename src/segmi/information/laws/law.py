"""Joint distributions of known mutual information, Gaussian vectors, and pairs of Gaussian images."""

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


class GaussianFields:
    """Two smooth Gaussian images that are correlated pixel by pixel, on a periodic grid.

    ``Y = ρ X + √(1 - ρ²) noise`` for independent X and noise of the same smoothness. A window of d pixels has
    ``I(X; Y) = -d/2 log(1 - ρ²)`` at any smoothness, but windows of a smooth image are dependent.

    Args:
        height, width: pixels.
        length: correlation length in pixels, ``Cov(u, v) = e^{-|u - v|²/2ℓ²}``; 0 is white noise.
        nats_per_pixel: ``-½ log(1 - ρ²)``, at least 0.
    Raises: ValueError for an argument out of range.
    Example:
        >>> fields = GaussianFields(32, 32, length=2.0, nats_per_pixel=0.5)
        >>> x, y = fields.sample(3)
        >>> x.shape, fields.mutual_information(side=2)
        (torch.Size([3, 32, 32]), 2.0)
    """

    def __init__(self, height: int, width: int, *, length: float, nats_per_pixel: float) -> None:
        if min(height, width) < 1 or not length >= 0 or not nats_per_pixel >= 0:
            raise ValueError(
                f"expected height and width of at least 1, length and nats_per_pixel of at least 0, got {height}, "
                f"{width}, {length} and {nats_per_pixel}"
            )
        self.height, self.width = height, width
        self.length, self.nats_per_pixel = float(length), float(nats_per_pixel)

    def mutual_information(self, side: int = 1) -> float:
        """Return ``I(X; Y)`` of a window of ``side``×``side`` pixels, nats."""
        return side**2 * self.nats_per_pixel

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs of images, n×H×W each."""
        draw = generator(seed)
        white = torch.randn(2, n, self.height, self.width, generator=draw, dtype=torch.float64)
        gain = self._gain()
        x, noise = torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=(self.height, self.width))
        rest = math.exp(-self.nats_per_pixel)  # √(1 - ρ²)
        return Samples(x.to(dtype), (math.sqrt(1 - rest**2) * x + rest * noise).to(dtype))

    def _gain(self) -> Tensor:
        # the factor of each frequency of white noise that gives pixels of variance 1
        rows = torch.fft.fftfreq(self.height, dtype=torch.float64)[:, None]
        columns = torch.fft.fftfreq(self.width, dtype=torch.float64)
        # transfer function of a Gaussian kernel
        gain = torch.exp(-((math.pi * self.length) ** 2) * (rows**2 + columns**2))
        return (gain / gain.square().mean().sqrt())[:, : self.width // 2 + 1]


def windows(images: Tensor, side: int, *, stride: int = 1) -> Tensor:
    """Return all square windows of images as vectors.

    Shapes:
        images: N×H×W; the result is n×side², the windows of the first image first.
        stride: pixels between windows.
    Raises: ValueError for other than three dimensions, a window that does not fit, or a stride below 1.
    Example:
        >>> windows(torch.arange(9.0).view(1, 3, 3), 2, stride=1)[0]
        tensor([0., 1., 3., 4.])
    """
    if images.ndim != 3 or not 1 <= side <= min(images.shape[1:]) or stride < 1:
        raise ValueError(
            f"expected images N×H×W, windows that fit into them and a stride of at least 1, got shape "
            f"{tuple(images.shape)}, side {side} and stride {stride}"
        )
    return images.unfold(1, side, stride).unfold(2, side, stride).reshape(-1, side**2)
