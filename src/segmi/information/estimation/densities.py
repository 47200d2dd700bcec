"""Laws of one's own of Y, and of Y given X, for the estimates that need a likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from segmi.information.estimation.critics import perceptron


class ConditionalGaussian(nn.Module):
    """``q(y|x)``: independent Gaussians whose means and logarithmic variances are a small network of x.

    Args:
        x_size: D.
        y_size: E.
        hidden: neurons of the hidden layers.
        layers: hidden layers.
    """

    def __init__(self, x_size: int, y_size: int, *, hidden: int = 256, layers: int = 2) -> None:
        super().__init__()
        self.network = perceptron(x_size, hidden, 2 * y_size, layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``log q(y_j|x_i)``, n×m, of n×D and m×E."""
        mean, log_variance = (part[:, None] for part in self.network(x).chunk(2, -1))
        away = (y[None] - mean).square() * (-log_variance).exp()
        return -0.5 * (away + log_variance + math.log(2 * math.pi)).sum(-1)


class MarginalGaussian(nn.Module):
    """``q(y)``: one Gaussian of any covariance.

    Args:
        y_size: E.
    """

    def __init__(self, y_size: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(y_size))
        self.log_scale = nn.Parameter(torch.zeros(y_size))
        self.below = nn.Parameter(torch.zeros(y_size, y_size))

    def forward(self, y: Tensor) -> Tensor:
        """``log q(y_j)``, m, of m×E."""
        # y is whitened by a triangular matrix, so that the density needs no inverse
        whitening = torch.diag_embed(self.log_scale.exp()) + self.below.tril(-1)
        z = (y - self.mean) @ whitening.mT
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1) + self.log_scale.sum()
