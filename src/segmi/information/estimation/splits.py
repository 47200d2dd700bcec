"""Splits, scales and batches of samples."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def parts(n: int, groups: Tensor | None, share: float, draw: torch.Generator) -> list[Tensor]:
    """Return the indices to train on, to select by and to evaluate on; a group is in one part."""
    ids = torch.arange(n) if groups is None else torch.unique(groups.cpu(), return_inverse=True)[1]
    if len(ids) != n:
        raise ValueError(f"groups: expected one id for each of {n} samples, got {len(ids)}")
    count = int(ids.max()) + 1
    aside = max(1, round(share * count))
    if not 0 < share < 0.5 or count - 2 * aside < 1:
        raise ValueError(
            f"set_aside: expected a share below a half that leaves a part to train on, got {share} of {count} samples "
            "or groups"
        )
    # random rank of each group: the first share evaluates, the second selects
    position = torch.randperm(count, generator=draw)[ids]
    part = (position < 2 * aside).long() + (position < aside).long()
    parts = [(part == number).nonzero().squeeze(1) for number in range(3)]
    if min(map(len, parts)) < 2:
        raise ValueError(f"x: expected at least 2 samples in each of three parts, got {[len(part) for part in parts]}")
    return parts


def standardized(values: Tensor, fit: Tensor) -> tuple[Tensor, float]:
    """Return coordinates of mean 0 and variance 1 on ``fit``, and the sum of the logarithms of their scales."""
    scale = values[fit].std(0)
    scale = scale.where(scale > 0, 1.0)
    return (values - values[fit].mean(0)) / scale, scale.log().sum().item()


def batches(n: int, batch_size: int, draw: torch.Generator) -> Iterator[Tensor]:
    """Yield indices of 0 to n - 1 in full batches, in a new order for every pass."""
    size = min(batch_size, n)
    while True:
        order = torch.randperm(n, generator=draw)
        yield from (order[start : start + size] for start in range(0, n - size + 1, size))
