"""Trained models of pairs: critics ``f(x, y)`` and Gaussian models of Y, with or without X."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Critic(nn.Module, ABC):
    """A trained score ``critic(x, y)`` of pairs: n×D and m×E to n×m; abstract."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the n×m scores of n×D and m×E; row i is x_i, column j is y_j."""


class InnerProductCritic(Critic):
    """``f(x, y) = xᵀ y``, without parameters, for representations of one size that were trained for it.

    Example:
        >>> InnerProductCritic()(torch.eye(2), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the n×m scores."""
        return x @ y.mT


class BilinearCritic(Critic):
    """``f(x, y) = xᵀ W y``, D·E parameters; loose for Gaussians, whose scores have squares of x and y.

    Args: ``x_size`` is D, ``y_size`` is E.
    """

    def __init__(self, x_size: int, y_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(x_size, y_size))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the n×m scores."""
        return x @ self.weight @ y.mT


class SeparableCritic(Critic):
    """``f(x, y) = g(x)ᵀ h(y)`` of two networks: n + m passes for n·m scores.

    Args:
        x_size, y_size: D and E.
        hidden: width of the hidden layers.
        embedding: size of ``g(x)`` and ``h(y)``, an upper bound on the rank of the scores.
        layers: number of hidden layers.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, embedding: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.x_network = perceptron(x_size, hidden, embedding, layers)
        self.y_network = perceptron(y_size, hidden, embedding, layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the n×m scores."""
        scores: Tensor = self.x_network(x) @ self.y_network(y).mT
        return scores


class ConcatenatedCritic(Critic):
    """``f(x, y) = g([x, y])`` of one network: n·m passes for n·m scores of any rank.

    Args: see `SeparableCritic`.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, layers: int = 2) -> None:
        super().__init__()
        # the first layer of [x, y] is the sum of a layer of x and one of y, which need n + m passes
        self.x_layer, self.y_layer = nn.Linear(x_size, hidden), nn.Linear(y_size, hidden, bias=False)
        self.network = nn.Sequential(nn.ReLU(), perceptron(hidden, hidden, 1, layers - 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the n×m scores."""
        scores: Tensor = self.network(self.x_layer(x)[:, None] + self.y_layer(y)[None])
        return scores.squeeze(-1)


def perceptron(size: int, hidden: int, result: int, layers: int) -> nn.Sequential:
    """Return ``layers`` hidden layers of width ``hidden`` with ReLU, and a linear layer."""
    sizes = [size, *[hidden] * layers]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], result))


class ConditionalGaussian(nn.Module):
    """``q(y|x)``: independent Gaussians whose means and log-variances are a network of x.

    Args: see `SeparableCritic`.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, layers: int = 2) -> None:
        super().__init__()
        self.network = perceptron(x_size, hidden, 2 * y_size, layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log q(y_j|x_i)``, n×m, of n×D and m×E."""
        mean, log_variance = (part[:, None] for part in self.network(x).chunk(2, -1))
        away = (y[None] - mean).square() * (-log_variance).exp()
        return -0.5 * (away + log_variance + math.log(2 * math.pi)).sum(-1)


class MarginalGaussian(nn.Module):
    """``q(y)``: one Gaussian of any covariance, for y of size ``y_size``."""

    def __init__(self, y_size: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(y_size))
        self.log_scale = nn.Parameter(torch.zeros(y_size))
        self.below = nn.Parameter(torch.zeros(y_size, y_size))

    def forward(self, y: Tensor) -> Tensor:
        """Return ``log q(y_j)``, m, of m×E."""
        # y is whitened by a triangular matrix, so that the density needs no inverse
        # positive diagonal, so the determinant is positive
        whitening = torch.diag_embed(self.log_scale.exp()) + self.below.tril(-1)
        z = (y - self.mean) @ whitening.mT
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1) + self.log_scale.sum()
