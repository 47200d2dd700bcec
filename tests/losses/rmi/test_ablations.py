"""Ablations of region mutual information: brute-force values, order, invariances, constant and absent maps."""

import inspect
import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmi import losses
from segmi.information import canonical_correlations
from segmi.losses import (
    LOSSES,
    RegionMutualInformation,
    region_cca_trace,
    region_cka,
    region_covariance_matching,
    region_diagonal,
    region_error_determinant,
    region_information,
    region_log_mse,
    region_matched_bound,
    region_mutual_information,
    region_own_pixel,
    region_permuted_pixels,
    region_shuffled_labels,
)
from segmi.losses.rmi.dispatch import choose_kernel
from segmi.losses.rmi.maps import region_maps, shuffled, shuffled_order
from segmi.losses.rmi.rmi_config import RMIConfig, RMIOptions
from segmi.losses.targets import read_targets

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
Options = dict[str, Any]
ALPHA = 5e-4
SLACK = 1e-8 / math.sqrt(ALPHA)
"""Upper bound of the effect of the published 1e-8 in the logarithm of the original, per pixel."""

POOLINGS: list[Options] = [
    {}, {"pooling": "average", "stride": 2}, {"pooling": "max", "stride": 2}, {"pooling": "interpolation", "stride": 2}
]  # fmt: skip
QUANTITIES: dict[str, Callable[..., Tensor]] = {
    "diagonal": region_diagonal,
    "own_pixel": region_own_pixel,
    "error_determinant": region_error_determinant,
    "log_mse": region_log_mse,
    "cca_trace": region_cca_trace,
    "cka": region_cka,
    "covariance_matching": region_covariance_matching,
}
NAMES = [name for name in LOSSES if name.startswith("region_") and name != "region_mutual_information"]


def named(options: Options) -> str:
    return "-".join(map(str, options.values())) or "plain"


def windows(image: np.ndarray, keep: np.ndarray, radius: int) -> np.ndarray:
    """Return the centered d×n matrix of the windows of a map whose cells are all kept."""
    points = [
        image[r : r + radius, c : c + radius].flatten()
        for r in range(image.shape[0] - radius + 1)
        for c in range(image.shape[1] - radius + 1)
        if keep[r : r + radius, c : c + radius].all()
    ]
    matrix = np.array(points).T
    return matrix - matrix.mean(1, keepdims=True)


