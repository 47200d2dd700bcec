"""Label and probability maps on the feature grid, and which (image, class) pairs vary.

Pooling is as published: averages and maxima are taken over squares of ``stride`` pixels. The first squares extend
``stride // 2`` pixels beyond the upper and left border, where the average counts zeros. Interpolation takes ``H //
stride`` samples of both maps, from corner to corner; as published (``legacy_interpolation``) only the probability is
sampled this way and the label at the nearest pixels of another grid, so that the two are not aligned.

If ignored pixels are dropped, so are the cells that extend beyond the border and every cell whose value depends on an
ignored pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.features import random_priorities
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import Targets, is_readable, upcast
from segmi.types import Logits

CHUNK_BYTES: Final = 16 * 2**20  # memory of the unfolded rows of one chunk of pairs; more does not fit the caches
_ROUNDING: Final = 1e-10  # smaller differences of labels are rounding: interpolation weights are at least 1 / pixels

# --- pooling


class RegionMaps(NamedTuple):
    """Maps on the feature grid.

    Args:
        p: N×C×h×w, the probability of every class, attached to the graph of the logits, 0 in ignored pixels.
        y: N×C×h×w, the share of the class in the label, in the type of ``p``, 0 in ignored pixels.
        valid: N×h×w bool, False where the cell contains an ignored pixel.
    """

    p: Tensor
    y: Tensor
    valid: Tensor


def region_maps(logits: Logits, targets: Targets, config: RMIConfig | None = None) -> RegionMaps:
    """Return the maps of logits and targets, 0 in ignored pixels; not pooled by default."""
    config = config or RMIConfig()
    z = upcast(logits)
    valid = targets.valid.unsqueeze(1)
    p = (z.sigmoid() if config.probability == "sigmoid" else z.softmax(1)) * valid  # N×C×H×W
    y = (targets.classes.unsqueeze(1) == class_ids(z.shape[1], z.device).view(1, -1, 1, 1)) & valid
    return RegionMaps(
        pooled_probability(p, config), pooled_label(y.to(z.dtype), config), pooled_valid(targets.valid, config)
    )


def class_ids(channels: int, device: torch.device) -> Tensor:
    """Return the class of every channel; a single channel is class 1."""
    return torch.arange(channels, device=device) if channels > 1 else torch.ones(1, dtype=torch.long, device=device)


def pooled_size(size: Sequence[int], config: RMIConfig) -> tuple[int, int]:
    """Return height and width of the feature grid; 0 if nothing is left."""
    (height, width), stride = size, config.stride
    extra = 0
    if config.pooling in ("average", "max"):
        extra = 2 * (stride // 2) if config.ignored == "zero" else -_cut(config)
    return max(height + extra, 0) // stride, max(width + extra, 0) // stride


def _cut(config: RMIConfig) -> int:
    """Return the number of pixel rows in the first cells, which extend beyond the border."""
    return config.stride - config.stride // 2


def axis_cells(pixels: int, config: RMIConfig, *, label: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of every pixel along one axis, -1 for none, and its weight in the cell, 1 for maxima."""
    cells, stride, position = pooled_size((pixels, pixels), config)[0], config.stride, np.arange(pixels)
    if config.pooling == "none":
        return position, np.ones(pixels)
    if config.pooling != "interpolation":
        cell = (position - (_cut(config) if config.ignored == "drop" else -(stride // 2))) // stride
        cell[cell >= cells] = -1
        share = 1 / stride if config.pooling == "average" else 1.0
        return np.maximum(cell, -1), np.where(cell >= 0, share, 0.0)
    cell, weight = np.full(pixels, -1), np.zeros(pixels)
    exact: Any = np.zeros(cells)  # positions of the samples
    if label and config.legacy_interpolation:
        nearest = F.interpolate(torch.arange(pixels).double().view(1, 1, -1), cells, mode="nearest")
        exact = nearest.flatten().numpy()
    elif cells > 1:
        exact = np.arange(cells) * ((pixels - 1) / (cells - 1))
    low = exact.astype(np.int64)
    for one, share in ((np.minimum(low + 1, pixels - 1), exact - low), (low, 1 - (exact - low))):
        used = share > 0
        cell[one[used]], weight[one[used]] = np.arange(cells)[used], share[used]
    return cell, weight


def pooled_probability(p: Tensor, config: RMIConfig) -> Tensor:
    """Return probability maps (…×H×W), 0 in ignored pixels, on the feature grid."""
    if config.pooling == "average" and config.variant == "published":
        p = p + 1e-6  # as published; only matters next to the zeros beyond the border, since windows are centered
    return _interpolated(p, config) if config.pooling == "interpolation" else _pooled(p, config)


def pooled_label(y: Tensor, config: RMIConfig) -> Tensor:
    """Return label maps (…×H×W) of a float type on the feature grid."""
    if config.pooling == "interpolation":
        return _nearest(y, config) if config.legacy_interpolation else _interpolated(y, config)
    return _pooled(y, config)


def pooled_valid(valid: Tensor, config: RMIConfig) -> Tensor:
    """Return N×h×w bool: the cells that do not depend on an ignored pixel."""
    if config.pooling == "none":
        return valid
    ignored = (~valid).double()  # pooled like a map: above 0 where an ignored pixel has a part
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
    if not maps.numel():  # F.interpolate rejects empty tensors
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


# --- pairs


def counted_pairs(targets: Targets, channels: int, config: RMIConfig) -> Tensor:
    """Return N×C bool: the pairs whose label varies over the included windows.

    Exact if the result affects the value. In the variant ``published`` with ignored pixels set to 0 and without a count
    of pairs it does not, and pairs that do not vary may be True, since an exact answer would cost more than it saves.
    """
    counts = _pixels_per_class(targets.classes, targets.valid, channels)
    exact = config.variant == "corrected" or config.ignored == "drop" or config.class_reduction == "present"
    if not exact:
        full = math.prod(targets.classes.shape[1:])
        return (counts > 0) & (counts < full) if config.pooling == "none" else counts > 0
    whole, order = included_windows(targets, config), shuffled_order(targets, config)
    if config.pooling == "none" and order is None:
        return _varying_pixels(targets, whole, channels, config.radius)
    pairs = selected_pairs(counts > 0)
    height, width = targets.classes.shape[1:]
    limit = CHUNK_BYTES * (1 if is_readable(counts) else 16)
    varies = [
        _varying_maps(label_cells(targets, some, channels, config, order), whole[some // channels], config.radius)
        for some in pairs.split(max(1, limit // (64 * height * width)))
    ]
    result = torch.cat(varies) if varies else counts.new_zeros(0, dtype=torch.bool)
    return put_pairs((counts > 0) & False, pairs, result) & (counts > 0)


def selected_pairs(wanted: Tensor) -> Tensor:
    """Return the flat indices of the pairs to compute: those ``wanted`` (N×C bool), or all if they cannot be read."""
    flat = wanted.flatten()
    return flat.nonzero()[:, 0] if is_readable(wanted) else torch.arange(flat.shape[0], device=flat.device)


def put_pairs(every: Tensor, pairs: Tensor, values: Tensor) -> Tensor:
    """Return N×C values, replaced at the ``pairs``."""
    return every.flatten().index_copy(0, pairs, values).view(every.shape)


def included_windows(targets: Targets, config: RMIConfig) -> Tensor:
    """Return N×H'×W' bool: the windows that are included in the statistics, by their upper left cell."""
    cells = pooled_valid(targets.valid, config)
    return whole_windows(cells if config.ignored == "drop" else torch.ones_like(cells), config.radius)


def whole_windows(valid: Tensor, radius: int) -> Tensor:
    """Return N×H'×W' bool: the windows, by their upper left pixel, without an ignored pixel."""
    return F.max_pool2d((~valid).float().unsqueeze(1), radius, stride=1).squeeze(1) == 0


def _varying_pixels(targets: Targets, whole: Tensor, channels: int, radius: int) -> Tensor:
    windows = whole.flatten(1).sum(1)[:, None]  # N×1, number of included windows
    height, width = whole.shape[1:]
    varies = []
    for i in range(radius):
        for j in range(radius):
            pixels = (slice(None), slice(i, i + height), slice(j, j + width))
            counts = _pixels_per_class(targets.classes[pixels], whole & targets.valid[pixels], channels)
            varies.append((counts > 0) & (counts < windows))
    return torch.stack(varies).any(0)


def _varying_maps(y: Tensor, whole: Tensor, radius: int) -> Tensor:
    height, width = whole.shape[1:]
    varies = []
    for i in range(radius):
        for j in range(radius):
            position = y[:, i : i + height, j : j + width]
            lowest, highest = (torch.where(whole, position, bound) for bound in (math.inf, -math.inf))
            varies.append(highest.flatten(1).amax(1) - lowest.flatten(1).amin(1) > _ROUNDING)
    return torch.stack(varies).any(0)


def _pixels_per_class(index: Tensor, valid: Tensor, channels: int) -> Tensor:
    classes = max(channels, 2)
    image = torch.arange(len(index), device=index.device).view(-1, 1, 1) * (classes + 1)  # first slot of an image
    cell = image + torch.where(valid, index, classes)
    counts = _occurrences(cell.flatten(), len(index) * (classes + 1)).view(len(index), classes + 1)
    return counts[:, 1:2] if channels == 1 else counts[:, :classes]


def _occurrences(numbers: Tensor, below: int) -> Tensor:
    """Return how often each of the numbers 0 to ``below`` - 1 occurs."""
    if is_readable(numbers):
        return torch.bincount(numbers, minlength=below)  # reads the largest number first
    return torch.zeros(below, dtype=torch.int64, device=numbers.device).scatter_add(
        0, numbers, torch.ones_like(numbers)
    )


def label_cells(
    targets: Targets,
    pairs: Tensor,
    channels: int,
    config: RMIConfig,
    order: Tensor | None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return m×h×w label maps of ``pairs`` on the feature grid, bool without pooling, in the given order of cells."""
    image, ids = pairs // channels, class_ids(channels, pairs.device)
    if len(pairs) == len(targets.classes) * channels:
        y = (targets.classes.unsqueeze(1) == ids[:, None, None]).logical_and(targets.valid.unsqueeze(1)).flatten(0, 1)
    else:
        y = (targets.classes[image] == ids[pairs % channels][:, None, None]) & targets.valid[image]
    y = y if config.pooling == "none" else pooled_label(y.to(dtype), config)
    return y if order is None else shuffled(y, order[image])


# --- shuffles
#
# Ablations put the cells of an image in random order. The order is a hash of the seed and the image's own labels: the
# same crop always has the same order, independent of its batch, and no order lasts long enough to be learned. Ignored
# cells stay in place, so that the same windows are included as without a shuffle.

_BITS: Final = 31  # of the random numbers that cells are sorted by


def shuffled_order(targets: Targets, config: RMIConfig) -> Tensor | None:
    """Return N×(h·w): for every cell the flat index of the cell that replaces it; None without a shuffle."""
    if config.shuffle == "none":
        return None
    valid = pooled_valid(targets.valid, config).flatten(1)
    images, cells = valid.shape
    numbers = random_priorities(targets.classes, targets.valid, cells, config.seed).bitwise_and_(2**_BITS - 1)
    first = torch.arange(images, device=valid.device)[:, None]
    # one sort of all images: by image, ignored cells last, then by random numbers
    source = numbers.bitwise_or_((2 * first + ~valid) << _BITS).flatten().argsort(stable=True).view(images, cells)
    rank = (valid.long().cumsum(1) - 1).clamp(min=0)  # of a cell among the valid ones
    return torch.where(valid, (source - cells * first).gather(1, rank), torch.arange(cells, device=valid.device))


def shuffled(maps: Tensor, order: Tensor) -> Tensor:
    """Return m×h×w maps in the order m×(h·w)."""
    return maps.flatten(1).gather(1, order).view_as(maps)
