from typing import Any

import pytest
import torch

from segmi.losses import RMILoss, region_mutual_information, rmi_loss
from segmi.losses.pixel import binary_cross_entropy

Scene = Any


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_is_the_published_mixture(scene: Scene, share: float) -> None:
    labels = scene.labels(2, 4, 12, 12, ignored=True)
    logits = scene.logits(labels, 4)
    valid = (labels != 255).sum()
    pixels = binary_cross_entropy(logits, labels) * valid / (valid + 1)
    expected = share * pixels + (1 - share) * region_mutual_information(logits, labels, radius=2)
    torch.testing.assert_close(rmi_loss(logits, labels, bce_weight=share, radius=2), expected)
    torch.testing.assert_close(RMILoss(bce_weight=share, radius=2).term(logits, labels).value, expected)


def test_corrected_variant_divides_by_the_valid_pixels(scene: Scene) -> None:
    labels = scene.labels(2, 4, 12, 12, ignored=True)
    logits = scene.logits(labels, 4)
    expected = (
        binary_cross_entropy(logits, labels) + region_mutual_information(logits, labels, variant="corrected")
    ) / 2
    torch.testing.assert_close(rmi_loss(logits, labels, variant="corrected"), expected)


def test_trains_a_map_to_the_truth(scene: Scene) -> None:
    labels = scene.labels(1, 3, 16, 16, ignored=True)
    logits = torch.zeros(1, 3, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        rmi_loss(logits, labels).backward()
        optimizer.step()
    assert (logits.argmax(1) == labels)[labels != 255].all()


def test_weight_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bce_weight: expected a number between 0 and 1, got 1\.5"):
        RMILoss(bce_weight=1.5)
