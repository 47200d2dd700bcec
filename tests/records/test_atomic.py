"""Atomic writes: kills, crashes between two steps, full disks and read-only folders."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segmi.errors import EnvironmentProblem
from segmi.records import atomic
from segmi.records.atomic import (
    RETIRED_PREFIX,
    TEMPORARY_PREFIX,
    atomic_folder,
    atomic_path,
    atomic_write,
    sweep,
)
from segmi.records.disk_errors import environment_problem

DEAD = "999999999-1"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_while_writing(target: Path, error: Exception, needed: int | None = None) -> None:
    with atomic_path(target, needed=needed) as temporary:
        temporary.write_bytes(b"part")
        raise error


def test_write_replaces_the_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result.json"
    atomic_write(target, "first, longer than the second")
    assert atomic_write(target, b"\x00second") == target
    assert target.read_bytes() == b"\x00second"
    assert names(target.parent) == ["result.json"]


def test_the_order_is_write_sync_replace_sync_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("sync folder" if path.is_dir() else f"sync file of {path.stat().st_size} bytes")
        real_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        steps.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to name a descriptor")
    atomic_write(tmp_path / "a", "12345")
    assert steps == ["sync file of 5 bytes", "replace", "sync folder"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    target = atomic_write(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(target, ZeroDivisionError())
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_name_ends_as_the_target_does(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "figure.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.touch()


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nothing was written"), atomic_path(tmp_path / "a"):
        pass


_WRITER = """
import sys
from pathlib import Path
from segmi.records.atomic import atomic_folder, atomic_write
folder = Path(sys.argv[1])
print("ready", flush=True)
n = 0
while True:
    n += 1
    atomic_write(folder / "file", bytes([n % 251]) * 300_000)
    with atomic_folder(folder / "bundle", replace=True) as inner:
        for part in "ab":
            (inner / part).write_bytes(bytes([n % 251]) * 50_000)
