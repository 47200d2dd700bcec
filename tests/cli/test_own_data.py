"""A user's images: from a folder without description to a trained network."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.cli import main
from segmi.datasets.folders import study_name

SMALL = ["--width", "2", "--steps", "2", "-b", "2", "processing={resize: 36, crop: 32}"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "Meine Fotos (neu)"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(8):
        rng = np.random.default_rng(number)
        y, x = np.mgrid[:40, :56]
        disc = (y - rng.integers(12, 28)) ** 2 + (x - rng.integers(12, 40)) ** 2 < 100
        pixels = rng.integers(0, 60, (40, 56, 3)) + disc[..., None] * np.array([150, 60, 30])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder


def test_init_then_train(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "init", str(photos)]) == 0
    captured = capsys.readouterr()
    assert "images and masks in separate folders" in captured.out
    assert "foreground  255" in captured.out
    assert f"next: segmi train '{photos}'" in captured.out
    assert "checked 8/8 images" in captured.err
    assert sorted(path.name for path in photos.iterdir()) == [
        "images",
        "masks",
        "segmi-contact-sheet.png",
        "segmi.toml",
    ]

    assert main(["data", "check", str(photos)]) == 0
    assert "no problems" in capsys.readouterr().out
    output = tmp_path / "runs"
    assert main(["train", str(photos), *SMALL, "--loss", "rmi_loss", "-o", str(output), "--json"]) == 0
    captured = capsys.readouterr()
    assert "sees images of 56 × 40 resized to 36 × 36 (width × 0.64, height × 0.9), crops of 32" in captured.err
    bundle = Path(json.loads(captured.out)["bundle"])
    assert "Meine-Fotos-neu" in bundle.parts
    card = json.loads((bundle / "model.json").read_text())
    assert (card["classes"], card["dataset"]["title"]) == (["background", "foreground"], "Meine Fotos (neu)")
    assert main(["evaluate", str(output), "--data", str(photos), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["IoU"]

    assert main(["predict", str(output), str(photos / "images"), "-o", str(tmp_path / "masks"), "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)
    assert [Path(one["mask"]).name for one in predicted] == [f"{number}.png" for number in range(8)]
    assert predicted[0]["size"] == [56, 40]
    assert sum(predicted[0]["shares"].values()) == pytest.approx(1)
    assert main(["predict", str(output), "https://example.org/a.jpg"]) == 2
    assert "is a URL, not a file" in capsys.readouterr().err

    assert main(["publish", str(output), "--output", str(tmp_path / "shared"), "--license", "cc-by-4.0"]) == 0
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "| mIoU | 0." in card
    assert "| loss | rmi\\_loss |" in card
    assert (tmp_path / "shared" / "config.yaml").is_file()


def test_train_prints_the_next_commands(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "init", str(photos)]) == 0
    train = ["train", str(photos), *SMALL, "-o", "runs"]
    capsys.readouterr()
    assert main([*train, "--loss", "dice"]) == 0
    *_, predict, evaluate, app = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert predict == "next: segmi predict runs IMAGES --output masks --overlay"
    assert evaluate == f"      segmi evaluate runs --data {shlex.quote(str(photos))}"
    assert app == "      segmi app runs"
    assert main([*shlex.split(evaluate)[1:], "--json"]) == 0

    assert main([*train, "--loss", "cross_entropy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    bundle = lines[-4].removeprefix("bundle: ")
    assert shlex.split(lines[-3])[:4] == ["next:", "segmi", "predict", bundle]  # there are two in the folder


def test_in_a_study_file(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "init", str(photos), "--title", "Discs"]) == 0
    study = tmp_path / "discs.yaml"
    study.write_text(
        "name: discs\n"
        "datasets: {discs: {type: custom}}\n"
        "processing: {resize: 36, crop: 32}\n"
        "training: {steps: 1, batch_size: 2}\n"
        "methods: {unet: {networks: {network: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}}\n"
    )
    assert main(["study", "run", str(study), "--root", str(photos), "--runs", str(tmp_path / "runs")]) == 0
    assert (tmp_path / "runs" / "discs" / "discs" / "unet" / "seed0" / "result.json").is_file()


def test_json(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "init", str(photos), "--json", "--val", "0.5"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["file"] == str(photos / "segmi.toml")
    assert [split["images"] for split in result["report"]["splits"]] == [4, 4]
    assert any("255 is a class" in note for note in result["notes"])


def test_an_existing_file_is_not_replaced(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "init", str(photos)]) == 0
    text = (photos / "segmi.toml").read_text().replace('"foreground"', '"disc"')
    (photos / "segmi.toml").write_text(text)
    assert main(["data", "init", str(photos)]) == 2
    assert "segmi.toml exists" in capsys.readouterr().err
    assert (photos / "segmi.toml").read_text() == text
    assert main(["data", "init", str(photos), "--overwrite"]) == 0
    assert '"foreground"' in (photos / "segmi.toml").read_text()


def test_a_refused_folder_is_not_changed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "masks" / "3.png").unlink()
    assert main(["data", "init", str(photos)]) == 3
    assert "3.png: image without mask" in capsys.readouterr().err
    assert sorted(path.name for path in photos.iterdir()) == ["images", "masks"]


def test_the_remedies_for_a_single_image_work(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in [*photos.glob("*/*")]:
        if path.stem != "3":
            path.unlink()
    assert main(["data", "init", str(photos)]) == 3
    assert "`segmi data init --val 0`" in capsys.readouterr().err
    assert main(["data", "init", str(photos), "--val", "0"]) == 0
    run = ["train", str(photos), *SMALL, "-b", "1", "-o", str(tmp_path / "runs")]
    capsys.readouterr()
    assert main(run) == 2
    remedy = capsys.readouterr().err.partition("evaluate on the same ones: ")[2].split()[:4]
    assert remedy[0] == "training.holdout=0"
    assert main([*run, *remedy]) == 0


def test_read_only_data(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """The file is written elsewhere, and every command takes its folder."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK and access(path, mode))
    assert main(["data", "init", str(photos)]) != 0
    assert f"Fix: write it to another folder, which every command accepts: segmi data init {photos}" in (
        capsys.readouterr().err
    )
    (tmp_path / "file").touch()
    assert main(["data", "init", str(photos), "--output", str(tmp_path / "file" / "x")]) == 5
    assert "segmi.toml: Not a directory\n  Fix: give a folder that this user can write" in capsys.readouterr().err
    folder = tmp_path / "descriptions" / "discs"
    assert main(["data", "init", str(photos), "--output", str(folder)]) == 0
    assert f"next: segmi train {folder} " in capsys.readouterr().out
    assert sorted(path.name for path in photos.iterdir()) == ["images", "masks"]
    assert sorted(path.name for path in folder.iterdir()) == ["segmi-contact-sheet.png", "segmi.toml"]
    assert main(["data", "check", str(folder)]) == 0
    capsys.readouterr()
    assert main(["train", str(folder), *SMALL, "-o", str(tmp_path / "runs"), "--json"]) == 0
    assert "discs" in Path(json.loads(capsys.readouterr().out)["bundle"]).parts
    assert main(["data", "preview", str(folder), "--output", str(tmp_path / "preview"), "--count", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--data", "street-scenes", "-o", "my runs"],
            "output folder: expected a name of letters, digits, '-', '_' and '.' that starts with a letter or digit, "
            "got 'my runs'\n  Fix: use another name, such as my-runs",
        ),
        (["train"], "expected a folder of images and masks, got none\n  Fix: segmi train FOLDER"),
        (["train", "{photos}"], "has no segmi.toml\n  Fix: write it: segmi data init"),
        (["train", "./nowhere"], "expected a folder, got nowhere, which does not exist"),
        (
            ["train", "nowhere"],
            "there is no folder nowhere\n  Fix: give a folder prepared by `segmi data init`",
        ),
        (["train", "street-scenes"], "got the dataset street-scenes\n  Fix: use --data street-scenes"),
        (["train", "{photos}", "--root", "."], "is given together with --data or --root"),
        (["data", "check", "{photos}", "--root", "."], "pass one of the two"),
    ],
)
def test_invalid_input(
    photos: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEGMI_DATA", raising=False)
    assert main([word.replace("{photos}", str(photos)) for word in arguments]) == 2
    assert message in capsys.readouterr().err


def test_folder_names_become_dataset_names() -> None:
    assert study_name(Path("/x/Größe 3")) == "Gr-e-3"
    assert study_name(Path("/x/---")) == "data"
