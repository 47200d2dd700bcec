"""Trained estimates: critics against loops over pairs, estimates against exact values."""

from __future__ import annotations

import math

import pytest
import torch

from segmi.information import gaussian_entropy
from segmi.information.estimation import (
    ESTIMATORS,
    BilinearCritic,
    ConcatenatedCritic,
    ConditionalGaussian,
    InnerProductCritic,
    MarginalGaussian,
    SeparableCritic,
    estimate,
)
from segmi.information.laws import GaussianLaw, TableLaw, UniformNoiseLaw

QUICK = {"steps": 200, "hidden": 32, "embedding": 16, "learning_rate": 5e-3, "batch_size": 96}


def options(name: str, dimensions: int) -> dict[str, float]:
    standard = gaussian_entropy(torch.eye(dimensions)).item()
    return {"entropy": standard} if name == "barber_agakov" else {}


@pytest.mark.parametrize(
    "critic",
    [
        InnerProductCritic(),
        BilinearCritic(3, 3),
        SeparableCritic(3, 3, hidden=8, embedding=4),
        ConcatenatedCritic(3, 3, hidden=8),
        ConditionalGaussian(3, 3, hidden=8),
    ],
    ids=lambda critic: type(critic).__name__,
)
def test_matrix_entries_equal_single_pairs(critic):
    x, y = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    matrix = critic(x, y[:4])
    assert matrix.shape == (5, 4)
    for i in range(5):
        for j in range(4):
            torch.testing.assert_close(critic(x[i : i + 1], y[j : j + 1])[0, 0], matrix[i, j], rtol=1e-4, atol=1e-5)


def test_densities_equal_torch_distributions():
    x, y = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    conditional = ConditionalGaussian(3, 3, hidden=8).double()
    mean, log_variance = conditional.network(x).chunk(2, -1)
    expected = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(y).sum(-1)
    torch.testing.assert_close(conditional(x, y).diagonal(), expected)
    marginal = MarginalGaussian(3).double()
    with torch.no_grad():
        for parameter, seed in zip(marginal.parameters(), range(3), strict=True):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    whitening = torch.diag(marginal.log_scale.exp()) + marginal.below.tril(-1)
    law = torch.distributions.MultivariateNormal(marginal.mean, precision_matrix=whitening.T @ whitening)
    torch.testing.assert_close(marginal(y), law.log_prob(y))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_of_a_small_value(name: str):
    x, y = GaussianLaw.of(nats=1.0, dimensions=2).sample(3000)
    more = {"steps": 500} if name == "jensen_shannon" else {}  # it is most sensitive to an unfinished training
    found = estimate(x, y, name, **{**QUICK, **more, **options(name, 2)})
    squared = 1 - math.exp(-1)  # of the correlation in each dimension
    loosest = 2 * squared / (1 - squared)
    if name == "contrastive_log_ratio_upper_bound":
        assert found.nats == pytest.approx(loosest, rel=0.15)
    elif name == "leave_one_out_upper_bound":
        assert 0.95 < found.nats < loosest / 2
    else:
        assert found.nats == pytest.approx(1.0, abs=0.2)
    assert found.step > 0


def test_concatenated_critic():
    x, y = GaussianLaw.of(nats=1.0, dimensions=2).sample(1500)
    found = estimate(x, y, "info_nce", critic="concatenated", steps=150, hidden=32, learning_rate=5e-3, batch_size=64)
    assert found.nats == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_independent_variables(name: str):
    x, y = GaussianLaw([0.0, 0.0]).sample(1500)
    found = estimate(x, y, name, **{**QUICK, "steps": 60, **options(name, 2)})
    assert found.nats == pytest.approx(0, abs=0.1)


def test_parts_and_noisy_copies_have_less_information():
    """Data processing, with the estimator of two entropies."""
    x, y = GaussianLaw.of(nats=2.0, dimensions=4).sample(3000)
    noisy = y + torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    whole, part, copy = (estimate(x, of, "difference_of_entropies", **QUICK).nats for of in (y, y[:, :2], noisy))
    assert part == pytest.approx(1.0, abs=0.2)
    assert whole == pytest.approx(2.0, abs=0.3)
    assert copy < whole - 0.5


