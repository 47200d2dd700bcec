"""Probes on samples with known information."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from segmi.information.estimation import label_information

QUICK = {"steps": 200, "batch_size": 256}


def rings(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, one around the other: nothing to read for a line."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    angle = 2 * math.pi * torch.rand(n, generator=draw)
    radius = 1.0 + labels + 0.05 * torch.randn(n, generator=draw)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels


def test_nonlinear_probe_separates_rings():
    features, labels = rings(1500)
    linear = label_information(features, labels, 2, **QUICK)
    other = label_information(features, labels, 2, probe="nonlinear", **QUICK)
    assert linear.nats == pytest.approx(0, abs=0.03)
    assert other.nats == pytest.approx(math.log(2), abs=0.1)


def test_linear_probe_equals_scikit_learn():
    draw = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (6000,), generator=draw)
    features = torch.nn.functional.one_hot(labels, 3)[:, :2] + 0.7 * torch.randn(6000, 2, generator=draw)
    fitted = LogisticRegression(C=1e6).fit(features[:3000], labels[:3000])
    bound = math.log(3) - log_loss(labels[3000:], fitted.predict_proba(features[3000:]))
    found = label_information(100 * features + 3, labels, 3, **QUICK)
    assert found.nats == pytest.approx(bound, abs=0.04)


def test_noise_has_no_information_and_groups_are_kept():
    draw = torch.Generator().manual_seed(2)
    image = torch.arange(20).repeat_interleave(30)
    labels = torch.randint(2, (20,), generator=draw)[image]  # of the image: known by heart where it is known again
    features = torch.randn(20, 8, generator=draw)[image] + 0.01 * torch.randn(600, 8, generator=draw)
    scattered = label_information(features, labels, 2, probe="nonlinear", **QUICK)
    together = label_information(features, labels, 2, probe="nonlinear", groups=image, **QUICK)
    assert scattered.nats > 0.5
    assert together.nats < 0.4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"probe": "deep"}, "probe: expected linear or nonlinear, got 'deep'"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, r"expected features n×D and labels n with n ≥ 6, got \(20, 3"),
        ({"labels": torch.full((20,), 255)}, "labels: expected class indices 0 to 1; leave ignored samples out"),
    ],
)
def test_invalid_arguments_raise(arguments, told: str):
    given = {"features": torch.randn(20, 3), "labels": torch.zeros(20, dtype=torch.int64), "classes": 2, **arguments}
    with pytest.raises(ValueError, match=told):
        label_information(**given)
