"""The protocol in words, against configurations whose sentences can be said beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from segmi.report.protocol import differing, preparation, protocol_in_words, training
from segmi.statistics import collect

PAPER = {"epochs": 200, "batch_size": 8, "optimizer": "Adam", "learning_rate": 1e-3, "select_by": "train_loss"}


def test_what_images_go_through() -> None:
    shorter = {"resize": 234, "resize_mode": "shorter", "crop": 224, "scale": [0.5, 2.0], "color": 0.3}
    assert preparation([shorter]) == (
        "The shorter side is resized to 234 pixels; a random crop of 224 × 224 is trained on. "
        "Scaled by a random factor of 0.5–2. Colors changed at random by up to 0.3."
    )
    assert preparation([{"resize": None, "crop": 64, "scale": [1.0, 1.0]}]) == "A random crop of 64 × 64 is trained on."
    assert preparation([{}]) == ""


def test_how_networks_were_trained() -> None:
    assert training([PAPER]) == (
        "200 epochs in batches of 8 images, with Adam at learning rate 0.001. Of the weights along the way those "
        "with the lowest training loss are scored."
    )
    more = {"steps": 100, "batch_size": 4, "accumulate": 2, "clip_norm": 1.0, "labeled": 0.25, "holdout": 0.05}
    assert training([more]) == (
        "100 steps of 4 × 2 images. Gradients longer than 1 are shortened to it. 5 % of the training images are "
        "held out. 25 % of the rest keep their labels."
    )
    assert training([PAPER, PAPER | {"learning_rate": 1e-4}]).startswith(
        "200 epochs in batches of 8 images, with Adam at learning rate 0.0001–0.001."
    )


def test_it_says_whether_methods_are_equal(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    study = collect(made.root)[0]
    assert differing(study).startswith("everything but their networks and losses")
    told = dict(protocol_in_words(study))
    assert told["Evaluation, full"].endswith("Nothing is random. The split is val.")
    for dataset in made.datasets:
        path = made.root / "demo" / dataset / "model-2" / "seed0" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["training"]["learning_rate"] = 0.1
        path.write_text(yaml.safe_dump(config))
    assert "they differ in training.learning_rate," in differing(collect(made.root)[0])
