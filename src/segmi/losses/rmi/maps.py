"""The maps whose windows are compared: the probability and the label of every class, on one grid.

Down-sampling is as published: averages and maxima are taken over squares of ``stride`` pixels, the first of which
reach ``stride // 2`` pixels over the upper and the left border, where the average counts zeros. Interpolation takes
``H // stride`` samples, corner to corner, of both maps; as published (``legacy_interpolation``) only the probability is
sampled so, the label at the nearest pixels of another grid, and the two do not lie on each other.

Where ignored is dropped, so are the cells that reach over the border, and every cell in whose value an ignored pixel has a
part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.rmi.config import RMIConfig
from segmi.losses.targets import Targets, upcast
from segmi.types import Logits


class RegionMaps(NamedTuple):
    """What the statistics of regions are taken from.

    Args:
        p: N×C×h×w, the probability of every class, attached to the graph of the logits, 0 in ignored pixels.
        y: N×C×h×w, the share of the class in the label, of the type of ``p``, 0 in ignored pixels.
        valid: N×h×w bool, False where the cell holds an ignored pixel.
    """

    p: Tensor
    y: Tensor
    valid: Tensor


def region_maps(logits: Logits, targets: Targets, config: RMIConfig | None = None) -> RegionMaps:
    """The maps of ``logits`` and ``targets``, ignored pixels set to 0 in both; not pooled unless ``config`` say so."""
    config = config or RMIConfig()
    z = upcast(logits)
    valid = targets.valid.unsqueeze(1)
    p = (z.sigmoid() if config.probability == "sigmoid" else z.softmax(1)) * valid
    y = (targets.classes.unsqueeze(1) == class_ids(z.shape[1], z.device).view(1, -1, 1, 1)) & valid
    return RegionMaps(
        pooled_probability(p, config), pooled_label(y.to(z.dtype), config), pooled_valid(targets.valid, config)
    )


def class_ids(channels: int, device: torch.device) -> Tensor:
    """The class of every channel: that of a single one is 1."""
    return torch.arange(channels, device=device) if channels > 1 else torch.ones(1, dtype=torch.long, device=device)


def pooled_size(size: Sequence[int], config: RMIConfig) -> tuple[int, int]:
    """The height and width of the maps after down-sampling; 0 where nothing is left."""
    (height, width), stride = size, config.stride
    extra = 0
    if config.pooling in ("average", "max"):
        extra = 2 * (stride // 2) if config.ignored == "zero" else -_cut(config)
    return max(height + extra, 0) // stride, max(width + extra, 0) // stride


def _cut(config: RMIConfig) -> int:
    """How many rows of pixels the first cells, which reach over the border, cover."""
    return config.stride - config.stride // 2


def pooled_probability(p: Tensor, config: RMIConfig) -> Tensor:
    """Probability maps (…×H×W), 0 in ignored pixels, on the grid of the statistics."""
    if config.pooling == "average" and config.variant == "published":
        p = p + 1e-6  # as published; it matters where zeros beyond the border are averaged, else goes with the mean
    return _interpolated(p, config) if config.pooling == "interpolation" else _pooled(p, config)


def pooled_label(y: Tensor, config: RMIConfig) -> Tensor:
    """Label maps (…×H×W) in a float type, on the grid of the statistics."""
    if config.pooling == "interpolation":
        return _nearest(y, config) if config.legacy_interpolation else _interpolated(y, config)
    return _pooled(y, config)


def pooled_valid(valid: Tensor, config: RMIConfig) -> Tensor:
    """N×h×w bool: the cells without a part of an ignored pixel."""
    if config.pooling == "none":
        return valid
    ignored = (~valid).double()
    if config.pooling != "interpolation":
        return _pooled(ignored, replace(config, pooling="max")) == 0
    cells = _interpolated(ignored, config) == 0
    return cells & (_nearest(ignored, config) == 0) if config.legacy_interpolation else cells


def _pooled(maps: Tensor, config: RMIConfig) -> Tensor:
    if config.pooling == "none":
        return maps
    stride, padding = config.stride, config.stride // 2
    if config.ignored == "drop":
        maps, padding = maps[..., _cut(config) :, _cut(config) :], 0
    pool = F.avg_pool2d if config.pooling == "average" else F.max_pool2d
    return _unflattened(pool(_flattened(maps), stride, stride, padding), maps)


def _interpolated(maps: Tensor, config: RMIConfig) -> Tensor:
    size = pooled_size(maps.shape[-2:], config)
    if not maps.numel():  # which PyTorch does not resize
        return maps.new_zeros(*maps.shape[:-2], *size) + maps.sum()
    return _unflattened(F.interpolate(_flattened(maps), size, mode="bilinear", align_corners=True), maps)


def _nearest(maps: Tensor, config: RMIConfig) -> Tensor:
    size = pooled_size(maps.shape[-2:], config)
    if not maps.numel():
        return maps[..., : size[0], : size[1]]
    return _unflattened(F.interpolate(_flattened(maps), size, mode="nearest"), maps)


def _flattened(maps: Tensor) -> Tensor:
    return maps.reshape(math.prod(maps.shape[:-2]), 1, *maps.shape[-2:])


def _unflattened(cells: Tensor, maps: Tensor) -> Tensor:
    return cells.view(*maps.shape[:-2], *cells.shape[-2:])
