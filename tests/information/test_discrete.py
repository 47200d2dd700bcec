"""Discrete quantities against closed forms, scipy and scikit-learn, and the identities between them."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import mutual_info_score

from segmi.information import (
    conditional_entropy,
    conditional_mutual_information,
    cross_entropy,
    empirical_distribution,
    entropy,
    entropy_of_counts,
    jensen_shannon_divergence,
    jensen_shannon_divergence_of_logs,
    joint_entropy,
    kl_divergence,
    kl_divergence_of_logs,
    log_determinant_mutual_information,
    mutual_information,
    mutual_information_of_counts,
    self_information,
)
from segmi.information.discrete.tables import Correction

LOG2 = math.log(2)


def distributions(seed: int, *shape: int, zeros: float = 0.0) -> torch.Tensor:
    """Random float64 distributions along the last dimension; about a share ``zeros`` of the cells is exactly 0."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(shape, generator=generator, dtype=torch.float64) + 1e-3
    keep = torch.rand(shape, generator=generator) >= zeros
    keep[..., 0] = True
    p = p * keep
    return p / p.sum(-1, keepdim=True)


def tables(seed: int, *shape: int, zeros: float = 0.0) -> torch.Tensor:
    flat = distributions(seed, *shape[:-2], shape[-2] * shape[-1], zeros=zeros)
    return flat.reshape(shape)


def close(a: torch.Tensor, b: torch.Tensor | float, atol: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), rtol=1e-10, atol=atol)


# known values


def test_uniform_certain_and_mixed_distributions():
    p = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    close(entropy(p), torch.tensor([2, 0, 1, 1.75], dtype=torch.float64) * LOG2)
    close(entropy(p, base=2), torch.tensor([2, 0, 1, 1.75], dtype=torch.float64))
    close(entropy(p.T, dim=0, base=4), torch.tensor([1, 0, 0.5, 0.875], dtype=torch.float64))


def test_self_information_of_certain_and_impossible_events():
    p = torch.tensor([1, 0.5, 0.125], dtype=torch.float64)
    close(self_information(p), torch.tensor([0, LOG2, 3 * LOG2], dtype=torch.float64))
    assert self_information(torch.tensor(0.0)).item() == math.inf


def test_the_textbook_table():
    # Cover and Thomas, example 2.2.1: H(X)=7/4, H(Y)=2, H(X|Y)=11/8, H(Y|X)=13/8, H(X,Y)=27/8, I=3/8 bits
    table = torch.tensor([[4, 2, 2, 8], [2, 4, 2, 0], [1, 1, 2, 0], [1, 1, 2, 0]], dtype=torch.float64) / 32
    close(entropy(table.sum(-1), base=2), 7 / 4)
    close(entropy(table.sum(-2), base=2), 2.0)
    close(conditional_entropy(table, given="columns", base=2), 11 / 8)
    close(conditional_entropy(table, base=2), 13 / 8)
    close(joint_entropy(table, base=2), 27 / 8)
    close(mutual_information(table, base=2), 3 / 8)


def test_binary_symmetric_channel():
    flip = 0.11
    table = torch.tensor([[1 - flip, flip], [flip, 1 - flip]], dtype=torch.float64) / 2
    capacity = LOG2 + flip * math.log(flip) + (1 - flip) * math.log(1 - flip)
    close(mutual_information(table), capacity)


def test_divergence_is_infinite_if_q_lacks_an_outcome():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    assert kl_divergence(p, q).item() == math.inf
    close(kl_divergence(q, p), LOG2, atol=1e-6)


# independent implementations


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_entropy_and_divergences_equal_scipy(zeros):
    p, q = distributions(1, 3, 5, 7, zeros=zeros), distributions(2, 3, 5, 7)
    close(entropy(p), torch.from_numpy(stats.entropy(p.numpy(), axis=-1)))
    close(kl_divergence(p, q, base=2), torch.from_numpy(stats.entropy(p.numpy(), q.numpy(), base=2, axis=-1)))
    close(jensen_shannon_divergence(p, q), torch.from_numpy(jensenshannon(p.numpy(), q.numpy(), axis=-1) ** 2))


def test_mutual_information_of_counts_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for classes in (1, 2, 6):
        x = rng.integers(0, classes, 500)
        y = np.where(rng.random(500) < 0.5, x, rng.integers(0, classes, 500))
        counts = torch.zeros(classes, classes, dtype=torch.int64)
        counts.index_put_(
            (torch.from_numpy(x), torch.from_numpy(y)), torch.ones(500, dtype=torch.int64), accumulate=True
        )
        table = empirical_distribution(counts, dims=(-2, -1))
        close(mutual_information(table), mutual_info_score(x, y))


# identities


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    zeros=st.sampled_from([0.0, 0.3, 0.8]),
)
def test_chain_rule_bounds_and_symmetry(seed, rows, columns, zeros):
    table = tables(seed, 2, rows, columns, zeros=zeros)
    information = mutual_information(table)
    rows_entropy, columns_entropy = entropy(table.sum(-1)), entropy(table.sum(-2))
    joint = joint_entropy(table)
    close(joint, rows_entropy + conditional_entropy(table))
    close(joint, columns_entropy + conditional_entropy(table, given="columns"))
    close(information, rows_entropy + columns_entropy - joint)
    close(information, columns_entropy - conditional_entropy(table))
    close(information, mutual_information(table.mT))
    assert (information >= -1e-12).all()
    assert (information <= torch.minimum(rows_entropy, columns_entropy) + 1e-12).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), outcomes=st.integers(2, 6))
def test_processing_never_adds_information(seed, outcomes):
    table = tables(seed, 4, outcomes, zeros=0.2)
    channel = distributions(seed + 1, outcomes, 3)
    assert mutual_information(table @ channel) <= mutual_information(table) + 1e-12
    p, q = distributions(seed + 2, outcomes, zeros=0.2), distributions(seed + 3, outcomes)
    assert kl_divergence(p @ channel, q @ channel) <= kl_divergence(p, q) + 1e-12


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_invariance_to_permutations(seed):
    table = tables(seed, 3, 4, 5, zeros=0.2)
    generator = torch.Generator().manual_seed(seed)
    renamed = table[:, torch.randperm(4, generator=generator)][:, :, torch.randperm(5, generator=generator)]
    close(mutual_information(renamed), mutual_information(table))
    close(mutual_information(table.flip(0)), mutual_information(table).flip(0))
    close(mutual_information(table[1]), mutual_information(table)[1])


def test_mutual_information_is_the_divergence_from_independence():
    table = tables(3, 5, 4, 6, zeros=0.3)
    independent = table.sum(-1, keepdim=True) * table.sum(-2, keepdim=True)
    close(mutual_information(table), kl_divergence(table.flatten(1), independent.flatten(1)))
    close(mutual_information(independent), 0.0)


def test_mean_prediction_splits_into_label_and_within_class_information():
    # H(p̄) - mean H(p_i) = mean KL(p_i ‖ p̄) = I(Y; Ŷ) + I(X; Ŷ|Y), pixels X, labels Y, sampled predictions Ŷ
    p = distributions(4, 200, 5)
    labels = torch.arange(200) % 3
    mean = p.mean(0)
    total = entropy(mean) - entropy(p).mean()
    close(kl_divergence(p, mean).mean(), total)
    one_hot = torch.nn.functional.one_hot(labels).double()
    table = one_hot.T @ p / 200
    centroids = table / table.sum(-1, keepdim=True)
    within = kl_divergence(p, centroids[labels]).mean()
    assert within > 0.01
    close(mutual_information(table) + within, total)
    # unlike cross-entropy, the plug-in is invariant to permuted classes
    close(mutual_information(table[:, [3, 1, 4, 0, 2]]), mutual_information(table))
    cross_entropy = -torch.log(p[torch.arange(200), labels]).mean()
    assert cross_entropy >= -(table.sum(-1) * torch.log(centroids[range(3), range(3)])).sum()


def test_compensation_identity():
    # Σ_k w_k KL(q_k ‖ p) = KL(q̄ ‖ p) + JSD_w(q), and JSD_w(q) = I(K; Y)
    peers, p = distributions(5, 3, 11, 6), distributions(6, 11, 6).requires_grad_()
    w = [0.5, 0.2, 0.3]
    mixture = sum(weight * q for weight, q in zip(w, peers, strict=True))
    spread = jensen_shannon_divergence(*peers, weights=w)
    summed = sum(weight * kl_divergence(q, p) for weight, q in zip(w, peers, strict=True))
    to_mean = kl_divergence(mixture, p)
    close(summed, to_mean + spread)
    gradients = [torch.autograd.grad(value.sum(), p, retain_graph=True)[0] for value in (summed, to_mean)]
    close(*gradients)
    close(spread, mutual_information(torch.stack([weight * q for weight, q in zip(w, peers, strict=True)], 1)))


@pytest.mark.parametrize("peers", [2, 3, 5])
def test_pairwise_divergences_bound_jensen_shannon(peers):
    q = distributions(peers, peers, 500, 4)
    pairwise = sum(kl_divergence(a, b) for a in q for b in q) / peers**2
    spread = jensen_shannon_divergence(*q)
    assert (spread <= pairwise + 1e-12).all()
    assert (spread <= math.log(peers)).all()
    if peers == 2:
        close(jensen_shannon_divergence(q[1], q[0]), spread)


def test_divergence_from_logs_does_not_underflow():
    p, q = distributions(7, 4, 3, 8).movedim(-1, 1), distributions(8, 4, 3, 8).movedim(-1, 1)
    close(kl_divergence_of_logs(p.log(), q.log(), dim=1, base=2), kl_divergence(p, q, dim=1, base=2))
    logits = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
    value = kl_divergence_of_logs(logits.flip(-1).log_softmax(-1), logits.log_softmax(-1))
    value.sum().backward()
    assert value.item() == pytest.approx(600)
    assert logits.grad.isfinite().all()


# gradients


def test_gradients_equal_finite_differences():
    p, q = distributions(9, 2, 4).requires_grad_(), distributions(10, 2, 4).requires_grad_()
    table = tables(11, 2, 3, 4).requires_grad_()

    for quantity in (self_information, entropy):
        assert torch.autograd.gradcheck(lambda x, f=quantity: f(x, check=False), p)
    for quantity in (joint_entropy, conditional_entropy, mutual_information):
        assert torch.autograd.gradcheck(lambda x, f=quantity: f(x, check=False), table)
    for quantity in (kl_divergence, jensen_shannon_divergence):
        assert torch.autograd.gradcheck(lambda x, y, f=quantity: f(x, y, check=False), (p, q))
    logs = (p.detach().log().requires_grad_(), q.detach().log().requires_grad_())
    assert torch.autograd.gradcheck(kl_divergence_of_logs, logs)


def test_gradients_are_finite_where_probabilities_are_zero():
    p = torch.tensor([0.7, 0.3, 0.0, 0.0], requires_grad=True)
    q = torch.tensor([0.5, 0.3, 0.2, 0.0], requires_grad=True)
    table = torch.tensor([[0.5, 0.0, 0.0], [0.2, 0.3, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    values = [
        entropy(p),
        kl_divergence(p, q),
        jensen_shannon_divergence(p, q),
        joint_entropy(table),
        conditional_entropy(table),
        conditional_entropy(table, given="columns"),
        mutual_information(table),
    ]
    sum(values).backward()
    assert all(x.grad.isfinite().all() for x in (p, q, table))
    assert p.grad[3] == 0


def test_values_and_gradients_stay_finite_for_probabilities_at_the_edge_of_float32():
    logits = torch.tensor([[104.0, 0.0, 0.0], [0.0, 60.0, 103.0]], requires_grad=True)
    p = logits.softmax(-1)
    assert (p == 0).any()
    assert ((p > 0) & (p < 1e-38)).any()
    joint = p / 2
    (mutual_information(joint) + jensen_shannon_divergence(*p) + entropy(p).sum()).backward()
    assert logits.grad.isfinite().all()
    assert jensen_shannon_divergence(*p).item() == pytest.approx(LOG2)


# the forms of the input


def test_weight_zero_leaves_a_distribution_out():
    p = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert jensen_shannon_divergence(*p, weights=[1, 0]).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_accepted_and_computed_in_single(dtype):
    p = distributions(12, 4, 21).to(dtype)
    value = entropy(p)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, entropy(p.double(), check=False).float())
    assert mutual_information(tables(13, 2, 3, 3).to(dtype)).dtype == torch.float32


def test_an_empty_batch_gives_an_empty_result():
    assert entropy(torch.zeros(0, 5)).shape == (0,)
    assert mutual_information(torch.zeros(2, 0, 3, 3)).shape == (2, 0)


def test_batch_dimensions_broadcast():
    p, q = distributions(14, 6, 1, 5), distributions(15, 3, 5)
    assert kl_divergence(p, q).shape == (6, 3)
    assert jensen_shannon_divergence(p, q).shape == (6, 3)


# errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: entropy(torch.tensor([1.5, -0.5])), ValueError, "all at least 0, got -0.5; apply softmax"),
        (lambda: entropy(torch.tensor([0.5, 0.6])), ValueError, "sum to 1 over dimension.*got a sum of 1.1; divide"),
        (lambda: entropy(torch.tensor([float("nan"), 1.0])), ValueError, "all at least 0, got nan"),
        (lambda: entropy(torch.tensor([3, 4])), TypeError, "floating-point.*int64; .*empirical_distribution"),
        (lambda: entropy([0.5, 0.5]), TypeError, "expected a torch.Tensor, got list"),
        (lambda: entropy(torch.tensor(1.0)), ValueError, "at least 1 dimension"),
        (lambda: entropy(torch.zeros(3, 0)), ValueError, r"at least one outcome, got shape \(3, 0\)"),
        (lambda: entropy(torch.tensor([0.5, 0.5]), base=1), ValueError, "base: expected a positive.*got 1"),
        (lambda: entropy(torch.tensor([0.5, 0.5]), base=-2), ValueError, "base: expected a positive.*got -2"),
        (lambda: mutual_information(torch.tensor([0.5, 0.5])), ValueError, "table: expected at least 2 dimension"),
        (lambda: joint_entropy(torch.eye(2)), ValueError, "table: .*got a sum of 2"),
        (lambda: conditional_entropy(torch.eye(2) / 2, given="X"), ValueError, "'rows' .*'columns'.*got 'X'"),
        (lambda: self_information(torch.tensor([2.0])), ValueError, r"values in \[0, 1\], got 2"),
        (lambda: kl_divergence(torch.ones(1), torch.ones(2) / 2), ValueError, r"same outcomes.*\(1,\) and \(2,\)"),
        (
            lambda: kl_divergence(torch.ones(3, 1), torch.ones(2, 1)),
            ValueError,
            r"broadcast, got shapes \(3, 1\) and \(2, 1\)",
        ),
        (lambda: kl_divergence_of_logs(torch.zeros(1), torch.zeros(2)), ValueError, "same outcomes"),
        (lambda: jensen_shannon_divergence(torch.ones(1)), ValueError, "expected two or more, got 1"),
        (
            lambda: jensen_shannon_divergence(torch.ones(1), torch.ones(1), weights=[0.5]),
            ValueError,
            r"expected 2 weights.*sum 1, got \[0.5\]",
        ),
        (
            lambda: jensen_shannon_divergence(torch.ones(1), torch.ones(1), weights=[1.5, -0.5]),
            ValueError,
            "all at least 0",
        ),
        (lambda: empirical_distribution(torch.tensor([-1, 2])), ValueError, "all at least 0"),
        (lambda: empirical_distribution(torch.tensor([[0, 0], [1, 1]])), ValueError, "something to be counted"),
    ],
)
def test_invalid_arguments_raise(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_checks_can_be_left_out():
    entropy(torch.tensor([0.5, 0.6]), check=False)
    mutual_information(torch.eye(2), check=False)


# conditions, determinants and counts


def test_conditional_mutual_information_is_a_mean_and_obeys_the_chain_rule():
    table = distributions(11, 24, zeros=0.2).reshape(2, 3, 4)
    mean = sum(table[z].sum() * mutual_information(table[z] / table[z].sum()) for z in range(2))
    close(conditional_mutual_information(table), mean)
    # I(X; Y, Z) = I(X; Z) + I(X; Y|Z)
    x_yz = table.permute(1, 2, 0).reshape(3, 8)
    close(mutual_information(x_yz), mutual_information(table.sum(2)) + conditional_mutual_information(table))
    batched = torch.stack([table, table.flip(0)])
    close(conditional_mutual_information(batched, base=2), (mean / LOG2).expand(2))


def test_cross_entropy_is_entropy_and_divergence():
    p, q = distributions(1, 5, 4, zeros=0.3), distributions(2, 5, 4)
    close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q))
    close(cross_entropy(p, p), entropy(p))
    assert cross_entropy(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])) == math.inf


