"""The CPU routine against the reference, and against 80-bit arithmetic."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmi.datasets import open_dataset
from segmi.losses import (
    RMILoss,
    binary_cross_entropy,
    region_information,
    region_mutual_information,
    region_mutual_information_plain,
)

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
IGNORE_INDEX = 255


def apart(got: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of the expected gradient."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


# --- against the reference


@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize("ignored", ["zero", "drop"])
@pytest.mark.parametrize("radius", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("holes", ["none", "few", "many"])
def test_equals_reference(
    scene: Scene, gradient: Gradient, variant: str, ignored: str, radius: int, channels: int, holes: str
) -> None:
    labels = scene.labels(2, max(channels, 2), 34, 29, ignored=holes == "few")
    if holes == "many":
        labels[:, ::9, ::2] = IGNORE_INDEX
    logits = scene.logits(labels, channels).float()
    options: Any = {"variant": variant, "ignored": ignored, "radius": radius}
    value, slope = gradient(lambda z: region_mutual_information(z, labels, kernel="numba", **options), logits)
    expected, truth = gradient(lambda z: region_mutual_information_plain(z, labels, **options), logits.double())
    assert value == pytest.approx(float(expected), rel=1e-6)
    if float(truth.norm()) == 0:  # every window has an ignored pixel
        assert not slope.any()
    else:
        assert apart(slope, truth) < 1e-6


@pytest.mark.parametrize("radius", range(1, 11))
def test_every_published_radius(scene: Scene, gradient: Gradient, radius: int) -> None:
    labels = scene.labels(1, 3, 44, 47, ignored=True)
    logits = scene.logits(labels, 3).float()
    value, slope = gradient(lambda z: region_mutual_information(z, labels, radius=radius, kernel="numba"), logits)
    expected, truth = gradient(lambda z: region_mutual_information_plain(z, labels, radius=radius), logits.double())
    assert value == pytest.approx(float(expected), rel=1e-6)
    # with 100 positions per window, the regression is nearly singular on a small image
    assert apart(slope, truth) < (1e-6 if radius < 6 else 1e-4)


@pytest.mark.parametrize("size", [(3, 3), (3, 9), (4, 4), (5, 3), (6, 5)])
def test_images_barely_larger_than_the_window(gradient: Gradient, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (3, *size), generator=generator)
    logits = 3 * torch.randn(3, 2, *size, generator=generator)
    # With fewer windows than positions, only a large ridge leaves a gradient.
    value, slope = gradient(lambda z: region_mutual_information(z, labels, alpha=1.0, kernel="numba"), logits)
    expected, truth = gradient(lambda z: region_mutual_information_plain(z, labels, alpha=1.0), logits.double())
    assert value == pytest.approx(float(expected), rel=1e-6)
    assert apart(slope, truth) < 1e-6 if truth.any() else not slope.any()


def test_label_noise_with_a_run_for_every_pixel(gradient: Gradient) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (1, 40, 50), generator=generator)
    logits = torch.randn(1, 4, 40, 50, generator=generator)
    value, slope = gradient(lambda z: region_mutual_information(z, labels, kernel="numba"), logits)
    expected, truth = gradient(lambda z: region_mutual_information_plain(z, labels), logits.double())
    assert value == pytest.approx(float(expected), rel=1e-6)
    assert apart(slope, truth) < 1e-6


def test_information_equals_the_torch_routine(scene: Scene) -> None:
    labels = scene.labels(2, 4, 30, 30, ignored=True)
    logits = scene.logits(labels, 4).float()
    for variant in ("published", "corrected"):
        got = region_information(logits, labels, variant=variant, kernel="numba")
        expected = region_information(logits, labels, variant=variant, kernel="torch")
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_pixel_loss_of_the_fused_pass(scene: Scene, gradient: Gradient, channels: int) -> None:
    labels = scene.labels(3, max(channels, 2), 41, 37, ignored=True)
    logits = scene.logits(labels, channels, contrast=4, noise=6).float()
    logits[0, 0, 0, :4] = torch.tensor([90.0, -90.0, 1000.0, -1000.0])
    labels[0, 0, :4] = 1
    loss = RMILoss(bce_weight=1, variant="corrected", kernel="numba")
    value, slope = gradient(lambda z: loss(z, labels), logits)
    expected, truth = gradient(lambda z: binary_cross_entropy(z, labels), logits.double())
    assert value == pytest.approx(float(expected), rel=1e-6)
    assert apart(slope, truth) < 1e-6
    assert not slope.movedim(1, -1)[labels == IGNORE_INDEX].any(), "nothing in ignored pixels"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type(scene: Scene, dtype: torch.dtype) -> None:
    ignore = 255 if dtype != torch.int8 else -1
    labels = scene.labels(2, 3, 20, 22, ignored=True)
    logits = scene.logits(labels, 3).float()
    expected = region_mutual_information(logits, labels, kernel="torch")
    labels = labels.masked_fill(labels == IGNORE_INDEX, ignore).to(dtype)
    got = region_mutual_information(logits, labels, kernel="numba", ignore_index=ignore)
    assert got == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("arrange", ["channels_last", "sliced", "expanded labels"])
def test_any_memory_format(scene: Scene, gradient: Gradient, arrange: str) -> None:
    labels = scene.labels(1, 3, 20, 22).expand(2, -1, -1)
    logits = scene.logits(labels, 3).float()
    plain, expected = gradient(lambda z: region_mutual_information(z, labels.contiguous(), kernel="torch"), logits)
    if arrange == "channels_last":
        logits = logits.to(memory_format=torch.channels_last)
    elif arrange == "sliced":
        logits = torch.stack([logits, logits], -1)[..., 0]
    value, slope = gradient(lambda z: region_mutual_information(z, labels, kernel="numba"), logits)
    assert value == pytest.approx(float(plain), rel=1e-6)
    assert apart(slope, expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(scene: Scene, gradient: Gradient, dtype: torch.dtype) -> None:
    labels = scene.labels(2, 3, 20, 22, ignored=True)
    logits = scene.logits(labels, 3).to(dtype)
    value, slope = gradient(lambda z: region_mutual_information(z, labels, kernel="numba"), logits)
    expected, truth = gradient(lambda z: region_mutual_information(z, labels, kernel="numba"), logits.float())
    assert value == expected
    assert slope.dtype == dtype
    torch.testing.assert_close(slope, truth.to(dtype))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_result_is_independent_of_threads(scene: Scene, gradient: Gradient, threads: int) -> None:
    labels = scene.labels(3, 4, 30, 33, ignored=True)
    logits = scene.logits(labels, 4).float()
    before = torch.get_num_threads()
    expected = gradient(lambda z: RMILoss(kernel="numba")(z, labels), logits)
    try:
        torch.set_num_threads(threads)
        got = gradient(lambda z: RMILoss(kernel="numba")(z, labels), logits)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(got[1], expected[1])
    assert got[0] == expected[0]


# --- against 80-bit arithmetic


def truth(z: np.ndarray, y: np.ndarray, radius: int = 3, alpha: float = 5e-4) -> tuple[float, np.ndarray]:
    """Return the published term of one map and its gradient in 80 bits, with the sigmoid's derivative in float64."""
    long = np.longdouble
    p64 = torch.from_numpy(z).double().sigmoid().numpy()
    e = np.exp(-np.abs(z.astype(long)))
    p = np.where(z >= 0, 1 - e / (1 + e), e / (1 + e))
    d, (height, width) = radius**2, z.shape
    rows, columns = height - radius + 1, width - radius + 1

    def windows(image: np.ndarray) -> np.ndarray:
        shifted = [image[a : a + rows, b : b + columns].ravel() for a in range(radius) for b in range(radius)]
        return np.stack([one - one.mean() for one in shifted])

    points = np.concatenate([windows(p), windows(y.astype(long))])
    joint = np.array([[(a * b).sum() for b in points] for a in points]) + long(alpha) * np.eye(2 * d)
    lower = cholesky(joint)
    regression = lower[d:, :d] @ inverse_of_lower(lower[:d, :d])
    inverse, pivots = inverse_of_lower(lower[d:, d:]), np.diag(lower)[d:]
    by_window = -(regression.T @ inverse.T) @ (
        (pivots / (pivots + long(1e-8)))[:, None] * (inverse @ (points[d:] - regression @ points[:d]))
    )
    folded = np.zeros((height, width), long)
    for k, part in enumerate(by_window):
        folded[k // radius : k // radius + rows, k % radius : k % radius + columns] += part.reshape(rows, columns)
    return float(np.log(pivots + long(1e-8)).sum() / d), (folded * (p64 * (1 - p64)) / d).astype(float)


def cholesky(matrix: np.ndarray) -> np.ndarray:
    lower = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i, j] - (lower[i, :j] * lower[j, :j]).sum()
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def inverse_of_lower(lower: np.ndarray) -> np.ndarray:
    result = np.zeros_like(lower)
    for j in range(len(lower)):
        result[j, j] = 1 / lower[j, j]
        for i in range(j + 1, len(lower)):
            result[i, j] = -(lower[i, j:i] * result[j:i, j]).sum() / lower[i, i]
    return result


