"""Both routines of a device against float64 on the CPU, for every option; on the CPU if there is no GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segmi.losses import LOSSES

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
POOLINGS: list[dict[str, Any]] = [
    {}, {"pooling": "average", "stride": 4}, {"pooling": "max", "stride": 4},
    {"pooling": "interpolation", "stride": 4}, {"pooling": "interpolation", "stride": 4, "legacy_interpolation": True},
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {"variant": variant, **pooled, "probability": probability, **ignored}
    for variant in ("published", "corrected")
    for pooled in POOLINGS
    for probability in ("sigmoid", "softmax")
    for ignored in ({}, {"ignored": "zero"}, {"ignored": "drop"})
]
ABLATIONS = [name for name, kind in LOSSES.items() if kind.family == "rmi" and name != "rmi_loss"]

pytestmark = pytest.mark.cuda


def agree(
    name: str, options: dict[str, Any], kernel: str, scene: Scene, gradient: Gradient, device: torch.device
) -> None:
    side = 120 if device.type == "cuda" else 28
    labels = scene.labels(2, 4, side, side + 5, ignored=True)
    labels[0] = labels[0].masked_fill(labels[0] == 1, 0)  # absent from the first image
    logits = scene.logits(labels, 4).float()
    value, slope = gradient(lambda z: LOSSES[name](**options)(z, labels), logits.double())
    loss = LOSSES[name](kernel=kernel, **options)
    found, found_slope = gradient(lambda z: loss(z, labels.to(device)), logits.to(device))
    torch.testing.assert_close(found.double().cpu(), value, rtol=1e-5, atol=1e-5)
    assert (found_slope.double().cpu() - slope).norm() <= 1e-5 * slope.norm()


@pytest.mark.parametrize("kernel", ["auto", "torch"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_every_option(
    options: dict[str, Any], kernel: str, scene: Scene, gradient: Gradient, device: torch.device
) -> None:
    agree("rmi_loss", options, kernel, scene, gradient, device)


@pytest.mark.parametrize("kernel", ["auto", "torch"])
@pytest.mark.parametrize("options", [{}, {"variant": "corrected", "pooling": "average", "stride": 4}], ids=str)
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation(
    name: str, options: dict[str, Any], kernel: str, scene: Scene, gradient: Gradient, device: torch.device
) -> None:
    required = {"target": -50.0} if name == "region_matched_bound" else {}
    agree(name, {**options, **required}, kernel, scene, gradient, device)
