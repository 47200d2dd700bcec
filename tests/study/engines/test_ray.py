"""Ray has the same results as one process, also if a worker or the whole cluster is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import EnvironmentProblem, UsageError
from segmi.records import RunFolder, lock_holder
from segmi.report import write_report
from segmi.study.engines import Ray
from segmi.study.engines.ray import check_room
from segmi.study.events import StudyEvent
from segmi.study.run import run_study
from segmi.study.run_config import Run, RunConfig, TrainingSection
from segmi.study.schema import Study
from segmi.study.study_file import load_study


@pytest.mark.slow
def test_ray_has_same_results_when_worker_is_killed(
    study_of: Callable[..., Study], outcome_of: Callable[[Path], Any], killer: Callable[..., Any], tmp_path: Path
) -> None:
    study = study_of("training.steps=40", "seeds=[0, 1, 2]")
    run_study(study, tmp_path / "here")
    kill, addresses = killer(seed=1, times=1), set()

    def poll(event: StudyEvent) -> None:
        import ray

        addresses.update(node["NodeManagerAddress"] for node in ray.nodes())
        kill(event)

    outcome = run_study(study, tmp_path / "ray", engine=Ray(retries=1), listener=poll)
    assert sorted(outcome.finished) == [f"street-scenes/model-1/seed{seed}" for seed in (0, 1, 2)]
    assert addresses == {"127.0.0.1"}
    assert [note for note in kill.notes if "crashed" in note and "retry 1 of 1" in note]
    record = tmp_path / "ray/tiny/street-scenes/model-1/seed1/crashes.json"
    assert len(RunFolder(record.parent).crashes()) == 1
    record.unlink()
    assert outcome_of(tmp_path / "ray") == outcome_of(tmp_path / "here")
    assert [path.name for path in (tmp_path / "ray/tiny").iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_run_fails_with_output_after_all_retries(
    study_of: Callable[..., Study], killer: Callable[..., Any], tmp_path: Path
) -> None:
    study = study_of("training.steps=40", "seeds=[0, 1]")
    outcome = run_study(study, tmp_path, engine=Ray(retries=1), listener=killer(seed=1, times=2))
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    failure = outcome.failed["street-scenes/model-1/seed1"]
    assert failure["type"] == "WorkerCrashed"
    assert "in each of 2 tries" in failure["message"]


@pytest.mark.slow
def test_ctrl_c_ends_all_runs_after_checkpoints(interrupted: Callable[..., None], tmp_path: Path) -> None:
    interrupted(tmp_path, "--engine", "ray", "--jobs", "2", "--cpus", "0.5")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_study_process_ends_runs_and_can_be_resumed(
    study_of: Callable[..., Study], command: Callable[..., list[str]], outcome_of: Callable[..., Any], tmp_path: Path
) -> None:
    settings = ("training.steps=1500", "training.validate_every=500", "training.checkpoint_every=20")
    run_study(study_of(*settings), tmp_path / "here")
    line = command(tmp_path / "ray", *settings, "--engine", "ray")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert first.stderr is not None
    folder = tmp_path / "ray/tiny/street-scenes/model-1/seed0"
    while first.poll() is None and not list(folder.glob("checkpoints/step-*")):
        time.sleep(0.1)
    first.kill()
    first.communicate(timeout=60)
    until = time.monotonic() + 60
    while lock_holder(folder) is not None and time.monotonic() < until:
        time.sleep(0.1)
    assert lock_holder(folder) is None
    assert RunFolder(folder).state() == "unfinished"
    again = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert outcome_of(tmp_path / "ray") == outcome_of(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_has_same_results_on_ray(outcome_of: Callable[[Path], Any], tmp_path: Path) -> None:
    """All methods and datasets of the demo, each smaller and shorter than in the file."""
    file = Path(__file__).parents[3] / "studies/demo.yaml"
    overrides = [
        "training.steps=20", "training.validate_every=10", "samples=1",
        "datasets.street-scenes.train=24", "datasets.street-scenes.val=4",
        "datasets.object-scenes.train=24", "datasets.object-scenes.val=4",
    ]  # fmt: skip
    study = load_study(file, overrides)
    assert len(run_study(study, tmp_path / "here").finished) == 6
    assert len(run_study(study, tmp_path / "ray", engine=Ray()).finished) == 6
    assert outcome_of(tmp_path / "ray") == outcome_of(tmp_path / "here")
    for root in (tmp_path / "here", tmp_path / "ray"):
        write_report(root / "demo")
    tables = [
        {path.name: path.read_bytes() for path in (root / "demo/report").glob("*.csv")}
        for root in (tmp_path / "here", tmp_path / "ray")
    ]
    assert tables[0] == tables[1]
    assert "table1.csv" in tables[0]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Head:
    """Ray cluster of this machine, started with ``ray start --head``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "5e9" * 16, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port", str(self.port),
            "--num-cpus", "2", "--include-dashboard=false", "--disable-usage-stats", "--temp-dir", str(self.folder),
            "--ray-client-server-port", str(free_port()),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = ""
        while "--block" not in said:
            line = self.process.stdout.readline()
            assert line, said
            said += line

    def kill(self) -> None:
        """Send SIGKILL to all processes of the session."""
        if self.process is None:
            return
        listing = subprocess.run(["ps", "-eo", "pid=,sess="], capture_output=True, text=True, check=True).stdout
        for pid, session in (map(int, line.split()) for line in listing.splitlines()):
            if session == self.process.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def head() -> Iterator[Head]:
    head = Head(Path(tempfile.mkdtemp(prefix="segmi-head-", dir="/tmp")))
    yield head
    head.kill()
    shutil.rmtree(head.folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_restarted_head_loses_only_steps_since_checkpoint(
    head: Head, study_of: Callable[..., Study], command: Callable[..., list[str]], outcome_of: Callable[..., Any],
    tmp_path: Path,
) -> None:  # fmt: skip
    study = study_of("training.steps=300", "seeds=[0, 1]")
    run_study(study, tmp_path / "here")
    head.start()
    line = command(
        tmp_path / "ray", "training.steps=300", "seeds=[0, 1]", "--engine", "ray", "--jobs", "1",
        "--address", f"127.0.0.1:{head.port}",
    )  # fmt: skip
    first = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=head.environment)
    assert first.stderr is not None
    said = ""
    while "computes in" not in said:
        event = first.stderr.readline()
        assert event, said
        said += event
    head.kill()
    _, err = first.communicate(timeout=200)
    assert first.returncode == 5, err
    assert "the Ray cluster does not respond" in err
    assert "run the same command again" in err
    head.start()
    again = subprocess.run(line, capture_output=True, text=True, env=head.environment, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    for record in (tmp_path / "ray").rglob("crashes.json"):
        record.unlink()
    assert outcome_of(tmp_path / "ray") == outcome_of(tmp_path / "here")


def test_invalid_counts_and_addresses_are_refused(study_of: Callable[..., Study], tmp_path: Path) -> None:
    for options, message in [
        ({"jobs": 0}, "--jobs: expected 1 or more, got 0"),
        ({"retries": -1}, "--retries: expected 0 or more, got -1"),
        ({"cpus": 0}, "--cpus: expected a number above 0, got 0"),
        ({"gpus": -1}, "--gpus: expected 0 or more, got -1"),
    ]:
        with pytest.raises(UsageError, match=re.escape(message)):
            Ray(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--address: expected HOST:PORT or auto, got 'ray://head:10001'"):
        run_study(study_of(), tmp_path, engine=Ray("ray://head:10001"))
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(EnvironmentProblem, match=rf"no Ray responds at {address}(.|\n)*ray start --head"):
        run_study(study_of(), tmp_path, engine=Ray(address))


class Machines:
    """Replacement for the module ``ray`` with a list of machines only."""

    def __init__(self, *machines: dict[str, float]) -> None:
        self.machines = machines

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": machine} for machine in self.machines] + [
            {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0}}
        ]


