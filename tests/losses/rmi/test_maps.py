"""Pooling against loops over single pixels."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.rmi.maps import pooled_size, region_maps
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import read_targets

Scene = Any
POOLINGS = [
    ("none", 1, False), ("average", 2, False), ("average", 3, False), ("average", 4, False), ("max", 2, False),
    ("max", 3, False), ("interpolation", 2, False), ("interpolation", 3, False), ("interpolation", 2, True),
    ("interpolation", 3, True),
]  # fmt: skip
SIZES = [(13, 10), (12, 16), (9, 11)]


def squares(image: np.ndarray, valid: np.ndarray, config: RMIConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return averages or maxima and the valid cells, as published or without cells beyond the border."""
    stride, margin = config.stride, config.stride // 2
    height, width = image.shape
    rows, columns = ((side + 2 * margin) // stride for side in (height, width))
    values, whole, inside = (np.zeros((rows, columns)) for _ in range(3))
    for r in range(rows):
        for c in range(columns):
            top, left = r * stride - margin, c * stride - margin
            part = (slice(max(top, 0), top + stride), slice(max(left, 0), left + stride))
            average = image[part].sum() / stride**2
            values[r, c] = average if config.pooling == "average" else image[part].max()
            whole[r, c] = valid[part].all()
            inside[r, c] = min(top, left) >= 0 and top + stride <= height and left + stride <= width
    if config.ignored == "zero":
        return values, whole
    keep = np.ix_(inside.any(1), inside.any(0))
    return values[keep], whole[keep]


def samples(image: np.ndarray, valid: np.ndarray, stride: int, nearest: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return bilinear samples from corner to corner, or the published nearest pixels, and the valid samples."""
    size = [side // stride for side in image.shape]
    values, whole = np.zeros(size), np.ones(size)
    for r in range(size[0]):
        for c in range(size[1]):
            places = []
            for k, side, cells in ((r, image.shape[0], size[0]), (c, image.shape[1], size[1])):
                at = k * side / cells if nearest else k * (side - 1) / (cells - 1)
                first, share = int(at), 0.0 if nearest else at - int(at)
                places.append([(first, 1 - share), (min(first + 1, side - 1), share)])
            for i, a in places[0]:
                for j, b in places[1]:
                    values[r, c] += a * b * image[i, j]
                    whole[r, c] *= a * b < 1e-9 or valid[i, j]
    return values, whole


def expected(image: np.ndarray, valid: np.ndarray, config: RMIConfig, label: bool) -> tuple[np.ndarray, np.ndarray]:
    if config.pooling == "none":
        return image, valid
    if config.pooling == "interpolation":
        return samples(image, valid, config.stride, nearest=config.legacy_interpolation and label)
    return squares(image, valid, config)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ignored", ["zero", "drop"])
@pytest.mark.parametrize(("pooling", "stride", "legacy_interpolation"), POOLINGS)
@pytest.mark.parametrize("probability", ["sigmoid", "softmax"])
def test_maps_equal_loops(
    scene: Scene,
    size: tuple[int, int],
    ignored: Any,
    pooling: Any,
    stride: int,
    legacy_interpolation: bool,
    probability: Any,
) -> None:
    config = RMIConfig(
        pooling=pooling, stride=stride, legacy_interpolation=legacy_interpolation, ignored=ignored,
        probability=probability,
    )  # fmt: skip
    labels = scene.labels(2, 3, *size, ignored=True)
    logits = scene.logits(labels, 3)
    maps = region_maps(logits, read_targets(logits, labels, 255), config)
    valid = (labels != 255).numpy()
    shift = 1e-6 if pooling == "average" else 0.0
    scores = (logits.softmax(1) if probability == "softmax" else logits.sigmoid()).numpy()
    assert maps.p.shape[2:] == pooled_size(size, config) == maps.y.shape[2:] == maps.valid.shape[1:]
    for n in range(2):
        for c in range(3):
            p, whole = expected(scores[n, c] * valid[n] + shift, valid[n], config, label=False)
            y, label_whole = expected((labels[n] == c).double().numpy(), valid[n], config, label=True)
            np.testing.assert_allclose(maps.p[n, c], p, atol=1e-12)
            np.testing.assert_allclose(maps.y[n, c], y, atol=1e-12)
            np.testing.assert_array_equal(maps.valid[n], (whole * label_whole).astype(bool))


def test_a_single_channel_is_class_one(scene: Scene) -> None:
    labels = scene.labels(1, 2, 8, 8)
    maps = region_maps(scene.logits(labels, 1), read_targets(torch.zeros(1, 1, 8, 8), labels, 255))
    assert torch.equal(maps.y[:, 0], labels.double())


@pytest.mark.parametrize("pooling", ["average", "max", "interpolation"])
def test_maps_of_an_empty_batch(pooling: Any) -> None:
    logits = torch.zeros(0, 3, 12, 12, requires_grad=True)
    config = RMIConfig(pooling=pooling, stride=2)
    maps = region_maps(logits, read_targets(logits, torch.zeros(0, 12, 12, dtype=torch.long), 255), config)
    assert maps.p.shape[1:] == maps.y.shape[1:] == (3, *pooled_size((12, 12), config))
    assert maps.p.requires_grad


def published(maps: Tensor, way: int, stride: int, label: bool) -> Tensor:
    """Pool as the released code does."""
    if way == 0:
        return F.max_pool2d(maps, stride, stride, stride // 2)
    if way == 1:
        return F.avg_pool2d(maps, stride, stride, stride // 2)
    size = (maps.shape[2] // stride, maps.shape[3] // stride)
    options = {"mode": "nearest"} if label else {"mode": "bilinear", "align_corners": True}
    return F.interpolate(maps, size, **options)


@pytest.mark.parametrize("stride", [2, 3, 4, 5])
@pytest.mark.parametrize(("way", "pooling"), [(0, "max"), (1, "average"), (2, "interpolation")])
def test_equals_the_published_pooling(scene: Scene, way: int, pooling: Any, stride: int) -> None:
    labels = scene.labels(2, 3, 23, 26, ignored=True)
    logits = scene.logits(labels, 3)
    one_hot = F.one_hot(labels.masked_fill(labels == 255, 3), 4)[..., :3].movedim(-1, 1).double()
    p = logits.sigmoid() * (labels != 255).unsqueeze(1) + 1e-6
    config = RMIConfig(pooling=pooling, stride=stride, legacy_interpolation=way == 2)
    maps = region_maps(logits, read_targets(logits, labels, 255), config)
    torch.testing.assert_close(maps.y, published(one_hot, way, stride, True), rtol=0, atol=0)
    torch.testing.assert_close(maps.p + (0 if way == 1 else 1e-6), published(p, way, stride, False), rtol=0, atol=1e-15)
