"""Protocol in words, against known sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from segmi.report.protocol import describe_equality, describe_processing, describe_protocol, describe_training
from segmi.statistics import collect

PAPER = {"epochs": 200, "batch_size": 8, "optimizer": "Adam", "learning_rate": 1e-3, "select_by": "train_loss"}


def test_description_of_processing() -> None:
    shorter = {"resize": 234, "resize_mode": "shorter", "crop": 224, "scale": [0.5, 2.0], "color": 0.3}
    assert describe_processing([shorter]) == (
        "The shorter side is resized to 234 pixels; random crops of 224 × 224. "
        "Scaled by a random factor of 0.5–2. Colors changed at random by up to 0.3."
    )
    assert describe_processing([{"resize": None, "crop": 64, "scale": [1.0, 1.0]}]) == "Random crops of 64 × 64."
    assert describe_processing([{}]) == ""


def test_description_of_training() -> None:
    assert describe_training([PAPER]) == (
        "200 epochs in batches of 8 images, with Adam at learning rate 0.001. The checkpoint "
        "with the lowest training loss is scored."
    )
    more = {"steps": 100, "batch_size": 4, "accumulate": 2, "clip_norm": 1.0, "labeled": 0.25, "holdout": 0.05}
    assert describe_training([more]) == (
        "100 steps of 4 × 2 images. Gradients are clipped to norm 1. 5 % of the training images are "
        "held out. 25 % of the rest are labeled."
    )
    assert describe_training([PAPER, PAPER | {"learning_rate": 1e-4}]).startswith(
        "200 epochs in batches of 8 images, with Adam at learning rate 0.0001–0.001."
    )


def test_description_of_equal_methods(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    study = collect(made.root)[0]
    assert describe_equality(study).startswith("everything except networks and losses")
    entries = dict(describe_protocol(study))
    assert entries["Evaluation, full"].endswith("The evaluation is deterministic. The split is val.")
    for dataset in made.datasets:
        path = made.root / "demo" / dataset / "model-2" / "seed0" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["training"]["learning_rate"] = 0.1
        path.write_text(yaml.safe_dump(config))
    assert "they differ in training.learning_rate " in describe_equality(collect(made.root)[0])
