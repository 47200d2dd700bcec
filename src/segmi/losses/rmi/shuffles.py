"""Pixels in another order, so that only what does not depend on it is left.

The order of an image is drawn with the seed and the image's own labels as the key: the same crop is always shuffled
alike, whatever came before and wherever it stands in the batch, while no order lasts long enough to be learned. Ignored
cells stay where they are, so that the windows that count are the same as before.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from segmi.losses.rmi.config import RMIConfig
from segmi.losses.rmi.maps import pooled_valid
from segmi.losses.targets import Targets
from segmi.randomness import key


def shuffled_order(targets: Targets, config: RMIConfig) -> Tensor | None:
    """N×(h·w): for every cell of the pooled maps the flat index of the one that takes its place; None for none."""
    if config.shuffle == "none":
        return None
    valid = pooled_valid(targets.valid, config).flatten(1).cpu()
    known = torch.where(targets.valid, targets.classes, -1).cpu().numpy()
    order = torch.arange(valid.shape[1]).repeat(len(valid), 1)
    for n in range(len(valid)):
        generator = torch.Generator().manual_seed(key(config.seed, "shuffled cells", zlib.crc32(known[n].tobytes())))
        cells = valid[n].nonzero()[:, 0]
        order[n, cells] = cells[torch.randperm(len(cells), generator=generator)]
    return order.to(targets.valid.device)


def shuffled(maps: Tensor, order: Tensor) -> Tensor:
    """m×h×w maps in the order m×(h·w)."""
    return maps.flatten(1).gather(1, order).view_as(maps)


def unshuffled(maps: Tensor, order: Tensor) -> Tensor:
    """The maps that `shuffled` gives these for."""
    return torch.empty_like(maps).flatten(1).scatter(1, order, maps.flatten(1)).view_as(maps)
