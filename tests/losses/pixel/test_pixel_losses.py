"""The controls against torch, torchvision, segmentation_models_pytorch and the definitions pixel by pixel."""

from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from segmi.losses import (
    AffinityFields,
    Dice,
    Focal,
    LabelSmoothing,
    LovaszSoftmax,
    WeightedCrossEntropy,
    affinity_fields,
    balanced_cross_entropy,
    confidence_penalty,
    cross_entropy,
    dice,
    focal,
    label_smoothing,
    lovasz_softmax,
    weighted_cross_entropy,
)

Scene = Any
Batch = tuple[Tensor, Tensor]


@pytest.fixture
def batch(scene: Scene) -> Batch:
    labels = scene.labels(3, 4, 14, 12, ignored=True)
    return scene.logits(labels, 4, contrast=0.8), labels


def closely(value: Tensor, expected: Any) -> None:
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=1e-10, atol=1e-12)


class TestWeighted:
    def test_equals_torch(self, batch: Batch) -> None:
        weights = torch.tensor([0.1, 1.0, 2.0, 0.0], dtype=torch.float64)
        closely(weighted_cross_entropy(*batch, weights), F.cross_entropy(*batch, weight=weights, ignore_index=255))

    def test_module_weights_by_class_frequency(self, batch: Batch) -> None:
        counts = torch.tensor([100.0, 10.0, 1.0, 1000.0])
        for power in (0.0, 0.5, 1.0):
            loss = WeightedCrossEntropy(class_counts=counts.tolist(), power=power)
            expected = F.cross_entropy(*batch, weight=counts.double() ** -power, ignore_index=255)
            torch.testing.assert_close(loss(*batch), expected, rtol=1e-6, atol=1e-9)

    def test_power_is_between_zero_and_one(self) -> None:
        with pytest.raises(ValueError, match=r"power: expected a number from 0 to 1, got 2. Fix: use 1"):
            WeightedCrossEntropy(power=2)


def test_balanced_cross_entropy_gives_classes_equal_weight(batch: Batch) -> None:
    logits, labels = batch
    pairs = [
        F.cross_entropy(z[:, y == c].T, y[y == c]) for z, y in zip(logits, labels, strict=True) for c in range(4)
        if (y == c).any()
    ]  # fmt: skip
    closely(balanced_cross_entropy(logits, labels), torch.stack(pairs).mean())


class TestFocal:
    def test_two_channels_equal_torchvision(self, scene: Scene) -> None:
        labels = scene.labels(2, 2, 10, 10)
        z = scene.logits(labels, 1)
        for focus in (0.0, 0.5, 2.0, 3.0):
            expected = sigmoid_focal_loss(z[:, 0], labels.double(), alpha=-1, gamma=focus, reduction="mean")
            closely(focal(z, labels, focus=focus), expected)
            closely(focal(torch.cat([-z / 2, z / 2], 1), labels, focus=focus), expected)

    def test_equals_the_definition(self, batch: Batch) -> None:
        logits, labels = batch
        keep = (labels != 255).flatten()
        p = logits.softmax(1).movedim(1, -1).reshape(-1, 4)[keep]
        p = p[torch.arange(len(p)), labels.flatten()[keep]]
        closely(focal(logits, labels, focus=1.5), (-((1 - p) ** 1.5) * p.log()).mean())

    def test_focus_must_not_be_negative(self) -> None:
        with pytest.raises(ValueError, match="focus: expected a number of at least 0, got -1"):
            Focal(focus=-1)


class TestDice:
    def test_batch_equals_smp_if_all_classes_are_present(self, batch: Batch) -> None:
        logits, labels = batch
        for smooth in (0.0, 3.0):
            # theirs divides the overlap by half the sizes, so that a pixel added there is two here
            theirs = smp.DiceLoss("multiclass", smooth=smooth / 2, ignore_index=255)(logits, labels)
            closely(dice(logits, labels, smooth=smooth), theirs)

    def test_image_mode_averages_images(self, batch: Batch) -> None:
        logits, labels = batch
        alone = [(dice(z[None], y[None]), len(set(y.unique().tolist()) - {255})) for z, y in zip(*batch, strict=True)]
        expected = sum(value * count for value, count in alone) / sum(count for _, count in alone)
        closely(dice(logits, labels, over="image"), expected)

    def test_absent_classes_do_not_count(self, scene: Scene) -> None:
        labels = scene.labels(1, 3, 12, 12)
        certain = 1e3 * F.one_hot(labels, 5).movedim(-1, 1).double()
        assert dice(certain, labels) == 0

    def test_invalid_options_raise(self) -> None:
        with pytest.raises(ValueError, match=r"over: .*batch.*image.*'pixel'"):
            Dice(over="pixel")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="smooth: expected a number of at least 0, got -1"):
            Dice(smooth=-1)


