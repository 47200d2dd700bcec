"""Quantities of labeled predictions against loops over objects and pairs, scikit-learn, and identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mutual_info_score

from segmi.information import (
    PredictionSums,
    barber_agakov_bound,
    class_separation,
    conditional_prediction_mutual_information,
    entropy,
    kl_divergence,
    label_entropy,
    mutual_information,
    normalized_conditional_mutual_information,
    prediction_cross_entropy,
    prediction_mutual_information,
    prediction_sums,
    soft_confusion,
    soft_confusion_mutual_information,
)

QUANTITIES = (
    soft_confusion_mutual_information,
    prediction_mutual_information,
    conditional_prediction_mutual_information,
    class_separation,
    normalized_conditional_mutual_information,
    label_entropy,
    prediction_cross_entropy,
    barber_agakov_bound,
)


def predictions(seed: int, n: int = 40, classes: int = 4, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (n×C, float64) that lean towards the labels (n)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(n), labels] += scale
    return logits.log_softmax(-1), labels


def by_hand(log_p: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The definitions, object by object and pair by pair."""
    p, n = log_p.exp().numpy(), len(labels)
    y = labels.numpy()
    center = {a: p[y == a].mean(0) for a in set(y.tolist())}
    spread = np.mean([(p[i] * np.log(p[i] / center[y[i]])).sum() for i in range(n)])
    apart = sum(-(p[i] * np.log(p[j])).sum() for i in range(n) for j in range(n) if y[i] != y[j]) / n**2
    told = np.mean([(p[i] * np.log(p[i] / p.mean(0))).sum() for i in range(n)])
    return {"spread": spread, "apart": apart, "told": told}


@pytest.mark.parametrize("seed", range(3))
def test_quantities_equal_the_definitions(seed: int):
    log_p, labels = predictions(seed)
    sums, expected = prediction_sums(log_p, labels), by_hand(log_p, labels)
    assert conditional_prediction_mutual_information(sums).item() == pytest.approx(expected["spread"], rel=1e-10)
    assert class_separation(sums).item() == pytest.approx(expected["apart"], rel=1e-10)
    assert prediction_mutual_information(sums).item() == pytest.approx(expected["told"], rel=1e-10)
    ratio = normalized_conditional_mutual_information(sums).item()
    assert ratio == pytest.approx(expected["spread"] / expected["apart"], rel=1e-10)


def test_scikit_learn_agrees_on_drawn_classes_and_cross_entropy():
    """With probabilities that are multiples of 1/12, drawing can be done exactly: 12 copies of every object."""
    generator = np.random.default_rng(0)
    shares = generator.multinomial(12, [0.5, 0.3, 0.2], size=30)
    labels = generator.integers(0, 3, 30)
    drawn = np.concatenate([np.repeat(np.arange(3), row) for row in shares])
    p = torch.from_numpy(shares / 12).clamp_min(1e-300)
    sums = prediction_sums(p.log(), torch.from_numpy(labels))
    expected = mutual_info_score(np.repeat(labels, 12), drawn)
    assert soft_confusion_mutual_information(sums).item() == pytest.approx(expected, rel=1e-9)
    log_p, truth = predictions(5)
    ce = log_loss(truth.numpy(), log_p.exp().numpy(), labels=range(4))
    assert prediction_cross_entropy(prediction_sums(log_p, truth)).item() == pytest.approx(ce, rel=1e-10)
    frequencies = np.bincount(truth.numpy()) / len(truth)
    bound = barber_agakov_bound(prediction_sums(log_p, truth)).item()
    assert bound == pytest.approx(-(frequencies * np.log(frequencies)).sum() - ce, rel=1e-10)


@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(0.1, 8))
@settings(max_examples=40, deadline=None)
def test_identity_of_the_three_quantities(seed: int, classes: int, scale: float):
    log_p, labels = predictions(seed, 25, classes, scale)
    sums = prediction_sums(log_p, labels)
    label, whole, rest = (quantity(sums) for quantity in QUANTITIES[:3])
    torch.testing.assert_close(whole, label + rest, rtol=0, atol=1e-12)
    mean = log_p.exp().mean(0)
    torch.testing.assert_close(whole, kl_divergence(log_p.exp(), mean).mean(), rtol=0, atol=1e-12)
    torch.testing.assert_close(whole, entropy(mean) - entropy(log_p.exp()).mean(), rtol=0, atol=1e-12)
    assert -1e-12 <= label <= label_entropy(sums) + 1e-12
    assert rest >= -1e-12
    assert barber_agakov_bound(sums) <= label_entropy(sums) + 1e-12


def test_cross_entropy_is_at_least_that_of_class_means():
    log_p, labels = predictions(3)
    sums = prediction_sums(log_p, labels)
    table = soft_confusion(sums)
    given_label = table / table.sum(1, keepdim=True)
    assert prediction_cross_entropy(sums) >= -(table.sum(1) * given_label.diagonal().log()).sum()


