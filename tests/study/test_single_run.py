"""`segmi.train`: one run from Python, with the result of the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from torchvision.transforms import v2

import segmi
from segmi.cli import main
from segmi.errors import Interrupted, SegmiError, UsageError
from segmi.metrics.scores import scores
from segmi.records import RunFolder, read_confusion, read_ensemble
from segmi.training import Callback, TrainingState

SETTINGS = ["processing.resize=24", "processing.crop=16", "training.precision=fp32", "training.threads=1"]


WIDTH = "methods.unet-cross_entropy.networks.network.width=4"
SMALL = {"model": "unet", "losses": ["cross_entropy"], "steps": 2, "batch_size": 2, "settings": [*SETTINGS, WIDTH]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images with a bright square, and its mask."""
    root = tmp_path / "squares"
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            mask = np.zeros((24, 24), np.uint8)
            mask[number : number + 12, 4:16] = 1
            for kind, array in (("images", np.repeat(200 * mask[..., None], 3, 2)), ("masks", mask)):
                path = root / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(path)
    (root / "classes.txt").write_text("background\nsquare\n")
    return root


def test_train_prints_its_progress(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmi.train(folder, output=tmp_path / "a", **SMALL)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.rpartition("/seed0: ")[2] for line in captured.err.splitlines() if "/seed0: " in line]
    assert lines[0] == "starts"
    assert {"training 0/2", "validating", "evaluating 2/2", "writing results"} <= set(lines)
    assert lines[-1] == "finished"


def test_train_returns_the_bundle_and_the_scores_of_the_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = segmi.train(
        folder,
        model="unet",
        losses=["cross_entropy", "rmi_loss"],
        output=tmp_path / "a",
        steps=3,
        batch_size=2,
        settings=SETTINGS,
    )
    flags = [
        "--model",
        "unet",
        "--loss",
        "cross_entropy",
        "--loss",
        "rmi_loss",
        "--steps",
        "3",
        "-b",
        "2",
        "-o",
        str(tmp_path / "b"),
        "--json",
    ]
    assert main(["-q", "train", str(folder), *flags, *SETTINGS]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == result.scores
    labels = segmi.predict(segmi.load(result.bundle), folder / "images" / "val" / "0.png")
    assert np.asarray(labels).shape == (24, 24)


def test_train_checks_its_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder or a root, got both"):
        segmi.train(folder, folder, output=tmp_path / "a", steps=1)
    with pytest.raises(UsageError, match="stepz"):
        segmi.train(folder, output=tmp_path / "a", stepz=1)
    segmi.train(folder, model="unet", output=tmp_path / "a", steps=1, batch_size=2, settings=SETTINGS)
    with pytest.raises(UsageError):
        segmi.train(folder, model="unet", output=tmp_path / "a", steps=1, resume=True, overwrite=True)


def test_folds_are_an_ensemble_with_one_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**SMALL, "output": tmp_path / "cv"}
    result = segmi.train(folder, folds=3, **options)  # type: ignore[arg-type]
    assert "folds: 3 folds of 2 to 2 images (train and val together, single images" in capsys.readouterr().err
    assert result.run == result.bundle == tmp_path / "cv"
    assert read_ensemble(tmp_path / "cv") == [fold.bundle for fold in result.folds]
    assert [fold.run.relative_to(tmp_path / "cv").parts[0] for fold in result.folds] == ["fold-1", "fold-2", "fold-3"]

    records = [read_confusion(RunFolder(fold.run).confusion_path("network", "full")) for fold in result.folds]
    names = [name for record in records for name in record.names]
    assert sorted(names) == ["train-0", "train-1", "train-2", "train-3", "val-0", "val-1"]
    counts = sum(record.pooled() for record in records)
    values = [fold.scores["mIoU"] for fold in result.folds]
    rows = {row["fold"]: row for row in result.table}
    assert [rows[number]["mIoU"] for number in "123"] == values
    assert rows["mean"]["mIoU"] == pytest.approx(np.mean(values))
    assert rows["standard deviation"]["mIoU"] == pytest.approx(np.std(values, ddof=1))
    assert rows["pooled"]["pixel_accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    assert rows["pooled"]["images"] == 6
    assert result.scores["IoU"] == scores(counts)["IoU"]

    config = yaml.safe_load((result.folds[0].run / "config.yaml").read_text())
    assert config["training"]["holdout"] == 0.1, "the fold that is evaluated selects no weights"
    assert config["training"]["selection_split"] is None

    again = segmi.train(folder, folds=3, **options)  # type: ignore[arg-type]
    assert again == result


def test_interrupted_folds_continue(folder: Path, tmp_path: Path) -> None:
    class Stop(Callback):
        runs = 0

        def start(self, state: TrainingState) -> None:
            self.runs += 1
            if self.runs == 2:
                raise KeyboardInterrupt

    options = {**SMALL, "output": tmp_path / "cv"}
    with pytest.raises(Interrupted):
        segmi.train(folder, folds=3, callbacks=[Stop()], **options)  # type: ignore[arg-type]
    first = (tmp_path / "cv/fold-1/unet-cross_entropy/seed0/result.json").read_text()
    with pytest.raises(UsageError, match="unfinished run"):
        segmi.train(folder, folds=3, **options)  # type: ignore[arg-type]
    result = segmi.train(folder, folds=3, resume=True, **options)  # type: ignore[arg-type]
    assert (result.folds[0].run / "result.json").read_text() == first
    assert len(read_ensemble(tmp_path / "cv") or []) == 3


def test_folds_of_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--folds", "2", "--model", "unet", "--width", "4", "--steps", "1", "-b", "2", "-o", str(tmp_path / "cv")]
    assert main(["-q", "train", str(folder), *flags, *SETTINGS]) == 0
    *table, ensemble, predict, app = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in table] == ["fold", "1", "2", "mean", "standard deviation", "pooled"]
    assert ensemble == f"ensemble: {tmp_path / 'cv'}"
    assert predict == f"next: segmi predict {tmp_path / 'cv'} IMAGES --output masks --overlay"
    assert app == f"      segmi app {tmp_path / 'cv'}"
    assert main(["-q", "train", str(folder), "--folds", "9", "-o", str(tmp_path / "more")]) == 2
    assert "expected at least 9 groups of images for 9 folds, got 6 groups of 6 images" in capsys.readouterr().err


