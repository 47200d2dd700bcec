"""``segmi study run``, killed at random moments and continued, has the result of an uninterrupted run."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "segmi.cli", "study", "run"]


def start(file: Path, runs: Path, *overrides: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, str(file), "--runs", str(runs), *overrides],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def fingerprint(folder: Path) -> dict[str, str]:
    kept = [*folder.glob("street-scenes/*/seed0/bundles/*/model.safetensors"), folder / "report/table1.csv"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_killed_study_has_same_result(tiny_file: Path, tmp_path: Path) -> None:
    steps = "training.steps=40"
    whole = start(tiny_file, tmp_path / "whole", steps)
    assert whole.wait(200) == 0, whole.stderr.read() if whole.stderr else ""
    moments = random.Random(0)
    for _ in range(3):
        process = start(tiny_file, tmp_path / "killed", steps)
        assert process.stderr is not None
        while process.poll() is None and "starts" not in process.stderr.readline():
            pass  # imports are not killed
        time.sleep(moments.uniform(0, 4))
        process.kill()
        process.wait()
    last = start(tiny_file, tmp_path / "killed", steps)
    out, err = last.communicate(timeout=200)
    assert last.returncode == 0, err
    assert "Street scenes" in out
    assert fingerprint(tmp_path / "killed/tiny") == fingerprint(tmp_path / "whole/tiny")
    assert len(fingerprint(tmp_path / "whole/tiny")) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_writes_checkpoint_and_states_how_to_resume(
    tiny_file: Path, tmp_path: Path, number: int, code: int
) -> None:
    process = start(tiny_file, tmp_path, "training.steps=5000", "training.checkpoint_every=5000")
    assert process.stderr is not None
    while process.poll() is None and "step 1/" not in process.stderr.readline():
        pass
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == code
    assert "interrupted at update" in err
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    assert list((tmp_path / "tiny").glob("street-scenes/model-1/seed0/checkpoints/step-*"))