class TestLovasz:
    def test_equals_smp(self, batch: Batch) -> None:
        logits, labels = batch[0].float(), batch[1]  # theirs takes no other
        for over, per_image in (("batch", False), ("image", True)):
            theirs = smp.LovaszLoss("multiclass", per_image=per_image, ignore_index=255)(logits, labels)
            torch.testing.assert_close(lovasz_softmax(logits, labels, over=over), theirs)  # type: ignore[arg-type]

    def test_certain_predictions_have_the_jaccard_distance(self, scene: Scene) -> None:
        """The Lovász extension equals the set function at the corners of the cube."""
        labels = scene.labels(2, 4, 12, 12)
        predicted = scene.logits(labels, 4, contrast=0.5).argmax(1)
        certain = 1e3 * F.one_hot(predicted, 4).movedim(-1, 1).double()
        distances = [
            1 - ((labels == c) & (predicted == c)).sum() / ((labels == c) | (predicted == c)).sum() for c in range(4)
        ]
        assert lovasz_softmax(certain, labels).item() == pytest.approx(np.mean(distances), rel=1e-6)

    def test_invalid_options_raise(self) -> None:
        with pytest.raises(ValueError, match=r"over: .*batch.*image.*'pixel'"):
            LovaszSoftmax(over="pixel")  # type: ignore[arg-type]


class TestSmoothing:
    def test_equals_torch(self, batch: Batch) -> None:
        for smoothing in (0.0, 0.1, 0.9):
            expected = F.cross_entropy(*batch, ignore_index=255, label_smoothing=smoothing)
            closely(label_smoothing(*batch, smoothing=smoothing), expected)

    def test_is_cross_entropy_and_a_divergence_from_uniform(self, batch: Batch) -> None:
        logits, labels = batch
        log_p = logits.log_softmax(1).movedim(1, -1)[labels != 255]
        uniform = torch.full_like(log_p, 0.25)
        pull = F.kl_div(log_p, uniform, reduction="batchmean") + np.log(4)
        closely(label_smoothing(logits, labels, smoothing=0.2), 0.8 * cross_entropy(logits, labels) + 0.2 * pull)

    def test_smoothing_is_below_one(self) -> None:
        with pytest.raises(ValueError, match=r"smoothing: expected a number from 0 to below 1, got 1"):
            LabelSmoothing(smoothing=1)


def test_confidence_penalty_is_minus_the_mean_entropy(batch: Batch) -> None:
    logits, labels = batch
    entropies = torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy()
    closely(confidence_penalty(logits, labels), -entropies[labels != 255].mean())


class TestAffinity:
    @staticmethod
    def slowly(logits: Tensor, labels: Tensor, sizes: tuple[int, ...], margin: float) -> float:
        """Pixel by pixel, neighbor by neighbor, both orders of every pair."""
        p, y = logits.softmax(1).numpy(), labels.numpy()
        n, classes, height, width = p.shape
        parts: list[list[float]] = [[], []]
        for image, c in np.ndindex(n, classes):
            means: list[list[float]] = [[], []]
            for size in sizes:
                reach, found = (size - 1) // 2, ([], [])
                for i, j, a, b in np.ndindex(height, width, 3, 3):
                    k, m = i + reach * (a - 1), j + reach * (b - 1)
                    if (a, b) == (1, 1) or not (0 <= k < height and 0 <= m < width):
                        continue
                    if 255 in (y[image, i, j], y[image, k, m]):
                        continue
                    ours, theirs = (np.clip([q, 1 - q], 1e-4, None) for q in (p[image, c, i, j], p[image, c, k, m]))
                    divergence = float((theirs * np.log(theirs / ours)).sum())
                    unlike = (y[image, i, j] == c) != (y[image, k, m] == c)
                    found[int(unlike)].append(max(0.0, margin - divergence) if unlike else divergence)
                for one, values in zip(means, found, strict=True):
                    one += [float(np.mean(values))] if values else []
            for part, values in zip(parts, means, strict=True):
                part += [max(values)] if values else []
        return sum(float(np.mean(part)) for part in parts)

    @pytest.mark.parametrize("sizes", [(3,), (3, 5)])
    def test_equals_the_definition(self, scene: Scene, sizes: tuple[int, ...]) -> None:
        labels = scene.labels(2, 3, 7, 6, ignored=True)
        logits = scene.logits(labels, 3, contrast=1.0)
        expected = self.slowly(logits, labels, sizes, 1.5)
        assert affinity_fields(
            logits, labels, sizes=sizes, margin=1.5, over="image", opposite="free"
        ).item() == pytest.approx(expected, rel=1e-10)

    def test_complement_has_the_same_value(self, scene: Scene) -> None:
        labels = scene.labels(1, 2, 12, 12)
        logits = scene.logits(labels, 1)
        closely(affinity_fields(logits, labels), affinity_fields(-logits, labels))

    def test_images_smaller_than_the_field(self) -> None:
        labels = torch.tensor([[[0, 1]]])
        assert affinity_fields(torch.zeros(1, 2, 1, 2), labels, sizes=[7]) == 0

    def test_invalid_options_raise(self) -> None:
        for sizes in ((), (4,), (1,), (3.0,)):
            with pytest.raises(ValueError, match="sizes: expected odd integers from 3, at least one, got"):
                AffinityFields(sizes=sizes)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="margin: expected a number above 0, got 0"):
            AffinityFields(margin=0)
