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


class Result(NamedTuple):
    """End of a command: exit code (negative signal number if it was killed) and output."""

    code: int
    text: str


class Child:
    """Running command."""

    def __init__(self, fork_server: ForkServer, pid: int, output: Path) -> None:
        self.pid, self._fork_server, self._output = pid, fork_server, output

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def wait(self) -> Result:
        return Result(self._fork_server.request({"wait": self.pid}), self.text)


class ForkServer:
    """Process that forks the commands."""

    def __init__(self, folder: Path) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        script = Path(__file__).with_name("fork_server.py")
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

    def request(self, request: Mapping[str, Any]) -> int:
        stdin = self._stream(self._process.stdin)
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return int(self._stream(self._process.stdout).readline())

    def start(self, arguments: Sequence[str], fault: str, environment: Mapping[str, str]) -> Child:
        self._count += 1
        output = self._folder / f"{self._count}.txt"
        output.touch()
        output.chmod(0o666)
        request = {"start": list(arguments), "output": str(output), "fault": fault, "environment": dict(environment)}
        return Child(self, self.request(request), output)

    def close(self) -> None:
        self._stream(self._process.stdin).close()
        self._process.wait(60)


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    fork_server = ForkServer(tmp_path_factory.mktemp("output"))
    yield fork_server
    fork_server.close()


class Workspace:
    """Folder with a study, its runs and its cache, and the commands on it."""

    def __init__(self, fork_server: ForkServer, root: Path) -> None:
        self._fork_server, self.root = fork_server, root
        self.study, self.runs, self.cache = root / "tiny.yaml", root / "runs", root / "cache"
        self.study.write_text(STUDY)

    def start(self, *words: str, fault: str = "", command: Sequence[str] = ("study", "run")) -> Child:
        arguments = [*command, str(self.study), *words, "--runs", str(self.runs)]
        return self._fork_server.start(arguments, fault, {"SEGMI_CACHE": str(self.cache)})

    def do(self, *words: str, fault: str = "", command: Sequence[str] = ("study", "run")) -> Result:
        return self.start(*words, fault=fault, command=command).wait()

    def anything(self, *arguments: str, fault: str = "") -> Result:
        return self._fork_server.start(arguments, fault, {"SEGMI_CACHE": str(self.cache)}).wait()

    def run(self, method: str = "one") -> Path:
        return self.runs / f"tiny/street-scenes/{method}/seed0"

    def failure(self, method: str = "one") -> dict[str, Any]:
        return json.loads((self.run(method) / "failure.json").read_text())

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.runs.rglob(".segmi-*")]


@pytest.fixture
def workspace(fork_server: ForkServer, tmp_path: Path) -> Workspace:
    return Workspace(fork_server, tmp_path)


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
def whole(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results of an undisturbed study."""
    workspace = Workspace(fork_server, tmp_path_factory.mktemp("whole"))
    ended = workspace.do()
    assert ended.code == 0, ended.text
    found = fingerprint(workspace.runs)
    assert len([name for name in found if name.endswith("result.json")]) == 2
    return found


@pytest.fixture
def ends_whole(workspace: Workspace, whole: dict[str, str]) -> Callable[..., Result]:
    """Run the same command again, and compare the results with the undisturbed study."""

    def again(*words: str) -> Result:
        ended = workspace.do(*words)
        assert ended.code == 0, ended.text
        assert "Traceback" not in ended.text
        assert fingerprint(workspace.runs) == whole
        assert not workspace.leftovers()
        assert not list(workspace.runs.rglob("run.lock"))
        return ended

    return again
