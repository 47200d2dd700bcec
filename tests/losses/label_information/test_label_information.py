"""Losses of label information against their definitions, pixel by pixel, and their properties."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mutual_info_score
from torch import Tensor

from segmi.information import log_determinant_mutual_information
from segmi.losses import (
    ConditionalInformation,
    CrossEntropy,
    ProbabilityCorrected,
    conditional_information,
    cross_entropy,
    determinant_information,
    normalized_conditional_information,
    probability_corrected,
    soft_confusion,
)

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def pixels(scene: Scene) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Logits and labels with ignored, and the same as rows of probabilities and classes of the valid pixels."""
    labels = scene.labels(2, 4, 14, 12, ignored=True)
    logits = scene.logits(labels, 4, contrast=0.7)
    keep = (labels != 255).flatten()
    p = logits.softmax(1).movedim(1, -1).reshape(-1, 4)[keep].numpy()
    return logits, labels, p, labels.flatten()[keep].numpy()


def joint(p: np.ndarray, y: np.ndarray, classes: int = 4) -> np.ndarray:
    return np.array([p[y == a].sum(0) for a in range(classes)]) / len(y)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * (np.log(p) - np.log(q))).sum())


def test_soft_confusion_is_the_divergence_from_independence(pixels: Any) -> None:
    logits, labels, p, y = pixels
    table = joint(p, y)
    expected = divergence(table, np.outer(table.sum(1), table.sum(0)))
    assert soft_confusion(logits, labels).item() == pytest.approx(-expected, rel=1e-12)


def test_soft_confusion_of_certain_predictions_equals_scikit_learn(scene: Scene) -> None:
    labels = scene.labels(2, 4, 14, 12)
    predicted = scene.logits(labels, 4, contrast=0.5).argmax(1)
    certain = 1e3 * F.one_hot(predicted, 4).movedim(-1, 1).double()
    expected = mutual_info_score(labels.flatten(), predicted.flatten())
    assert soft_confusion(certain, labels).item() == pytest.approx(-expected, rel=1e-12)


def test_conditional_information_is_the_mean_divergence_from_the_class(pixels: Any) -> None:
    logits, labels, p, y = pixels
    centroids = [p[y == a].mean(0) for a in range(4)]
    expected = np.mean([divergence(row, centroids[a]) for row, a in zip(p, y, strict=True)])
    assert conditional_information(logits, labels).item() == pytest.approx(expected, rel=1e-11)
    assert conditional_information(logits, labels, direction="spread").item() == pytest.approx(-expected, rel=1e-11)


def test_separation_is_over_all_pairs_of_different_classes(pixels: Any) -> None:
    logits, labels, p, y = pixels
    across = -p @ np.log(p).T * (y[:, None] != y[None])
    gap = conditional_information(logits, labels) - conditional_information(logits, labels, separation=2.0)
    assert gap.item() == pytest.approx(2 * across.mean(), rel=1e-11)
    ratio = conditional_information(logits, labels).item() / across.mean()
    assert normalized_conditional_information(logits, labels).item() == pytest.approx(ratio, rel=1e-11)


def test_class_means_contribute_no_gradient(pixels: Any, gradient: Gradient) -> None:
    """An alternating step for the centroids, as in the paper, would change nothing: they are optimal where they are."""
    logits, labels, _, _ = pixels

    def with_fixed_means(z: Tensor) -> Tensor:
        keep = (labels != 255).flatten()
        log_p = z.log_softmax(1).movedim(1, -1).reshape(-1, 4)[keep]
        y = labels.flatten()[keep]
        means = torch.stack([log_p[y == a].exp().mean(0) for a in range(4)]).detach()
        return F.kl_div(means.log()[y], log_p, reduction="batchmean", log_target=True)

    value, slope = gradient(lambda z: conditional_information(z, labels), logits)
    expected, fixed = gradient(with_fixed_means, logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, fixed)


def test_parts_add_up_to_the_information_of_image_and_prediction(pixels: Any) -> None:
    logits, labels, p, _ = pixels
    mean = p.mean(0)
    infomax = divergence(p / len(p), np.broadcast_to(mean / len(p), p.shape))
    parts = conditional_information(logits, labels) - soft_confusion(logits, labels)
    assert parts.item() == pytest.approx(infomax, rel=1e-12)


