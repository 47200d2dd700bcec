"""Losses whose value is a function of sums over a whole batch, wherever its images are.

Their statistics are small tables that add up: over images, and over the processes that share a batch. Every process
then computes the same value from the same table, and its own images' part of the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from segmi.losses.base import Term


def gathered(statistic: Tensor) -> Tensor:
    """The sum of a statistic over all processes of `torch.distributed`; unchanged where there is one.

    The gradient with respect to the own statistic is that of the sum, and the others see to theirs: what the gradient
    of the sum is, each of them knows, since they compute the same value from it.

    Shapes:
        statistic: any, the same in all processes, all of which must call; the result has the same.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return statistic
    total: Tensor = _Gathered.apply(statistic)
    return total


def coupled_term(value: Tensor, own: Tensor, everywhere: Tensor, *, dtype: torch.dtype) -> Term:
    """A value that all processes agree on as a term whose parts add up over them.

    The numerators of all processes sum to ``value · everywhere``, the denominators to ``everywhere``; the numerator's
    gradient is that of ``value · everywhere`` in each, since each has only its own images to pass it on to.

    Args:
        value: scalar, computed from what `gathered` gave.
        own: how much of what was averaged over is in this process, from the labels alone.
        everywhere: its sum over the processes.
        dtype: of the term.
    """
    elsewhere = everywhere - own
    numerator = everywhere * value - elsewhere * value.detach()
    return Term(numerator.to(dtype), own.to(dtype))


class _Gathered(torch.autograd.Function):
    """A sum over processes with the identity for a gradient."""

    @staticmethod
    def forward(context: Any, statistic: Tensor) -> Tensor:
        total = statistic.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient
