import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmi.information import canonical_correlations
from segmi.losses import (
    RegionMutualInformation,
    region_information,
    region_mutual_information,
    region_mutual_information_plain,
)
from segmi.losses.rmi.covariances import factor_with_jitter

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
ALPHA = 5e-4
ABSENT = math.log(math.sqrt(ALPHA) + 1e-8)


def relative(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


def windows(image: np.ndarray, radius: int) -> np.ndarray:
    """Return the centered d×n matrix of a map, computed with loops."""
    height, width = image.shape
    starts = [(r, c) for r in range(height - radius + 1) for c in range(width - radius + 1)]
    matrix = np.array([[image[r + i, c + j] for r, c in starts] for i in range(radius) for j in range(radius)])
    return matrix - matrix.mean(1, keepdims=True)


def published(p: np.ndarray, y: np.ndarray, radius: int) -> float:
    """Return ½ log det (M + αI) / d of one map, with the 1e-8 of the released code."""
    p_windows, y_windows, eye = windows(p, radius), windows(y, radius), np.eye(radius**2)
    cross = y_windows @ p_windows.T
    m = y_windows @ y_windows.T - cross @ np.linalg.inv(p_windows @ p_windows.T + ALPHA * eye) @ cross.T
    return float(np.log(np.diag(np.linalg.cholesky(m + ALPHA * eye)) + 1e-8).sum() / radius**2)


def one_map(p: Tensor, y: Tensor, **options: Any) -> Tensor:
    """Return the loss of one probability map against one 0/1 map."""
    return region_mutual_information(torch.logit(p)[None, None], y.long()[None], **options)


def discs(size: int = 160, number: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.arange(size, dtype=torch.float64)
    truth = torch.zeros(size, size, dtype=torch.bool)
    for row, column, radius in torch.rand(number, 3, generator=generator).tolist():
        truth |= (grid[:, None] - row * size) ** 2 + (grid - column * size) ** 2 < (4 + 14 * radius) ** 2
    return truth


# --- against other implementations


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_equals_brute_force(scene: Scene, radius: int) -> None:
    labels = scene.labels(2, 3, 8, 10, ignored=True)
    logits = scene.logits(labels, 3)
    valid = (labels != 255).numpy()
    expected = [
        published(torch.sigmoid(logits[n, c]).numpy() * valid[n] + 1e-6, (labels[n] == c).double().numpy(), radius)
        for n in range(2)
        for c in range(3)
    ]
    got = region_mutual_information(logits, labels, radius=radius)
    assert got.item() == pytest.approx(sum(expected) / 2, rel=1e-9)


@pytest.mark.parametrize("radius", [1, 3, 5])
def test_equals_rmi_pytorch(scene: Scene, gradient: Gradient, monkeypatch: pytest.MonkeyPatch, radius: int) -> None:
    rmi = pytest.importorskip("rmi")
    monkeypatch.setattr(torch, "cholesky", torch.linalg.cholesky, raising=False)  # removed from PyTorch
    theirs = rmi.RMILoss(with_logits=True, radius=radius, bce_weight=0, stride=1)
    labels = scene.labels(2, 5, 40, 33)
    one_hot = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).double()
    logits = scene.logits(labels, 5)
    expected, slope = gradient(lambda z: theirs(z, one_hot), logits)
    got, our_slope = gradient(lambda z: region_mutual_information(z, labels, radius=radius), logits)
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)  # rmi-pytorch omits the 1e-8
    assert relative(our_slope, slope) < 1e-6