def test_the_soft_confusion_of_certain_predictions_is_the_confusion_matrix():
    truth = torch.tensor([0, 0, 1, 2, 2, 2])
    predicted = torch.tensor([0, 1, 1, 2, 0, 2])
    log_p = (80.0 * torch.nn.functional.one_hot(predicted, 3)).double().log_softmax(-1)
    counts = torch.zeros(3, 3, dtype=torch.float64)
    counts.index_put_((truth, predicted), torch.ones(6, dtype=torch.float64), accumulate=True)
    sums = prediction_sums(log_p, truth)
    torch.testing.assert_close(soft_confusion(sums), counts / 6, rtol=0, atol=1e-12)
    assert soft_confusion_mutual_information(sums).item() == pytest.approx(mutual_info_score(truth, predicted))


def test_only_the_bound_depends_on_class_permutations():
    log_p, labels = predictions(1)
    there, shifted = prediction_sums(log_p, labels), prediction_sums(log_p.roll(1, -1), labels)
    for quantity in QUANTITIES[:5]:
        torch.testing.assert_close(quantity(there), quantity(shifted))
    assert barber_agakov_bound(shifted) < barber_agakov_bound(there) - 1


def test_sums_of_batches_weights_layouts_and_half_precision():
    log_p, labels = predictions(2, 48)
    whole = prediction_sums(log_p, labels)
    parts = prediction_sums(log_p[:20], labels[:20]), prediction_sums(log_p[20:], labels[20:])
    torch.testing.assert_close(PredictionSums(*map(torch.add, *parts)), whole)
    weights = (torch.arange(48) < 20).double()
    torch.testing.assert_close(prediction_sums(log_p, labels, weights=weights), parts[0])
    images = log_p.view(2, 4, 6, 4).movedim(-1, 1)
    torch.testing.assert_close(prediction_sums(images, labels.view(2, 4, 6), dim=1), whole)
    half = prediction_sums(log_p.bfloat16(), labels)
    assert half.mass.dtype == torch.float32
    torch.testing.assert_close(half.mass.double(), whole.mass, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.__name__)
def test_nothing_counted_is_zero_and_gradients_equal_differences(quantity):
    log_p = torch.zeros(5, 3, dtype=torch.float64).log_softmax(-1).requires_grad_()
    value = quantity(prediction_sums(log_p, torch.zeros(5, dtype=torch.int64), weights=torch.zeros(5)))
    (gradient,) = torch.autograd.grad(value, log_p, allow_unused=quantity is label_entropy)
    assert value.item() == 0
    assert gradient is None or bool((gradient == 0).all())
    logits, labels = predictions(4, 6, 3)
    assert torch.autograd.gradcheck(
        lambda z: quantity(prediction_sums(z.log_softmax(-1), labels)), logits.clone().requires_grad_()
    )


@pytest.mark.parametrize("quantity", [q for q in QUANTITIES if q is not normalized_conditional_mutual_information])
def test_other_units(quantity):
    sums = prediction_sums(*predictions(6))
    torch.testing.assert_close(quantity(sums, base=2), quantity(sums) / math.log(2))


def test_saturated_predictions_keep_every_quantity_finite():
    log_p = (torch.tensor([[1e4, 0.0], [0.0, 1e4]])).log_softmax(-1).requires_grad_()
    for labels in (torch.tensor([0, 1]), torch.tensor([1, 1])):
        sums = prediction_sums(log_p, labels)
        value = torch.stack([quantity(sums) for quantity in QUANTITIES]).sum()
        (gradient,) = torch.autograd.grad(value, log_p)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_invalid_arguments_raise():
    log_p, labels = predictions(0)
    with pytest.raises(TypeError, match=r"labels: expected int64 class indices, got torch.int32. Fix: use"):
        prediction_sums(log_p, labels.int())
    with pytest.raises(ValueError, match=r"expected the shape of log_p without its classes, \(40,\), got \(4,\)"):
        prediction_sums(log_p, labels[:4])
    with pytest.raises(ValueError, match=r"labels: expected class indices 0 to 3, got .* to 255. Fix: give ignored"):
        prediction_sums(log_p, labels.masked_fill(labels == 3, 255))
    with pytest.raises(TypeError, match=r"log_p: expected a floating-point tensor, got torch\.int64"):
        prediction_sums(log_p.long(), labels)


def test_data_processing_inequality():
    """A drawn class has no more information about the label than the prediction."""
    # two objects per label, predictions that determine the label, though no draw from them does
    p = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.4, 0.6], [0.3, 0.7]], dtype=torch.float64)
    sums = prediction_sums(p.log(), torch.tensor([0, 0, 1, 1]))
    drawn = soft_confusion_mutual_information(sums)
    assert 0 < drawn < mutual_information(torch.eye(2, dtype=torch.float64) / 2)
