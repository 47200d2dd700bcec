"""One holder per folder, and none longer than it lives."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segmi.errors import EnvironmentProblem
from segmi.records import lock
from segmi.records.lock import LOCK_NAME, lock_holder, run_lock
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


@pytest.fixture(params=["system", "text"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system's locks, and without."""
    if request.param == "text":
        monkeypatch.setattr(lock, "fcntl", None)
    elif lock.fcntl is None:
        pytest.skip("no flock here")
    return str(request.param)


def test_the_lock_says_who_holds_it_and_goes_with_the_block(tmp_path: Path, way: str) -> None:
    with run_lock(tmp_path / "run") as path:
        holder = json.loads(path.read_text())
        assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
        assert holder["process_start"] == process_start(os.getpid())
        assert lock_holder(tmp_path / "run") == holder
    assert list((tmp_path / "run").iterdir()) == []
    assert lock_holder(tmp_path / "run") is None


def test_a_second_holder_in_the_same_process_is_refused(tmp_path: Path, way: str) -> None:
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


def write_stale(folder: Path, **changes: object) -> None:
    stale = {"pid": 999_999_999, "host": socket.gethostname(), "started": "2026-01-01T00:00:00+00:00", **changes}
    (folder / LOCK_NAME).write_text(json.dumps(stale))


def test_a_dead_pid_is_reclaimed(tmp_path: Path, way: str) -> None:
    write_stale(tmp_path)
    with run_lock(tmp_path):
        pass


def test_a_pid_used_again_is_not_taken_for_the_holder(tmp_path: Path, way: str) -> None:
    write_stale(tmp_path, pid=os.getpid(), process_start="12")
    assert is_running(os.getpid())
    assert not is_running(os.getpid(), "12")
    with run_lock(tmp_path):
        pass


def test_without_system_locks_another_host_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    write_stale(tmp_path, host="elsewhere")
    with pytest.raises(EnvironmentProblem, match="999999999 on elsewhere"), run_lock(tmp_path):
        pass


def test_a_half_written_text_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text('{"pid": 1')
    with run_lock(tmp_path):
        pass


def compete(folder: str, text_only: bool, out: multiprocessing.SimpleQueue[str]) -> None:
    if text_only:
        lock.fcntl = None  # type: ignore[assignment]
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


@pytest.mark.parametrize("text_only", [False, True])
def test_reclaimers_never_hold_it_together(tmp_path: Path, text_only: bool) -> None:
    write_stale(tmp_path)
    context = multiprocessing.get_context("fork")
    out = context.SimpleQueue()
    crowd = [context.Process(target=compete, args=(str(tmp_path), text_only, out)) for _ in range(3)]
    for process in crowd:
        process.start()
    answers = [out.get() for _ in crowd]
    for process in crowd:
        process.join()
    assert answers == ["ok"] * 3


def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
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
