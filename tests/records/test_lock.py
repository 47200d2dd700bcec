"""One holder per folder; the lock of a process that ended is free."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from filelock._identity import host_name

from segmi.errors import EnvironmentProblem
from segmi.records import lock
from segmi.records.lock import LOCK_NAME, LockedError, lock_holder, run_lock
from segmi.records.process import is_running, process_start

_HOLDER = """
import sys, time
from segmi.records.lock import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def no_flock(*_: object, **__: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.fixture(params=["flock", "soft"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with ``flock``, and one without."""
    if request.param == "soft":
        monkeypatch.setattr(lock, "FileLock", no_flock)
    elif sys.platform == "win32":
        pytest.skip("no flock on Windows")
    return str(request.param)


def test_the_lock_names_its_holder_and_is_removed_after_the_block(tmp_path: Path, kind: str) -> None:
    with run_lock(tmp_path / "run") as path:
        holder = lock_holder(tmp_path / "run")
        assert holder is not None
        assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
        assert abs(datetime.fromisoformat(holder["started"]).timestamp() - time.time()) < 60
        if kind == "flock":
            assert holder == json.loads(path.read_text())
            assert holder["process_start"] == process_start(os.getpid())
    assert list((tmp_path / "run").iterdir()) == []
    assert lock_holder(tmp_path / "run") is None


def test_a_patient_holder_waits(tmp_path: Path, kind: str) -> None:
    first = run_lock(tmp_path)
    first.__enter__()
    waited_for: list[str] = []
    release = threading.Timer(4.0, first.__exit__, (None, None, None))
    release.start()
    with run_lock(tmp_path, patience=60, on_wait=waited_for.append):
        assert lock_holder(tmp_path) is not None
    release.join()
    assert len(waited_for) == 1
    assert waited_for[0].startswith(f"process {os.getpid()} on ")


def test_patience_ends(tmp_path: Path, kind: str) -> None:
    with run_lock(tmp_path):
        with pytest.raises(LockedError, match="in use by process") as caught, run_lock(tmp_path, patience=0.2):
            pass
        assert caught.value.holder.startswith(f"process {os.getpid()} on ")


def test_a_second_holder_in_the_same_process_is_refused(tmp_path: Path, kind: str) -> None:
    with run_lock(tmp_path), pytest.raises(EnvironmentProblem, match="in use by process"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass


def test_two_processes_and_a_killed_holder(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        with pytest.raises(EnvironmentProblem) as caught, run_lock(tmp_path):
            pass
        text = str(caught.value)
        started = json.loads((tmp_path / LOCK_NAME).read_text())["started"]
        for part in (str(tmp_path), f"process {holder.pid}", socket.gethostname(), started, "wait for it to end"):
            assert part in text
        assert caught.value.exit_code == 5
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    assert (tmp_path / LOCK_NAME).exists()
    assert lock_holder(tmp_path) is None
    with run_lock(tmp_path) as path:
        assert json.loads(path.read_text())["pid"] == os.getpid()


def write_stale(folder: Path, kind: str, *, pid: int = 999_999_999, host: str = "", start: int = 12) -> None:
    host = host or (socket.gethostname() if kind == "flock" else host_name())
    text = json.dumps({"pid": pid, "host": host, "started": "2026-01-01T00:00:00+00:00", "process_start": f"{start}"})
    marker = f"filelock/2\npid={pid}\nhost={host}\nmode=exclusive\nstart={start}\n"
    (folder / LOCK_NAME).write_text(text if kind == "flock" else marker)


def test_a_dead_pid_is_reclaimed(tmp_path: Path, kind: str) -> None:
    write_stale(tmp_path, kind)
    assert lock_holder(tmp_path) is None
    with run_lock(tmp_path):
        pass


def test_a_reused_pid_is_not_taken_for_the_holder(tmp_path: Path, kind: str) -> None:
    write_stale(tmp_path, kind, pid=os.getpid())
    assert is_running(os.getpid())
    assert not is_running(os.getpid(), "12")
    with run_lock(tmp_path):
        pass


def test_without_flock_the_lock_of_another_host_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FileLock", no_flock)
    write_stale(tmp_path, "soft", host="elsewhere")
    assert lock_holder(tmp_path) is not None
    with pytest.raises(EnvironmentProblem, match="999999999 on elsewhere"), run_lock(tmp_path):
        pass


def test_an_incomplete_text_does_not_block(tmp_path: Path, kind: str) -> None:
    (tmp_path / LOCK_NAME).write_text('{"pid": 1')
    with run_lock(tmp_path):
        pass


def compete(folder: str, soft: bool, out: multiprocessing.SimpleQueue[str]) -> None:
    if soft:
        lock.FileLock = no_flock  # type: ignore[assignment, misc]
    for _ in range(40):
        try:
            with run_lock(folder):
                marker = Path(folder) / "inside"
                descriptor = os.open(marker, os.O_CREAT | os.O_EXCL)  # fails if another one is inside
                os.close(descriptor)
                marker.unlink()
        except EnvironmentProblem:
            pass
        except Exception as error:
            out.put(repr(error))
            return
    out.put("ok")


@pytest.mark.parametrize("soft", [False, True])
def test_competing_processes_never_hold_it_together(tmp_path: Path, soft: bool) -> None:
    write_stale(tmp_path, "soft" if soft else "flock")
    context = multiprocessing.get_context("fork")
    out = context.SimpleQueue()
    crowd = [context.Process(target=compete, args=(str(tmp_path), soft, out)) for _ in range(3)]
    for process in crowd:
        process.start()
    answers = [out.get() for _ in crowd]
    for process in crowd:
        process.join()
    assert answers == ["ok"] * 3


def test_a_forked_child_does_not_hold_it(tmp_path: Path) -> None:
    ready, done = os.pipe(), os.pipe()
    with run_lock(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    with run_lock(tmp_path):
        pass
    os.write(done[1], b"x")
    os.waitpid(child, 0)