def test_callbacks_are_called_and_stop_the_run(folder: Path, tmp_path: Path) -> None:
    class Second(Callback):
        def start(self, state: TrainingState) -> None:
            self.folder = state.folder

        def step(self, state: TrainingState) -> None:
            if state.step == 2:
                state.stop()

    callback, options = Second(), {**SMALL, "steps": 9}
    result = segmi.train(folder, output=tmp_path / "a", callbacks=[callback], **options)  # type: ignore[arg-type]
    assert callback.folder == result.run
    assert json.loads((result.run / "result.json").read_text())["training"]["steps"] == 2

    class Broken(Callback):
        def validation(self, state: TrainingState) -> None:
            raise KeyError("mIoU")

    with pytest.raises(SegmiError, match="callback Broken failed in validation at step 2: KeyError: 'mIoU'"):
        segmi.train(folder, output=tmp_path / "b", callbacks=[Broken()], **options)  # type: ignore[arg-type]


def test_train_takes_transforms_as_objects(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = segmi.train(
        folder, model="unet", output=tmp_path / "a", steps=2, batch_size=2, transforms=[v2.RandomRotation(10)],
        settings=SETTINGS,
    )  # fmt: skip
    stored = yaml.safe_load((result.run / "config.yaml").read_text())
    assert stored["processing"]["transforms"] == [{"name": "RandomRotation", "degrees": [-10.0, 10.0]}]
    assert "augmentation: horizontal" in capsys.readouterr().err


def test_the_public_surface_is_listed() -> None:
    assert set(dir(segmi)) == set(segmi.__all__) >= {"losses", "metrics", "datasets", "models", "information"}
    assert all(getattr(segmi, name) is not None for name in segmi.__all__)
    with pytest.raises(AttributeError, match="no attribute 'loses'"):
        _ = segmi.loses
