"""The laws against integrals, and against what their samples show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from segmi.information import (
    empirical_distribution,
    gaussian_mutual_information,
    ksg_mutual_information,
    mutual_information,
)
from segmi.information.laws import GaussianFields, GaussianLaw, StudentLaw, TableLaw, UniformNoiseLaw, windows


def covariance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cov(torch.cat([x, y], 1).double().T)


def test_student_t_equals_numerical_integration():
    degrees, rho = 3.0, 0.6
    law = StudentLaw([rho], degrees=degrees)
    joint = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=degrees)
    single = stats.t(degrees)
    # in the ranks of both variables, so that the tails have an end
    steps = (np.arange(400) + 0.5) / 400
    z = single.ppf(steps)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), -1)
    log_ratio = joint.logpdf(grid) - single.logpdf(z)[:, None] - single.logpdf(z)[None]
    assert law.mutual_information == pytest.approx((np.exp(log_ratio) * log_ratio).mean(), rel=0.01)
    x, y = law.sample(4000)
    ratio = joint.logpdf(torch.cat([x, y], 1).numpy()) - single.logpdf(x[:, 0]) - single.logpdf(y[:, 0])
    assert ratio.mean() == pytest.approx(law.mutual_information, abs=0.04)


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_uniform_noise_equals_numerical_integration(noise: float):
    def density(y: float) -> float:
        return (min(y + noise, 1) - max(y - noise, 0)) / (2 * noise)

    entropy = integrate.quad(lambda y: -density(y) * math.log(density(y)), -noise, 1 + noise, points=[noise, 1 - noise])
    law = UniformNoiseLaw(noise)
    assert law.mutual_information == pytest.approx(entropy[0] - math.log(2 * noise), abs=1e-6)
    assert ksg_mutual_information(*law.sample(3000)).item() == pytest.approx(law.mutual_information, abs=0.06)


@pytest.mark.parametrize("disguise", ["none", "cubic", "asinh", "mixed"])
def test_disguise_preserves_information(disguise: str):
    law = GaussianLaw([0.9, -0.3, 0.0], disguise=disguise)
    assert law.mutual_information == pytest.approx(-0.5 * (math.log(1 - 0.81) + math.log(1 - 0.09)))
    x, y = law.sample(20_000)
    if disguise in ("none", "mixed"):
        found = gaussian_mutual_information(covariance(x, y), 3).item()
        assert found == pytest.approx(law.mutual_information, abs=0.03)
    else:
        plain = GaussianLaw([0.9, -0.3, 0.0]).sample(20_000).y
        back = {"cubic": lambda v: v.sign() * v.abs().pow(1 / 3), "asinh": torch.sinh}[disguise](y)
        torch.testing.assert_close(back, plain, rtol=1e-3, atol=1e-3)


def test_samples_of_tables_have_their_probabilities():
    table = torch.tensor([[0.4, 0.1, 0.0], [0.1, 0.1, 0.3]])
    law = TableLaw(table)
    x, y = law.sample(50_000)
    counts = torch.zeros(2, 3).index_put_((x[:, 0], y[:, 0]), torch.ones(50_000), accumulate=True)
    torch.testing.assert_close(empirical_distribution(counts, dims=(-2, -1)), table, rtol=0, atol=0.01)
    assert law.mutual_information == pytest.approx(mutual_information(table).item())
    with pytest.raises(ValueError, match=r"table: expected one table X×Y, got shape \(1, 2, 2\)"):
        TableLaw(torch.ones(1, 2, 2) / 4)


@pytest.mark.parametrize("length", [0.0, 1.5, 4.0])
def test_fields_have_the_stated_properties(length: float):
    fields = GaussianFields(48, 64, length=length, nats_per_pixel=0.7)
    x, y = fields.sample(200, dtype=torch.float64)
    assert x.var().item() == pytest.approx(1, abs=0.03)
    assert y.var().item() == pytest.approx(1, abs=0.03)
    expected = math.exp(-1 / (2 * length**2)) if length else 0.0
    for field in (x, y):
        assert (field * field.roll(1, 2)).mean().item() == pytest.approx(expected, abs=0.03)
    pixels = torch.stack([x.flatten(), y.flatten()])
    assert gaussian_mutual_information(torch.cov(pixels), 1).item() == pytest.approx(0.7, abs=0.03)
    stride = max(2, math.ceil(3 * length))
    pairs = torch.cat([windows(x, 2, stride=stride), windows(y, 2, stride=stride)], 1)
    assert gaussian_mutual_information(torch.cov(pairs.T), 4).item() == pytest.approx(
        fields.mutual_information(side=2), abs=0.05
    )


def spurious(side: int, length: float, images: int) -> float:
    """Return the mean Gaussian plug-in of independent fields of 56×56 pixels."""
    x, y = GaussianFields(56, 56, length=length, nats_per_pixel=0.0).sample(images, dtype=torch.float64)
    found = [
        gaussian_mutual_information(covariance(windows(a[None], side), windows(b[None], side)), side**2)
        for a, b in zip(x, y, strict=True)
    ]
    return torch.stack(found).mean().item()


@pytest.mark.parametrize("length", [2.0, 4.0])
def test_pixels_of_smooth_fields_are_dependent(length: float):
    """``E[Î] ≈ ½ E[r²] = ½ Σ_r c(r)²/n`` with ``c(r) = e^{-r²/2ℓ²}``: one new pixel in πℓ²."""
    expected = math.pi * length**2 / (2 * 56**2)
    assert spurious(1, length, images=400) == pytest.approx(expected, rel=0.25)


def test_windows_of_smooth_fields_bias_the_plug_in():
    independent = 9**2 / (2 * 54**2)  # d²/2n, if windows did not overlap
    bias = [spurious(3, length, images=20) for length in (0.0, 1.0, 2.0, 4.0)]
    assert bias[0] == pytest.approx(independent, rel=0.3)
    assert bias[0] < bias[1] < bias[2] < bias[3]
    assert bias[3] > 8 * independent


def test_samples_depend_on_the_seed_only():
    laws = (GaussianLaw([0.5]), StudentLaw([0.5], degrees=4), UniformNoiseLaw(0.3), TableLaw(torch.eye(2) / 2))
    before = torch.get_rng_state()
    for law in (*laws, GaussianFields(8, 8, length=1, nats_per_pixel=1)):
        first, again, other = law.sample(5), law.sample(5), law.sample(5, seed=1)
        assert torch.equal(first.x, again.x)
        assert not torch.equal(first.x, other.x) or isinstance(law, TableLaw)
        assert torch.equal(first.y, again.y)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: GaussianLaw([1.0]), r"correlations: expected at least one, each between -1 and 1, got \(1\.0,\)"),
        (lambda: GaussianLaw([0.1], disguise="hat"), "disguise: expected one of none, cubic, asinh, mixed, got 'hat'"),
        (lambda: GaussianLaw.of(-1, 2), "expected nats at least 0 and dimensions at least 1, got -1 and 2"),
        (lambda: StudentLaw([0.1], degrees=0), "degrees: expected a number above 0, got 0"),
        (lambda: UniformNoiseLaw(0), "noise: expected a number above 0, got 0"),
        (lambda: GaussianFields(8, 0, length=1, nats_per_pixel=1), "expected height and width of at least 1"),
        (lambda: windows(torch.zeros(1, 2, 2), 3), r"windows that fit into them .* got shape \(1, 2, 2\), side 3"),
        (
            lambda: GaussianLaw([0.1], disguise="cubic").log_conditional(torch.ones(1, 1), torch.ones(1, 1)),
            "disguise: expected 'none' for densities, got 'cubic'",
        ),
    ],
)
def test_invalid_laws_raise(build, told: str):
    with pytest.raises(ValueError, match=told):
        build()
