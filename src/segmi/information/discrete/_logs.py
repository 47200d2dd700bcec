"""Logarithms of probabilities that may be 0."""

from __future__ import annotations

import torch
from torch import Tensor


def log_or_zero(p: Tensor) -> Tensor:
    """``log p``, and 0 with gradient 0 where p is 0."""
    return torch.log(p.masked_fill(p <= 0, 1))


def log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """``log(p / q)``, and 0 with gradient 0 where p is 0, whatever q is there."""
    return log_or_zero(p) - torch.log(torch.where(p > 0, q, 1.0))


def same_outcomes(p: Tensor, q: Tensor, dim: int) -> None:
    try:
        torch.broadcast_shapes(p.shape, q.shape)
        fits = p.shape[dim] == q.shape[dim] and (p.ndim == q.ndim or dim < 0)
    except (RuntimeError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"expected distributions over the same outcomes (dimension {dim}) with batch dimensions that broadcast, "
            f"got shapes {tuple(p.shape)} and {tuple(q.shape)}"
        )