def test_normalized_information_decreases_with_confidence(scene: Scene) -> None:
    labels = scene.labels(1, 4, 24, 24)
    logits = scene.logits(labels, 4, contrast=0.5)
    values = [normalized_conditional_information(scale * logits, labels).item() for scale in (0.5, 1, 2, 4, 16)]
    assert max(values) > 1.2 * values[0]
    assert max(values) > 1.2 * values[-1]


def test_uniform_predictions_are_stationary_for_soft_confusion(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(1, 4, 12, 12)
    value, slope = gradient(lambda z: soft_confusion(z, labels), torch.zeros(1, 4, 12, 12, dtype=torch.float64))
    assert value.abs() < 1e-15
    assert slope.abs().max() < 1e-15


class TestDeterminant:
    def test_equals_the_published_form_up_to_a_constant(self, pixels: Any) -> None:
        logits, labels, p, y = pixels
        table = joint(p, y)
        expected = -np.log(abs(np.linalg.det(table))) + np.log(table.sum(1)).sum()
        value = determinant_information(logits, labels, ridge=1e-14).item()
        assert value == pytest.approx(expected, rel=1e-9)
        same = np.log(table.sum(1)).sum() - log_determinant_mutual_information(torch.from_numpy(table)).item()
        assert value == pytest.approx(same, rel=1e-9)

    def test_class_conditional_noise_adds_a_constant(self, pixels: Any, gradient: Gradient) -> None:
        """Noise in expectation: pixel by pixel every label is the noisy one with its probability."""
        logits, labels, _, y = pixels
        noise = 0.5 * torch.eye(4) + 0.5 * torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 2 + [[0.4, 0.3, 0.2, 0.1]] * 2)
        noise = noise.double()
        counts = torch.bincount(torch.from_numpy(y), minlength=4).double()

        def noisy(z: Tensor) -> Tensor:
            keep = (labels != 255).flatten()
            p = z.softmax(1).movedim(1, -1).reshape(-1, 4)[keep]
            table = noise.T @ torch.stack([p[torch.from_numpy(y) == a].sum(0) for a in range(4)])
            return -torch.linalg.slogdet(table / (noise.T @ counts)[:, None])[1]

        clean, slope = gradient(lambda z: determinant_information(z, labels, ridge=1e-14), logits)
        spoiled, noisy_slope = gradient(noisy, logits)
        shift = -torch.linalg.slogdet(noise)[1] + (noise.T @ counts).log().sum() - counts.log().sum()
        torch.testing.assert_close(spoiled - clean, shift, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(noisy_slope, slope, rtol=1e-8, atol=1e-10)

    def test_missing_class_keeps_gradients_of_others(self, scene: Scene, gradient: Gradient) -> None:
        labels = scene.labels(1, 4, 12, 12).clamp(max=2)
        logits = scene.logits(labels, 4)
        value, slope = gradient(lambda z: determinant_information(z, labels, ridge=1e-14), logits)
        p = logits.softmax(1)[0].flatten(1)
        rows = torch.stack([p[:, labels.flatten() == a].mean(1) for a in range(3)])
        torch.testing.assert_close(value, -torch.linalg.svdvals(rows).log().sum(), rtol=1e-9, atol=1e-9)
        assert slope.norm() > 1e-2

        def published(z: Tensor) -> Tensor:
            table = F.one_hot(labels, 4).double().flatten(0, 2).T @ z.softmax(1).movedim(1, -1).reshape(-1, 4)
            return -torch.log(torch.linalg.det(table).abs() + 1e-3)

        worst, none = gradient(published, logits)
        assert worst.item() == pytest.approx(-math.log(1e-3))
        assert none.abs().max() == 0

    def test_many_classes(self) -> None:
        """The determinant of 21 classes underflows, its logarithm does not."""
        labels = torch.arange(21).repeat(100).view(1, 30, 70)
        logits = math.log(0.8 / 0.01) * F.one_hot(labels, 21).movedim(-1, 1).float()
        expected = -(math.log(1.0) + 20 * math.log(0.79))  # eigenvalues of 0.79 I + 0.01
        assert determinant_information(logits, labels).item() == pytest.approx(expected, rel=1e-4)
        shares = (0.79 * torch.eye(21) + 0.01) / 21
        assert 1e-31 < torch.linalg.det(shares) < 1e-29, "which 1e-3, added as published, drowns"
        assert torch.linalg.det(50_176 * shares).isinf()
        assert log_determinant_mutual_information(shares).item() == pytest.approx(
            -expected - 21 * math.log(21), rel=1e-4
        )

    def test_ridge_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="ridge: expected a number above 0, got 0"):
            determinant_information(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long), ridge=0)


