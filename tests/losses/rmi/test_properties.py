"""Algebra of region mutual information: scales, invariances, noise, and the limits of single precision."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmi.information import gaussian_conditional_entropy, gaussian_mutual_information
from segmi.losses import (
    binary_cross_entropy,
    dice,
    region_diagonal,
    region_information,
    region_log_mse,
    region_mutual_information,
)
from segmi.losses.rmi.covariances import value_and_derivative
from segmi.losses.rmi.rmi_config import RMIConfig

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
ALPHA = 5e-4


def windows(image: Tensor, radius: int = 3) -> Tensor:
    """Return the centered d×n matrix of a map."""
    points = torch.nn.functional.unfold(image.double()[None, None], radius)[0]
    return points - points.mean(1, keepdim=True)


def sums(p: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([p, y])
    return (both @ both.T)[None]


def of_sums(matrix: Tensor, alpha: float = ALPHA) -> tuple[float, float, Tensor]:
    """Return term, information and derivative of 2d×2d sums of products."""
    config = RMIConfig(radius=math.isqrt(matrix.shape[-1] // 2), alpha=alpha)
    term, nats, derivative, _ = value_and_derivative(matrix.clone(), 1, config)
    return term.item(), nats.item(), derivative


@pytest.fixture
def pair(scene: Scene) -> tuple[Tensor, Tensor]:
    """Return the windows of a noisy prediction and of its label."""
    labels = scene.labels(1, 2, 20, 20)
    return windows(scene.logits(labels, 1)[0, 0].sigmoid()), windows(labels[0])


def discs(size: int = 96) -> Tensor:
    grid = torch.arange(size)
    truth = torch.zeros(size, size, dtype=torch.bool)
    for row, column, radius in ((24, 30, 11), (66, 24, 7), (40, 72, 9), (74, 70, 14)):
        truth |= (grid[:, None] - row) ** 2 + (grid - column) ** 2 < radius**2
    return truth


def test_information_is_a_difference_of_three_volumes(pair: tuple[Tensor, Tensor]) -> None:
    """½ log det S_yy - ½ log det M = ½ (log det S_yy + log det S_pp - log det of both)."""
    ridged = sums(*pair)[0] + ALPHA * torch.eye(18, dtype=torch.float64)
    volumes = [torch.logdet(matrix) / 2 for matrix in (ridged[9:, 9:], ridged[:9, :9], ridged)]
    expected = volumes[0] + volumes[1] - volumes[2]
    torch.testing.assert_close(gaussian_mutual_information(ridged, 9), expected)
    assert of_sums(sums(*pair))[1] == pytest.approx(expected.item(), rel=1e-10)


def test_sums_and_means_differ_by_half_the_logarithm_of_their_number(pair: tuple[Tensor, Tensor]) -> None:
    """Dividing covariances and ridge by n shifts the value by ½ log n per dimension, but not the gradient."""
    n, alpha = pair[0].shape[1], 0.5  # so that the published 1e-8 is small compared with √(α / n)
    whole, information, slope = of_sums(sums(*pair), alpha)
    mean, same, mean_slope = of_sums(sums(*pair) / n, alpha / n)
    assert whole - mean == pytest.approx(9 / 2 * math.log(n), abs=9 * 1e-8 / math.sqrt(alpha / n))
    assert same == pytest.approx(information, rel=1e-10)
    assert (mean_slope / n - slope).norm() < 1e-5 * slope.norm()


def test_invariant_to_orthogonal_maps_of_the_predicted_window(pair: tuple[Tensor, Tensor]) -> None:
    p, y = pair
    value = of_sums(sums(p, y))[0]
    mixing = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    order = torch.randperm(p.shape[1], generator=torch.Generator().manual_seed(0))
    for other in (mixing @ p, p.flip(0), -p):
        assert of_sums(sums(other, y))[0] == pytest.approx(value, rel=1e-10)
    assert of_sums(sums(p[:, order], y[:, order]))[0] == pytest.approx(value, rel=1e-10)
    assert abs(of_sums(sums(p[:, order], y))[0] - value) > 1


def test_contrast_matters_only_through_the_ridge(pair: tuple[Tensor, Tensor]) -> None:
    """Scaling the prediction by c equals dividing its ridge by c²: less information for small c."""
    p, y = pair
    values = [of_sums(sums(c * p, y))[0] for c in (1.0, 0.5, 0.1, 0.01, 0.001)]
    assert values == sorted(values)
    assert values[1] - values[0] < 1e-2
    assert values[4] - values[0] > 0.1
    assert of_sums(sums(1e4 * p, y))[0] == pytest.approx(of_sums(sums(1e5 * p, y))[0], abs=1e-6)


def test_gradient_grows_with_contrast_and_then_falls_like_its_inverse(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(1, 2, 32, 32)
    noise = scene.logits(labels, 1)

    def norm(contrast: float) -> float:
        """Return the gradient norm for the probability ½ + c x, in which only the contrast changes."""
        varying = contrast * noise.tanh()
        _, slope = gradient(lambda p: region_mutual_information(torch.logit(0.5 + p), labels), varying)
        return float(slope.norm())

    norms = {contrast: norm(contrast) for contrast in (1e-7, 1e-6, 1e-2, 1e-1)}
    assert norms[1e-6] / norms[1e-7] == pytest.approx(10, rel=0.05)
    assert norms[1e-1] / norms[1e-2] == pytest.approx(0.1, rel=0.2)
    assert max(norm(contrast) for contrast in (1e-4, 1e-3)) > 5 * max(norms[1e-6], norms[1e-1])


def test_pooled_maps_tolerate_shifts_by_whole_cells() -> None:
    """With averages of 4×4, a shift by 4 pixels is a shift by one cell, which a window covers; a shift by 2 is not."""
    truth = discs()[None]

    def shifted(by: int) -> float:
        logits = 60 * (2 * truth.roll(by, 2).double() - 1)[:, None]
        return region_mutual_information(logits, truth, pooling="average", stride=4).item()

    values = [shifted(by) for by in (0, 1, 2, 4)]
    assert values[0] < values[3] < values[1] < values[2]


def test_absent_classes_have_no_gradient_and_flat_maps_a_large_one(gradient: Gradient) -> None:
    """Compared with the published pixel loss: 3 of 21 classes are present, at the beginning of training."""
    labels = torch.where(discs(), 1, 0)[None]
    labels[0, 60:, :50].masked_fill_(labels[0, 60:, :50] == 1, 2)
    start = torch.randn(1, 21, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ratios = []
    for noise in (0.01, 0.1, 1.0):
        pixels, slope = gradient(lambda z: binary_cross_entropy(z, labels), noise * start)
        region, pull = gradient(lambda z: region_mutual_information(z, labels), noise * start)
        constants = 18 * 0.5 * math.log(ALPHA)  # of the absent classes
        assert 0 < region - constants < -0.1 * constants
        assert (pull.abs().amax((0, 2, 3)) > 0).nonzero().flatten().tolist() == [0, 1, 2]
        assert noise > 0.01 or pixels.item() == pytest.approx(14.56, abs=0.01)
        ratios.append((pull.norm() / slope.norm()).item())
    assert ratios[0] > 1 > ratios[1] > 5 * ratios[2]


def test_small_objects_weigh_more_than_in_a_pixel_loss(gradient: Gradient) -> None:
    """For the same blur, small objects have a larger share of the gradient of the region term than of a pixel loss.

    Most of that is due to the logarithm, which divides by the residuals, and little to the overlap of windows.
    """
    grid = torch.arange(96)
    losses: dict[str, Callable[..., Tensor]] = {
        "pixels": binary_cross_entropy, "region": region_mutual_information, "log": region_log_mse, "overlap": dice,
        "correlation": lambda z, y: region_mutual_information(z, y, radius=1),
    }  # fmt: skip
    pulls: dict[str, list[float]] = {name: [] for name in losses}
    for square in (4, 16, 64, 256):
        truth = ((grid[:, None] - 48) ** 2 + (grid - 48) ** 2 <= square).long()[None]
        blurred = torch.nn.functional.avg_pool2d(truth[:, None].double(), 3, 1, 1)
        logits = torch.logit(0.9 * blurred + 0.05)
        for name, loss in losses.items():
            pulls[name].append(gradient(lambda z, f=loss, y=truth: f(z, y), logits)[1].norm().item())
    assert pulls["pixels"] == sorted(pulls["pixels"])
    shift = {name: pull[0] / pull[-1] / (pulls["pixels"][0] / pulls["pixels"][-1]) for name, pull in pulls.items()}
    assert shift["region"] > 6
    assert shift["region"] > shift["correlation"] > 3
    assert shift["log"] > 3 > 2 > shift["overlap"]


@pytest.mark.parametrize("case", ["p = y", ".999 y + .0005", "saturated at 12"])
def test_single_precision_moments_fail_or_mislead(case: str) -> None:
    """The ridge is below the resolution of float32: no factor, or a hundred times the error of rounded maps."""
    y = discs(160).double()
    p = {"p = y": y, ".999 y + .0005": 0.999 * y + 0.0005, "saturated at 12": torch.sigmoid(12 * (2 * y - 1))}[case]
    eye = torch.eye(18, dtype=torch.float64)
    exact = sums(windows(p), windows(y))[0] + ALPHA * eye
    single = torch.cat([windows(p), windows(y)]).float()
    wrong, from_single, right = (
        gaussian_conditional_entropy(matrix, 9, check=False).item()
        for matrix in (
            single @ single.T + ALPHA * eye.float(),
            sums(windows(p.float()), windows(y.float()))[0] + ALPHA * eye,
            exact,
        )
    )
    assert math.isnan(wrong) or abs(wrong - right) > 1e-3 * abs(right)
    assert from_single == pytest.approx(right, rel=1e-5)


def test_one_factor_of_both_is_the_schur_complement(pair: tuple[Tensor, Tensor]) -> None:
    both = sums(*pair)[0]
    eye = ALPHA * torch.eye(9, dtype=torch.float64)
    s_pp, s_yp, s_yy = both[:9, :9], both[9:, :9], both[9:, 9:]
    left = s_yy - s_yp @ torch.linalg.inv(s_pp + eye) @ s_yp.T + eye
    assert of_sums(both[None])[0] == pytest.approx(torch.logdet(left).item() / 2, abs=9 * 1e-8 / math.sqrt(ALPHA))


def test_diagonal_is_the_best_prediction_with_a_variance_per_position(scene: Scene) -> None:
    """The optimum of variational information distillation: ½ mean log diag M + ½."""
    labels = scene.labels(1, 2, 20, 20)
    logits = scene.logits(labels, 1)
    p, y = (m.numpy() for m in (windows(logits[0, 0].sigmoid()), windows(labels[0])))
    n = y.shape[1]
    residual = y - np.linalg.lstsq(p.T, y.T, rcond=None)[0].T @ p
    variance = (residual**2).mean(1, keepdims=True)
    likelihood = (0.5 * np.log(variance) + residual**2 / (2 * variance)).mean()
    got = region_diagonal(logits, labels, alpha=1e-9).item() - 0.5 * math.log(n) + 0.5
    assert got == pytest.approx(likelihood, abs=1e-6)
    other = variance * np.exp(np.random.default_rng(0).normal(size=variance.shape) / 4)
    assert (0.5 * np.log(other) + residual**2 / (2 * other)).mean() > likelihood


def test_ridge_is_the_variance_of_noise_on_both(pair: tuple[Tensor, Tensor]) -> None:
    """log det (M + αI) is the uncertainty of Y + ε given P + ε', with noise of the variance α / n."""
    alpha, repetitions, n = 5.0, 2000, pair[0].shape[1]
    generator = torch.Generator().manual_seed(0)
    covariance = torch.zeros(18, 18, dtype=torch.float64)
    both = torch.cat(pair)
    for _ in range(repetitions):
        noise = torch.randn(both.shape, dtype=torch.float64, generator=generator)
        noisy = both + math.sqrt(alpha / n) * noise
        covariance += noisy @ noisy.T / n / repetitions
    drawn = gaussian_conditional_entropy(covariance, 9).item() - 9 / 2 * math.log(2 * math.pi * math.e)
    assert of_sums(sums(*pair), alpha)[0] - 9 / 2 * math.log(n) == pytest.approx(drawn, abs=0.02)
    # noise removes information
    information = [of_sums(sums(*pair), some)[1] for some in (1e-4, 1e-2, 1.0, 100.0)]
    assert information == sorted(information, reverse=True)


def test_information_at_the_truth_is_its_maximum(scene: Scene) -> None:
    """½ Σ log((λ + α)² / (α (2λ + α))), λ the eigenvalues of the label's covariance."""
    truth = discs()
    eigenvalues = torch.linalg.eigvalsh(windows(truth) @ windows(truth).T)
    most = 0.5 * ((eigenvalues + ALPHA) ** 2 / (ALPHA * (2 * eigenvalues + ALPHA))).log().sum().item()
    perfect = 60 * (2 * truth.double() - 1)[None, None]
    assert region_information(perfect, truth[None].long()).item() == pytest.approx(most, rel=1e-6)
    noisy = scene.logits(truth[None].long(), 1)
    assert 0 < region_information(noisy, truth[None].long()).item() < most
    assert region_information(0 * perfect, truth[None].long()).item() == pytest.approx(0, abs=1e-9)
    assert region_information(perfect, torch.zeros(1, 96, 96, dtype=torch.long)).item() == 0
