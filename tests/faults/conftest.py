"""Commands in separate processes with injected faults, and the undisturbed run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

STUDY = """\
name: tiny
datasets:
  street-scenes: {train: 8, val: 3, height: 40, width: 48}
processing: {resize: 36, crop: 32}
training: {steps: 8, batch_size: 2, learning_rate: 1e-3, holdout: 0.25, checkpoint_every: 2, precision: fp32}
samples: 1
methods:
  one: {networks: {unet: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}
  two: {networks: {unet: {architecture: unet, width: 3}}, loss: {cross_entropy: {}}}
"""


class Ended(NamedTuple):
    """End of a command: exit code (negative signal number if it was killed) and output."""

    code: int
    said: str


class Child:
    """Running command."""

    def __init__(self, nursery: Nursery, pid: int, output: Path) -> None:
        self.pid, self._nursery, self._output = pid, nursery, output

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def wait(self) -> Ended:
        return Ended(self._nursery.ask({"wait": self.pid}), self.said)


class Nursery:
    """Process that forks the commands."""

    def __init__(self, folder: Path) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        script = Path(__file__).with_name("nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **threads},
        )  # fmt: skip
        self._folder, self._count = folder, 0
        assert self._stream(self._process.stdout).readline() == "ready\n"

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream

    def ask(self, order: Mapping[str, Any]) -> int:
        stdin = self._stream(self._process.stdin)
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        return int(self._stream(self._process.stdout).readline())

    def start(self, arguments: Sequence[str], fault: str, environment: Mapping[str, str]) -> Child:
        self._count += 1
        output = self._folder / f"{self._count}.txt"
        output.touch()
        output.chmod(0o666)
        order = {"start": list(arguments), "output": str(output), "fault": fault, "environment": dict(environment)}
        return Child(self, self.ask(order), output)

    def close(self) -> None:
        self._stream(self._process.stdin).close()
        self._process.wait(60)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("said"))
    yield nursery
    nursery.close()


class Place:
    """Folder with a study, its runs and its cache, and the commands on it."""

    def __init__(self, nursery: Nursery, root: Path) -> None:
        self._nursery, self.root = nursery, root
        self.study, self.runs, self.cache = root / "tiny.yaml", root / "runs", root / "cache"
        self.study.write_text(STUDY)

    def start(self, *words: str, fault: str = "", command: Sequence[str] = ("study", "run")) -> Child:
        arguments = [*command, str(self.study), *words, "--runs", str(self.runs)]
        return self._nursery.start(arguments, fault, {"SEGMI_CACHE": str(self.cache)})

    def do(self, *words: str, fault: str = "", command: Sequence[str] = ("study", "run")) -> Ended:
        return self.start(*words, fault=fault, command=command).wait()

    def anything(self, *arguments: str, fault: str = "") -> Ended:
        return self._nursery.start(arguments, fault, {"SEGMI_CACHE": str(self.cache)}).wait()

    def run(self, method: str = "one") -> Path:
        return self.runs / f"tiny/street-scenes/{method}/seed0"

    def failure(self, method: str = "one") -> dict[str, Any]:
        return json.loads((self.run(method) / "failure.json").read_text())

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.runs.rglob(".segmi-*")]


@pytest.fixture
def place(nursery: Nursery, tmp_path: Path) -> Place:
    return Place(nursery, tmp_path)


def fingerprint(runs: Path) -> dict[str, str]:
    """Return all results of a study except times and the machine."""
    found = {}
    study = runs / "tiny"
    for pattern in ("*/*/*/metrics.csv", "*/*/*/confusion/*", "*/*/*/samples/*", "*/*/*/bundles/*/*", "report/*.csv"):
        for path in study.glob(pattern):
            found[str(path.relative_to(study))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in study.glob("*/*/*/result.json"):
        result = json.loads(path.read_text())
        result.pop("usage", None)  # sessions, seconds and memory
        del result["environment"], result["training"]["wall_seconds"]
        found[str(path.relative_to(study))] = json.dumps(result, sort_keys=True)
    return found


@pytest.fixture(scope="session")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results of an undisturbed study."""
    place = Place(nursery, tmp_path_factory.mktemp("whole"))
    ended = place.do()
    assert ended.code == 0, ended.said
    found = fingerprint(place.runs)
    assert len([name for name in found if name.endswith("result.json")]) == 2
    return found


@pytest.fixture
def ends_whole(place: Place, whole: dict[str, str]) -> Callable[..., Ended]:
    """Run the same command again, and compare the results with the undisturbed study."""

    def again(*words: str) -> Ended:
        ended = place.do(*words)
        assert ended.code == 0, ended.said
        assert "Traceback" not in ended.said
        assert fingerprint(place.runs) == whole
        assert not place.leftovers()
        assert not list(place.runs.rglob("run.lock"))
        return ended

    return again