def test_run_too_large_for_every_machine_is_refused_or_waits(caplog: pytest.LogCaptureFixture) -> None:
    there = Machines({"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0})
    check_room(there, {"a": {"CPU": 4.0, "GPU": 0.0}, "b": {"CPU": 1.0, "GPU": 0.25}}, fixed=True)
    assert caplog.text == ""
    message = r"b needs 3 CPU cores and 1 GPUs, the machines have 4 and 0, 2 and 1(.|\n)*--cpus and --gpus"
    with pytest.raises(UsageError, match=message):
        check_room(there, {"b": {"CPU": 3.0, "GPU": 1.0}}, fixed=True)
    check_room(there, {"b": {"CPU": 3.0, "GPU": 1.0}}, fixed=False)
    assert "it waits until a larger machine joins the cluster" in caplog.text


@pytest.mark.parametrize(
    ("options", "training", "there", "expected"),
    [
        ({}, {}, {}, (2, 0)),
        ({}, {"threads": 4}, {"GPU": 8.0}, (4, 1)),
        ({}, {"device": "cpu"}, {"GPU": 8.0}, (2, 0)),
        ({"gpus": 0.25, "cpus": 1}, {"device": "cuda"}, {"GPU": 8.0}, (1, 0.25)),
    ],
)
def test_resources_reserved_for_run(
    options: dict[str, Any], training: dict[str, Any], there: dict[str, float], expected: tuple[float, float]
) -> None:
    run = Run(RunConfig.model_construct(training=TrainingSection(steps=1, **training)))
    needs = Ray(**options).needs(run, 2, there)
    assert (needs["CPU"], needs["GPU"]) == expected


def test_missing_ray_states_what_to_install(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match=r"not installed(.|\n)*segmi\[ray\]"):
        run_study(study_of(), tmp_path, engine=Ray())
