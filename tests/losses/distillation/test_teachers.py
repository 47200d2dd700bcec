"""Ensemble teacher, Jensen–Shannon, one-way distillation: against closed forms and plain loops."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information import jensen_shannon_divergence
from segmi.losses import (
    Distillation,
    MutualLearning,
    cross_entropy,
    distillation,
    ensemble_teacher,
    jensen_shannon,
    mutual_learning,
)
from segmi.types import Batch, Output


def networks(count: int, *, seed: int = 0, classes: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(2, classes, 5, 6, generator=generator, dtype=torch.float64) for _ in range(count)]


def labels() -> Tensor:
    found = torch.arange(60).view(2, 5, 6) % 4
    found[0, 0] = 255
    return found


def slope(loss, logits: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_ensemble_teacher_has_the_gradient_of_mutual_learning(temperature: float) -> None:
    own, *peers = networks(4)
    apart, together = (
        lambda z, loss=loss: loss(z, peers, labels(), temperature=temperature)
        for loss in (mutual_learning, ensemble_teacher)
    )
    torch.testing.assert_close(slope(apart, own), slope(together, own), rtol=1e-12, atol=1e-15)
    told = [(peer / temperature).softmax(1) for peer in peers]
    spread = jensen_shannon_divergence(*told, dim=1)[labels() != 255].mean()
    torch.testing.assert_close(apart(own) - together(own), temperature**2 * spread)


def test_average_of_logits_has_another_gradient() -> None:
    own, *peers = networks(4)
    arithmetic, geometric = (
        slope(lambda z, a=a: ensemble_teacher(z, peers, labels(), average=a), own) for a in ("probabilities", "logits")
    )
    assert (arithmetic - geometric).norm() > 0.1 * arithmetic.norm()
    mean = torch.stack(peers).mean(0).softmax(1)
    expected = F.kl_div(own.log_softmax(1), mean, reduction="none").sum(1)[labels() != 255].mean()
    torch.testing.assert_close(ensemble_teacher(own, peers, labels(), average="logits"), expected)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_jensen_shannon_is_the_mutual_information_of_network_and_prediction(count: int) -> None:
    cohort = networks(count, seed=count)
    total, pixels = 0.0, (labels() != 255).nonzero()
    for n, row, column in pixels.tolist():
        table = [[p / count for p in own[n, :, row, column].softmax(0).tolist()] for own in cohort]
        marginal = [sum(row_of[c] for row_of in table) for c in range(4)]
        total += sum(p * math.log(p / (marginal[c] / count)) for row_of in table for c, p in enumerate(row_of))
    torch.testing.assert_close(jensen_shannon(cohort, labels()).item(), total / len(pixels))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_mutual_learning_bounds_jensen_shannon(count: int) -> None:
    for seed in range(50):
        cohort = networks(count, seed=seed)
        pairs = [mutual_learning(a, [b], labels()) for a, b in itertools.permutations(cohort, 2)]
        assert jensen_shannon(cohort, labels()) <= sum(pairs) / count**2


def test_jensen_shannon_of_certain_disagreeing_networks() -> None:
    sure = [200 * F.one_hot(torch.tensor(k), 4).double().view(1, 4, 1, 1).expand(2, 4, 5, 6) for k in range(3)]
    assert jensen_shannon(sure, labels()).item() == pytest.approx(math.log(3))
    assert jensen_shannon([sure[0], sure[0]], labels()).item() == 0


def test_distillation_equals_a_plain_loop() -> None:
    own, teacher = networks(2)
    total, count = 0.0, 0
    for n, row, column in (labels() != 255).nonzero().tolist():
        q, t = ((z[n, :, row, column] / 3).softmax(0) for z in (own, teacher))
        total += 9 * float((t * (t / q).log()).sum())
        count += 1
    assert distillation(own, teacher, labels(), temperature=3.0).item() == pytest.approx(total / count)


def test_distillation_at_high_temperature_matches_logits() -> None:
    own, teacher = networks(2)
    z, t = (one - one.mean(1, keepdim=True) for one in (own, teacher))
    valid = (labels() != 255).unsqueeze(1)
    expected = torch.where(valid, (z - t) / 4 / valid.sum(), 0.0)
    found = slope(lambda a: distillation(a, teacher, labels(), temperature=1e4), own)
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_two_peers_equal_label_softening() -> None:
    own, peer = networks(2)
    pair = slope(lambda z: cross_entropy(z, labels()) + distillation(z, peer, labels()), own)
    valid = labels() != 255
    truth = F.one_hot(labels().masked_fill(~valid, 0), 4).movedim(-1, 1)
    target = (truth + peer.softmax(1)) / 2
    expected = torch.where(valid.unsqueeze(1), 2 * (own.softmax(1) - target) / valid.sum(), 0.0)
    torch.testing.assert_close(pair, expected)


def test_several_teachers_have_equal_weight() -> None:
    a, b, one, two = networks(4)
    outputs = {name: Output(z) for name, z in zip(("a", "b", "one", "two"), (a, b, one, two), strict=True)}
    batch = Batch(torch.zeros(2, 3, 5, 6), labels())
    found = Distillation(frozen=["one", "two"])(outputs, batch)
    assert list(found) == ["distillation/a", "distillation/b"]
    expected = (distillation(a, one, labels()) + distillation(a, two, labels())) / 2
    torch.testing.assert_close(found["distillation/a"].value, expected)
    mutual = MutualLearning(frozen=["one", "two"])(outputs, batch)["mutual_learning/a"].value
    assert abs(float(mutual - expected)) > 1e-3
    with pytest.raises(ValueError, match=r"distillation: expected a frozen network, the teacher"):
        Distillation()(outputs, batch)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z: jensen_shannon([z], labels()),
            "expected the logits of two or more networks, got 1. Fix: add a network",
        ),
        (lambda z: ensemble_teacher(z, [], labels()), "expected the logits of at least one other network, got none"),
        (lambda z: ensemble_teacher(z, [z], labels(), average="x"), "average: expected 'probabilities' or 'logits'"),
        (lambda z: ensemble_teacher(z, [z], labels(), temperature=0), "temperature: expected a number above 0, got 0"),
        (lambda z: Distillation(temperature=0), "temperature: expected a number above 0, got 0"),
        (lambda z: distillation(z, z[:, :3], labels()), r"expected the shape of logits, \(2, 4, 5, 6\), got \(2, 3"),
    ],
)
def test_invalid_options_raise(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(networks(1)[0])
