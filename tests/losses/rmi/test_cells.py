"""The compiled routine on feature grids: pooled maps, softmax, and how pixels belong to cells."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmi.losses import (
    RegionCovarianceMatching,
    RegionErrorDeterminant,
    RegionLogMSE,
    RegionPermutedPixels,
    RegionShuffledLabels,
    RMILoss,
    region_mutual_information,
    region_mutual_information_plain,
    rmi_loss,
)
from segmi.losses.rmi.maps import axis_cells, pooled_label, pooled_probability, pooled_size
from segmi.losses.rmi.rmi_config import RMIConfig

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
Options = dict[str, Any]
POOLINGS: list[Options] = [
    {"pooling": "average", "stride": 2}, {"pooling": "average", "stride": 3}, {"pooling": "max", "stride": 3},
    {"pooling": "interpolation", "stride": 2}, {"pooling": "interpolation", "stride": 3, "legacy_interpolation": True},
]  # fmt: skip
EVERY = [
    {**pooling, "probability": probability, "variant": variant, "ignored": ignored}
    for pooling, probability, variant, ignored in product(
        [{}, *POOLINGS], ("sigmoid", "softmax"), ("published", "corrected"), ("zero", "drop")
    )
]


def named(options: Options) -> str:
    return "-".join(str(value) for value in options.values())


def apart(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("options", EVERY, ids=named)
def test_equals_reference(scene: Scene, gradient: Gradient, options: Options) -> None:
    labels = scene.labels(3, 4, 41, 38, ignored=True)
    labels[1] = 2
    labels[2, :25] = 255
    for contrast, noise in ((0.0, 0.01), (2.0, 1.0), (8.0, 0.5)):
        logits = scene.logits(labels, 5, contrast=contrast, noise=noise).float()
        for reduction in ("sum", "present"):
            used = {**options, "class_reduction": reduction}
            expected, truth = gradient(lambda z, o=used: region_mutual_information_plain(z, labels, **o), logits)
            for loss in (region_mutual_information, rmi_loss):
                more = {} if loss is region_mutual_information else {"bce_weight": 0}  # with and without a fused pass
                value, slope = gradient(lambda z, f=loss, o={**used, **more}: f(z, labels, kernel="numba", **o), logits)
                assert value.item() == pytest.approx(expected.item(), rel=1e-6)
                assert apart(slope, truth) < 2e-6


@pytest.mark.parametrize("probability", ["sigmoid", "softmax"])
@pytest.mark.parametrize("radius", [1, 2, 4, 5, 6])
def test_every_radius(scene: Scene, gradient: Gradient, radius: int, probability: str) -> None:
    labels = scene.labels(1, 3, 46, 45, ignored=True)
    logits = scene.logits(labels, 3).float()
    used: Options = {"radius": radius, "pooling": "average", "stride": 2, "probability": probability}
    value, slope = gradient(lambda z: region_mutual_information(z, labels, kernel="numba", **used), logits)
    expected, truth = gradient(lambda z: region_mutual_information_plain(z, labels, **used), logits)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert apart(slope, truth) < (1e-6 if radius < 6 else 1e-4)


@pytest.mark.parametrize("shuffle", [RegionPermutedPixels, RegionShuffledLabels])
@pytest.mark.parametrize(
    "options", [{}, {"variant": "corrected"}, *POOLINGS[:3], {"probability": "softmax"}], ids=named
)
def test_shuffles_equal_torch(scene: Scene, gradient: Gradient, options: Options, shuffle: Any) -> None:
    labels = scene.labels(2, 4, 41, 38, ignored=True)
    logits = scene.logits(labels, 5).float()
    value, slope = gradient(lambda z: shuffle(kernel="numba", **options)(z, labels), logits)
    expected, truth = gradient(lambda z: shuffle(kernel="torch", **options)(z, labels), logits.double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert apart(slope, truth) < 2e-6


ABLATIONS: list[Options] = [
    {}, {"variant": "corrected"}, {"ignored": "drop"}, {"class_reduction": "present"}, {"radius": 2}, *POOLINGS[:3],
    {"probability": "softmax"},
]  # fmt: skip


@pytest.mark.parametrize("ablation", [RegionErrorDeterminant, RegionLogMSE, RegionCovarianceMatching])
@pytest.mark.parametrize("options", ABLATIONS, ids=named)
def test_closed_forms_of_ablations_equal_autograd(
    scene: Scene, gradient: Gradient, options: Options, ablation: Any
) -> None:
    labels = scene.labels(3, 4, 41, 38, ignored=True)
    labels[1] = 2  # absent and constant classes have gradients
    for contrast in (0.0, 8.0):
        logits = scene.logits(labels, 5, contrast=contrast).float()
        value, slope = gradient(lambda z: ablation(kernel="numba", **options)(z, labels), logits)
        expected, truth = gradient(lambda z: ablation(kernel="torch", **options)(z, labels), logits.double())
        assert value.item() == pytest.approx(expected.item(), rel=1e-6)
        assert apart(slope, truth) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("options", POOLINGS[1:4], ids=named)
def test_softmax_with_threads_and_precisions(scene: Scene, options: Options, dtype: torch.dtype) -> None:
    labels = scene.labels(3, 4, 65, 70, ignored=True)
    logits = scene.logits(labels, 5).to(dtype)
    results, threads = [], torch.get_num_threads()
    for number in (1, 3):
        torch.set_num_threads(number)
        z = logits.clone().requires_grad_()
        loss = RMILoss(kernel="numba", probability="softmax", **options)(z, labels)
        results.append((loss.detach(), *torch.autograd.grad(loss, z)))
    torch.set_num_threads(threads)
    exact = logits.double().requires_grad_()
    expected = RMILoss(kernel="torch", probability="softmax", **options)(exact, labels)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][0].item() == pytest.approx(expected.item(), rel=1e-6)
    assert apart(results[0][1], torch.autograd.grad(expected, exact)[0]) < 2 * torch.finfo(dtype).eps + 1e-6


@pytest.mark.parametrize("probability", ["sigmoid", "softmax"])
@pytest.mark.parametrize("options", POOLINGS[1:4], ids=named)
@pytest.mark.parametrize("channels", [1, 4])
def test_pixel_loss_of_the_same_pass(
    scene: Scene, gradient: Gradient, options: Options, channels: int, probability: str
) -> None:
    if channels == 1 and probability == "softmax":
        pytest.skip("a softmax needs two channels")
    options = {**options, "probability": probability}
    labels = scene.labels(2, max(channels, 2), 33, 30, ignored=True)
    logits = scene.logits(labels, channels).float()
    loss = RMILoss(kernel="numba", **options)
    value, slope = gradient(lambda z: loss(z, labels), logits)
    expected, truth = gradient(lambda z: RMILoss(kernel="torch", **options)(z, labels), logits.double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert apart(slope, truth) < 1e-6
    again = RMILoss(kernel="numba", **options)
    doubled = gradient(lambda z: 2 * again(z, labels), logits)[1]  # not the predicted scale: a separate backward pass
    assert apart(doubled, 2 * truth) < 1e-6


@pytest.mark.parametrize("probability", ["sigmoid", "softmax"])
@pytest.mark.parametrize("options", POOLINGS, ids=named)
def test_nan_and_saturated_logits(scene: Scene, gradient: Gradient, options: Options, probability: str) -> None:
    labels = scene.labels(1, 3, 16, 16)
    used = {**options, "probability": probability, "kernel": "numba"}
    for certainty in (30.0, 100.0, 1e4, 3e38):
        logits = certainty * (2 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float() - 1)
        value, slope = gradient(lambda z: region_mutual_information(z, labels, **used), logits)
        assert value.isfinite()
        assert slope.isfinite().all()
    logits[0, 3, 0, 0] = torch.nan  # an absent class
    assert region_mutual_information(logits, labels, **used).isnan()


@pytest.mark.parametrize("ignored", ["zero", "drop"])
@pytest.mark.parametrize("options", [one for one in POOLINGS if one["pooling"] != "max"], ids=named)
def test_cells_of_an_axis_pool_like_torch(options: Options, ignored: Any) -> None:
    config = RMIConfig(ignored=ignored, variant="corrected", **options)
    for pixels in (6, 7, 16, 29, 48):
        cells = pooled_size((pixels, pixels), config)[0]
        maps = torch.rand(pixels, pixels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for label, pool in ((False, pooled_probability), (True, pooled_label)):
            cell, weight = axis_cells(pixels, config, label=label)
            matrix = np.zeros((cells + 1, pixels))  # the last row is for pixels without a cell
            matrix[cell, np.arange(pixels)] = weight
            got = matrix[:-1] @ maps.numpy() @ matrix[:-1].T
            np.testing.assert_allclose(got, pool(maps[None], config)[0].numpy(), atol=1e-12)
