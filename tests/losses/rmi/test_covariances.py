"""The closed form of the derivative against autograd."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from segmi.losses.rmi.covariances import solve, value_and_derivative
from segmi.losses.rmi.rmi_config import RMIConfig

WINDOWS = 200


def _sums(m: int, radius: int, *, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(radius)
    d = radius * radius
    y = (torch.rand(m, d, WINDOWS, generator=generator, dtype=torch.float64) < 0.4).double()
    p = 0.8 * y + noise * torch.rand(m, d, WINDOWS, generator=generator, dtype=torch.float64)
    windows = torch.cat([p, y], 1)
    means = windows.mean(-1)
    windows -= means[..., None]
    return windows @ windows.mT, means


@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize(("radius", "noise"), [(1, 0.3), (2, 0.3), (3, 0.3), (3, 0.0), (5, 0.1)])
def test_agrees_with_autograd(variant: Literal["published", "corrected"], radius: int, noise: float) -> None:
    sums, means = _sums(4, radius, noise=noise)
    config = RMIConfig(radius=radius, variant=variant)
    terms, nats, derivative, jittered = value_and_derivative(sums.clone(), WINDOWS, config)
    ridge = config.alpha if variant == "published" else config.relative_ridge
    counts = torch.full((4,), WINDOWS, dtype=torch.float64)
    result = solve(sums, means, counts, published=variant == "published", ridge=ridge)
    torch.testing.assert_close(result.terms, terms, rtol=1e-11, atol=0)
    torch.testing.assert_close(result.information, nats, rtol=1e-11, atol=0)
    assert (result.coefficients - derivative).norm() <= 1e-8 * derivative.norm()
    expected = (result.coefficients @ means[..., None])[..., 0]
    torch.testing.assert_close(result.offsets, expected, rtol=1e-12, atol=1e-12)
    assert int(result.jittered.sum()) == jittered == 0


def test_jitter_is_added_and_counted() -> None:
    sums, means = _sums(3, 2, noise=0.3)
    sums[1] = torch.ones_like(sums[1])  # rank one, with a ridge below rounding
    config = RMIConfig(radius=2, alpha=1e-30)
    terms, _, _, jittered = value_and_derivative(sums.clone(), WINDOWS, config)
    result = solve(sums, means, torch.full((3,), WINDOWS), published=True, ridge=config.alpha)
    assert result.jittered.tolist() == [False, True, False]
    assert jittered == 1
    torch.testing.assert_close(result.terms, terms, rtol=1e-9, atol=0)


def test_failures_are_nan_and_do_not_affect_other_maps() -> None:
    sums, means = _sums(3, 2, noise=0.3)
    alone = solve(sums[2:], means[2:], torch.full((1,), WINDOWS), published=True, ridge=5e-4)
    sums[0, 0, 0] = torch.nan
    sums[1] = -torch.eye(8, dtype=torch.float64)
    result = solve(sums, means, torch.full((3,), WINDOWS), published=True, ridge=5e-4)
    assert result.terms.isnan().tolist() == [True, True, False]
    assert result.coefficients[:2].isnan().flatten(1).any(1).all()
    assert result.jittered.tolist() == [False, True, False]
    torch.testing.assert_close(result.coefficients[2:], alone.coefficients)


def test_no_maps() -> None:
    result = solve(
        torch.zeros(0, 8, 8).double(), torch.zeros(0, 8).double(), torch.zeros(0), published=False, ridge=1e-3
    )
    assert result.terms.shape == (0,)
    assert result.coefficients.shape == (0, 4, 8)
