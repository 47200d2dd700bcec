"""What a right implementation does and a wrong one does not: memorise a few pictures, and learn nothing from noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segmi.data import open_dataset
from segmi.data.base import Drawn, Sample
from segmi.data.loader import Pictures
from segmi.data.processing import Processing
from segmi.metrics.scores import constant_prediction_scores, scores
from segmi.models import build_network
from segmi.objectives import build_objective
from segmi.training import Cohort, evaluate, fit

pytestmark = pytest.mark.slow

SIDE = 96
UNET = {"architecture": "unet", "width": 16}
DEEPLABV3 = {"architecture": "deeplabv3_mobilenet_v3_large"}
MODELS: dict[str, tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]] = {
    "Model 1": ({"unet": UNET}, {"cross_entropy": {}}),
    "Model 2": ({"unet": UNET}, {"rmi_loss": {}}),
    "Model 3": ({"unet": UNET, "deeplabv3": DEEPLABV3}, {"cross_entropy": {}, "mutual_learning": {}}),
}


def trained(model: str, pictures: Pictures, folder: Path, **settings: Any) -> Cohort:
    members, terms = MODELS[model]
    classes = len(pictures.dataset.info.classes)
    torch.manual_seed(0)
    cohort = Cohort({name: build_network(**member, classes=classes) for name, member in members.items()})
    objective = build_objective(terms, members=tuple(members), frozen=())
    fit(cohort, objective, pictures, folder=folder, select_by="last", device="cpu", **settings)
    return cohort


@pytest.mark.parametrize("model", list(MODELS))
def test_eight_pictures_can_be_memorised(model: str, tmp_path: Path) -> None:
    dataset = open_dataset("street-scenes", height=SIDE, width=SIDE, train=8, val=1)
    pictures = Pictures(dataset, dataset.split("train"), Processing(resize=None, crop=SIDE))
    cohort = trained(model, pictures, tmp_path, updates=1000, batch_size=8, learning_rate=3e-3,
                     schedule="CosineAnnealingLR")  # fmt: skip
    result = scores(evaluate(cohort, pictures, device="cpu")["unet"].pooled().numpy())
    assert result["mIoU"] >= 0.9, result


@dataclass(frozen=True)
class PixelsShuffled:
    """A mask with its pixels in another order: the same shares of the classes, and nothing to learn but those."""

    mask: Drawn
    index: int

    def draw(self) -> np.ndarray:
        native = self.mask.draw()
        return np.random.default_rng(self.index).permutation(native.ravel()).reshape(native.shape)


@pytest.mark.parametrize("model", list(MODELS))
def test_shuffled_labels_teach_nothing(model: str, tmp_path: Path) -> None:
    dataset = open_dataset("street-scenes", height=SIDE, width=SIDE, train=40, val=20)
    noise = [
        Sample(sample.image, PixelsShuffled(sample.mask, index), sample.name, sample.group)
        for index, sample in enumerate(dataset.split("train"))
    ]
    processing = Processing(resize=None, crop=SIDE)
    cohort = trained(model, Pictures(dataset, noise, processing), tmp_path, updates=80, batch_size=8)
    counts = evaluate(cohort, Pictures(dataset, dataset.split("val"), processing), device="cpu")["unet"].pooled()
    constant = constant_prediction_scores(counts.numpy())["mIoU"]
    assert scores(counts.numpy())["mIoU"] <= constant + 0.03


def test_the_cross_entropy_unet_learns_camvid(camvid_root: Path, tmp_path: Path) -> None:
    dataset = open_dataset("camvid", camvid_root)
    pictures = {split: Pictures(dataset, dataset.split(split), Processing(flip=0.5)) for split in ("train", "val")}
    members = {"unet": build_network("unet", width=8, classes=11)}
    cohort = Cohort(members)
    objective = build_objective({"cross_entropy": {}}, members=("unet",), frozen=())
    fit(cohort, objective, pictures["train"], folder=tmp_path, select_by="last", updates=600, batch_size=8,
        learning_rate=2e-3, schedule="CosineAnnealingLR", device="cpu", precision="fp32")  # fmt: skip
    result = scores(evaluate(cohort, pictures["val"], device="cpu")["unet"].pooled().numpy())
    assert result["pixel_accuracy"] >= 0.80, result