def log_det(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def by_hand(quantity: str, p: np.ndarray, y: np.ndarray, ridge: float) -> float:
    """Return the value of one pair from its d×n windows; ``ridge`` is added to sums of products."""
    d, n = p.shape
    eye = ridge * np.eye(d)
    s_pp, s_yy, s_yp, error = p @ p.T, y @ y.T, y @ p.T, y - p
    regression = s_yp @ np.linalg.inv(s_pp + eye)
    match quantity:
        case "diagonal":
            residual = s_yy - regression @ s_yp.T
            return sum(0.5 * math.log(residual[k, k] + ridge) for k in range(d)) / d
        case "own_pixel":
            slopes = np.diag([s_yp[k, k] / (s_pp[k, k] + ridge) for k in range(d)])
            left = y - slopes @ p
            return 0.5 * log_det(left @ left.T + ridge * slopes @ slopes + eye) / d
        case "error_determinant":
            return 0.5 * log_det(error @ error.T + 2 * eye) / d
        case "log_mse":
            return 0.5 * math.log((error**2).sum() / d + 2 * ridge)
        case "cca_trace":
            return -0.5 * float(np.trace(np.linalg.inv(s_yy + eye) @ regression @ s_yp.T)) / d
        case "cka":
            return -float((s_yp**2).sum() / np.linalg.norm(s_yy + eye) / np.linalg.norm(s_pp + eye))
        case _:
            return float(((s_pp - s_yy) ** 2).sum() + ((s_yp - s_yy) ** 2).sum()) / n**2


def pair_by_hand(quantity: str, p: np.ndarray, y: np.ndarray, variant: str) -> float | None:
    """Return the value of the loss; None if the pair is not counted."""
    if variant == "published":
        return by_hand(quantity, p, y, ALPHA)
    if np.abs(y).max() < 1e-10:
        return None
    # means over the windows equal sums over one window of maps that are √n times smaller
    p, y = p / math.sqrt(p.shape[1]), y / math.sqrt(p.shape[1])
    ridge = 1e-3 * float((y**2).sum()) / len(y)
    values = [by_hand(quantity, map_, y, ridge) for map_ in (p, 0 * p)]
    scale = p.shape[1] ** 2 if quantity == "covariance_matching" else 1
    return scale * (values[0] - values[1])


# --- brute force


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("pooling", POOLINGS, ids=named)
@pytest.mark.parametrize(("variant", "ignored"), [("published", "zero"), ("published", "drop"), ("corrected", "drop")])
def test_equals_brute_force(scene: Scene, quantity: str, pooling: Options, variant: str, ignored: str) -> None:
    labels = scene.labels(2, 3, 22, 24, ignored=True)
    logits = scene.logits(labels, 4)  # the last class is absent from both images
    config = RMIConfig(radius=2, variant=variant, ignored=ignored, **pooling)  # type: ignore[arg-type]
    maps = region_maps(logits, read_targets(logits, labels, 255), config)
    terms = []
    for p_n, y_n, cells in zip(*maps, strict=True):
        keep = cells.numpy() if ignored == "drop" else np.ones(cells.shape, bool)
        for p, y in zip(p_n.numpy(), y_n.numpy(), strict=True):
            terms.append(pair_by_hand(quantity, windows(p, keep, 2), windows(y, keep, 2), variant))
    counted = [term for term in terms if term is not None]
    expected = sum(counted) / (2 if variant == "published" else len(counted))
    got = QUANTITIES[quantity](logits, labels, radius=2, variant=variant, ignored=ignored, **pooling)
    assert got.item() == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {"radius": 2, "pooling": "average", "stride": 2, "probability": "softmax", "class_reduction": "present"},
        {"radius": 2, "pooling": "interpolation", "stride": 2, "variant": "corrected"},
        {"radius": 2, "ignored": "drop", "probability": "softmax"},
    ],
    ids=named,
)
def test_gradient_is_the_derivative(scene: Scene, gradient: Gradient, name: str, options: Options) -> None:
    labels = scene.labels(2, 3, 8, 9)
    labels[0, :3, :3] = 255
    labels[1, 1:, ::2] = 255  # without windows if ignored pixels are dropped
    logits = scene.logits(labels, 3)

    def loss(z: Tensor) -> Tensor:
        value: Tensor = getattr(losses, name)(z, labels, **options, **needed(name))
        return value

    _, slope = gradient(loss, logits)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        step = 1e-5 * torch.randn(logits.shape, dtype=torch.float64, generator=generator)
        difference = (loss(logits + step) - loss(logits - step)).item() / 2
        assert difference == pytest.approx(
            (slope * step).sum().item(), rel=1e-6, abs=1e-6 * (slope.norm() * 1e-5).item()
        )


def needed(name: str) -> Options:
    return {"target": -7.0} if name == "region_matched_bound" else {}


@pytest.mark.parametrize("name", NAMES)
def test_function_equals_module(scene: Scene, name: str) -> None:
    labels = scene.labels(2, 3, 16, 16, ignored=True)
    logits = scene.logits(labels, 3)
    options: Options = {
        "radius": 2, "variant": "corrected", "probability": "softmax", "pooling": "max", "stride": 2, "ignored": "zero",
        "class_reduction": "mean", "relative_ridge": 0.01, **needed(name),
    }  # fmt: skip
    function, module = getattr(losses, name), LOSSES[name]
    assert torch.equal(function(logits, labels, **options), module(**options)(logits, labels))
    assert (module.__doc__ or "").startswith(f"`{name}` as a module")
    original, own = (inspect.signature(kind).parameters for kind in (RegionMutualInformation, module))
    for option in (*RMIOptions.__annotations__, "ignore_index"):
        assert own[option] == original[option]


