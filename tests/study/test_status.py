"""State of a run, read from its folder."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from segmi.errors import Diverged, RunError
from segmi.records import RunFolder, run_lock
from segmi.study.run_config import Run, RunConfig
from segmi.study.status import RunStatus, run_status


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "tiny/street-scenes/model-1/seed0")


def status(folder: RunFolder) -> RunStatus:
    return run_status(
        Run(RunConfig.model_construct(study="tiny", dataset="street-scenes", method="model-1", seed=0)), folder
    )


def test_pending_and_interrupted_runs(folder: RunFolder) -> None:
    assert status(folder).state == "pending"
    folder.path.mkdir(parents=True)
    (folder.path / "metrics.csv").write_text("step,train/loss\n2,0.5\n4,0.4\n")
    assert (status(folder).state, status(folder).step) == ("interrupted", 4)


def test_failed_run_shows_last_line_of_traceback(folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    folder.write_failure(RunError("out of memory at step 7\nwith more below", "use a smaller batch"))
    found = status(folder)
    assert (found.state, found.detail) == ("failed", "RunError: out of memory at step 7")
    assert f"{found.detail}" in (folder.failure() or {})["traceback"]
    folder.write_failure(Diverged("the loss is not finite at step 3"))
    assert (status(folder).state, status(folder).detail) == ("diverged", "Diverged: the loss is not finite at step 3")
    (folder.path / "failure.json").write_text("{")
    assert status(folder).state == "failed"


@pytest.mark.parametrize(("began", "least"), [(timedelta(hours=-3), 3 * 3600), (timedelta(days=1), 0)])
def test_running_run_shows_process_machine_and_time(folder: RunFolder, began: timedelta, least: float) -> None:
    with run_lock(folder.path) as path:
        holder = json.loads(path.read_text())
        path.write_text(json.dumps({**holder, "started": (datetime.now(UTC) + began).isoformat()}))
        found = status(folder)
    assert (found.state, found.pid, found.host) == ("running", os.getpid(), socket.gethostname())
    assert found.detail == f"process {os.getpid()} on {socket.gethostname()}"
    assert found.seconds is not None
    assert least <= found.seconds < least + 60  # a clock in the past does not give a negative age
    assert status(folder).state == "interrupted"


def test_crashes_are_shown_with_state(folder: RunFolder) -> None:
    folder.record_crash("the process of the run was ended by SIGKILL")
    assert (status(folder).state, status(folder).crashes, status(folder).detail) == (
        "interrupted", 1, "its process crashed 1 time",
    )  # fmt: skip
    folder.record_crash("the process of the run ended with exit code 1")
    folder.write_failure(RunError("it ended"))
    assert status(folder).detail == "RunError: it ended; its process crashed 2 times"
    (folder.path / "crashes.json").write_text("[]")
    assert status(folder).crashes == 0
