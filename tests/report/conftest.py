"""Fabricated runs, written by the writers of segmi, with numbers that tests can check by hand."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmi.records import Plan, RunFolder, RunKey, write_confusion, write_details, write_plan, write_sample

STREET = {
    "road": (128, 64, 128),
    "pavement": (244, 35, 232),
    "building": (70, 70, 70),
    "sky": (70, 130, 180),
    "vegetation": (107, 142, 35),
    "car": (0, 0, 142),
    "person": (220, 20, 60),
    "pole": (153, 153, 153),
}
OBJECTS = {"background": (0, 0, 0), "aeroplane": (128, 0, 0), "cat": (64, 0, 0), "sheep": (128, 64, 0)}
NASTY = {
    "<script>alert(1)</script>": (0, 0, 0),
    "a & b_c": (128, 0, 0),
    "50 % | $x$": (64, 0, 0),
    '=cmd()|"x"': (128, 64, 0),
}
METHODS = {"model-1": "Model 1", "model-2": "Model 2", "model-3": "Model 3"}
NETWORKS = {"model-1": ["unet"], "model-2": ["unet"], "model-3": ["unet", "deeplabv3"]}
LOSSES = {
    "model-1": {"cross_entropy": None},
    "model-2": {"rmi_loss": {"weight": 1.0, "radius": 3}},
    "model-3": {"cross_entropy": {"weight": 1.0}, "mutual_learning": {"weight": 1.0, "temperature": 2}},
}


def pooled_scores(miou: float, accuracy: float, classes: int) -> dict[str, Any]:
    return {
        "mIoU": miou,
        "IoU": [None if c == classes - 1 else min(1.0, miou * (1.3 - 0.6 * c / (classes - 2))) for c in range(classes)],
        "absent_classes": 1,
        "micro_IoU": accuracy * 0.8,
        "pixel_accuracy": accuracy,
        "mean_accuracy": miou + 0.05,
        "binary_IoU": miou,
        "binary_accuracy": 0.97,
    }


def scene(index: int, classes: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask: bands and discs, an ignored frame."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:height, :width] / min(height, width)
    mask = np.clip((y * 4 + 0.3 * np.sin(4 * x + index)).astype(int), 0, min(3, classes - 1)).astype(np.uint8)
    for c in range(min(4, classes - 1), classes):
        cy, cx, r = rng.uniform(0.2, 0.8), rng.uniform(0.1, width / height), rng.uniform(0.08, 0.2)
        mask[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = c
    mask[:3], mask[-3:], mask[:, :3], mask[:, -3:] = 255, 255, 255, 255
    colors = rng.integers(40, 220, (256, 3))
    image = colors[mask] + rng.normal(0, 14, (height, width, 3)) + 20 * np.sin(20 * x)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), mask


def wrong(mask: np.ndarray, share: float, seed: int, classes: int) -> np.ndarray:
    """The mask with blocks of wrong labels."""
    rng = np.random.default_rng(seed)
    out = np.where(mask == 255, 0, mask).astype(np.uint8)
    height, width = mask.shape
    for _ in range(int(60 * share)):
        top, left, size = rng.integers(height), rng.integers(width), rng.integers(4, 18)
        out[top : top + size, left : left + size] = rng.integers(classes)
    return out


def detail_sums(classes: int, right: float) -> dict[str, np.ndarray]:
    """Details of 2,000 pixels of confidence 0.91 with an accuracy of ``right``, and of objects of two sizes."""
    pixels, objects = np.zeros(20, np.int64), np.zeros((classes, 11), np.int64)
    pixels[18] = 2000
    objects[:, 3], objects[:, 6] = 4, 2
    return {
        "pixels": pixels, "confidence": pixels * 0.91, "correct": (pixels * right).astype(np.int64),
        "boundary": np.stack([np.full(classes, 30), np.full(classes, 60)]), "objects": objects,
        "object_iou": objects * 0.5,
    }  # fmt: skip


class Fabricator:
    """Writes a study run by run."""

    def __init__(
        self,
        root: Path,
        study: str = "demo",
        *,
        nasty: bool = False,
        seeds: tuple[int, ...] = (0, 1),
        details: bool = True,
    ) -> None:
        self.root, self.study, self.seeds, self.details = root, study, seeds, details
        second = (
            {"voc2012": ("PASCAL VOC 2012", OBJECTS)}
            if study == "paper"
            else {"object-scenes": ("Object scenes", NASTY if nasty else OBJECTS)}
        )
        first = (
            {"cityscapes": ("Cityscapes", STREET)}
            if study == "paper"
            else {"street-scenes": ("Street <b>&</b> scenes_%" if nasty else "Street scenes", STREET)}
        )
        self.datasets = {**first, **second}
        self.methods = dict(METHODS)
        if nasty:
            self.methods["model-2"] = "<i>Model_2</i> & 50%"

    def miou(self, dataset: int, method: int, seed: int) -> float:
        return 0.5 + 0.1 * dataset + 0.01 * method + 0.02 * seed

    def plan(self) -> None:
        titles = {name: title for name, (title, _) in self.datasets.items()}
        write_plan(self.root / self.study, Plan(self.study, titles, self.methods, self.seeds, "controlled"))

    def run(self, dataset: str, method: str, seed: int) -> RunFolder:
        d, m = list(self.datasets).index(dataset), list(self.methods).index(method)
        title, colors = self.datasets[dataset]
        classes = len(colors)
        run = RunFolder.of(self.root, RunKey(self.study, dataset, method, seed))
        run.path.mkdir(parents=True, exist_ok=True)
        networks = NETWORKS[method]
        palette = [*colors.values(), *[(0, 0, 0)] * (255 - classes), (255, 255, 255)]
        config = {
            "schema_version": 1, "study": self.study, "protocol": "controlled", "dataset": dataset, "method": method,
            "seed": seed, "label": self.methods[method], "loss": LOSSES[method], "reported": "unet",
            "networks": {name: {"architecture": "unet", "width": 16} if name == "unet" else
                        {"architecture": "deeplabv3_resnet50"} for name in networks},
            "training": {"steps": 400, "batch_size": 8, "learning_rate": 0.001, "optimizer": "Adam"},
            "processing": {"resize": 96, "crop": 80}, "evaluation": {"protocol": "full", "split": "val"},
        }  # fmt: skip
        (run.path / "config.yaml").write_text(json.dumps(config))
        run.write_environment({"segmi": "0.1.0", "python": "3.11.7", "system": "Linux 6.1", "cpu": "A <slow> CPU",
                               "cores": 2, "memory_gb": 8.0, "packages": {"torch": "2.14.1"}})  # fmt: skip
        self._metrics(run, networks, d, m, seed)
        for number in range(2):
            size = (60, 120) if d == 0 else (90, 72 + 30 * number)
            image, mask = scene(10 * d + number, classes, *size)
            predictions = {
                name: wrong(mask, 0.9 - 0.2 * m - 0.1 * i, 100 * seed + 10 * m + i, classes)
                for i, name in enumerate(networks)
            }
            sure = {name: np.where(one == mask, 230, 90).astype(np.uint8) for name, one in predictions.items()}
            write_sample(run.path / "samples", f"val_{number:04d}", image, mask, predictions, palette,
                         confidences=sure if self.details else None)  # fmt: skip
        for name in networks:
            if self.details:
                write_details(run.details_path(name, "full"), detail_sums(classes, 0.8 + 0.01 * m))
            counts = np.tile(np.eye(classes, dtype=np.int64) * 50 + 3, (2, 1, 1))
            write_confusion(run.confusion_path(name, "full"), counts, ["val_0000", "val_0001"], ["", ""])
        miou = self.miou(d, m, seed)
        run.write_result({
            "study": self.study, "method": method, "label": self.methods[method], "seed": seed,
            "dataset": {"name": dataset, "title": title, "classes": list(colors), "palette": palette, "ignored": 255},
            "reported_network": "unet", "protocol": "full",
            "networks": {name: {"label": {"unet": "U-Net", "deeplabv3": "DeepLabV3"}[name],
                               "architecture": config["networks"][name]["architecture"],
                               "parameters": 1_944_000 + 20 * d if name == "unet" else 39_633_000,
                               "scores": {"full": pooled_scores(miou + 0.05 * i, 0.8 + 0.01 * m, classes)}}
                        for i, name in enumerate(networks)},
            "baseline_constant": pooled_scores(0.05, 0.4, classes),
            "training": {"steps": 400, "images": 3200, "epochs": 16.0, "best_step": 400, "best_score": miou,
                         "selection": "holdout_mIoU", "precision": {"dtype": "fp32"}, "wall_seconds": 63.2 + m},
            "environment": {},
        })  # fmt: skip
        return run

    def fail(self, dataset: str, method: str, seed: int, error: Exception) -> RunFolder:
        run = RunFolder.of(self.root, RunKey(self.study, dataset, method, seed))
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_failure(error)
        return run

    def all(self) -> Path:
        self.plan()
        for dataset in self.datasets:
            for method in self.methods:
                for seed in self.seeds:
                    self.run(dataset, method, seed)
        return self.root

    def _metrics(self, run: RunFolder, networks: list[str], d: int, m: int, seed: int) -> None:
        rng = np.random.default_rng(seed + 10 * m + 100 * d)
        rows = []
        for step in range(25, 401, 25):
            row = {"step": step, "epoch": step / 25, "learning_rate": 0.001}
            row["train/loss"] = (1 + 0.6 * m) * math.exp(-step / 150) + 0.3 + 0.02 * rng.normal()
            row["train/I_G/loss/unet"] = 0.5 + step / 1000
            for i, name in enumerate(networks):
                row[f"holdout/mIoU/{name}"] = self.miou(d, m, seed) * (1 - math.exp(-step / 120)) + 0.02 * i
            rows.append(row)
        with (run.path / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture
def fabricate(tmp_path: Path) -> Callable[..., Fabricator]:
    """Returns a function that makes a fabricator in a temporary folder."""

    def make(study: str = "demo", **options: Any) -> Fabricator:
        return Fabricator(tmp_path / "runs", study, **options)

    return make


@pytest.fixture(scope="session")
def fabricator() -> type[Fabricator]:
    """The class, for tests that build their own study."""
    return Fabricator


@pytest.fixture(scope="session")
def demo_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, for tests that only read it: 2 datasets × 3 methods × 2 seeds."""
    return Fabricator(tmp_path_factory.mktemp("demo") / "runs").all()