@pytest.mark.parametrize("name", NAMES)
def test_diagnostics_have_the_information_of_the_maps(scene: Scene, name: str) -> None:
    labels = scene.labels(2, 3, 16, 16, ignored=True)
    logits = scene.logits(labels, 4)
    loss = LOSSES[name](**needed(name))
    shown = loss.term(logits, labels).diagnostics["I_G"]  # type: ignore[union-attr, operator]
    expected = region_information(logits, labels)
    if name == "region_shuffled_labels":
        assert (shown.numerator[:3] < 0.1 * expected.sum(0)[:3]).all()
    elif name != "region_permuted_pixels":
        torch.testing.assert_close(shown.numerator, expected.sum(0))
    assert shown.numerator[3] == shown.denominator[3] == 0


@pytest.mark.parametrize("config", [RMIConfig(quantity="cka"), RMIConfig(shuffle="pixels")])
def test_ablations_are_compiled_for_the_cpu(config: RMIConfig) -> None:
    logits = torch.zeros(1, 2, 8, 8)
    assert choose_kernel(logits, config) == "numba"
    assert choose_kernel(logits.double(), config) == "torch"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "corrected"},
        {"pooling": "average", "stride": 2, "class_reduction": "present"},
        {"pooling": "max", "stride": 2, "probability": "softmax", "ignored": "drop"},
    ],
    ids=named,
)
def test_compiled_ablations_equal_the_torch_routine(
    scene: Scene, gradient: Gradient, name: str, options: Options
) -> None:
    labels = scene.labels(2, 3, 26, 29, ignored=True)
    labels[1, 8:, ::2] = 255  # without windows if ignored pixels are dropped
    logits = scene.logits(labels, 4).float()
    used = {**options, **needed(name)}
    value, slope = gradient(lambda z: getattr(losses, name)(z, labels, **used), logits)
    expected, truth = gradient(lambda z: getattr(losses, name)(z, labels, **used), logits.double())
    assert value.dtype == torch.float32, "the routine of float32"
    assert value.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-9)
    assert (slope.double() - truth).norm() <= 1e-5 * truth.norm()


