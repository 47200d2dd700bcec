"""The bounds against loops over pairs, and against the truth with the scores and likelihoods that are optimal."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from segmi.information import (
    barber_agakov,
    contrastive_log_ratio_upper_bound,
    difference_of_entropies,
    donsker_varadhan,
    gaussian_entropy,
    info_nce,
    jensen_shannon_bound,
    jensen_shannon_divergence,
    leave_one_out_upper_bound,
    nguyen_wainwright_jordan,
    smile,
    unnormalized_barber_agakov,
)
from segmi.information.laws import GaussianLaw

OF_SCORES = (donsker_varadhan, nguyen_wainwright_jordan, jensen_shannon_bound, info_nce, smile)
OF_LIKELIHOODS = (contrastive_log_ratio_upper_bound, leave_one_out_upper_bound)


def scores(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bounds_equal_the_definitions():
    f, n = scores(0, 6, 6), 6
    apart = [f[i, j].item() for i in range(n) for j in range(n) if i != j]
    mean = sum(f[i, i].item() for i in range(n)) / n
    exponentials = [math.exp(value) for value in apart]
    partition = sum(exponentials) / len(apart)
    assert donsker_varadhan(f).item() == pytest.approx(mean - math.log(partition))
    assert nguyen_wainwright_jordan(f).item() == pytest.approx(mean - partition / math.e)
    clipped = sum(math.exp(min(max(value, -0.5), 0.5)) for value in apart) / len(apart)
    assert smile(f, clip=0.5).item() == pytest.approx(mean - math.log(clipped))
    a = scores(1, 6)
    each = [f[i, i].item() - a[i].item() for i in range(n)]
    rest = [math.exp(f[i, j].item() - a[j].item()) for i in range(n) for j in range(n) if i != j]
    expected = 1 + sum(each) / n - sum(rest) / len(rest)
    assert unnormalized_barber_agakov(f, a).item() == pytest.approx(expected)
    assert contrastive_log_ratio_upper_bound(f).item() == pytest.approx(mean - sum(apart) / len(apart))
    others = [sum(math.exp(f[j, i].item()) for j in range(n) if j != i) / (n - 1) for i in range(n)]
    expected = sum(f[i, i].item() - math.log(others[i]) for i in range(n)) / n
    assert leave_one_out_upper_bound(f).item() == pytest.approx(expected)


def test_info_nce_and_jensen_shannon_equal_scikit_learn():
    f = scores(2, 5, 5)
    picked = log_loss(range(5), f.softmax(1).numpy(), labels=range(5))
    assert info_nce(f).item() == pytest.approx(math.log(5) - picked)
    # classifying pairs (1) and independent combinations (0), equally probable
    probability = torch.cat([f.diagonal(), f[~torch.eye(5, dtype=torch.bool)]]).sigmoid().numpy()
    weights = [1 / 10] * 5 + [1 / 40] * 20
    told = log_loss([1] * 5 + [0] * 20, probability, sample_weight=weights)
    assert jensen_shannon_bound(f).item() == pytest.approx(math.log(2) - told)


@given(st.integers(0, 1000), st.integers(2, 12), st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_inequalities_for_any_scores(seed: int, n: int, scale: float):
    f = scale * scores(seed, n, n)
    assert nguyen_wainwright_jordan(f) <= donsker_varadhan(f) + 1e-9
    assert info_nce(f) <= math.log(n) + 1e-9
    assert jensen_shannon_bound(f) <= math.log(2) + 1e-9
    assert leave_one_out_upper_bound(f) <= contrastive_log_ratio_upper_bound(f) + 1e-9
    best = torch.logsumexp(f.masked_fill(torch.eye(n, dtype=torch.bool), -math.inf), 0) - math.log(n - 1)
    assert unnormalized_barber_agakov(f, best) >= unnormalized_barber_agakov(f, best + 0.3) - 1e-9
    torch.testing.assert_close(donsker_varadhan(f + 3), donsker_varadhan(f))
    torch.testing.assert_close(info_nce(f + scores(seed + 1, n, 1)), info_nce(f))  # its own constant for every x


@pytest.fixture(scope="module")
def gaussian() -> tuple[GaussianLaw, torch.Tensor, torch.Tensor]:
    law = GaussianLaw.of(nats=1.0, dimensions=3)
    return law, *law.sample(2000, dtype=torch.float64)


def test_optimal_scores_attain_the_exact_value(gaussian):
    law, x, y = gaussian
    ratio = law.log_ratio(x, y)
    assert ratio.diagonal().mean().item() == pytest.approx(1, abs=0.05)
    assert donsker_varadhan(ratio).item() == pytest.approx(1, abs=0.1)
    assert nguyen_wainwright_jordan(ratio + 1).item() == pytest.approx(1, abs=0.1)
    assert unnormalized_barber_agakov(ratio, torch.zeros(2000)).item() == pytest.approx(1, abs=0.1)
    assert info_nce(ratio).item() == pytest.approx(1, abs=0.1)
    assert smile(ratio).item() == pytest.approx(1, abs=0.1)


def test_true_likelihoods_give_the_exact_value_and_upper_bounds(gaussian):
    law, x, y = gaussian
    log_q = law.log_conditional(x, y)
    own = log_q.diagonal()
    entropy = gaussian_entropy(torch.eye(3, dtype=torch.float64))
    assert barber_agakov(own, entropy).item() == pytest.approx(1, abs=0.1)
    marginal = torch.distributions.Normal(0, 1).log_prob(y).sum(-1)
    assert difference_of_entropies(marginal, own).item() == pytest.approx(1, abs=0.05)
    rho = law.correlations[0] ** 2
    assert contrastive_log_ratio_upper_bound(log_q).item() == pytest.approx(3 * rho / (1 - rho), rel=0.1)
    small = torch.stack([leave_one_out_upper_bound(part) for part in _blocks(log_q, 8)]).mean()
    assert 1 < small < contrastive_log_ratio_upper_bound(log_q)


def test_wrong_likelihoods(gaussian):
    law, x, y = gaussian
    wrong = GaussianLaw([-rho for rho in law.correlations]).log_conditional(x, y)
    assert barber_agakov(wrong.diagonal(), 3 * 0.5 * math.log(2 * math.pi * math.e)) < 0
    assert contrastive_log_ratio_upper_bound(wrong) < 0


def _blocks(matrix: torch.Tensor, size: int) -> list[torch.Tensor]:
    return [matrix[start : start + size, start : start + size] for start in range(0, len(matrix) - size + 1, size)]


def test_info_nce_is_at_most_log_n():
    """With the optimal scores no number of pairs reaches the truth, and few pairs reach their ceiling."""
    law = GaussianLaw.of(nats=5.0, dimensions=1)
    x, y = law.sample(4096, dtype=torch.float64)
    values = {}
    for pairs in (8, 64, 512):
        blocks = [law.log_ratio(x[i : i + pairs], y[i : i + pairs]) for i in range(0, 4096, pairs)]
        values[pairs] = torch.stack([info_nce(block) for block in blocks]).mean().item()
        assert values[pairs] < min(5, math.log(pairs))
    assert values == pytest.approx({8: math.log(8), 64: 3.76, 512: 4.77}, abs=0.12)
    assert values[8] < values[64] < values[512]


def test_optimal_scores_attain_the_jensen_shannon_divergence():
    table = torch.tensor([[0.4, 0.1], [0.05, 0.45]], dtype=torch.float64)
    product = table.sum(1, keepdim=True) * table.sum(0, keepdim=True)
    divergence = jensen_shannon_divergence(table.flatten(), product.flatten())
    draw = torch.Generator().manual_seed(0)
    cells = torch.multinomial(table.flatten(), 1000, replacement=True, generator=draw)
    ratio = (table / product).log()[cells // 2][:, cells % 2]
    assert jensen_shannon_bound(ratio).item() == pytest.approx(divergence.item(), abs=0.02)


@pytest.mark.parametrize("bound", OF_SCORES + OF_LIKELIHOODS, ids=lambda bound: bound.__name__)
def test_batches_units_gradients_and_errors(bound):
    f = scores(3, 2, 4, 4)
    torch.testing.assert_close(bound(f), torch.stack([bound(f[0]), bound(f[1])]))
    torch.testing.assert_close(bound(f, base=2), bound(f) / math.log(2))
    assert torch.autograd.gradcheck(bound, f[0].clone().requires_grad_())
    huge = (1e4 * f[0]).requires_grad_()
    if bound is not nguyen_wainwright_jordan:  # the exponential of the score
        (gradient,) = torch.autograd.grad(bound(huge), huge)
        assert gradient.isfinite().all()
    with pytest.raises(ValueError, match=r"expected square matrices …×N×N of N ≥ 2 pairs, got shape \(4, 3\)"):
        bound(f[0, :, :3])
    with pytest.raises(TypeError, match=r"expected a floating-point tensor, got torch\.int64"):
        bound(f.long())


def test_clip_is_positive():
    with pytest.raises(ValueError, match="clip: expected a number above 0, got 0; 1 to 10 are usual"):
        smile(scores(0, 3, 3), clip=0)