"""


def test_sigkill_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    chance = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.01, 0.12))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        sweep(tmp_path)
        assert set(names(tmp_path)) <= {"file", "bundle"}
        for group in ([tmp_path / "file"], [tmp_path / "bundle" / "a", tmp_path / "bundle" / "b"]):
            if group[0].parent.exists() and group[0].exists():
                content = b"".join(path.read_bytes() for path in group)
                assert len(set(content)) == 1
                assert len(content) == 300_000 if len(group) == 1 else 100_000


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_crash_at_the_rename_leaves_old_or_new(tmp_path: Path, step: str) -> None:
    target = atomic_write(tmp_path / "a.txt", "old")
    child = os.fork()
    if child == 0:
        real = os.replace

        def crash(source: str, goal: str) -> None:
            if step == "after":
                real(source, goal)
            os._exit(9)

        os.replace = crash  # type: ignore[assignment]
        atomic_write(target, "new")
        os._exit(0)
    os.waitpid(child, 0)
    assert target.read_text() == {"before": "old", "after": "new"}[step]
    left = [name for name in names(tmp_path) if name.startswith(TEMPORARY_PREFIX)]
    assert len(left) == (1 if step == "before" else 0)
    assert len(sweep(tmp_path)) == len(left)
    assert names(tmp_path) == ["a.txt"]


def test_sweep_keeps_files_of_running_processes_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{TEMPORARY_PREFIX}{DEAD}-ab.json").touch()
    (tmp_path / f"{TEMPORARY_PREFIX}{DEAD}-cd").mkdir()
    (tmp_path / "result.json").touch()
    with atomic_path(tmp_path / "live") as temporary:
        temporary.write_text("x")
        assert len(sweep(tmp_path)) == 2
    assert names(tmp_path) == ["live", "result.json", "sub"]
    assert names(tmp_path / "sub") == []


def test_folder_is_whole_and_refuses_to_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with atomic_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("1")
        assert not target.exists()
    assert (target / "deep" / "a").read_text() == "1"
    with pytest.raises(FileExistsError), atomic_folder(target):
        pass
    with atomic_folder(target, replace=True) as folder:
        (folder / "b").write_text("2")
    assert names(target) == ["b"]
    assert names(tmp_path) == ["bundle"]


def test_an_interrupted_replacement_is_restored(tmp_path: Path) -> None:
    retired = tmp_path / f"{RETIRED_PREFIX}{DEAD}-ab-bundle"
    retired.mkdir()
    (retired / "a").write_text("old")
    sweep(tmp_path)
    assert (tmp_path / "bundle" / "a").read_text() == "old"
    retired.mkdir()
    with atomic_folder(tmp_path / "bundle", replace=True) as folder:
        (folder / "a").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / "a").read_text() == "new"


def test_a_failed_rename_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "bundle") as folder:
        (folder / "a").write_text("old")
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(source).name.startswith(TEMPORARY_PREFIX):
            raise OSError(errno.EIO, "broken disk")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with (
        pytest.raises(EnvironmentProblem, match=r"bundle: Input/output error\n.*check the disk"),
        atomic_folder(tmp_path / "bundle", replace=True) as folder,
    ):
        (folder / "a").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / "a").read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_reported_with_both_numbers(tmp_path: Path, error: Exception) -> None:
    target = atomic_write(tmp_path / "last.safetensors", "good")
    with pytest.raises(EnvironmentProblem) as caught:
        fail_while_writing(target, error, needed=12_345_678)
    text = str(caught.value)
    assert "no space left to write" in text
    assert str(target) in text
    assert "12,345,678 bytes are needed" in text
    assert "bytes are available" in text
    assert "free space" in text
    assert target.read_text() == "good"
    assert names(tmp_path) == [target.name]


def test_other_errors_are_unchanged(tmp_path: Path) -> None:
    assert environment_problem(ValueError("no"), tmp_path / "a") is None
    with pytest.raises(ValueError, match="no"), atomic_path(tmp_path / "a"):
        raise ValueError("no")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Change to an unprivileged user, because root can write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("write", [lambda p: atomic_write(p, "x"), lambda p: atomic_folder(p).__enter__()])
def test_a_folder_without_permission(tmp_path: Path, write: Callable[[Path], object]) -> None:
    for parent in [tmp_path, *list(tmp_path.parents)[:3]]:
        if parent.stat().st_uid == os.geteuid() and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)  # accessible for the unprivileged user
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    with as_nobody(), pytest.raises(EnvironmentProblem) as caught:
        write(folder / "result.json")
    assert f"cannot write {folder / 'result.json'}" in str(caught.value)
    assert "Permission denied" in str(caught.value)
    assert "writable" in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can change to a user without permission"
)
def test_a_folder_without_read_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with as_nobody(), pytest.raises(EnvironmentProblem, match=r"cannot write .*Permission denied"):
        atomic_write(tmp_path / "inside" / "result.json", "x")


@pytest.mark.parametrize("small_disk", ["256k"], indirect=True)
def test_a_full_file_system(small_disk: Path) -> None:
    target = atomic_write(small_disk / "last", b"good")
    with pytest.raises(EnvironmentProblem, match="no space left"):
        atomic_write(target, b"x" * 1_000_000)
    with pytest.raises(EnvironmentProblem, match="no space left"), atomic_folder(small_disk / "bundle") as folder:
        (folder / "model").write_bytes(b"x" * 1_000_000)
    assert target.read_bytes() == b"good"
    assert names(small_disk) == ["last"]
    atomic_write(target, b"y" * 100_000)


def test_free_space_is_read_before_the_temporary_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([7, 10**9])
    monkeypatch.setattr(atomic, "free_bytes", lambda path: next(free))
    with pytest.raises(EnvironmentProblem, match="7 bytes are available"):
        fail_while_writing(tmp_path / "a", OSError(errno.ENOSPC, "No space left on device"))
