"""Dataset of colored squares and tiny networks, so that a run takes a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segmi.datasets.processing import Processing
from segmi.datasets.reader import DatasetInfo, DatasetReader, Sample
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.training import Cohort
from segmi.types import Output


@dataclass(frozen=True)
class Drawing:
    index: int
    kind: str
    size: tuple[int, int] = (20, 24)
    shuffled: bool = False

    def draw(self) -> np.ndarray:
        rng = np.random.default_rng(self.index)
        height, width = self.size
        mask = np.zeros(self.size, np.uint8)
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[top : top + height // 2, left : left + width // 2] = 1 + self.index % 2
        if self.kind == "mask":
            mask[:2] = 3  # the native ignored value
            return rng.integers(0, 3, self.size).astype(np.uint8) if self.shuffled else mask
        colors = np.array([[30, 40, 50], [220, 60, 40], [40, 200, 90]], np.uint8)
        noise = rng.integers(0, 25, (*self.size, 3))
        return (colors[mask] + noise).astype(np.uint8)


class Squares(DatasetReader):
    info = DatasetInfo(
        name="squares",
        title="Squares",
        classes=("background", "red", "green"),
        palette=tuple((i, i, i) for i in range(256)),
        ignored=3,
        lookup=(0, 1, 2, 255) + (-1,) * 252,
    )
    splits = ("train", "val")

    def __init__(self, shuffled: bool = False) -> None:
        self.shuffled = shuffled

    def listing(self, name: str):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def split(self, name: str) -> list[Sample]:
        first, count = (0, 10) if name == "train" else (100, 4)
        return [
            Sample(Drawing(i, "image"), Drawing(i, "mask", shuffled=self.shuffled), f"{name}-{i}", f"clip{i % 2}")
            for i in range(first, first + count)
        ]


class Tiny(nn.Module):
    """Two convolutions with batch norm and dropout, which a resumed run has to restore."""

    stride = 2

    def __init__(self, seed: int, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, classes, 1)
            )

    def forward(self, images: torch.Tensor) -> Output:
        return Output(self.layers(images))


def tiny_cohort(count: int = 1, frozen: tuple[str, ...] = ()) -> Cohort:
    return Cohort({f"net{i}": Tiny(i) for i in range(count)}, frozen)


def tiny_objective(cohort: Cohort, **options):  # type: ignore[no-untyped-def]
    terms = options or {"cross_entropy": {}}
    return build_objective(terms, networks=tuple(cohort.networks), frozen=cohort.frozen)


PROCESSING = Processing(resize=18, crop=16, flip=0.5)


@pytest.fixture
def squares() -> Squares:
    return Squares()


@pytest.fixture
def train(squares: Squares) -> SegmentationDataset:
    return SegmentationDataset(squares, squares.split("train"), PROCESSING)


@pytest.fixture
def val(squares: Squares) -> SegmentationDataset:
    return SegmentationDataset(squares, squares.split("val"), PROCESSING)


@pytest.fixture
def make_cohort():  # type: ignore[no-untyped-def]
    return tiny_cohort


@pytest.fixture
def make_loss():  # type: ignore[no-untyped-def]
    return tiny_objective


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


class StopAt:
    """Callback that stops a run at a step without writing anything."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress) -> None:
        if progress.step == self.step and progress.phase == "train":
            raise KeyboardInterrupt


@pytest.fixture
def stop_at() -> type[StopAt]:
    """Return the class of callbacks that stop a run."""
    return StopAt
