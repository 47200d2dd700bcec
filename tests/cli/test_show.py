"""`segmi show` prints what a bundle and its run contain; the bundle alone is enough."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with masks of 0 and 255, and a run on it."""
    folder = tmp_path_factory.mktemp("own")
    for index in range(8):
        rng = np.random.default_rng(index)
        image, mask = rng.integers(0, 256, (40, 48, 3)), rng.integers(0, 2, (40, 48)) * 255
        for part, pixels in (("images", image), ("masks", mask)):
            (folder / "discs" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "discs" / part / f"{index}.png")
    assert main(["data", "init", str(folder / "discs")]) == 0
    settings = ["--model", "unet", "--width", "2", "--steps", "2", "-b", "2", "--lr", "0.01", "--loss", "cross_entropy"]
    fields = ["processing={resize: 36, crop: 32}"]
    assert main(["train", str(folder / "discs"), *settings, "-o", str(folder / "run"), *fields]) == 0
    return folder / "discs", folder / "run"


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_run_is_described(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, run = trained
    (bundle,) = run.glob("**/bundles/*")
    result = json.loads((bundle.parent.parent / "result.json").read_text())
    described = json.loads(shown(capsys, run, "--json"))
    assert described["bundle"] == str(bundle)
    assert (described["architecture"], described["options"]["width"]) == ("unet", 2)
    assert described["bytes"] == (bundle / "model.safetensors").stat().st_size
    assert [(one["name"], one["value"], one["color"]) for one in described["classes"]] == [
        ("background", 0, [0, 0, 0]),
        ("foreground", 255, [128, 0, 0]),
    ]
    expected = {"resize": 36, "resize_mode": "exact", "threshold": None}
    assert {key: described["preprocessing"][key] for key in expected} == expected
    assert described["preprocessing"]["images"].startswith("RGB, values 0–255")
    training = described["training"]
    assert (training["steps"], training["batch_size"], training["learning_rate"]) == (2, 2, 0.01)
    assert (training["dataset"], list(training["loss"]), training["precision"]) == ("discs", ["cross_entropy"], "fp32")
    assert described["date"].count("-") == 2
    scores = result["networks"]["network"]["scores"]["full"]
    assert described["evaluation"]["scores"]["mIoU"] == pytest.approx(scores["mIoU"])
    text = shown(capsys, run)
    for words in ("architecture", "unet (in_channels 3, ", "resized to 36 × 36", "loss", "cross_entropy", "foreground"):
        assert words in text
    assert f"{scores['mIoU']:.4f}" in text


def test_a_copied_and_a_published_bundle_keep_the_description(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = trained
    (bundle,) = run.glob("**/bundles/*")
    original = json.loads(shown(capsys, bundle, "--json"))
    copy = shutil.copytree(bundle, tmp_path / "copy")
    assert main(["publish", str(run), "--output", str(tmp_path / "published")]) == 0
    for folder in (copy, tmp_path / "published"):
        assert json.loads(shown(capsys, folder, "--json")) == {**original, "bundle": str(folder)}


def test_bundles_without_record_read_it_from_their_run_or_say_so(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained[1], tmp_path / "run")
    (path,) = run.glob("**/bundles/*/model.json")
    before = json.loads(shown(capsys, run, "--json"))
    card = json.loads(path.read_text())
    path.write_text(json.dumps({key: card[key] for key in card if key not in ("training", "evaluation")}))
    assert json.loads(shown(capsys, run, "--json")) == before
    text = shown(capsys, shutil.copytree(path.parent, tmp_path / "alone"))
    assert "Scores and training are not recorded in this bundle." in text
    assert "mIoU" not in text


def test_predictions_have_the_values_of_the_masks(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = trained
    out = str(tmp_path / "out")
    assert main(["predict", str(run), str(folder / "images"), "--output", out, "--values", "original"]) == 0
    masks = [np.array(Image.open(path)) for path in (tmp_path / "out").iterdir()]
    assert {int(value) for mask in masks for value in np.unique(mask)} <= {0, 255}
    assert sum(int(mask.any()) for mask in masks) > 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(folder), "--tta", "flips", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tta"] == ["flips"]


def test_a_damaged_record_is_refused(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle,) = trained[1].glob("**/bundles/*")
    copy = shutil.copytree(bundle, tmp_path / "copy")
    card = json.loads((copy / "model.json").read_text())
    for key, value in (("training", [1]), ("evaluation", "x"), ("values", [0, 256, 3])):
        (copy / "model.json").write_text(json.dumps({**card, key: value}))
        assert main(["show", str(copy)]) == 3
        assert "model.json: " in capsys.readouterr().err


def test_mappings_are_printed_as_words(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle,) = trained[1].glob("**/bundles/*")
    copy = shutil.copytree(bundle, tmp_path / "copy")
    card = json.loads((copy / "model.json").read_text())
    card["specification"]["normalize"] = {"mean": [0.5, 0.25, 0.125], "std": [0.5, 1.0, 2.0]}
    (copy / "model.json").write_text(json.dumps(card))
    text = shown(capsys, copy)
    assert re.search(r"^normalization +mean 0.5 0.25 0.125, std 0.5 1.0 2.0$", text, re.MULTILINE)
    assert not set("{}[]'") & set(text.partition("\n")[2].replace(str(copy), "")), text