# --- order


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("contrast", [-2.0, 0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_no_ablation_is_below_the_original(scene: Scene, radius: int, contrast: float, noise: float) -> None:
    """Hadamard; a restricted regression; no regression; the arithmetic mean of the eigenvalues."""
    for seed in range(5):
        labels = scene.labels(1, 2, 20, 20, seed=seed)
        logits = scene.logits(labels, 1, contrast=contrast, noise=noise, seed=seed + 1)
        free, box, own, error, mse = (
            function(logits, labels, radius=radius).item()
            for function in (
                region_mutual_information, region_diagonal, region_own_pixel, region_error_determinant, region_log_mse
            )
        )  # fmt: skip
        assert free <= box + SLACK
        assert free <= own + SLACK
        assert free <= error + SLACK
        assert error <= mse + 1e-12
        if radius == 1:
            assert box == pytest.approx(free, abs=SLACK)
            assert own == pytest.approx(free, abs=SLACK)
            assert error == pytest.approx(mse, abs=1e-12)


def test_the_order_holds_at_the_truth(scene: Scene) -> None:
    """At the truth `region_error_determinant` and `region_log_mse` are ½ log 2α, and the original is lower."""
    labels = scene.labels(1, 2, 20, 20)
    perfect = 60 * (2 * labels.double()[:, None] - 1)
    error, mse = (function(perfect, labels).item() for function in (region_error_determinant, region_log_mse))
    assert error == pytest.approx(0.5 * math.log(2 * ALPHA), abs=1e-9)
    assert mse == pytest.approx(error, abs=1e-9)
    assert region_mutual_information(perfect, labels).item() <= error + SLACK


def test_the_order_is_strict_for_a_blurred_prediction(scene: Scene) -> None:
    labels = scene.labels(1, 2, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(3 * (2 * labels.double()[:, None] - 1), 5, 1, 2)
    values = {name: QUANTITIES[name](blurred, labels).item() for name in ("diagonal", "error_determinant", "log_mse")}
    original = region_mutual_information(blurred, labels).item()
    assert original + 0.02 < values["diagonal"]
    assert original + 0.02 < values["error_determinant"] < values["log_mse"] - 0.02


def test_the_residual_is_the_smallest_in_the_order_of_matrices(scene: Scene) -> None:
    """M is the least of all (Y - BP)(Y - BP)ᵀ + αBBᵀ for any B; B = I bounds the error-based quantities."""
    labels = scene.labels(1, 2, 14, 14)
    maps = region_maps(scene.logits(labels, 1), read_targets(scene.logits(labels, 1), labels, 255))
    p, y = (windows(m[0, 0].numpy(), np.ones((14, 14), bool), 3) for m in (maps.p, maps.y))
    best = y @ p.T @ np.linalg.inv(p @ p.T + ALPHA * np.eye(9))
    least = y @ y.T - best @ p @ y.T
    rng = np.random.default_rng(0)
    for b in (np.eye(9), np.zeros((9, 9)), best, *rng.normal(size=(5, 9, 9))):
        residual = y - b @ p
        assert np.linalg.eigvalsh(residual @ residual.T + ALPHA * b @ b.T - least).min() > -1e-9


def test_trace_is_the_mean_square_of_the_canonical_correlations(scene: Scene) -> None:
    labels = scene.labels(1, 2, 20, 20)
    logits = scene.logits(labels, 1)
    keep = np.ones((20, 20), bool)
    both = torch.from_numpy(
        np.concatenate([windows(m[0], keep, 3) for m in (logits[0].sigmoid().numpy(), labels.double().numpy())])
    )
    rho = canonical_correlations(both @ both.T + ALPHA * torch.eye(18, dtype=torch.float64), 9)
    got = region_cca_trace(logits, labels).item()
    assert got == pytest.approx(-0.5 * rho.square().mean().item(), rel=1e-9)
    assert -0.5 <= got <= 0


def test_trace_is_information_to_first_order(scene: Scene) -> None:
    labels = scene.labels(1, 2, 40, 40)
    for contrast, equal in ((0.05, True), (4.0, False)):
        logits = scene.logits(labels, 1, contrast=contrast)
        first, whole = -9 * region_cca_trace(logits, labels), region_information(logits, labels).sum()
        assert first <= whole
        assert (first / whole > 0.95) == equal


# --- invariances


BLIND_TO_THE_COMPLEMENT = {"diagonal", "own_pixel", "cca_trace", "cka"}
FELT_BY_ABSENT_CLASSES = {"error_determinant", "log_mse", "covariance_matching"}


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_complement_and_offset(scene: Scene, quantity: str, variant: str) -> None:
    labels = scene.labels(1, 3, 20, 20)
    logits = scene.logits(labels, 3)
    function = QUANTITIES[quantity]
    value, complement = (function(z, labels, variant=variant).item() for z in (logits, -logits))
    if quantity in BLIND_TO_THE_COMPLEMENT:
        assert complement == pytest.approx(value, rel=1e-10)
    else:
        assert complement > value + 0.1
    low, high = (torch.logit(0.5 * logits.sigmoid() + offset) for offset in (0.05, 0.45))
    assert function(low, labels, variant=variant).item() == pytest.approx(
        function(high, labels, variant=variant).item(), rel=1e-10
    )


def test_only_a_free_regression_undoes_a_shift() -> None:
    truth = torch.zeros(1, 40, 40, dtype=torch.long)
    truth[:, 6:22, 8:30], truth[:, 28:34, 15:23] = 1, 1
    perfect = 60 * (2 * truth.double()[:, None] - 1)

    def kept(function: Callable[..., Tensor]) -> float:
        """The value of the shifted map over the value of the truth."""
        perfect_, shifted, nothing = (
            function(z, truth, variant="corrected").item() for z in (perfect, perfect.roll(1, -1), 0 * perfect)
        )
        assert nothing == pytest.approx(0, abs=1e-12)
        return shifted / perfect_

    assert kept(region_mutual_information) > 0.6
    assert kept(region_diagonal) > 0.6
    for function in (region_own_pixel, region_error_determinant, region_log_mse, region_permuted_pixels):
        assert kept(function) < 0.45


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize("class_reduction", [None, "mean", "present"])
def test_absent_classes(
    scene: Scene, gradient: Gradient, quantity: str, variant: str, class_reduction: str | None
) -> None:
    labels = scene.labels(1, 2, 14, 14)
    logits = scene.logits(labels, 3)
    options: Options = {"variant": variant, "class_reduction": class_reduction}
    _, slope = gradient(lambda z: QUANTITIES[quantity](z, labels, **options), logits)
    pulls = quantity in FELT_BY_ABSENT_CLASSES and variant == "published" and class_reduction != "present"
    assert bool(slope[:, 2].abs().max() > 0) == pulls
    if pulls:  # towards a constant map
        step = torch.zeros_like(logits)
        step[:, 2] = logits[:, 2].mean() - logits[:, 2]
        assert (slope * step).sum() < 0


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_constant_predictions(scene: Scene, gradient: Gradient, quantity: str) -> None:
    labels = scene.labels(1, 2, 14, 14)
    flat = torch.full((1, 2, 14, 14), 0.3, dtype=torch.float64)
    value, slope = gradient(lambda z: QUANTITIES[quantity](z, labels, variant="corrected"), flat)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert bool(slope.abs().max() < 1e-12) == (quantity in BLIND_TO_THE_COMPLEMENT)


def test_alignment_depends_on_directions_with_large_variance(scene: Scene) -> None:
    """A blurred map is nearly perfect for kernel alignment, but not for region mutual information."""
    labels = scene.labels(1, 2, 48, 48)
    sharp = 20 * (2 * labels.double()[:, None] - 1)
    blurred = torch.logit(torch.nn.functional.avg_pool2d(sharp.sigmoid(), 3, 1, 1).clamp(1e-6, 1 - 1e-6))
    assert region_cka(sharp, labels).item() == pytest.approx(-1, abs=1e-4)
    assert region_cka(blurred, labels).item() < -0.9
    information = [region_information(z, labels).sum().item() for z in (sharp, blurred)]
    assert information[1] < 0.5 * information[0]


def test_matched_covariances_are_zero_only_at_the_truth(scene: Scene) -> None:
    labels = scene.labels(1, 2, 20, 20)
    perfect = 60 * (2 * labels.double()[:, None] - 1)
    assert region_covariance_matching(perfect, labels).item() == pytest.approx(0, abs=1e-12)
    # it has the covariances of the label: only the second part differs
    n, d = 18 * 18, 9
    y = windows(labels[0].double().numpy(), np.ones((20, 20), bool), 3)
    expected = 4 * ((y @ y.T) ** 2).sum() / n**2
    assert len(y) == d
    assert region_covariance_matching(-perfect, labels).item() == pytest.approx(expected)


# --- shuffles


@pytest.mark.parametrize("pooling", POOLINGS, ids=named)
@pytest.mark.parametrize(("variant", "ignored"), list(product(("published", "corrected"), ("zero", "drop"))))
def test_permutation_is_exact_for_single_pixels(scene: Scene, pooling: Options, variant: str, ignored: str) -> None:
    labels = scene.labels(2, 3, 22, 24, ignored=True)
    logits = scene.logits(labels, 3)
    for radius, same in ((1, True), (3, False)):
        options = {"radius": radius, "variant": variant, "ignored": ignored, **pooling}
        before = region_mutual_information(logits, labels, **options).item()
        after = region_permuted_pixels(logits, labels, **options).item()
        assert (after == pytest.approx(before, rel=1e-11)) == same


def test_label_and_probability_have_the_same_permutation(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(2, 3, 14, 15, ignored=True)
    logits = scene.logits(labels, 3)
    order = shuffled_order(read_targets(logits, labels, 255), RMIConfig(shuffle="pixels", seed=4))
    assert order is not None
    moved_labels = shuffled(labels, order)
    torch.testing.assert_close(moved_labels == 255, labels == 255)  # ignored pixels stay
    for options in ({}, {"variant": "corrected"}, {"probability": "softmax"}):

        def by_hand(z: Tensor, options: Options = options) -> Tensor:
            moved = torch.stack([shuffled(z[:, c], order) for c in range(3)], 1)  # type: ignore[arg-type]
            return region_mutual_information(moved, moved_labels, **options)

        expected = gradient(by_hand, logits)
        got = gradient(lambda z, o=options: region_permuted_pixels(z, labels, seed=4, **o), logits)
        torch.testing.assert_close(got, expected)


def test_shuffled_labels_have_the_value_of_a_constant_prediction(scene: Scene) -> None:
    """Up to chance: independent Gaussian windows have d²/2n nats of sample information."""
    labels = scene.labels(1, 2, 96, 96)
    perfect = 60 * (2 * labels.double()[:, None] - 1)
    for variant in ("published", "corrected"):
        sharp, shuffled_, flat = (
            function(z, labels, variant=variant).item()
            for function, z in (
                (region_mutual_information, perfect),
                (region_shuffled_labels, perfect),
                (region_shuffled_labels, 0 * perfect),
            )
        )
        assert 0 <= flat - shuffled_ < 10 * (9**2 / 2 / 94**2) / 9
        assert sharp < shuffled_ - 1


def test_the_order_is_a_function_of_seed_and_image(scene: Scene) -> None:
    labels = scene.labels(3, 3, 12, 12, ignored=True)
    logits = scene.logits(labels, 3)
    config = RMIConfig(shuffle="labels", seed=1)

    def order(labels: Tensor, config: RMIConfig = config, ignore_index: int = 255) -> Tensor:
        result = shuffled_order(read_targets(logits[: len(labels)], labels, ignore_index), config)
        assert result is not None
        return result

    first = order(labels)
    torch.manual_seed(7)
    assert torch.equal(order(labels), first)
    assert torch.equal(order(labels.flip(0)), first.flip(0))
    assert torch.equal(order(labels.masked_fill(labels == 255, -9), ignore_index=-9), first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(order(labels, RMIConfig(shuffle="labels", seed=2)), first)
    assert torch.equal(first.sort().values, torch.arange(144).expand(3, 144))
    assert shuffled_order(read_targets(logits, labels, 255), RMIConfig()) is None


@pytest.mark.parametrize("function", [region_permuted_pixels, region_shuffled_labels])
def test_seeds_give_different_values(scene: Scene, function: Callable[..., Tensor]) -> None:
    labels = scene.labels(1, 3, 16, 16)
    logits = scene.logits(labels, 3)
    assert function(logits, labels, seed=1) != function(logits, labels)
    assert function(logits, labels, seed=0) == function(logits, labels)


# --- the matched bound


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_matched_bound_pulls_from_both_sides(scene: Scene, gradient: Gradient, variant: str) -> None:
    labels = scene.labels(2, 3, 14, 14)
    logits = scene.logits(labels, 3)
    value, slope = gradient(lambda z: region_mutual_information(z, labels, variant=variant), logits)
    for distance, sign in ((0.25, -1.0), (-0.25, 1.0), (0.0, 0.0)):
        target = value.item() + distance
        got, pull = gradient(lambda z, t=target: region_matched_bound(z, labels, target=t, variant=variant), logits)
        assert got.item() == pytest.approx(abs(distance), abs=1e-12)
        torch.testing.assert_close(pull, sign * slope if distance else 0 * pull)


def test_matched_bound_trains_to_its_target(scene: Scene) -> None:
    labels = scene.labels(1, 3, 16, 16)
    logits = scene.logits(labels, 3).requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=10.0)
    for _ in range(40):
        optimizer.zero_grad()
        region_matched_bound(logits, labels, target=-0.3, variant="corrected").backward()
        optimizer.step()
    assert region_mutual_information(logits, labels, variant="corrected").item() == pytest.approx(-0.3, abs=0.05)


@pytest.mark.parametrize("target", [math.nan, -math.inf, "-1"])
def test_invalid_target_is_refused(target: Any) -> None:
    with pytest.raises(ValueError, match=r"target: expected a number, got .*Fix: use a value of region_mutual_info"):
        LOSSES["region_matched_bound"](target=target)
    with pytest.raises(ValueError, match="target: expected a number"):
        region_matched_bound(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), target=target)