def test_jensen_shannon_of_logs_does_not_underflow():
    networks = [distributions(seed, 5, 4) for seed in range(3)]
    logs = [p.log() for p in networks]
    close(jensen_shannon_divergence_of_logs(*logs), jensen_shannon_divergence(*networks))
    weights = [0.5, 0.5, 0.0]
    close(
        jensen_shannon_divergence_of_logs(*logs, weights=weights), jensen_shannon_divergence(*networks, weights=weights)
    )
    far = torch.tensor([[900.0, 0.0], [0.0, 900.0]], requires_grad=True)
    divergence = jensen_shannon_divergence_of_logs(*far.log_softmax(-1))
    (gradient,) = torch.autograd.grad(divergence, far)
    assert divergence.item() == pytest.approx(LOG2)
    assert gradient.isfinite().all()


def test_determinant_of_square_and_of_present_rows():
    table = tables(3, 2, 4, 4)
    close(log_determinant_mutual_information(table), torch.linalg.slogdet(table).logabsdet)
    wide = tables(4, 3, 5)
    close(log_determinant_mutual_information(wide), 0.5 * torch.linalg.slogdet(wide @ wide.T).logabsdet)
    absent = torch.cat([wide[:1], torch.zeros(1, 5, dtype=torch.float64), wide[1:]]).requires_grad_()
    value = log_determinant_mutual_information(absent)
    (gradient,) = torch.autograd.grad(value, absent)
    close(value, log_determinant_mutual_information(wide))
    assert gradient[[0, 2, 3]].abs().min() > 0
    assert gradient.isfinite().all()
    with pytest.raises(ValueError, match=r"expected no more rows than columns, got shape \(5, 3\); transpose it"):
        log_determinant_mutual_information(wide.T)


def test_label_noise_shifts_the_determinant_by_a_constant_and_leaves_its_gradient():
    noise = 0.6 * torch.eye(4, dtype=torch.float64) + 0.1
    logits = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    given = distributions(8, 30, 4)  # how probable each label is for each object
    clean, noisy = ((y.T @ logits.softmax(-1)) / 30 for y in (given, given @ noise))
    values = [log_determinant_mutual_information(table) for table in (clean, noisy)]
    close(values[1] - values[0], torch.linalg.slogdet(noise).logabsdet)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in values)
    close(first, second, atol=1e-12)


@pytest.mark.parametrize("outcomes", [2, 3, 4])
def test_corrections_of_counts_remove_the_bias(outcomes: int):
    """Averaged over every table of 30 draws there is, with its probability."""
    p = torch.linspace(1, 3, outcomes, dtype=torch.float64)
    p /= p.sum()
    draws = torch.cartesian_prod(*[torch.arange(31)] * (outcomes - 1)).view(-1, outcomes - 1)
    draws = draws[draws.sum(1) <= 30]
    counts = torch.cat([draws, 30 - draws.sum(1, keepdim=True)], 1)
    probability = torch.from_numpy(stats.multinomial.pmf(counts.numpy(), 30, p.numpy()))
    bias = {
        correction: (probability @ entropy_of_counts(counts, correction=correction) - entropy(p)).item()
        for correction in get_args(Correction)
    }
    expected = (outcomes - 1) / 60
    assert probability.sum().item() == pytest.approx(1)
    assert bias["none"] == pytest.approx(-expected, rel=0.1)
    assert abs(bias["miller_madow"]) < 0.1 * expected
    assert abs(bias["grassberger"]) < 0.01 * expected


def test_mutual_information_of_counts_equals_scikit_learn_with_corrections():
    counts = torch.tensor([[12, 3, 0], [1, 7, 5]])
    expected = mutual_info_score(None, None, contingency=counts.numpy())
    close(mutual_information_of_counts(counts, correction="none"), expected)
    close(mutual_information_of_counts(counts), expected + (2 + 3 - 5 - 1) / (2 * 28))
    close(mutual_information_of_counts(torch.stack([counts, counts]), base=2, correction="none"), expected / LOG2)
    with pytest.raises(ValueError, match="correction: expected one of none, miller_madow, grassberger, got"):
        entropy_of_counts(counts, correction="jackknife")
    with pytest.raises(ValueError, match=r"counts: expected tables …×X×Y, got shape \(3,\)"):
        mutual_information_of_counts(counts[0])