@pytest.mark.parametrize("name", ESTIMATORS)
def test_independent_parts_add_up(name: str):
    """Data processing and additivity, of every estimator with itself: two independent pairs of one law."""
    x, y = GaussianLaw([0.75, 0.75]).sample(2500)
    quick = {**QUICK, "steps": 150}
    both = estimate(x, y, name, **quick, **options(name, 2)).nats
    first, second = (estimate(x[:, [i]], y[:, [i]], name, **quick, **options(name, 1)).nats for i in range(2))
    assert max(first, second) < 0.75 * both
    assert first + second == pytest.approx(both, rel=0.25)


def test_scale_invariance_and_given_entropy():
    law = UniformNoiseLaw(0.25)
    x, y = law.sample(3000)
    entropy = law.mutual_information + math.log(0.5)  # h(Y|X) = log 2ε
    plain = estimate(x, y, "barber_agakov", entropy=entropy, **QUICK).nats
    scaled = estimate(5 * x - 3, 100 * y + 7, "barber_agakov", entropy=entropy + math.log(100), **QUICK).nats
    assert scaled == pytest.approx(plain, abs=0.01)
    # a Gaussian in the place of the uniform noise: the bound is below by a known divergence
    lost = 0.5 * math.log(2 * math.pi * math.e / 12)
    assert plain == pytest.approx(law.mutual_information - lost, abs=0.06)


def test_labels_as_one_hot_vectors():
    law = TableLaw(torch.tensor([[0.3, 0.1], [0.1, 0.5]]))
    x, y = (torch.nn.functional.one_hot(v[:, 0], 2).float() for v in law.sample(4000))
    assert estimate(x, y, "smile", **QUICK).nats == pytest.approx(law.mutual_information, abs=0.06)


HEART = {"steps": 200, "learning_rate": 3e-3, "batch_size": 36}


def test_groups_are_kept_together():
    """Every sample twice: at random, one of the two is learned by heart and the other judged; with groups it is not."""
    x, y = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(4))
    x, y = x.repeat(2, 1), y.repeat(2, 1)
    leaking = estimate(x, y, "info_nce", **HEART)
    kept = estimate(x, y, "info_nce", groups=torch.arange(60).repeat(2), **HEART)
    assert kept.nats < 0.15
    assert leaking.nats > kept.nats + 0.5


def test_fitted_value_shows_overfitting():
    """The pairs that were trained on look dependent, those that judge do not."""
    x, y = torch.randn(2, 100, 8, generator=torch.Generator().manual_seed(3))
    found = estimate(x, y, "barber_agakov", entropy=gaussian_entropy(torch.eye(8)).item(), **HEART)
    assert found.nats < 0.1
    assert found.fitted > found.nats


def test_estimate_depends_on_the_seed_only():
    x, y = GaussianLaw([0.5]).sample(200)
    before = torch.get_rng_state()
    first, again = (estimate(x, y, "mine", steps=20, seed=3) for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())


def test_given_critic_is_not_changed():
    class Own(BilinearCritic):
        pass

    own = Own(1, 1)
    weight = own.weight.detach().clone()
    x, y = GaussianLaw([0.7]).sample(1000)
    assert estimate(x, y, "info_nce", critic=own, steps=100, learning_rate=1e-2).nats > 0.15
    assert torch.equal(own.weight, weight)
    fixed = estimate(x, 2 * y, "donsker_varadhan", critic="inner_product", steps=5)
    assert fixed.step == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"estimator": "nce"}, "estimator: expected one of donsker_varadhan, mine, .*, got 'nce'"),
        ({"critic": "deep"}, "critic: expected one of inner_product, bilinear, .*, or a Critic, got 'deep'"),
        ({"critic": "inner_product"}, "critic: an inner product needs x and y of one size, got 2 and 1"),
        ({"estimator": "barber_agakov"}, r"entropy: expected H\(Y\) in nats for barber_agakov, got None"),
        ({"set_aside": 0.5}, "set_aside: expected a share below a half that leaves a part to train on, got 0.5"),
        ({"groups": torch.arange(3)}, "groups: expected one id for each of 20 samples, got 3"),
        ({"groups": torch.zeros(20)}, "set_aside: .* of 1 samples or groups"),
        ({"set_aside": 0.05}, r"x: expected at least 2 samples in each of three parts, got \[18, 1, 1\]"),
    ],
)
def test_invalid_arguments_raise(arguments, told: str):
    with pytest.raises(ValueError, match=told):
        estimate(torch.randn(20, 2), torch.randn(20, 1), **arguments)
