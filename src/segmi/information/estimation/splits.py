"""Splits, scales and batches of samples, and training on them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


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


def train(
    model: nn.Module, loss: Callable[[Tensor], Tensor], validate: Callable[[], float], order: Iterator[Tensor], *,
    steps: int, learning_rate: float
) -> int:  # fmt: skip
    """Minimize the loss of batches, load the weights of the largest validation value, and return their step."""
    parameters = list(model.parameters())
    if not parameters:
        return 0
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    best, best_step, weights = -math.inf, 0, copy.deepcopy(model.state_dict())
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss(next(order)).backward()
        optimizer.step()
        # 20 evaluations on the validation part
        if step % max(1, steps // 20) == 0 or step == steps:
            value = validate()
            if value > best:
                best, best_step, weights = value, step, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return best_step
