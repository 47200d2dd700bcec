"""``segmi study …`` and ``segmi train`` from the outside, once for real at the smallest scale."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from segmi.cli import main

STUDY = """\
name: tiny
datasets:
  street-scenes: {train: 8, val: 3, height: 40, width: 48}
processing: {resize: 36, crop: 32}
training: {steps: 4, batch_size: 2, holdout: 0.25, checkpoint_every: 2}
samples: 1
methods:
  model-1: {networks: {unet: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}
"""
TRAIN = [
    "train", "--data", "street-scenes", "--width", "2", "--steps", "3", "-b", "2", "samples=1",
    "datasets.street-scenes={train: 8, val: 4, height: 40, width: 48}", "processing={resize: 36, crop: 32}",
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY)
    return str(path)


def test_check_accepts_a_valid_study(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "check", file]) == 0
    out = capsys.readouterr().out
    assert "is valid: 1 run\n" in out
    assert out.endswith(f"next: segmi study run {shlex.quote(file)}\n")
    assert main(["study", "check", file, "seeds=[0, 1]", "--root", "my data"]) == 0
    assert capsys.readouterr().out.endswith(f"run {shlex.quote(file)} --root 'my data' 'seeds=[0, 1]'\n")
    assert main(["study", "show", file, "--root", "my data"]) == 0  # as `study run`
    assert capsys.readouterr().out.startswith("name: tiny")
    assert main(["study", "check", file, "seeds=[0, 1]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [f"street-scenes/model-1/seed{seed}" for seed in (0, 1)]


def test_cost_of_searches_is_printed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    search = "training.learning_rate={log_uniform: [1e-3, 1e-1], trials: 4}"
    rungs = ["training.holdout=0.25", "training.steps=4", "search_rungs=[0.25, 0.5]"]
    assert main(["study", "check", file, search, *rungs]) == 0
    assert "1 run after 6 trials, as long as 2 runs" in capsys.readouterr().out
    assert main(["study", "run", file, search, *rungs, "--runs", str(Path(file).parent)]) == 0
    text = "street-scenes/model-1: search of 6 trials (4 with 25 % of the budget, then 2 with 50 %), 8 optimizer steps"
    assert text in capsys.readouterr().out


def test_check_names_file_line_and_remedy(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "check", file, "training.stpes=3"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean 'steps'?" in captured.err
    assert "Traceback" not in captured.err


def test_missing_data_are_exit_code_3(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMI_DATA", raising=False)
    assert main(["study", "check", file, "datasets={camvid: {}}"]) == 3
    assert "datasets.camvid" in capsys.readouterr().err


def test_show_prints_a_study_file_with_every_default(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "show", file]) == 0
    shown = capsys.readouterr().out
    assert "optimizer: Adam" in shown
    (tmp_path / "again.yaml").write_text(shown)
    assert main(["study", "show", str(tmp_path / "again.yaml")]) == 0
    assert capsys.readouterr().out == shown
    assert main(["study", "show", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["steps"] == 4


def test_run_status_report_predict_evaluate(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(tmp_path / "runs")
    assert main(["study", "run", file, "--runs", runs, "--resume"]) == 2
    assert "there is nothing to resume" in capsys.readouterr().err
    assert main(["study", "status", file, "--runs", runs, "--root", "/no/such/folder"]) == 0  # as `study run`
    assert "0 of 1 runs are finished" in capsys.readouterr().out

    assert main(["study", "run", file, "--runs", runs]) == 0
    first = capsys.readouterr()
    assert ": the network sees images of " in first.err  # nothing is resized in silence
    assert "Street scenes" in first.out
    assert (page := Path(first.out.splitlines()[-1].removeprefix("report: "))).name == "index.html"
    assert page.is_file()
    assert "street-scenes/model-1/seed0: finished" in first.err
    assert "seed0: finished" not in first.out

    assert main(["study", "run", file, "--runs", runs]) == 0
    second = capsys.readouterr()
    assert "already finished" in second.err
    assert second.out == first.out

    assert main(["study", "status", file, "--runs", runs, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "finished"
    assert row["step"] == 4

    assert main(["study", "run", file, "--runs", runs, "training.steps=5"]) == 2
    assert "training.steps was 4, is now 5" in capsys.readouterr().err

    assert main(["report", f"{runs}/tiny", "--output", str(tmp_path / "page"), "--quiet"]) == 0
    assert (tmp_path / "page" / "index.html").exists()
    capsys.readouterr()

    run = f"{runs}/tiny/street-scenes/model-1/seed0"
    options = ["train=8", "val=3", "height=40", "width=48"]
    assert main(["evaluate", run, *options, "--data", "street-scenes", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    result = json.loads((Path(run) / "result.json").read_text())
    assert scores["mIoU"] == pytest.approx(result["networks"]["unet"]["scores"]["full"]["mIoU"], abs=1e-6)
    assert main(["evaluate", run, "--data", "object-scenes", "val=2", "train=2"]) == 3
    assert "has 11 classes, but object-scenes has 21" in capsys.readouterr().err

    probed = ["probe", run, *options, "--data", "street-scenes", "--steps", "2", "--layer", "bottleneck"]
    assert main([*probed, "--layer", "head"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "3 images\n" in printed.err
    assert "trained 4/4 probes\n" in printed.err, "two layers, a linear and a nonlinear probe each"
    assert [line.split()[0] for line in lines] == ["layer", "bottleneck", "head"]
    assert lines[0].split()[1:] == ["linear", "nonlinear"]
    assert main([*probed, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 3
    assert told["layers"][0]["layer"] == "bottleneck"
    assert main([*probed, "--layer", "bottle"]) == 2
    assert "unknown layer 'bottle'" in capsys.readouterr().err

    out = tmp_path / "images"
    assert main(["data", "preview", "street-scenes", *options, "--output", str(out), "--count", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main(["predict", run, str(out), "--output", str(tmp_path / "masks"), "--overlay"]) == 0
    assert all(Path(line).exists() for line in capsys.readouterr().out.splitlines())
    assert main(["predict", run, str(tmp_path / "none.png")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["predict", str(out), str(out)]) == 2
    assert "is not a bundle" in capsys.readouterr().err


def test_train_resume_overwrite_are_three_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(tmp_path / "mine")]
    assert main([*TRAIN, *output, "--resume"]) == 2
    assert "there is nothing to resume" in capsys.readouterr().err
    assert main([*TRAIN, *output, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (Path(told["bundle"]) / "model.json").exists()
    assert "mIoU" in told["scores"]
    run = Path(told["run"])
    assert run == tmp_path / "mine/street-scenes/unet-cross_entropy-dice/seed0"

    assert main([*TRAIN, *output]) == 0
    assert "is already finished" in capsys.readouterr().err
    assert main([*TRAIN, *output, "--lr", "0.5"]) == 2
    assert "another --output) to keep both" in capsys.readouterr().err
    assert main([*TRAIN, *output, "--lr", "0.5", "--allow-changed", "training.learning_rate"]) == 0
    (run / "result.json").unlink()
    assert main([*TRAIN, *output]) == 2
    assert "use --resume to continue it, --overwrite to start again" in capsys.readouterr().err
    assert main([*TRAIN, *output, "--resume", "--overwrite"]) == 2
    assert main([*TRAIN, *output, "--resume"]) == 0
    assert main([*TRAIN, *output, "--overwrite", "--init-from", told["bundle"]]) == 2
    assert "which --overwrite would remove" in capsys.readouterr().err
    assert main([*TRAIN, *output, "--overwrite"]) == 0
    assert main([*TRAIN, "-o", str(tmp_path / "tuned"), "--init-from", told["bundle"]]) == 0
    assert main([*TRAIN, "-o", str(tmp_path / "none"), "--init-from", str(tmp_path)]) == 2
    assert "is not a bundle" in capsys.readouterr().err


def test_train_reports_the_time_of_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "-o", str(tmp_path / "mine"), "--profile"]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"2 steps in \d+\.\d s, without the first step of this call", captured.out.splitlines()[-14])
    assert captured.out.splitlines()[-13].split("  ")[-1] == "ms per step"
    assert re.fullmatch(r"forward +\d+\.\d\d +\d+\.\d% +\d+\.\d", captured.out.splitlines()[-11])
    assert [line.split()[0] for line in captured.out.splitlines()[-12:-3]] == [
        "data", "forward", "objective", "backward", "optimizer", "validation", "checkpoint", "other", "bundle:",
    ]  # fmt: skip
    assert "computes in fp32" in captured.err
    assert main([*TRAIN, "-o", str(tmp_path / "json"), "--profile", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"]["steps"] == 2
    assert json.loads((Path(told["run"]) / "profile.json").read_text())["parts"] == told["profile"]["parts"]


def test_train_prints_its_configuration_as_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--loss", "rmi_loss", "--lr", "1e-4", "--print-config", "-o", str(tmp_path / "mine")]) == 0
    shown = capsys.readouterr().out
    assert "unet-rmi_loss:" in shown
    assert "learning_rate: 0.0001" in shown
    assert not (tmp_path / "mine").exists()


def test_train_suggests_the_nearest_loss(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "street-scenes", "--loss", "rmi_lss"]) == 2
    assert "did you mean 'rmi_loss'?" in capsys.readouterr().err


def test_data_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "check", "street-scenes", "train=3", "val=2", "height=40", "width=48"]
    assert main(arguments) == 0
    assert "Street scenes: 11 classes" in capsys.readouterr().out
    assert main([*arguments, "--json", "--split", "val"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["splits"][0]["images"] == 2
    assert main(["data", "check", "camvid", "--root", str(tmp_path)]) == 3
    assert str(tmp_path) in capsys.readouterr().err
    assert main(["data", "check", "camvd"]) == 2
    assert "did you mean 'camvid'" in capsys.readouterr().err


def test_processes_of_torchrun_print_decisions_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    command = [*TRAIN, "--print-config", "-o", str(tmp_path / "mine")]
    assert main(command) == 0
    assert "methods:" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "1")
    assert main(command) == 0
    assert capsys.readouterr().out == ""
