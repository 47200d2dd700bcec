"""The default recipe: each decision on a folder made for it, explicit options, and the run that it configures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segmi.cli import main
from segmi.datasets import open_dataset
from segmi.models import pretrained
from segmi.study import recipe
from segmi.study.recipe import Decision, Facts, decide, is_upright, measure
from segmi.study.run_config import HELD_OUT


def write(root: Path, sizes: dict[str, tuple[int, int]], *, classes: int = 2, upright: bool = False) -> Path:
    """Write images of these names and sizes (height, width), with labels in disks, or in layers if upright."""
    for number, (name, (height, width)) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        rows, columns = np.mgrid[:height, :width]
        if upright:
            mask = (rows * classes // height).astype(np.uint8)
        else:
            mask = np.zeros((height, width), np.uint8)
            for label in range(1, classes):
                top, left = rng.integers(0, height), rng.integers(0, width)
                mask[(rows - top) ** 2 + (columns - left) ** 2 < (min(height, width) // 5) ** 2] = label
        noise = rng.integers(0, 30, (height, width, 3))
        image = np.clip(40 * mask[..., None] % 220 + noise, 0, 255).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (root / "classes.txt").write_text("".join(f"class{label}\n" for label in range(classes)))
    return root


def folder_facts(folder: Path, reader: str = "folder", **options: Any) -> Facts:
    return measure(open_dataset(reader, folder, **options), "cpu")


def settings(facts: Facts, **given: Any) -> dict[str, Any]:
    explicit = {name.replace("__", "."): value for name, value in given.items()}
    return {field: value for one in decide(facts, explicit).values() for field, value in one.fields.items()}


def decision(facts: Facts, name: str) -> Decision:
    return decide(facts, {})[name]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "small", {f"{number:02d}": (96, 128) for number in range(12)})


def test_small_images_are_cropped_near_their_size(small: Path) -> None:
    chosen = settings(folder_facts(small))
    assert (chosen["processing.resize"], chosen["processing.crop"]) == (None, 96)
    assert chosen["processing.scale"] == [0.7, 1.5]
    assert "evaluation.window" not in chosen


def test_large_tiles_keep_their_resolution(tmp_path: Path) -> None:
    facts = folder_facts(write(tmp_path / "tiles", {str(number): (1500, 2500) for number in range(3)}))
    chosen, text = settings(facts), decision(facts, "size").text
    assert text == "tiles of 2500 × 1500 at full resolution, crops of 224"
    assert chosen["processing.resize"] is None
    assert chosen["processing.scale"] == [0.5, 2.0]
    assert chosen["evaluation.window"] == 1024


def test_few_images_fill_a_batch(tmp_path: Path) -> None:
    facts = folder_facts(write(tmp_path / "few", {str(number): (64, 64) for number in range(5)}))
    chosen = settings(facts)
    assert facts.images == chosen["training.batch_size"] == 4  # one is drawn for val
    assert chosen["training.learning_rate"] == pytest.approx(3e-3 * 0.5**0.5, rel=0.02)
    assert settings(facts, training__batch_size=8)["training.learning_rate"] == 3e-3


def test_the_batch_is_described_with_the_given_values(small: Path) -> None:
    facts = folder_facts(small)
    given = {"training.batch_size": 4, "training.learning_rate": 0.02}
    described = [decide(facts, dict(list(given.items())[:count]))["batch"] for count in range(3)]
    assert [one.text.split(", ")[1] for one in described[1:]] == [
        "AdamW with a learning rate of 0.0021",
        "AdamW with a learning rate of 0.02",
    ]
    assert [one.reason for one in described[1:]] == [
        "the learning rate follows the square root of the batch",
        "as given",
    ]
    assert described[0].reason.endswith("; the learning rate follows the square root of the batch")


def test_losses_for_two_and_for_many_classes(tmp_path: Path) -> None:
    for classes in (2, 40):
        folder = write(tmp_path / str(classes), {str(number): (64, 64) for number in range(8)}, classes=classes)
        chosen = settings(folder_facts(folder))
        assert chosen["loss"] == recipe.LOSSES
        # The logits of a batch take at most half a GiB.
        assert chosen["evaluation.batch_size"] == 8
    many = Facts(**vars(folder_facts(folder)) | {"classes": 150, "largest": 1000})
    assert settings(many)["evaluation.batch_size"] == 1


def test_only_images_without_a_top_are_flipped_vertically(tmp_path: Path, small: Path) -> None:
    chosen = settings(folder_facts(small))
    assert (chosen["processing.flip"], chosen["processing.vertical_flip"]) == (0.5, 0.5)
    layers = write(tmp_path / "layers", {str(n): (64, 64) for n in range(6)}, classes=3, upright=True)
    assert settings(folder_facts(layers))["processing.vertical_flip"] == 0.0
    assert "upright" in decision(folder_facts(layers), "augmentation").reason


def test_sky_above_equal_labels_is_upright() -> None:
    light = np.linspace(255, 0, 32).astype(np.uint8)[:, None, None].repeat(32, 1).repeat(3, 2)
    mask = np.zeros((32, 32), np.uint8)
    assert is_upright([(light, mask)])
    assert not is_upright([(light.transpose(1, 0, 2), mask)])
    assert not is_upright([(np.full((32, 32, 3), 9, np.uint8), mask)])


def test_own_val_selects_and_test_is_evaluated(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split, {f"{split}{number}": (64, 64) for number in range(3)})
    (tmp_path / "train" / "classes.txt").rename(tmp_path / "classes.txt")
    facts = folder_facts(tmp_path)
    chosen = settings(facts)
    assert (chosen["training.selection_split"], chosen["training.holdout"]) == ("val", 0.0)
    assert "evaluation.split" not in chosen
    assert "val is the dataset's own" in decision(facts, "selection").reason
    write(tmp_path / "test", {"test0": (64, 64)})
    assert settings(folder_facts(tmp_path))["evaluation.split"] == "test"


def test_without_val_a_part_of_train_is_held_out(small: Path) -> None:
    facts = folder_facts(small, val=0)
    chosen = settings(facts)
    assert (facts.splits, facts.trained) == (("train",), 9)
    assert (chosen["training.holdout"], chosen["evaluation.split"]) == (0.2, HELD_OUT)
    assert "training.selection_split" not in chosen


def test_frames_of_a_clip_stay_together(tmp_path: Path) -> None:
    frames = {f"clip{clip}_{frame:04d}": (64, 64) for clip in range(6) for frame in range(8)}
    folder = write(tmp_path / "frames", frames)
    (folder / "classes.txt").unlink()
    assert main(["-q", "data", "init", str(folder)]) == 0
    facts = folder_facts(folder, "custom")
    assert (facts.groups, facts.shared_groups, facts.drawn) == (5, 0, ("val",))
    assert decision(facts, "selection").reason.startswith("val is drawn from train in whole groups")
    single = Facts(**vars(facts) | {"groups": facts.images})
    assert "set `group` in segmi.toml" in decision(single, "selection").reason
    shared = Facts(**vars(facts) | {"shared_groups": 2})
    assert "shares 2 groups with train, so its scores are too high" in decision(shared, "selection").reason


def test_weights_are_installed_or_the_network_starts_from_scratch(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(folder_facts(small))
    assert (chosen["network.encoder"], chosen["network.encoder_weights"]) == ("tu-tf_efficientnet_lite0", "bundled")
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    monkeypatch.setattr(pretrained, "reachable", lambda url: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    facts = folder_facts(small)
    assert "network.encoder_weights" not in settings(facts)
    assert decision(facts, "network").text.endswith("from scratch")
    assert "pretrained weights are neither installed, cached nor downloadable" in decision(facts, "network").reason
    monkeypatch.setattr(pretrained, "reachable", lambda url: True)
    assert settings(folder_facts(small))["network.encoder_weights"] == "imagenet"


def test_a_gpu_gets_larger_crops_batches_and_decoders(small: Path) -> None:
    weights = pretrained.Weights("resnet34", "imagenet", "cached")
    changes = {"device": "cuda", "memory_gb": 24.0, "weights": weights, "height": 700, "width": 900, "images": 500}
    chosen = settings(Facts(**vars(folder_facts(small)) | changes))
    assert (chosen["network.architecture"], chosen["processing.crop"]) == ("smp_unet", 512)
    assert (chosen["training.batch_size"], chosen["training.learning_rate"]) == (16, pytest.approx(4.2e-3))


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ({"training__steps": 5}, {"training.minutes"}),
        ({"network__architecture": "unet"}, {"network.architecture", "network.encoder", "network.encoder_weights"}),
        ({"network__encoder": "resnet18"}, {"network.encoder", "network.encoder_weights"}),
        ({"loss": ["focal"]}, {"loss"}),
        ({"processing": {}}, {"processing.crop", "processing.flip"}),
        ({"processing__resize": 64}, {"processing.crop", "processing.resize"}),
        (
            {"training__schedule": "constant"},
            {"training.schedule", "training.schedule_options", "training.warmup_steps"},
        ),
        ({"training__holdout": 0.1}, {"training.holdout", "training.selection_split", "training.weight_average"}),
    ],
)
def test_explicit_options_override(small: Path, given: dict[str, Any], absent: set[str]) -> None:
    facts = folder_facts(small)
    assert absent <= settings(facts).keys()
    assert not absent & settings(facts, **given).keys()


@pytest.mark.parametrize(
    ("given", "warmup", "text"),
    [
        ({}, 50, "(50 of 1000 parts of the time)"),
        ({"training__steps": 400}, 20, "(20 of 400 steps)"),
        ({"training__steps": 1000}, 50, "(50 of 1000 steps)"),
        ({"training__epochs": 100, "training__batch_size": 5}, 10, "(10 of 200 steps)"),
        ({"training__steps": 10}, 0, "polynomial decay, without warm-up over 10 steps"),
    ],
)
def test_warmup_takes_a_twentieth_of_any_budget(small: Path, given: dict[str, Any], warmup: int, text: str) -> None:
    facts = folder_facts(small)
    assert settings(facts, **given)["training.warmup_steps"] == warmup
    known = {name.replace("__", "."): value for name, value in given.items()}
    assert text in recipe._schedule(facts, known).text


def test_the_configuration_is_printed_and_stored(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(small), "--steps", "2", "--upright", "training.precision=fp32", "training.threads=1"]
    assert main([*command, "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["processing"]["crop"] == 96
    assert printed["processing"]["vertical_flip"] == 0.0
    assert printed["training"]["weight_average"] is True
    assert any(
        line.startswith("size: images of 128 × 96 at full resolution, crops of 96") for line in printed["reasons"]
    )

    assert main([*command, "-o", str(tmp_path / "run"), "--json"]) == 0
    captured = capsys.readouterr()
    assert "loss: " + " + ".join(recipe.LOSSES) in captured.err
    assert "about 2 steps" in captured.err
    run = Path(json.loads(captured.out)["run"])
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["reasons"] == printed["reasons"]
    assert stored["networks"]["network"]["encoder_weights"] == "bundled"
    result = json.loads((run / "result.json").read_text())
    # The weights are selected on val, all of whose images are evaluated.
    assert result["training"]["best_score"] == pytest.approx(json.loads(captured.out)["scores"]["mIoU"], abs=0.02)


def test_init_prints_the_next_command_and_its_time(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "init", str(small)]) == 0
    printed = capsys.readouterr().out
    assert f"next: segmi train {small} --output runs/small" in printed
    assert "takes 20 minutes on this CPU with " in printed