def rectangles(side: int) -> Tensor:
    """Return axis-aligned rectangles: few distinct windows, whose covariances are nearly singular."""
    generator = np.random.default_rng(1)
    labels = np.zeros((side, side), np.int64)
    for kind in (1, 2, 1, 2):
        (top, left), (height, width) = generator.integers(0, side - 20, 2), generator.integers(12, side // 2, 2)
        labels[top : top + height, left : left + width] = kind
    return torch.from_numpy(labels)


def predictions(held: Tensor) -> dict[str, Tensor]:
    """Logits of one class, from an untrained network to a perfect one."""
    sign = 2 * held.float() - 1
    noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(sign[None, None], 9, 1, 4, count_include_pad=False)[0, 0]
    return {
        "nearly constant": 1e-3 * noise - 2,
        "smooth": 3 * blurred + 0.5 * noise,
        "sharp": 6 * sign + 2 * noise,
        "saturated": 12 * sign + noise,
        "perfect": 20 * sign,
    }


@pytest.mark.parametrize("prediction", ["nearly constant", "smooth", "sharp", "saturated", "perfect"])
@pytest.mark.parametrize("source", ["rectangles", "camvid"])
def test_gradient_is_as_exact_as_the_logits(
    gradient: Gradient, request: pytest.FixtureRequest, source: str, prediction: str
) -> None:
    if source == "camvid":
        dataset = open_dataset("camvid", request.getfixturevalue("camvid_root"))
        labels = torch.from_numpy(dataset.read_mask(dataset.split("val")[7]).astype(np.int64))[100:212, 100:212]
        held = labels == labels.flatten().mode().values
    else:
        held = rectangles(112) == 1
    logits = predictions(held)[prediction]
    expected, slope = truth(logits.numpy(), held.numpy())
    value, got = gradient(
        lambda z: region_mutual_information(z, held[None].int(), kernel="numba"), logits[None, None].clone()
    )
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert apart(got[0, 0], torch.from_numpy(slope)) < (1e-6 if source == "camvid" else 1e-5)


@pytest.mark.parametrize("certainty", [60.0, 88.0, 100.0, 1e4, 3e38])
def test_confident_predictions_equal_the_truth(scene: Scene, certainty: float) -> None:
    labels = scene.labels(1, 3, 30, 30)
    sign = 2 * F.one_hot(labels, 3).movedim(-1, 1).float() - 1
    expected = region_mutual_information_plain(60 * sign.double(), labels)
    assert float(region_mutual_information(certainty * sign, labels, kernel="numba")) == pytest.approx(float(expected))


def test_a_constant_map_has_no_gradient(gradient: Gradient) -> None:
    held = rectangles(40) == 1
    for level in (-5.0, 0.3, 40.0):
        logits = torch.full((1, 1, 40, 40), level)
        _, slope = gradient(lambda z: region_mutual_information(z, held[None].int(), kernel="numba"), logits)
        assert not slope.any()


# --- random inputs


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, dict[str, Any]]:
    height, width, classes = draw(st.integers(4, 14)), draw(st.integers(4, 14)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "halves", "one class", "stripes"]))
    ids = max(classes, 2)
    labels = torch.randint(0, ids, (2, height, width), generator=generator)
    if kind == "halves":
        labels = (torch.arange(width) > width // 2).long().expand(2, height, width).clone()
    elif kind == "stripes":
        labels = (torch.arange(height) % ids).view(1, -1, 1).expand(2, height, width).clone()
    elif kind == "one class":
        labels.fill_(draw(st.integers(0, ids - 1)))
    if draw(st.booleans()):
        labels[torch.rand(labels.shape, generator=generator) < draw(st.sampled_from([0.02, 0.3, 1.0]))] = IGNORE_INDEX
    known = F.one_hot(labels.clamp(max=ids), ids + 1).movedim(-1, 1)[:, -1 - classes : -1].float()
    scale = draw(st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0, 30.0, 6e4]))
    noise = torch.randn(known.shape, generator=generator)
    logits = draw(
        st.sampled_from([scale * noise, scale * (2 * known - 1), scale * (2 * known - 1) + noise, scale + 0 * noise])
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    options = {
        "radius": draw(st.integers(1, 4)),
        "variant": draw(st.sampled_from(["published", "corrected"])),
        "ignored": draw(st.sampled_from(["zero", "drop"])),
    }
    return logits.clamp(-6e4, 6e4).to(dtype), labels, options


def never_fails(case: tuple[Tensor, Tensor, dict[str, Any]]) -> None:
    logits, labels, options = case
    loss = RMILoss(kernel="numba", **options)
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    assert value.isfinite()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert loss.jittered == 0, "the ridge alone makes every covariance positive definite"


SETTINGS: Any = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@given(cases())
@settings(max_examples=300, **SETTINGS)
def test_no_covariance_fails(case: tuple[Tensor, Tensor, dict[str, Any]]) -> None:
    never_fails(case)


@pytest.mark.slow
@given(cases())
@settings(max_examples=10_000, **SETTINGS)
def test_no_covariance_fails_in_ten_thousand_cases(case: tuple[Tensor, Tensor, dict[str, Any]]) -> None:
    never_fails(case)


# --- cache on disk

FRESH = """
import torch
from segmi.losses.rmi import region_mutual_information
z = torch.zeros(1, 2, 8, 8, requires_grad=True)
region_mutual_information(z, torch.zeros(1, 8, 8, dtype=torch.long), kernel="numba").backward()
from segmi.losses.rmi.cpu import entries
for each in (entries.read_image, entries._forward_channels, entries._backward_channels):
    print(sum(each.stats.cache_hits.values()), sum(each.stats.cache_misses.values()))
"""


def test_a_second_process_compiles_nothing() -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"] * 3
