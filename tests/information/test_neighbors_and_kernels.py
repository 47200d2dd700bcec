"""Neighbors and kernels against scikit-learn, loops, closed forms and the truth of known laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics.pairwise import rbf_kernel

from segmi.information import (
    entropy,
    gaussian_kernel,
    hilbert_schmidt_independence,
    ksg_mutual_information,
    renyi_matrix_entropy,
    renyi_matrix_mutual_information,
)
from segmi.information.laws import GaussianLaw


def test_ksg_of_single_coordinates_equals_scikit_learn():
    x, y = GaussianLaw([0.8]).sample(400, dtype=torch.float64)
    x, y = (v / v.std(correction=0) for v in (x, y))  # as scikit-learn does
    for neighbors in (1, 3, 7):
        expected = mutual_info_regression(x.numpy(), y[:, 0].numpy(), n_neighbors=neighbors, random_state=0)
        found = ksg_mutual_information(x, y, neighbors=neighbors, chunk=150).item()
        assert found == pytest.approx(expected[0], abs=1e-6)


def test_ksg_of_vectors_equals_a_loop():
    x, y = GaussianLaw([0.8, 0.2]).sample(60, dtype=torch.float64)
    dx = np.abs(x.numpy()[:, None] - x.numpy()[None]).max(-1)
    dy = np.abs(y.numpy()[:, None] - y.numpy()[None]).max(-1)
    total = 0.0
    for i in range(60):
        others = [j for j in range(60) if j != i]
        radius = sorted(max(dx[i, j], dy[i, j]) for j in others)[3]
        total += sum(digamma(sum(d[i, j] < radius for j in others) + 1) for d in (dx, dy))
    expected = digamma(4) + digamma(60) - total / 60
    assert ksg_mutual_information(x, y, neighbors=4).item() == pytest.approx(expected, rel=1e-10)


def test_ksg_of_parts_noisy_copies_and_independent_variables():
    x, y = GaussianLaw([0.75, 0.75]).sample(2000)
    both, first, second = (
        ksg_mutual_information(*pair).item() for pair in ((x, y), *((x[:, [i]], y[:, [i]]) for i in range(2)))
    )
    assert first + second == pytest.approx(both, abs=0.08)
    assert max(first, second) < both - 0.3
    noisy = y + torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    assert ksg_mutual_information(x, noisy) < both - 0.3
    shuffled = [ksg_mutual_information(x, y.roll(shift, 0)).item() for shift in (1, 7, 50)]
    assert np.mean(shuffled) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("disguise", ["none", "cubic", "asinh"])
def test_ksg_is_accurate_in_few_dimensions(disguise: str):
    law = GaussianLaw.of(nats=1.5, dimensions=1, disguise=disguise)
    found = [ksg_mutual_information(*law.sample(2000, seed=seed)).item() for seed in range(3)]
    assert np.mean(found) == pytest.approx(1.5, abs=0.08)


def test_kernel_equals_scikit_learn_with_the_median_width():
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = rbf_kernel(x.numpy(), gamma=1 / (2 * 1.7**2))
    torch.testing.assert_close(gaussian_kernel(x, width=1.7), torch.from_numpy(expected))
    distances = torch.pdist(x)
    median = distances.square().median().sqrt().item()
    torch.testing.assert_close(gaussian_kernel(x), gaussian_kernel(x, width=median))
    torch.testing.assert_close(gaussian_kernel(torch.stack([x, 2 * x]))[1], gaussian_kernel(x))
    assert torch.equal(gaussian_kernel(torch.ones(3, 2)), torch.ones(3, 3))
    assert torch.autograd.gradcheck(lambda v: gaussian_kernel(v, width=1.0), x[:5].clone().requires_grad_())


def test_hsic_equals_the_definitions():
    draw = torch.Generator().manual_seed(0)
    k, m = (gaussian_kernel(torch.randn(7, 2, generator=draw, dtype=torch.float64)) for _ in range(2))
    h = torch.eye(7, dtype=torch.float64) - 1 / 7
    torch.testing.assert_close(hilbert_schmidt_independence(k, m), torch.trace(k @ h @ m @ h) / 36)
    # the unbiased form is the mean of k_ij m_ij + k_ij m_qr - 2 k_ij m_iq over different i, j, q, r
    total, count = 0.0, 0
    for i in range(7):
        for j in range(7):
            for q in range(7):
                for r in range(7):
                    if len({i, j, q, r}) == 4:
                        total += (k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])).item()
                        count += 1
    assert hilbert_schmidt_independence(k, m, unbiased=True).item() == pytest.approx(total / count, rel=1e-10)
    linear = torch.randn(7, 3, generator=draw, dtype=torch.float64), torch.randn(7, 2, generator=draw).double()
    cross = torch.cov(torch.cat(linear, 1).T)[:3, 3:]
    gram = [v @ v.T for v in linear]
    torch.testing.assert_close(hilbert_schmidt_independence(*gram), cross.square().sum())


def test_unbiased_hsic_of_independent_variables_is_zero_on_average():
    plain, unbiased = [], []
    for seed in range(60):
        x, y = GaussianLaw([0.0]).sample(40, seed=seed, dtype=torch.float64)
        kernels = gaussian_kernel(x, width=1.0), gaussian_kernel(y, width=1.0)
        plain.append(hilbert_schmidt_independence(*kernels).item())
        unbiased.append(hilbert_schmidt_independence(*kernels, unbiased=True).item())
    error = np.std(unbiased) / math.sqrt(60)
    assert abs(np.mean(unbiased)) < 3 * error
    assert np.mean(plain) > 10 * error


def test_matrix_entropies_equal_the_definitions():
    kernel = gaussian_kernel(torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    eigenvalues = torch.linalg.eigvalsh(kernel / 9)
    torch.testing.assert_close(renyi_matrix_entropy(kernel, order=1), entropy(eigenvalues))
    torch.testing.assert_close(renyi_matrix_entropy(kernel), -eigenvalues.square().sum().log())
    torch.testing.assert_close(renyi_matrix_entropy(kernel, order=2 + 1e-9), renyi_matrix_entropy(kernel))
    # samples of the same class alike, of others not: the entropy of the classes, and I(X; X) = H(X)
    classes = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    same = (classes[:, None] == classes[None]).double()
    shares = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(renyi_matrix_entropy(same, order=1), entropy(shares))
    torch.testing.assert_close(renyi_matrix_mutual_information(same, same, order=1), entropy(shares))
    # classes that are independent of each other share nothing
    other = (torch.arange(8)[:, None] % 2 == torch.arange(8)[None] % 2).double()
    assert renyi_matrix_mutual_information(same, other, order=1).abs() < 1e-12


def test_dependence_by_kernels_grows_with_information():
    values = []
    for nats in (0.0, 0.5, 2.0):
        x, y = GaussianLaw.of(nats, 1).sample(200, dtype=torch.float64)
        kernels = gaussian_kernel(x), gaussian_kernel(y)
        values.append((hilbert_schmidt_independence(*kernels), renyi_matrix_mutual_information(*kernels)))
    assert all(before[i] < after[i] for before, after in itertools.pairwise(values) for i in (0, 1))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ksg_mutual_information(torch.ones(3), torch.ones(3)), r"expected x of shape n×D .* got \(3,\)"),
        (
            lambda: ksg_mutual_information(torch.ones(3, 1), torch.ones(3, 1), neighbors=3),
            "neighbors: expected 1 to 2 for 3 samples, got 3",
        ),
        (lambda: gaussian_kernel(torch.ones(3, 1), width=0), "width: expected a number above 0, or None"),
        (lambda: gaussian_kernel(torch.ones(1, 1)), r"x: expected samples …×n×D with n ≥ 2, got shape \(1, 1\)"),
        (lambda: renyi_matrix_entropy(torch.ones(3, 2)), r"expected kernel matrices …×n×n of the same n ≥ 1"),
        (lambda: renyi_matrix_entropy(torch.eye(2), order=0), "order: expected a number above 0, got 0"),
        (
            lambda: hilbert_schmidt_independence(torch.eye(3), torch.eye(3), unbiased=True),
            r"of the same n ≥ 4, got \[\(3, 3\), \(3, 3\)\]; gaussian_kernel makes them",
        ),
    ],
)
def test_invalid_arguments_raise(call, told: str):
    with pytest.raises(ValueError, match=told):
        call()
