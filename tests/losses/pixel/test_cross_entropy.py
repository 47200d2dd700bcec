from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segmi.losses.pixel import cross_entropy

Scene = Any


def test_equals_numpy(scene: Scene) -> None:
    labels = scene.labels(2, 4, 6, 7, ignored=True)
    logits = scene.logits(labels, 4)
    z, y = logits.numpy(), labels.numpy()
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    picked = [log_p[n, y[n, r, c], r, c] for n, r, c in np.argwhere(y != 255)]
    assert cross_entropy(logits, labels).item() == pytest.approx(-np.mean(picked), rel=1e-12)


def test_equals_torch(scene: Scene) -> None:
    labels = scene.labels(2, 4, 9, 9, ignored=True)
    logits = scene.logits(labels, 4).float()
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_one_channel_equals_two(scene: Scene) -> None:
    labels = scene.labels(2, 2, 9, 9, ignored=True)
    logits = scene.logits(labels, 1)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(cross_entropy(logits, labels), cross_entropy(both, labels))


def test_ignores_a_class_on_request(scene: Scene) -> None:
    labels = scene.labels(2, 4, 9, 9)
    logits = scene.logits(labels, 4)
    expected = F.cross_entropy(logits, labels, ignore_index=2)
    torch.testing.assert_close(cross_entropy(logits, labels, ignore_index=2), expected)
