"""Probes of layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segmi.datasets import open_dataset
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError
from segmi.models import SegmentationNetwork, build_network
from segmi.training.layer_probes import probe_layers
from segmi.types import Images

SCENES = open_dataset("street-scenes", train=24, val=1, height=32, width=64)
IMAGES = SegmentationDataset(SCENES, SCENES.split("train"), Processing(resize=32, crop=32))


class Halves(nn.Module):
    """Network whose layers return the colors, and the gray level of 4×4 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.colors, self.gray, self.pooled = nn.Identity(), nn.AvgPool2d(4), nn.Flatten()

    def forward(self, images: Images) -> torch.Tensor:
        seen = self.colors(images)
        self.pooled(self.gray(seen.mean(1, keepdim=True)))
        return seen[:, :1].expand(-1, self.classes, -1, -1)


def network(classes: int = len(SCENES.info.classes)) -> SegmentationNetwork:
    return SegmentationNetwork(Halves(classes), classes=classes).train()


def test_colors_have_more_information_than_gray(train):
    probed = network(3)
    estimates = probe_layers(probed, train, ["colors", "gray"], steps=150, batch_size=5)
    assert probed.training
    assert probed.features == ()
    colors, gray = estimates["colors"], estimates["gray"]
    assert gray["linear"].nats < colors["linear"].nats < 3
    assert colors["linear"].nats > 0.3
    assert colors["nonlinear"].nats > colors["linear"].nats - 0.05
    again = probe_layers(network(3), train, ["gray"], steps=150, batch_size=24)
    assert again["gray"]["linear"].nats == pytest.approx(gray["linear"].nats, abs=1e-3)


def test_feature_of_a_pixel_comes_from_its_cell():
    from segmi.training.layer_probes import _features_at

    cells = torch.arange(8.0).view(1, 1, 2, 4)
    rows, columns = torch.tensor([0, 3, 4, 7]), torch.tensor([0, 3, 4, 15])
    assert _features_at(cells, "cells", 0, rows, columns, torch.Size([8, 16])).flatten().tolist() == [0, 0, 5, 7]


def test_blocks_are_probed_by_default():
    counts: list[tuple[int, int]] = []
    unet = build_network("unet", classes=len(SCENES.info.classes), width=2)
    result = probe_layers(unet, IMAGES, steps=2, per_image=20, progress=lambda *count: counts.append(count))
    encoders, decoders = ([f"{kind}.{n}" for n in range(4)] for kind in ("encoders", "decoders"))
    steps = [name for pair in zip([f"upsamplings.{n}" for n in range(4)], decoders, strict=True) for name in pair]
    assert list(result) == [*encoders, "bottleneck", *steps, "head"]
    assert counts[-1] == (28, 28)
    with pytest.raises(UsageError, match=r"no layer with weights whose output is a map(.|\n)*set layers"):
        probe_layers(network(), IMAGES)


def test_unknown_layers_are_refused():
    with pytest.raises(UsageError, match="unknown layer 'color'"):
        probe_layers(network(), IMAGES, ["color"])
    with pytest.raises(UsageError, match=r"layer 'pooled' has features of shape \(8, 64\), expected maps N×D×h×w"):
        probe_layers(network(), IMAGES, ["pooled"])
