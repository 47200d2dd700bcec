"""Joint distributions with nonlinear dependence: heavy tails, a sharp edge, and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segmi.information._checks import distribution
from segmi.information.discrete import mutual_information
from segmi.information.laws.law import GaussianLaw, Law, Samples, generator


class StudentLaw(Law):
    """Student's t in two vectors: Gaussian pairs divided by one random number, a scale that X and Y share.

    ``I(X; Y) = -½ Σ_i log(1 - ρ_i²) + f(ν) + f(ν + 2D) - 2 f(ν + D)``, ``f(z) = log Γ(z/2) - z/2 ψ(z/2)``

    Args:
        correlations: ρ_i of the Gaussian pairs; if all are 0, X and Y are uncorrelated but dependent.
        degrees: of freedom, ν, above 0; small for heavy tails.
    Raises: ValueError for correlations or degrees out of range.
    Source: Arellano-Valle, Contreras-Reyes and Genton, *Shannon Entropy and Mutual Information for Multivariate
        Skew-Elliptical Distributions*, Scandinavian Journal of Statistics 40, 2013.
    Example:
        >>> round(StudentLaw([0.0], degrees=3).mutual_information, 4)  # uncorrelated
        0.0424
    """

    def __init__(self, correlations: Sequence[float], *, degrees: float) -> None:
        self.gaussian = GaussianLaw(correlations)
        if not degrees > 0:
            raise ValueError(f"degrees: expected a number above 0, got {degrees!r}")
        self.degrees = float(degrees)

    @property
    def mutual_information(self) -> float:
        """The sum of the Gaussian part and the part of the shared scale, nats."""
        size, nu = len(self.gaussian.correlations), self.degrees
        z = torch.tensor([nu, nu + 2 * size, nu + size], dtype=torch.float64) / 2
        # from the entropy of a multivariate t distribution
        f = torch.lgamma(z) - z * torch.digamma(z)
        return self.gaussian.mutual_information + (f[0] + f[1] - 2 * f[2]).item()

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs, n×D each."""
        x, y = self.gaussian.sample(n, seed=seed, dtype=torch.float64)
        # PyTorch draws χ² only from its global generator
        scale = torch.from_numpy(self.degrees / np.random.default_rng(seed).chisquare(self.degrees, (n, 1))).sqrt()
        return Samples((x * scale).to(dtype), (y * scale).to(dtype))


class UniformNoiseLaw(Law):
    """A uniform number and a copy with uniform noise: ``X ~ U(0, 1)``, ``Y = X + U(-ε, ε)``.

    ``I(X; Y) = ε - log 2ε`` for ε ≤ ½, otherwise ``1/4ε``

    Args:
        noise: ε, above 0.
    Raises: ValueError for noise that is not above 0.
    Source: ``h(Y) - log 2ε``, where Y has a trapezoidal density.
    Example:
        >>> UniformNoiseLaw(0.5).mutual_information
        0.5
    """

    def __init__(self, noise: float) -> None:
        if not noise > 0:
            raise ValueError(f"noise: expected a number above 0, got {noise!r}")
        self.noise = float(noise)

    @property
    def mutual_information(self) -> float:
        """The value of the formula, nats."""
        return self.noise - math.log(2 * self.noise) if self.noise <= 0.5 else 1 / (4 * self.noise)

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs, n×1 each."""
        x, noise = torch.rand(2, n, 1, generator=generator(seed), dtype=torch.float64)
        return Samples(x.to(dtype), (x + self.noise * (2 * noise - 1)).to(dtype))


class TableLaw(Law):
    """Labels drawn from a joint table.

    Args:
        table: X×Y joint probabilities.
    Raises: TypeError, ValueError for anything but one table of probabilities.
    Example:
        >>> law = TableLaw(torch.eye(4) / 4)
        >>> x, y = law.sample(5)
        >>> bool((x == y).all()), law.mutual_information == math.log(4)
        (True, True)
    """

    def __init__(self, table: Tensor) -> None:
        self.table = distribution(table, "table", dims=(-2, -1), check=True).double()
        if table.ndim != 2:
            raise ValueError(f"table: expected one table X×Y, got shape {tuple(table.shape)}")

    @property
    def mutual_information(self) -> float:
        """Mutual information of the table, nats."""
        return mutual_information(self.table, check=False).item()

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.int64) -> Samples:
        """Return ``n`` independent pairs of indices, n×1 each."""
        # flat indices of the cells, X·columns + Y
        cells = torch.multinomial(self.table.flatten(), n, replacement=True, generator=generator(seed))
        columns = self.table.shape[1]
        return Samples((cells // columns)[:, None].to(dtype), (cells % columns)[:, None].to(dtype))
