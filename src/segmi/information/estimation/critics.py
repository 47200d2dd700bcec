"""Functions that score pairs: ``critic(x, y)`` of n×D and m×E is n×m, the score of x_i with y_j in row i, column j."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Critic(nn.Module, ABC):
    """A function of a pair that is learned."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The n×m scores of n×D and m×E."""


class InnerProductCritic(Critic):
    """``f(x, y) = xᵀ y``: nothing to learn; for representations of one size that were trained for it.

    Example:
        >>> InnerProductCritic()(torch.eye(2), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """n×m."""
        return x @ y.mT


class BilinearCritic(Critic):
    """``f(x, y) = xᵀ W y``: as many parameters as D·E, n·m scores by two matrix products.

    The scores of Gaussians need squares of x and y besides, so it is loose there.

    Args:
        x_size: D.
        y_size: E.
    """

    def __init__(self, x_size: int, y_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(x_size, y_size))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """n×m."""
        return x @ self.weight @ y.mT


class SeparableCritic(Critic):
    """``f(x, y) = g(x)ᵀ h(y)`` of two small networks: n + m passes for n·m scores.

    Args:
        x_size: D.
        y_size: E.
        hidden: neurons of the hidden layers.
        embedding: size of ``g(x)`` and ``h(y)``; it bounds the rank of the scores.
        layers: hidden layers.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, embedding: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.x_network = perceptron(x_size, hidden, embedding, layers)
        self.y_network = perceptron(y_size, hidden, embedding, layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """n×m."""
        scores: Tensor = self.x_network(x) @ self.y_network(y).mT
        return scores


class ConcatenatedCritic(Critic):
    """``f(x, y) = g([x, y])`` of one small network: n·m passes for n·m scores, of any rank.

    Args:
        x_size: D.
        y_size: E.
        hidden: neurons of the hidden layers.
        layers: hidden layers.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, layers: int = 2) -> None:
        super().__init__()
        # the first layer of [x, y] is a sum of one of x and one of y, which n + m passes are enough for
        self.x_layer, self.y_layer = nn.Linear(x_size, hidden), nn.Linear(y_size, hidden, bias=False)
        self.network = nn.Sequential(nn.ReLU(), perceptron(hidden, hidden, 1, layers - 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """n×m."""
        scores: Tensor = self.network(self.x_layer(x)[:, None] + self.y_layer(y)[None])
        return scores.squeeze(-1)


def perceptron(size: int, hidden: int, result: int, layers: int) -> nn.Sequential:
    """``layers`` hidden layers of ``hidden`` neurons with ReLU, and a linear one."""
    sizes = [size, *[hidden] * layers]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], result))
