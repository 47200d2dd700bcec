"""Unsupervised losses against their definitions, pixel by pixel, and their properties."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses import (
    EntropyMinimization,
    InformationMaximization,
    InvariantInformation,
    LocalInvariantInformation,
    MarginalPrior,
    PerNetwork,
    conditional_information,
    confidence_penalty,
    entropy_minimization,
    information_maximization,
    invariant_information,
    local_invariant_information,
    marginal_prior,
    soft_confusion,
)
from segmi.types import IGNORE_INDEX, Batch, Output, Views

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture
def pixels(scene: Scene) -> tuple[Tensor, Tensor, np.ndarray]:
    """Logits and labels with ignored, and the probabilities of the valid pixels as rows."""
    labels = scene.labels(2, 4, 14, 12, ignored=True)
    logits = scene.logits(labels, 4, contrast=0.7)
    return logits, labels, logits.softmax(1).movedim(1, -1)[labels != 255].numpy()


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


def test_entropy_minimization_is_the_mean_entropy(pixels: Any) -> None:
    logits, labels, p = pixels
    assert entropy_minimization(logits, labels).item() == pytest.approx(entropy(p).mean(), rel=1e-12)
    assert confidence_penalty(logits, labels) == -entropy_minimization(logits, labels)


def test_information_maximization_is_entropy_of_mean_minus_mean_entropy(pixels: Any) -> None:
    logits, labels, p = pixels
    for certainty in (0.0, 0.3, 1.0):
        expected = certainty * entropy(p).mean() - entropy(p.mean(0))
        value = information_maximization(logits, labels, certainty=certainty)
        assert value.item() == pytest.approx(expected, rel=1e-12)


def test_information_splits_into_label_and_conditional_part(pixels: Any) -> None:
    """The identity of the loss families, for any labels."""
    logits, labels, _ = pixels
    for others in (labels, torch.where(labels == 255, 255, labels // 2), torch.where(labels == 255, 255, 0)):
        beside = conditional_information(logits, others) - soft_confusion(logits, others)
        torch.testing.assert_close(-information_maximization(logits, others), beside)


def test_uniform_prior_is_minus_the_entropy_of_the_mean(pixels: Any) -> None:
    logits, labels, p = pixels
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    mean = p.mean(0)
    expected = (mean * np.log(mean / shares.numpy())).sum()
    assert marginal_prior(logits, labels, shares).item() == pytest.approx(expected, rel=1e-12)
    uniform = marginal_prior(logits, labels, torch.full((4,), 0.25, dtype=torch.float64)).item()
    diverse = information_maximization(logits, labels, certainty=0.0).item()
    assert uniform == pytest.approx(math.log(4) + diverse, rel=1e-12)


class TestInvariant:
    @staticmethod
    def slowly(
        first: Tensor, second: Tensor, labels: Tensor, reach: int, window: int | None, entropy_weight: float
    ) -> float:
        """Pair by pair."""
        p, q, there = first.softmax(1).numpy(), second.softmax(1).numpy(), labels.numpy() != 255
        n, _, height, width = p.shape
        tables: dict[Any, list[np.ndarray]] = {}
        for k, i, j in np.ndindex(n, height, width):
            for down, right in product(range(-reach, reach + 1), repeat=2):
                a, b = i + down, j + right
                if 0 <= a < height and 0 <= b < width and there[k, i, j] and there[k, a, b]:
                    where = (down, right, *((i // window, j // window) if window else ()))
                    tables.setdefault(where, []).append(np.outer(p[k, :, i, j], q[k, :, a, b]))
        values, weights = [], []
        for found in tables.values():
            table = np.mean(found, 0)
            table = (table + table.T) / 2
            values.append(entropy(table.ravel()) - 2 * entropy_weight * entropy(table.sum(0)))
            weights.append(len(found))
        return float(np.average(values, weights=weights))

    @pytest.fixture
    def views(self, scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
        labels = scene.labels(2, 3, 8, 7, ignored=True)
        return scene.logits(labels, 3, contrast=0.7), scene.logits(labels, 3, contrast=1.2, seed=5), labels

    @pytest.mark.parametrize("entropy_weight", [1.0, 1.5])
    def test_equals_the_definition(self, views: Any, entropy_weight: float) -> None:
        value = invariant_information(*views, entropy_weight=entropy_weight).item()
        assert value == pytest.approx(self.slowly(*views, 0, None, entropy_weight), rel=1e-11)

    @pytest.mark.parametrize(("reach", "window"), [(0, None), (2, None), (0, 3), (1, 4)])
    def test_local_form_is_the_definition(self, views: Any, reach: int, window: int | None) -> None:
        value = local_invariant_information(*views, displacement=reach, window=window).item()
        assert value == pytest.approx(self.slowly(*views, reach, window, 1.0), rel=1e-11)

    def test_views_can_be_exchanged(self, views: Any) -> None:
        first, second, labels = views
        for function in (invariant_information, local_invariant_information):
            torch.testing.assert_close(function(first, second, labels), function(second, first, labels))

    def test_label_as_second_view_is_soft_confusion(self, scene: Scene) -> None:
        labels = scene.labels(2, 4, 12, 12)
        certain = 1e3 * F.one_hot(labels, 4).movedim(-1, 1).double()
        torch.testing.assert_close(invariant_information(certain, certain, labels), soft_confusion(certain, labels))

    def test_uniform_predictions_are_stationary(self, gradient: Gradient) -> None:
        labels = torch.zeros(1, 8, 8, dtype=torch.long)
        value, slope = gradient(
            lambda z: invariant_information(z, z, labels), torch.zeros(1, 4, 8, 8, dtype=torch.float64)
        )
        assert value.abs() < 1e-15
        assert slope.abs().max() < 1e-15

    def test_balanced_certain_views_reach_the_bound(self) -> None:
        classes = torch.arange(16).view(1, 4, 4) % 4
        certain = 1e3 * F.one_hot(classes, 4).movedim(-1, 1).double()
        assert invariant_information(certain, certain, classes).item() == pytest.approx(-math.log(4), rel=1e-12)

    def test_invalid_options_raise(self) -> None:
        z, y = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
        with pytest.raises(ValueError, match=r"second: expected the shape of first, .* undo the transformation"):
            invariant_information(z, z[..., :3], y)
        with pytest.raises(ValueError, match="displacement: expected less than the side of the images, 4, got 4"):
            local_invariant_information(z, z, y, displacement=4)
        with pytest.raises(ValueError, match="displacement: expected an integer of at least 0, got -1"):
            LocalInvariantInformation(displacement=-1)
        with pytest.raises(ValueError, match="window: expected an integer of at least 1, got 0"):
            LocalInvariantInformation(window=0)
        with pytest.raises(ValueError, match="entropy_weight: expected a number of at least 0, got -1"):
            InvariantInformation(entropy_weight=-1)


class TestImagesWithoutLabels:
    @pytest.fixture
    def mixed(self, scene: Scene) -> tuple[dict[str, Output], Batch]:
        """Two labeled images, then three unlabeled ones in two views; one crop extends beyond its image."""
        labels = scene.labels(2, 3, 8, 8)
        logits = scene.logits(scene.labels(8, 3, 8, 8, seed=3), 3)
        seen = torch.ones(3, 8, 8, dtype=torch.bool)
        seen[1, 5:] = False
        views = Views(seen, torch.tensor([True, False, True]))
        whole = torch.cat([labels, torch.full((6, 8, 8), IGNORE_INDEX)])
        return {"net": Output(logits), "old": Output(logits)}, Batch(torch.zeros(8, 3, 8, 8), whole, views=views)

    def test_losses_use_the_images_they_apply_to(self, mixed: Any) -> None:
        outputs, batch = mixed
        logits = outputs["net"].logits
        assert batch.labeled == 2
        without = torch.where(batch.views.seen, 0, IGNORE_INDEX)
        cases = {
            "labeled": (logits[:2], batch.labels[:2]),
            "unlabeled": (logits[2:5], without),
            "all": (logits[:5], torch.cat([batch.labels[:2], without])),
        }
        for on, (z, y) in cases.items():
            objective = PerNetwork(EntropyMinimization(applies_to=on), "h", frozen=("old",))  # type: ignore[arg-type]
            (term,) = objective(outputs, batch).values()
            torch.testing.assert_close(term.value, entropy_minimization(z, y))
            assert objective.denominators(outputs, batch) == {"h/net": term.denominator}

    def test_second_views_are_mirrored_back(self, mixed: Any) -> None:
        outputs, batch = mixed
        logits = outputs["net"].logits
        second = torch.stack([logits[5].flip(-1), logits[6], logits[7].flip(-1)])
        without = torch.where(batch.views.seen, 0, IGNORE_INDEX)
        for objective, function in (
            (InvariantInformation(weight=0.5, frozen=("old",)), invariant_information),
            (LocalInvariantInformation(frozen=["old"]), local_invariant_information),
        ):
            ((name, term),) = objective(outputs, batch).items()
            assert name == f"{objective.name}/net"
            assert term.weight == objective.weight
            torch.testing.assert_close(term.value, function(logits[2:5], second, without))
            assert objective.denominators(outputs, batch) == {name: term.denominator}

    def test_requirements_are_declared_and_checked(self, mixed: Any) -> None:
        outputs, batch = mixed
        plain = Batch(batch.images, batch.labels)
        assert InformationMaximization(applies_to="all").requires == ("unlabeled images",)
        assert MarginalPrior(applies_to="unlabeled").requires == ("class counts", "unlabeled images")
        assert InformationMaximization().requires == ()
        with pytest.raises(ValueError, match=r"h: expected unlabeled images in the batch, got none. Fix: set"):
            PerNetwork(EntropyMinimization(applies_to="all"), "h")(outputs, plain)
        with pytest.raises(
            ValueError, match=r"expected two views of unlabeled images in the batch, got none. Fix: hide"
        ):
            InvariantInformation()(outputs, plain)
        with pytest.raises(ValueError, match=r"applies_to: .*labeled.*unlabeled.*all.*'some'"):
            EntropyMinimization(applies_to="some")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="certainty: expected a number of at least 0, got -1"):
            InformationMaximization(certainty=-1)
