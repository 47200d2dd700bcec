"""``segmi study retry`` after a run that diverged, and options that an engine does not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segmi.cli import main

STUDY = """\
name: tiny
datasets:
  street-scenes: {train: 8, val: 3, height: 40, width: 48}
processing: {resize: 36, crop: 32}
training: {steps: 4, batch_size: 2, holdout: 0.25, precision: fp32}
samples: 1
methods:
  steady: {networks: {unet: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}
  wild:
    networks: {unet: {architecture: unet, width: 2}}
    loss: {cross_entropy: {}}
    training: {learning_rate: 1e30}
"""


def test_only_diverged_runs_are_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    file.write_text(STUDY)
    given = [str(file), "--runs", str(runs)]
    assert main(["study", "retry", *given]) == 0
    assert capsys.readouterr().out == "no run of tiny has failed\n"
    assert main(["study", "run", *given]) == 4
    capsys.readouterr()

    assert main(["study", "status", *given]) == 0
    told = capsys.readouterr().out
    assert "Diverged: the loss is NaN or infinite at step" in told
    assert "1 of 2 runs are finished, 1 diverged" in told
    assert main(["study", "status", *given, "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["street-scenes/wild/seed0"]["state"] == "diverged"
    assert {"pid", "host", "seconds", "crashes"} <= rows["street-scenes/wild/seed0"].keys()

    result = runs / "tiny/street-scenes/steady/seed0/result.json"
    before = result.stat().st_mtime_ns
    assert main(["study", "retry", *given, "--only", "*/steady/*"]) == 0
    assert capsys.readouterr().out == "no run of tiny has failed among the 1 of --only\n"
    assert main(["study", "retry", *given, "--only", "*/mild/*"]) == 2
    assert "no run matches --only" in capsys.readouterr().err

    mended = [*given, "methods.wild.training.learning_rate=1e-3"]
    assert main(["study", "retry", *mended]) == 2
    assert "training.learning_rate was 1e+30, is now 0.001" in capsys.readouterr().err
    assert main(["study", "retry", *mended, "--overwrite"]) == 0
    captured = capsys.readouterr()
    assert "2/2 runs finished" in captured.out
    assert "wild/seed0: finished" in captured.err
    assert "steady" not in captured.err
    assert result.stat().st_mtime_ns == before
    assert main(["study", "retry", *mended]) == 0
    assert capsys.readouterr().out == "no run of tiny has failed\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "rai"], "unknown engine 'rai'\n  Fix: did you mean 'ray'?"),
        (["--jobs", "2"], "--jobs has no meaning for the engine in-process"),
        (["--engine", "pool", "--gpus", "1"], "omit it, or choose --engine ray"),
        (["--engine", "pool", "--jobs", "0"], "--jobs: expected 1 or more, got 0"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "retry"])
def test_options_that_an_engine_does_not_have_are_refused(
    verb: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY)
    assert main(["study", verb, str(file), *options]) == 2
    assert message in capsys.readouterr().err
