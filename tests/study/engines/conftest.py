"""Studies for the engines, and the results of their runs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.study.events import StudyEvent
from segmi.study.schema import Study
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

VARYING = ("wall_seconds", "environment", "precision", "usage")
"""Fields of a result that differ between equal runs: times, usage and machine."""


@pytest.fixture
def study_of(tiny_text: str) -> Callable[..., Study]:
    """The tiny study with overrides."""
    return lambda *overrides: validated(apply_overrides(parse(tiny_text), ["training.precision=fp32", *overrides]))


@pytest.fixture
def outcome_of() -> Callable[[Path], dict[str, Any]]:
    """Files, weights, metrics and scores of each run in a folder of runs."""

    def read(root: Path) -> dict[str, Any]:
        return {str(path.parent.relative_to(root)): _amount(path.parent) for path in root.glob("*/*/*/*/result.json")}

    return read


class Killer:
    """Listener that kills the process of a run with SIGKILL while it trains."""

    def __init__(self, seed: int, times: int) -> None:
        self.seed, self.times = seed, times
        self.notes: list[str] = []
        self.process = 0

    def __call__(self, event: StudyEvent) -> None:
        if event.kind == "note":
            self.notes.append(event.text)
        if event.run.seed != self.seed:
            return
        if event.kind == "started":
            found = re.fullmatch(r"process (\d+) on .+", event.text)
            assert found
            self.process = int(found[1])
        if event.kind == "train" and self.times and event.done < event.of:
            self.times -= 1
            os.kill(self.process, signal.SIGKILL)


@pytest.fixture
def killer() -> type[Killer]:
    return Killer


@pytest.fixture
def command(tiny_file: Path) -> Callable[..., list[str]]:
    """``segmi study run`` on the tiny study."""
    return lambda runs, *options: [
        sys.executable, "-m", "segmi.cli", "study", "run", str(tiny_file), "--runs", str(runs),
        "training.precision=fp32", *options,
    ]  # fmt: skip


@pytest.fixture
def interrupted(command: Callable[..., list[str]]) -> Callable[..., None]:
    """Send SIGINT to a study of two runs on an engine while both train, and check the outcome."""

    def check(runs: Path, *engine: str) -> None:
        options = ("seeds=[0, 1]", "training.steps=20000", "training.checkpoint_every=20000", *engine)
        process = subprocess.Popen(
            command(runs, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stderr is not None
        begun: set[str] = set()
        said = ""
        while process.poll() is None and len(begun) < 2:
            line = process.stderr.readline()
            said += line
            begun |= {line.split(":")[0]} if "computes in" in line else set()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, err = process.communicate(timeout=200)
        assert process.returncode == 130, said + err
        assert "the checkpoints of the running runs are written" in err
        assert "run the same command again to continue" in err
        assert "Traceback" not in err
        for seed in (0, 1):
            assert list((runs / "tiny").glob(f"street-scenes/model-1/seed{seed}/checkpoints/step-*"))
            assert not (runs / f"tiny/street-scenes/model-1/seed{seed}/failure.json").exists()

    return check


def _amount(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    result["training"] = {key: value for key, value in result["training"].items() if key not in VARYING}
    bundles = sorted(folder.glob("bundles/*/model.safetensors"))
    return {
        "files": sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and "tfevents" not in path.name
        ),
        "weights": {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundles},
        "confusion": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("confusion/*"))],
        "metrics": _rows(folder / "metrics.csv"),
        "result": {key: value for key, value in result.items() if key not in VARYING},
    }


def _rows(path: Path) -> list[list[str]]:
    """Return a table of metrics without its columns of times."""
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kept = [path for path, name in enumerate(rows[0]) if "second" not in name]
    return [[row[path] for path in kept] for row in rows]
