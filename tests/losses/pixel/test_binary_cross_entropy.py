from typing import Any

import numpy as np
import pytest
import torch

from segmi.losses import binary_cross_entropy, cross_entropy

Scene = Any


def test_equals_numpy(scene: Scene) -> None:
    labels = scene.labels(2, 4, 6, 7, ignored=True)
    logits = scene.logits(labels, 4)
    p, y = 1 / (1 + np.exp(-logits.numpy())), labels.numpy()
    truth = y[:, None] == np.arange(4)[:, None, None]
    by_pixel = -np.where(truth, np.log(p), np.log(1 - p)).sum(1)
    assert binary_cross_entropy(logits, labels).item() == pytest.approx(by_pixel[y != 255].mean(), rel=1e-12)


def test_one_channel_is_the_cross_entropy(scene: Scene) -> None:
    labels = scene.labels(2, 2, 9, 9, ignored=True)
    logits = scene.logits(labels, 1)
    torch.testing.assert_close(binary_cross_entropy(logits, labels), cross_entropy(logits, labels))


def test_saturated_correct_prediction_has_a_tiny_loss() -> None:
    logits = torch.tensor([30.0, -30.0], dtype=torch.float64).view(1, 2, 1, 1)
    value = binary_cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    assert value.item() == pytest.approx(2 * np.log1p(np.exp(-30.0)), rel=1e-9)
