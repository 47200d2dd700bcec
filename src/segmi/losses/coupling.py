"""Losses that are functions of sums over a whole batch, also if it is distributed over processes.

Their statistics are small tables that are summed over images and processes. Every process computes the same value from
the same table, and the gradient for its own images.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from segmi.losses.base import Term


def gathered(statistic: Tensor) -> Tensor:
    """Return the sum of a statistic over all processes of `torch.distributed`; it is unchanged for a single process.

    The gradient with respect to the local statistic is the gradient of the sum. It needs no communication, since every
    process computes the same value from the same sum.

    Shapes: statistic of any shape, the same in all processes, which must all call; the result has this shape.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return statistic
    total: Tensor = _Gathered.apply(statistic)
    return total


def gathered_with_count(sums: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums, in their shape, and the count over all processes, which need one communication."""
    everywhere = gathered(torch.cat([sums.flatten(), count.view(1)]))
    return everywhere[:-1].view_as(sums), everywhere[-1].detach()


def coupled_term(
    value: Tensor, own: Tensor, everywhere: Tensor, *, dtype: torch.dtype, invalid: Tensor | float = 0.0
) -> Term:
    """Return a value that all processes agree on as a term whose parts may be summed over the processes.

    The numerators of all processes sum to ``value · everywhere``, the denominators to ``everywhere``. In each process
    the gradient of the numerator is the gradient of ``value · everywhere``, because it has only its own images.

    ``value`` is a scalar from the result of `gathered`, ``own`` the local denominator, from the labels only,
    ``everywhere`` the sum of the denominators over the processes, and ``invalid`` as in `Targets`.
    """
    elsewhere = everywhere - own
    # value: everywhere · value minus the share of the others; gradient: of everywhere · value
    numerator = everywhere * value - elsewhere * value.detach()
    return Term(numerator.to(dtype) + invalid, own.to(dtype))


class _Gathered(torch.autograd.Function):
    # Sum over processes whose backward is the identity
    @staticmethod
    def forward(ctx: Any, statistic: Tensor) -> Tensor:
        total = statistic.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
