"""The softmax of pooled maps and its gradient, compared with PyTorch in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from segmi.losses.compiled.pooling import Grid
from segmi.losses.compiled.softmax import pool_softmax, softmax_backward
from segmi.losses.rmi.maps import axis_cells, pooled_probability, pooled_size
from segmi.losses.rmi.rmi_config import RMIConfig

OPTIONS: list[dict[str, Any]] = [
    {}, {"pooling": "average", "stride": 3}, {"pooling": "max", "stride": 3}, {"pooling": "interpolation", "stride": 3},
    {"pooling": "max", "stride": 2, "ignored": "drop"},
]  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch(options: dict[str, Any], scale: float) -> None:
    config = RMIConfig(**options)
    height, width, channels = 17, 19, np.array([0, 3, 4])
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(5, height, width, generator=generator)
    valid = torch.rand(height, width, generator=generator) > 0.2
    z = logits.double().requires_grad_()
    expected = pooled_probability(z.softmax(0)[channels] * valid, config)
    slopes = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    truth = torch.autograd.grad(expected, z, slopes)[0]

    (rows, row_weights), (columns, column_weights) = (axis_cells(size, config) for size in (height, width))
    grid, maximum = Grid(rows, columns, row_weights, column_weights), config.pooling == "max"
    shift = 1e-6 if config.pooling == "average" else 0.0
    size = pooled_size((height, width), config)
    maps, at = np.empty((3, *size)), np.empty((3, *size) if maximum else (3, 1, 0), np.int64)
    gradient = np.ones((5, height, width), np.float32)  # added to
    half = size[0] // 2
    for begin, end in ((half, size[0]), (0, half)):  # strips in any order
        pool_softmax(logits.numpy(), valid.numpy(), channels, grid, maximum, shift, begin, end, maps, at)
    np.testing.assert_allclose(maps, expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    for begin, end in ((half, size[0]), (0, half)):
        softmax_backward(
            logits.numpy(), valid.numpy(), channels, grid, maximum, begin, end, slopes.numpy(), at, gradient
        )
    np.testing.assert_allclose(gradient - 1, truth.numpy(), atol=3e-7)
