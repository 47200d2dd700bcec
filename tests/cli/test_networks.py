"""A user's folder with two classes and a network with one logit: from the check of the data to masks of new images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segmi
from segmi.cli import main
from segmi.datasets import open_dataset
from segmi.metrics.scores import scores

CLASSES = ["background", "disc"]


def draw(folder: Path, index: int) -> None:
    """A bright disc on a dark, noisy ground, of another size each time; the mask holds 0 and 1."""
    rng = np.random.default_rng(index)
    height, width = 40 + 3 * index, 56 + index
    y, x = np.mgrid[:height, :width]
    disc = (y - rng.integers(12, 28)) ** 2 + (x - rng.integers(12, 40)) ** 2 < 100
    image = rng.integers(0, 60, (height, width, 3)) + disc[..., None] * np.array([150, 60, 30])
    Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"photo {index:02d}.png")
    Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"photo {index:02d}.png")


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    folder = tmp_path / "discs"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index in range(12):
        draw(folder, index)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.mark.parametrize("loss", ["cross_entropy", "rmi_loss"])
def test_one_logit_from_training_to_masks(
    discs: Path, loss: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(discs)]
    assert main(["data", "check", "folder", *root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == CLASSES

    output = tmp_path / "runs"
    network = f"methods.unet-{loss}.networks.network.one_logit=true"
    arguments = ["--width", "4", "--steps", "60", "-b", "2", "--lr", "0.01", "--loss", loss]
    fields = ["processing={resize: 36, crop: 32}", network]
    assert main(["train", *root, *arguments, "-o", str(output), "--json", *fields]) == 0
    trained = json.loads(capsys.readouterr().out)
    card = json.loads((Path(trained["bundle"]) / "model.json").read_text())
    assert card["specification"]["one_logit"] is True

    assert main(["evaluate", str(output), *root, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["classes"] == CLASSES
    assert result["scores"]["mIoU"] == pytest.approx(trained["scores"]["mIoU"], abs=1e-6)
    assert result["scores"]["mIoU"] > 0.8

    found = []
    for threshold in ("0.01", "0.99"):
        assert main(["evaluate", str(output), *root, "--threshold", threshold, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["scores"])
    assert found[0] != found[1]

    masks = tmp_path / "masks"
    assert main(["predict", str(output), str(discs / "images"), "--output", str(masks), "--overlay"]) == 0
    printed = capsys.readouterr()
    assert "predicted 12/12 images" in printed.err
    paths = [Path(line) for line in printed.out.splitlines()]
    assert len(paths) == 12
    union = overlap = 0
    for path in paths:
        with Image.open(path) as mask, Image.open(discs / "masks" / path.name) as truth:
            assert mask.mode == "P"
            assert mask.size == truth.size
            assert mask.getpalette()[:6] == [value for color in card["palette"][:2] for value in color]
            found, disc = np.asarray(mask), np.asarray(truth) == 1
        assert set(np.unique(found)) <= {0, 1}
        union += int((disc | (found == 1)).sum())
        overlap += int((disc & (found == 1)).sum())
        assert (masks / f"{path.stem}.overlay.png").exists()
    assert overlap / union > 0.7


def test_evaluate_warns_of_other_class_names_and_refuses_invalid_options(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", str(tmp_path / "runs"), "processing={resize: 36, crop: 32}"]
    assert main(["train", "--root", str(discs), "--width", "2", "--steps", "1", "-b", "2", *output]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "runs"), "--root", str(discs)]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "runs"), "--root", str(discs), "classes=[disc, background]"]) == 0
    assert "name their classes differently" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "runs"), "--root", str(discs), "val"]) == 2
    assert "val is not a bundle" in capsys.readouterr().err
    for verb in (
        ["evaluate", str(tmp_path / "runs"), "--root", str(discs)],
        ["predict", str(tmp_path / "runs"), "x.png"],
    ):
        assert main([*verb, "--threshold", "0.4"]) == 2
        assert "a threshold of 0.4 needs a binary network with one logit" in capsys.readouterr().err


def test_several_bundles_are_evaluated_as_predict_averages_them(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(discs)]
    for seed, resize in ((0, 36), (1, 48)):  # each bundle has its own preprocessing
        output = ["-o", str(tmp_path / f"run{seed}"), f"processing={{resize: {resize}, crop: 32}}"]
        arguments = ["--model", "unet", "--width", "4", "--steps", "20", "-b", "2", "--lr", "0.01", "--seed", str(seed)]
        assert main(["train", *root, *arguments, "--loss", "cross_entropy", *output]) == 0
    bundles = [str(tmp_path / "run0"), str(tmp_path / "run1")]
    capsys.readouterr()
    assert main(["evaluate", *bundles, "val=0.5", *root, "--split", "val", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["bundles"]) == 2
    reader = open_dataset("folder", discs, val=0.5)
    matrix = np.zeros((2, 2), np.int64)
    for sample in reader.split("val"):
        found, truth = segmi.predict(bundles, str(sample.image)), reader.read_mask(sample)
        np.add.at(matrix, (truth, found), 1)
    assert result["images"] == len(reader.split("val")) == 6
    assert result["scores"]["mIoU"] == pytest.approx(scores(matrix)["mIoU"], abs=1e-12)

    one = [main(["evaluate", bundle, "val=0.5", *root, "--json"]) for bundle in bundles]
    assert one == [0, 0]
    capsys.readouterr()
    assert main(["evaluate", *bundles, *root, "--protocol", "paper"]) == 2
    assert "the protocol paper evaluates one network, got several bundles" in capsys.readouterr().err
