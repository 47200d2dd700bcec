"""Gaussian quantities against closed forms, scipy and regression, and the identities of region mutual information."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.cross_decomposition import CCA

from segmi.information import (
    canonical_correlations,
    conditional_cholesky,
    gaussian_conditional_entropy,
    gaussian_entropy,
    gaussian_mutual_information,
)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariances(seed: int, *batch: int, size: int) -> torch.Tensor:
    half = random(seed, *batch, size, size)
    return half @ half.mT + 0.1 * torch.eye(size, dtype=torch.float64)


def close(a: torch.Tensor, b: torch.Tensor | float, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), rtol=rtol, atol=atol)


@pytest.fixture
def regions() -> tuple[torch.Tensor, torch.Tensor]:
    """Row-centered label and probability vectors of d = 9 dimensions and n = 400 points, the second a noisy first."""
    y = (random(0, 9, 400) > 0).double()
    p = torch.sigmoid(3 * y - 1.5 + random(1, 9, 400))
    return y - y.mean(1, keepdim=True), p - p.mean(1, keepdim=True)


def joint_of(x: torch.Tensor, y: torch.Tensor, ridge: float = 0.0) -> torch.Tensor:
    stacked = torch.cat([x, y])
    return stacked @ stacked.T + ridge * torch.eye(len(stacked), dtype=stacked.dtype)


# known values and independent implementations


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.6, 0.999])
def test_two_variables(rho):
    joint = torch.tensor([[4.0, 2 * rho], [2 * rho, 1.0]], dtype=torch.float64)
    expected = -0.5 * math.log(1 - rho**2)
    close(gaussian_mutual_information(joint, 1), expected)
    close(gaussian_mutual_information(joint, 1, base=2), expected / math.log(2))
    close(canonical_correlations(joint, 1), abs(rho))
    close(gaussian_conditional_entropy(joint, 1), 0.5 * math.log(2 * math.pi * math.e * (1 - rho**2)))
    close(gaussian_entropy(joint[:1, :1], base=2), 0.5 * math.log2(2 * math.pi * math.e * 4))


def test_entropy_equals_scipy():
    matrices = covariances(2, 3, size=4)
    close(gaussian_entropy(matrices), torch.tensor([stats.multivariate_normal(cov=m).entropy() for m in matrices]))


def test_conditional_factor_equals_the_schur_complement():
    joint = covariances(3, 5, size=7)
    factor = conditional_cholesky(joint, 3)
    xx, xy, yy = joint[:, :3, :3], joint[:, :3, 3:], joint[:, 3:, 3:]
    close(factor @ factor.mT, yy - xy.mT @ torch.linalg.solve(xx, xy))
    close(factor, torch.tril(factor))


def test_canonical_correlations_equal_scikit_learn():
    x = random(4, 300, 3)
    y = x[:, :2] @ random(5, 2, 2) + 2 * random(6, 300, 2)
    ours = canonical_correlations(torch.cov(torch.cat([x, y], 1).T), 3)
    scores = CCA(n_components=2, scale=False, tol=1e-12, max_iter=5000).fit_transform(x.numpy(), y.numpy())
    theirs = [np.corrcoef(a, b)[0, 1] for a, b in zip(scores[0].T, scores[1].T, strict=True)]
    close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-5)


# identities


def test_three_formulas_of_mutual_information(regions):
    joint = joint_of(*regions)
    xx, yy = joint[:9, :9], joint[9:, 9:]
    three = [
        0.5 * (torch.logdet(xx) + torch.logdet(yy) - torch.logdet(joint)),
        gaussian_entropy(yy) - gaussian_conditional_entropy(joint, 9),
        -0.5 * torch.log1p(-(canonical_correlations(joint, 9) ** 2)).sum(),
    ]
    assert three[0] > 0.5
    for way in three:
        close(gaussian_mutual_information(joint, 9), way)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), first=st.integers(1, 4), second=st.integers(1, 4))
def test_chain_rule_symmetry_and_sign(seed, first, second):
    joint = covariances(seed, 2, size=first + second)
    information = gaussian_mutual_information(joint, first)
    order = [*range(first, first + second), *range(first)]
    close(information, gaussian_mutual_information(joint[:, order][:, :, order], second), rtol=1e-7, atol=1e-8)
    close(
        gaussian_entropy(joint),
        gaussian_entropy(joint[:, :first, :first]) + gaussian_conditional_entropy(joint, first),
        rtol=1e-7,
        atol=1e-8,
    )
    assert (information >= -1e-10).all()
    assert (gaussian_conditional_entropy(joint, first) <= gaussian_entropy(joint[:, first:, first:]) + 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_linear_maps_preserve_and_noise_decreases_information(seed):
    joint = covariances(seed, size=5)
    change = torch.block_diag(random(seed + 1, 2, 2) + 3 * torch.eye(2), random(seed + 2, 3, 3) + 4 * torch.eye(3))
    close(
        gaussian_mutual_information(change @ joint @ change.T, 2),
        gaussian_mutual_information(joint, 2),
        rtol=1e-6,
        atol=1e-8,
    )
    noisy = joint + torch.block_diag(torch.zeros(2, 2), 0.3 * torch.eye(3))
    assert gaussian_mutual_information(noisy, 2) <= gaussian_mutual_information(joint, 2) + 1e-10


def test_independent_vectors_have_no_information():
    close(gaussian_mutual_information(torch.block_diag(*covariances(7, 2, size=3)), 3), 0.0)


@pytest.mark.parametrize(("size", "points", "nats"), [(9, 200, 0.2146), (9, 3000, 0.01365), (25, 3000, 0.10415)])
def test_plug_in_of_independent_vectors_is_biased(size, points, nats):
    """The bias of the plug-in, d²/2n and a little more: the expectation of ½ log of Wishart determinants."""
    found = torch.stack([
        gaussian_mutual_information(torch.cov(random(seed, 2 * size, points)), size) for seed in range(200)
    ])  # fmt: skip
    error = (found.std() / math.sqrt(200)).item()
    assert found.mean().item() == pytest.approx(nats, abs=4 * error)
    assert nats == pytest.approx(size**2 / (2 * points), rel=0.07)
    assert error < 0.02 * nats


# what region mutual information builds on: ℓ = ½ log det(M + αI), the lower right block with α added everywhere


def half_log_determinant(joint: torch.Tensor, split: int) -> torch.Tensor:
    return torch.log(conditional_cholesky(joint, split).diagonal(dim1=-2, dim2=-1)).sum(-1)


ALPHA = 5e-4


def test_absent_class_gives_the_log_of_the_ridge_and_no_information(regions):
    joint = joint_of(regions[1], torch.zeros(9, 400, dtype=torch.float64), ALPHA)
    close(half_log_determinant(joint, 9) / 9, 0.5 * math.log(ALPHA))
    close(half_log_determinant(joint, 9) / 9, -3.8004512, rtol=1e-7)
    close(gaussian_mutual_information(joint, 9), 0.0)


def test_perfect_prediction_reaches_the_stated_value(regions):
    y = regions[0]
    eigenvalues = torch.linalg.eigvalsh(y @ y.T)
    joint = joint_of(y, y, ALPHA)
    ratio = torch.log((2 * eigenvalues + ALPHA) / (eigenvalues + ALPHA)).mean()
    close(half_log_determinant(joint, 9) / 9, 0.5 * (math.log(ALPHA) + ratio), rtol=1e-7)
    most = 0.5 * torch.log((eigenvalues + ALPHA) ** 2 / (ALPHA * (2 * eigenvalues + ALPHA))).sum()
    close(gaussian_mutual_information(joint, 9), most, rtol=1e-7)


def test_dividing_by_the_number_of_points_shifts_the_value_and_keeps_the_gradient(regions):
    y, p = regions[0], regions[1].requires_grad_()
    n = y.shape[1]
    joint = joint_of(p, y, ALPHA)
    sums, means = half_log_determinant(joint, 9), half_log_determinant(joint / n, 9)
    close(means / 9, sums / 9 - 0.5 * math.log(n))
    (of_sums,), (of_means,) = torch.autograd.grad(sums, p, retain_graph=True), torch.autograd.grad(means, p)
    close(of_sums, of_means)


def test_one_pixel_regions_depend_on_the_correlation_only(regions):
    y, p = regions[0][:1], regions[1][:1]
    n = y.shape[1]
    rho = torch.corrcoef(torch.cat([p, y]))[0, 1]
    variance = y.var(correction=0)
    close(half_log_determinant(joint_of(p, y), 1)[None], 0.5 * torch.log(n * variance * (1 - rho**2))[None])


def test_invariances_of_the_conditional_determinant(regions):
    y, p = regions
    value = half_log_determinant(joint_of(p, y, ALPHA), 9)
    turn = torch.linalg.qr(random(8, 9, 9)).Q
    close(half_log_determinant(joint_of(-p, y, ALPHA), 9), value)
    close(half_log_determinant(joint_of(turn @ p, y, ALPHA), 9), value)
    points = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    close(half_log_determinant(joint_of(p[:, points], y[:, points], ALPHA), 9), value)
    assert abs(half_log_determinant(joint_of(p, y[:, points], ALPHA), 9) - value) > 0.1


def test_gradient_equals_its_closed_form(regions):
    # ∂(½ log det(M + αI)) / ∂P = -Bᵀ W E
    y, p = regions[0], regions[1].requires_grad_()
    (gradient,) = torch.autograd.grad(half_log_determinant(joint_of(p, y, ALPHA), 9), p)
    with torch.no_grad():
        ridge = ALPHA * torch.eye(9, dtype=torch.float64)
        inverse = torch.linalg.inv(p @ p.T + ridge)
        b = y @ p.T @ inverse
        m = y @ y.T - b @ p @ y.T
        expected = -b.T @ torch.linalg.inv(m + ridge) @ (y - b @ p)
    close(gradient, expected)


def test_gradients_equal_finite_differences():
    joint = covariances(9, 2, size=5)

    def symmetric(quantity):
        return lambda m: quantity((m + m.mT) / 2)

    for quantity in (
        gaussian_entropy,
        lambda m: gaussian_conditional_entropy(m, 2),
        lambda m: gaussian_mutual_information(m, 2),
        lambda m: canonical_correlations(m, 2),
    ):
        assert torch.autograd.gradcheck(symmetric(quantity), joint.requires_grad_())


# the forms of the input and errors


def test_single_and_half_precision_are_accepted():
    joint = covariances(10, size=4)
    assert gaussian_mutual_information(joint.float(), 2).dtype == torch.float32
    assert gaussian_mutual_information(torch.eye(4, dtype=torch.bfloat16), 2).item() == 0
    assert gaussian_entropy(torch.zeros(0, 3, 3)).shape == (0,)


SINGULAR = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: gaussian_entropy(torch.ones(3)), ValueError, r"square matrices \(…×D×D\), got shape \(3,\)"),
        (lambda: gaussian_entropy(torch.ones(2, 3)), ValueError, r"square matrices.*\(2, 3\)"),
        (lambda: gaussian_entropy(torch.eye(2).long()), TypeError, "floating-point.*int64"),
        (lambda: gaussian_entropy(torch.tensor([[1.0, 0.5], [0.0, 1.0]])), ValueError, "symmetric.*by 0.5"),
        (lambda: gaussian_entropy(torch.full((2, 2), math.nan)), ValueError, "finite entries"),
        (lambda: gaussian_entropy(torch.stack([torch.eye(2), SINGULAR])), ValueError, "got 1 of 2.*ridge"),
        (lambda: gaussian_mutual_information(-torch.eye(2), 1), ValueError, "joint: expected positive definite"),
        (lambda: canonical_correlations(SINGULAR * 2 - torch.eye(2), 1), ValueError, "positive definite"),
        (lambda: gaussian_mutual_information(torch.eye(3), 0), ValueError, "split: expected 1 to 2 .*got 0"),
        (lambda: gaussian_conditional_entropy(torch.eye(3), 3), ValueError, "split: expected 1 to 2 .*got 3"),
        (lambda: canonical_correlations(torch.eye(3), 1.0), TypeError, "split: expected an int"),
        (lambda: gaussian_entropy(torch.eye(2), base=1), ValueError, "base"),
    ],
)
def test_invalid_arguments_raise(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_unchecked_singular_matrix_gives_nan_for_itself_only():
    value = gaussian_mutual_information(torch.stack([torch.eye(2), SINGULAR]), 1, check=False)
    assert value[0] == 0
    assert value[1].isnan()