class TestProbabilityCorrected:
    def test_equals_the_cross_entropy_with_a_prior(self, pixels: Any) -> None:
        logits, labels, _, y = pixels
        shares = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
        z = logits.movedim(1, -1).reshape(-1, 4)[(labels != 255).flatten()].numpy()
        q = shares.numpy() * np.exp(z)
        expected = -np.log(q[np.arange(len(y)), y] / q.sum(1)).mean()
        assert probability_corrected(logits, labels, shares).item() == pytest.approx(expected, rel=1e-12)
        plain = probability_corrected(logits, labels, shares, strength=0.0)
        torch.testing.assert_close(plain, cross_entropy(logits, labels))

    def test_one_channel_is_two(self, scene: Scene) -> None:
        labels = scene.labels(1, 2, 8, 8)
        z = scene.logits(labels, 1)
        shares = torch.tensor([0.9, 0.1], dtype=torch.float64)
        two = torch.cat([torch.zeros_like(z), z], 1)
        torch.testing.assert_close(probability_corrected(z, labels, shares), probability_corrected(two, labels, shares))

    def test_optimal_logits_differ_by_the_prior(self) -> None:
        """Where labels are drawn from the prior alone, plain logits learn the prior and corrected ones nothing."""
        labels = torch.tensor([0, 0, 0, 1]).view(1, 2, 2)
        loss = ProbabilityCorrected(class_counts=[3, 1])
        logits = torch.zeros(1, 2, 1, 1, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(logits.expand(1, 2, 2, 2), labels), logits)
        (plain,) = torch.autograd.grad(CrossEntropy()(logits.expand(1, 2, 2, 2), labels), logits)
        assert slope.abs().max() < 1e-7
        assert plain.abs().max() > 0.2

    def test_counts_are_set_given_or_missing(self) -> None:
        logits, labels = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
        with pytest.raises(
            RuntimeError, match=r"class counts: expected the pixels .* got none. Fix: give class_counts"
        ):
            ProbabilityCorrected()(logits, labels)
        with pytest.raises(ValueError, match=r"class counts: expected 3 numbers .* got 2. Fix: give one per class"):
            ProbabilityCorrected(class_counts=[1, 2])(logits, labels)
        with pytest.raises(ValueError, match="class_counts: expected two or more numbers, all at least 0, not all 0"):
            ProbabilityCorrected(class_counts=[0, 0])
        with pytest.raises(ValueError, match="strength: expected a number from 0 to 1, got 2"):
            ProbabilityCorrected(strength=2)

    def test_counts_are_in_the_state_and_given_counts_take_precedence(self) -> None:
        told, given = ProbabilityCorrected(), ProbabilityCorrected(class_counts=[1, 1])
        for loss in (told, given):
            loss.classes.set_counts(torch.tensor([30, 0]))
        logits = torch.zeros(1, 2, 1, 1)
        assert told.classes.shares(logits).tolist() == pytest.approx([30 / 31, 1 / 31])
        assert given.classes.shares(logits).tolist() == [0.5, 0.5]
        assert told.state_dict()["classes.counts"].tolist() == [30, 0]


def test_unknown_direction() -> None:
    with pytest.raises(ValueError, match=r"direction: .*compress.*spread.*'down'"):
        ConditionalInformation(direction="down")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="separation: expected a number of at least 0, got -1"):
        ConditionalInformation(separation=-1)
