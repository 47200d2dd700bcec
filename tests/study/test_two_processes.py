"""``segmi study run`` by two processes writes one set of records and one output."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segmi.cli import main

COMMAND = [sys.executable, "-m", "segmi.cli", "study", "run"]


def together(file: Path, runs: Path, *overrides: str) -> list[tuple[int, str, str]]:
    """Return exit code, stdout and stderr of two processes, started as by ``torchrun``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
              "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}  # fmt: skip
    processes = [
        subprocess.Popen(
            [*COMMAND, str(file), "--runs", str(runs), "training.devices=2", "training.device=cpu", *overrides],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=250) for process in processes]
    return [(process.returncode, out, err) for process, (out, err) in zip(processes, outputs, strict=True)]


def results(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(runs.glob("tiny/*/*/*/result.json"))]


def test_two_processes_run_a_study_and_one_writes(tiny_file: Path, tmp_path: Path) -> None:
    fields = ["seeds=[0, 1]", "training.precision=fp32"]
    (code, out, err), (other_code, other_out, other_err) = together(tiny_file, tmp_path, *fields)
    assert (code, other_code) == (0, 0), err + other_err
    assert "Table 1" in out or "Street scenes" in out
    assert other_out == ""
    assert "finished" in err
    assert "finished" not in other_err
    assert "distributed" not in err + other_err, "message of Lightning"
    found = results(tmp_path)
    assert [result["training"]["processes"] for result in found] == [2, 2]
    assert all(result["training"]["steps"] == 6 for result in found)
    assert not list(tmp_path.glob("tiny/**/run.lock"))
    rows = (tmp_path / "tiny/street-scenes/model-1/seed0/metrics.csv").read_text().splitlines()
    assert len(rows) > 1
    assert len(set(rows)) == len(rows)


@pytest.mark.slow
def test_diverged_run_does_not_stop_others(tiny_file: Path, tmp_path: Path) -> None:
    text = tiny_file.read_text()
    wild = text[text.index("  model-1:") :].replace("model-1", "wild").replace("Model 1", "Wild")
    wild += "    training: {learning_rate: 1e+38}\n"
    tiny_file.write_text(text.replace("  model-1:", wild + "  model-1:"))
    (code, _, err), (other_code, _, _) = together(tiny_file, tmp_path)
    assert code == 4
    assert other_code == 0
    assert "the loss is NaN or infinite" in err
    assert len(results(tmp_path)) == 1
    failure = json.loads((tmp_path / "tiny/street-scenes/wild/seed0/failure.json").read_text())
    assert failure["type"] == "Diverged"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["training.devices=2"], "the number of processes started is 1"),
        (["training.devices=3"], "is not divisible by 3 processes; use a multiple of 3"),
        (["training.devices=0"], "training.devices"),
        (["training.strategy=fsdp"], "training.strategy"),
    ],
)
def test_missing_processes_raise_usage_error(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: list[str], message: str
) -> None:
    assert main(["study", "run", str(tiny_file), "--runs", str(tmp_path), *fields]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_methods_with_different_devices_are_refused() -> None:
    from segmi.errors import UsageError
    from segmi.study import components
    from segmi.study.run_config import TrainingSection

    alone = TrainingSection(steps=1, device="cpu")
    with pytest.raises(UsageError, match="differ in devices, but the same processes train all of them"):
        components.connect_processes([alone, replace(alone, devices=2)])
    assert components.connect_processes([alone, replace(alone, device="auto")]).world_size == 1