@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize("radius", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("ignored", [False, True])
def test_equals_reference(
    scene: Scene, gradient: Gradient, variant: str, radius: int, channels: int, ignored: bool
) -> None:
    labels = scene.labels(3, max(channels, 2), 24, 31, ignored=ignored)
    if ignored:
        labels[1] = 255
        labels[2, :12] = 255
    for contrast, noise in ((0.0, 0.01), (2.0, 1.0), (8.0, 0.0), (-3.0, 1.0)):
        logits = scene.logits(labels, channels, contrast=contrast, noise=noise)
        options = {"radius": radius, "variant": variant}
        got, slope = gradient(lambda z, o=options: region_mutual_information(z, labels, **o), logits)
        expected, plain = gradient(lambda z, o=options: region_mutual_information_plain(z, labels, **o), logits)
        assert got.item() == pytest.approx(expected.item(), rel=1e-8)
        assert relative(slope, plain) < 1e-6


@pytest.mark.parametrize("size", [(3, 3), (3, 9), (4, 4), (5, 3), (6, 5)])
def test_images_barely_larger_than_the_window(scene: Scene, gradient: Gradient, size: tuple[int, int]) -> None:
    labels = torch.randint(2, (2, *size), generator=torch.Generator().manual_seed(0))
    logits = scene.logits(labels, 2)
    for variant in ("published", "corrected"):
        got, slope = gradient(lambda z, m=variant: region_mutual_information(z, labels, variant=m), logits)
        expected, plain = gradient(lambda z, m=variant: region_mutual_information_plain(z, labels, variant=m), logits)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(slope, plain)


def test_many_chunks_equal_one(scene: Scene, gradient: Gradient, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = scene.labels(3, 5, 20, 20, ignored=True)
    logits = scene.logits(labels, 5)
    whole = gradient(lambda z: region_mutual_information(z, labels), logits)
    monkeypatch.setattr("segmi.losses.rmi.windows._CHUNK_BYTES", 1)
    single = gradient(lambda z: region_mutual_information(z, labels), logits)
    torch.testing.assert_close(single, whole)


# --- properties of the formula


def test_absent_and_full_classes_are_constants_without_gradient(gradient: Gradient) -> None:
    labels = torch.full((2, 12, 12), 1)
    logits = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    value, slope = gradient(lambda z: region_mutual_information(z, labels), logits)
    assert value.item() == pytest.approx(3 * ABSENT, rel=1e-14)
    assert pytest.approx(0.5 * math.log(ALPHA), rel=1e-6) == ABSENT == pytest.approx(-3.8004512, rel=2e-6 / 3)
    assert slope.abs().max() == 0
    assert region_information(logits, labels).abs().max() == 0


def test_skipped_pairs_equal_computed_ones(scene: Scene) -> None:
    labels = scene.labels(1, 2, 12, 12)
    logits = scene.logits(labels, 3)
    torch.testing.assert_close(
        region_mutual_information(logits, labels), region_mutual_information_plain(logits, labels), rtol=1e-9, atol=0
    )


def test_is_the_best_linear_gaussian_prediction(scene: Scene) -> None:
    """The residual of least squares has the covariance M: the closed-form variational bound."""
    truth = scene.labels(1, 2, 20, 20)[0]
    p = torch.sigmoid(scene.logits(truth[None], 1)[0, 0])
    p_windows, y_windows = windows(p.numpy(), 2), windows(truth.double().numpy(), 2)
    n = y_windows.shape[1]
    coefficients = np.linalg.lstsq(p_windows.T, y_windows.T, rcond=None)[0].T
    residual = y_windows - coefficients @ p_windows
    likelihood = 0.5 * np.linalg.slogdet(residual @ residual.T / n)[1]  # negative log-likelihood without constants
    got = 4 * one_map(p, truth, radius=2, alpha=1e-9).item() - 4 * 0.5 * math.log(n)
    assert got == pytest.approx(likelihood, abs=1e-5)


def test_information_equals_canonical_correlations(scene: Scene) -> None:
    labels = scene.labels(1, 2, 20, 20)
    logits = scene.logits(labels, 2)
    p, y = windows(logits[0, 1].sigmoid().numpy(), 3), windows((labels[0] == 1).double().numpy(), 3)
    both = torch.from_numpy(np.concatenate([p, y]))
    rho = canonical_correlations(both @ both.T + ALPHA * torch.eye(18, dtype=torch.float64), 9)
    expected = -0.5 * torch.log1p(-(rho**2)).sum()
    torch.testing.assert_close(region_information(logits, labels)[0, 1], expected)


def test_gradient_of_information_is_minus_the_gradient_of_the_loss(scene: Scene) -> None:
    labels = scene.labels(1, 2, 14, 14)
    logits = scene.logits(labels, 1)
    step = 1e-5 * torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def difference(function: Callable[[Tensor], Tensor]) -> float:
        return (function(logits + step) - function(logits - step)).sum().item()

    loss = difference(lambda z: region_mutual_information(z, labels))
    assert difference(lambda z: region_information(z, labels) / 9) == pytest.approx(-loss, rel=1e-6)


def test_radius_one_is_the_correlation_of_pixels(scene: Scene) -> None:
    truth = scene.labels(1, 2, 20, 20)[0]
    p = torch.sigmoid(scene.logits(truth[None], 1)[0, 0])
    rho = np.corrcoef(p.flatten(), truth.flatten())[0, 1]
    variance = truth.double().var(correction=0).item()
    assert one_map(p, truth, radius=1).item() == pytest.approx(
        0.5 * math.log(400 * variance * (1 - rho**2) + ALPHA), abs=1e-4
    )


def test_value_at_the_truth_and_at_a_constant() -> None:
    truth = discs(40, 4)
    y = windows(truth.double().numpy(), 3)
    eigenvalues = np.linalg.eigvalsh(y @ y.T)
    perfect = 0.5 * (math.log(ALPHA) + np.log((2 * eigenvalues + ALPHA) / (eigenvalues + ALPHA)).mean())
    logits = 60 * (2 * truth.double() - 1)[None, None]
    assert region_mutual_information(logits, truth[None]).item() == pytest.approx(perfect, abs=1e-6)
    assert perfect == pytest.approx(0.5 * math.log(2 * ALPHA), abs=1e-3)  # -3.4539, above an absent class
    constant = 0.5 * np.log(eigenvalues + ALPHA).mean()
    assert region_mutual_information(0 * logits, truth[None]).item() == pytest.approx(constant, abs=1e-6)


def test_invariant_to_complement_and_offset(scene: Scene) -> None:
    labels = scene.labels(2, 3, 20, 20, ignored=False)
    logits = scene.logits(labels, 3)
    expected = region_mutual_information(logits, labels).item()
    assert region_mutual_information(-logits, labels).item() == pytest.approx(expected, rel=1e-10)
    shifted = torch.logit(0.5 * logits.sigmoid() + 0.25)
    lower = torch.logit(0.5 * logits.sigmoid() + 0.05)
    assert region_mutual_information(shifted, labels).item() == pytest.approx(
        region_mutual_information(lower, labels).item(), rel=1e-10
    )
    assert region_mutual_information(shifted, labels).item() == pytest.approx(expected, rel=1e-3)  # nearly


def test_two_classes_as_complements_count_twice(scene: Scene) -> None:
    labels = scene.labels(1, 2, 16, 16)
    logits = scene.logits(labels, 1)
    both = region_mutual_information(torch.cat([-logits, logits], 1), labels)
    assert both.item() == pytest.approx(2 * region_mutual_information(logits, labels).item(), rel=1e-10)


def test_pixel_permutation_matters_only_to_neighborhoods(scene: Scene) -> None:
    labels = scene.labels(1, 2, 16, 16)
    logits = scene.logits(labels, 2)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    mixed = logits.flatten(2)[..., order].view_as(logits), labels.flatten(1)[:, order].view_as(labels)
    for radius, same in ((1, True), (3, False)):
        before = region_mutual_information(logits, labels, radius=radius).item()
        after = region_mutual_information(*mixed, radius=radius).item()
        assert (after == pytest.approx(before, rel=1e-10)) == same


def test_gradient_is_the_folded_residual(scene: Scene, gradient: Gradient) -> None:
    """∂/∂P of ½ log det (M + αI) is -BᵀWE, window by window."""
    labels = scene.labels(1, 2, 11, 13)
    logits = scene.logits(labels, 1)
    s = logits[0, 0].sigmoid().numpy()
    p, y, eye = windows(s, 3), windows(labels[0].double().numpy(), 3), np.eye(9)
    b = y @ p.T @ np.linalg.inv(p @ p.T + ALPHA * eye)
    w = np.linalg.inv(y @ y.T - b @ p @ y.T + ALPHA * eye)
    by_window = -b.T @ w @ (y - b @ p) / 9
    expected = np.zeros_like(s)
    for k in range(9):
        expected[k // 3 : k // 3 + 9, k % 3 : k % 3 + 11] += by_window[k].reshape(9, 11)
    _, slope = gradient(lambda z: region_mutual_information(z, labels), logits)
    assert relative(slope[0, 0], torch.from_numpy(expected * s * (1 - s))) < 1e-6
    assert (p * by_window).sum() * 9 == pytest.approx(-ALPHA * np.trace(w @ b @ b.T), rel=1e-6)


def test_constant_prediction_is_stationary(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(1, 3, 16, 16)
    for variant in ("published", "corrected"):
        _, slope = gradient(
            lambda z, m=variant: region_mutual_information(z, labels, variant=m),
            torch.full((1, 3, 16, 16), 0.7).double(),
        )
        assert slope.abs().max() < 1e-12


def test_tolerates_small_shifts() -> None:
    """A prediction that is one pixel off keeps about two thirds of the value at R = 3."""
    truth = discs()

    def shifted(by: int, radius: int) -> float:
        logits = 60 * (2 * truth.roll(by, 1).double() - 1)
        return region_mutual_information(logits[None, None], truth[None], radius=radius).item()

    constant = region_mutual_information(torch.zeros(1, 1, 160, 160).double(), truth[None]).item()
    values = [shifted(by, 3) for by in range(4)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(-3.4539, abs=1e-3)
    assert values[1] == pytest.approx(2 / 3 * -3.4539 + 1 / 3 * constant, abs=0.5)
    assert shifted(1, 1) > 0 > shifted(1, 3) > shifted(1, 5)


def test_zeroed_ignored_pixels_add_spurious_information() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1, 128, 128), generator=generator)
    logits = torch.randn(1, 1, 128, 128, dtype=torch.float64, generator=generator)
    half_ignored = labels.clone()
    half_ignored[:, :64] = 255

    def per_pixel(result: Tensor) -> float:
        return result.sum().item() / 9

    assert per_pixel(region_information(logits, labels)) < 0.005
    assert per_pixel(region_information(logits, half_ignored)) > 0.05
    dropped = region_mutual_information(logits, half_ignored, variant="corrected")
    assert -0.01 < dropped.item() < 0
    full = torch.where(half_ignored == 255, 255, 1)
    assert per_pixel(region_information(logits, full)) > 0.1
    assert region_mutual_information(logits, full, variant="corrected").item() == 0


@pytest.mark.parametrize("case", ["p = y", ".999 y + .0005", "saturated at 12", "noisy"])
def test_float32_logits_lose_nothing(scene: Scene, gradient: Gradient, case: str) -> None:
    truth = discs()
    y = truth.double()
    logits = {
        "p = y": 100 * (2 * y - 1),
        ".999 y + .0005": torch.logit(0.999 * y + 0.0005),
        "saturated at 12": 12 * (2 * y - 1),
        "noisy": scene.logits(truth.long()[None], 1)[0, 0],
    }[case].float()[None, None]
    loss = RegionMutualInformation()
    value, slope = gradient(lambda z: loss(z, truth[None]), logits)
    exact, exact_slope = gradient(lambda z: loss(z, truth[None]), logits.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    assert slope.isfinite().all()
    if case != "p = y":  # its gradient is below the smallest float32
        assert relative(slope.double(), exact_slope) < 1e-6
    assert loss.jittered == 0


# --- the corrected variant


def test_corrected_is_the_mean_over_pairs_that_vary(scene: Scene) -> None:
    labels = scene.labels(2, 3, 16, 16)
    labels[1] = 0
    logits = scene.logits(labels, 5)
    alone = region_mutual_information(logits[:1], labels[:1], variant="corrected")
    torch.testing.assert_close(region_mutual_information(logits, labels, variant="corrected"), alone)
    assert alone < 0
    term = RegionMutualInformation(variant="corrected").term(logits, labels)
    assert term.denominator.item() == len(labels[0].unique())


def test_corrected_is_independent_of_the_image_size(scene: Scene) -> None:
    labels = scene.labels(1, 3, 24, 24)
    logits = scene.logits(labels, 3)
    values = []
    for variant in ("corrected", "published"):
        small = region_mutual_information(logits, labels, variant=variant).item()
        tiled = region_mutual_information(logits.repeat(1, 1, 3, 3), labels.repeat(1, 3, 3), variant=variant).item()
        values.append(abs(tiled - small))
    assert values[0] < 0.15 < 1 < values[1]


# --- failures


def test_jitter_is_bounded_and_counted() -> None:
    good, nearly = torch.eye(4, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64)
    nearly[0, 0] -= 1e-12
    hopeless, broken = -good, good * math.nan
    factor, jittered = factor_with_jitter(torch.stack([good, nearly, hopeless, broken]), 2)
    assert jittered.tolist() == [False, True, True, False]
    assert torch.equal(factor[0], torch.eye(2, dtype=torch.float64))
    assert factor[1].isfinite().all()
    assert factor[2:].isnan().any((1, 2)).all()


def test_module_counts_jittered_covariances(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = scene.labels(1, 3, 12, 12)
    loss = RegionMutualInformation()
    monkeypatch.setattr(
        "segmi.losses.rmi.covariances.factor_with_jitter", lambda m, d: (m[:, d:, d:], torch.ones(len(m)).bool())
    )
    loss(scene.logits(labels, 3), labels)
    assert loss.jittered == 3


def test_second_derivative_is_refused_except_by_the_reference(scene: Scene) -> None:
    labels = scene.labels(1, 2, 5, 5)
    logits = scene.logits(labels, 1).requires_grad_()
    (slope,) = torch.autograd.grad(region_mutual_information(logits, labels), logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"second derivative.*Fix: use segmi.losses.region_mutual_information_plain"):
        slope.sum().backward()
    assert torch.autograd.gradgradcheck(
        lambda z: region_mutual_information_plain(z, labels, radius=2, alpha=0.1), logits
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0}, "radius: expected an integer of at least 1, .* got 0"),
        ({"radius": 2.5}, "radius: expected an integer"),
        ({"variant": "fast"}, "variant: expected 'published' or 'corrected', got 'fast'"),
        ({"alpha": 0.0}, "alpha: expected a number above 0, got 0.0"),
        ({"relative_ridge": -1.0}, "relative_ridge: expected a number above 0"),
        ({"radius": 9}, "at least 9×9 pixels, the window, got 8×20. Fix: use larger crops or a smaller radius"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        region_mutual_information(torch.zeros(1, 2, 8, 20), torch.zeros(1, 8, 20, dtype=torch.long), **options)
