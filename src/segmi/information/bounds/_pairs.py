"""What belongs together and what does not, in a matrix of pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmi.information._checks import real


def matrix_of_pairs(values: Tensor, name: str) -> Tensor:
    """``values`` upcast by `real`, if they are square matrices of at least two pairs."""
    values = real(values, name, instead="convert it with .float()")
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 2:
        raise ValueError(
            f"{name}: expected square matrices …×N×N of N ≥ 2 pairs, got shape {tuple(values.shape)}; row i is x_i, "
            "column j is y_j"
        )
    return values


def together(values: Tensor) -> Tensor:
    """…×N: the diagonal."""
    return values.diagonal(dim1=-2, dim2=-1)


def mean_apart(values: Tensor) -> Tensor:
    """The mean off the diagonal."""
    n = values.shape[-1]
    return (values.sum((-2, -1)) - together(values).sum(-1)) / (n * (n - 1))


def log_mean_exp_apart(values: Tensor, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """``log E_⊗ e^f`` over both dimensions, or over the one that is given."""
    n = values.shape[-1]
    count = n * (n - 1) if len(dims) == 2 else n - 1
    own = torch.eye(n, dtype=torch.bool, device=values.device)
    return values.masked_fill(own, -math.inf).logsumexp(dims) - math.log(count)
