"""Faults that are injected into a process before it runs a command; their options are words."""

from __future__ import annotations

import functools
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def kill_at(workspace: str, number: str, when: str = "before") -> None:
    """Send SIGKILL before or after the call ``number`` of ``module:function`` or ``module:Class.method``."""
    _at(workspace, int(number), _kill, after=when == "after")


def kill_in_write(name: str, number: str) -> None:
    """Send SIGKILL when half of the file ``name`` is written for the ``number``-th time."""
    whole, calls = Path.write_bytes, iter(range(1, 10**6))

    def write(path: Path, data: bytes) -> int:
        if path.name != name or next(calls) < int(number):
            return whole(path, data)
        whole(path, data[: len(data) // 2])
        _kill()
        return 0

    Path.write_bytes = write  # type: ignore[method-assign]


def small_files(size: str) -> None:
    """Limit the size of files in bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))


def lose_images(folder: str) -> None:
    """Remove the images of a folder before the second step."""

    def lose() -> None:
        for path in Path(folder).iterdir():
            path.unlink()

    _at("segmi.training.session:Session.train_step", 2, lose)


def nobody_listens() -> None:
    """Close the readers of stdout and stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(writer, descriptor)
        # opened anew, since the stream of a file expects to seek; it stays open until the process ends
        setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115


def fill_at(workspace: str, number: str, folder: str) -> None:
    """Fill the disk of a folder before the call ``number``."""

    def fill() -> None:
        with (Path(folder) / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    _at(workspace, int(number), fill)


def out_of_memory(number: str) -> None:
    """Allocate more memory than any machine has, in step ``number`` of each run with a network of width 3."""
    import torch

    from segmi.training.session import Session

    real = Session._gradient

    def gradient(session: Session, group: Any, *rest: Any) -> Any:
        wide = next(session.cohort.parameters()).shape[0] == 3
        if wide and session.step + 1 == int(number):
            torch.empty(2**55, dtype=torch.uint8)
        return real(session, group, *rest)

    Session._gradient = gradient  # type: ignore[method-assign]


def kill_readers(number: str) -> None:
    """Send SIGKILL to all image workers before step ``number``."""
    _at("segmi.training.session:Session.train_step", int(number), _kill_readers)


def jumping_clock() -> None:
    """Move the clock a year back or forth at each reading."""
    real, looks = time.time, iter(range(10**9))

    def jumped() -> float:
        return real() + (-1) ** next(looks) * 365 * 86400.0

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(jumped(), tz)

    time.time = jumped
    time.time_ns = lambda: int(jumped() * 1e9)
    for module in ("segmi.records.lock", "segmi.datasets.cache.store"):
        importlib.import_module(module).datetime = Jumping  # type: ignore[attr-defined]
    assert abs((Jumping.now(UTC) - datetime.now(UTC)) / timedelta(days=1)) > 300


def jumping_clock_and_kill(workspace: str, number: str) -> None:
    """Apply both faults."""
    jumping_clock()
    kill_at(workspace, number)


def _at(workspace: str, number: int, act: Callable[[], object], *, after: bool = False) -> None:
    module, _, path = workspace.partition(":")
    *outer, name = path.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    real, calls = getattr(owner, name), iter(range(1, 10**9))

    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        due = next(calls) == number
        if due and not after:
            act()
        result = real(*args, **kwargs)
        if due and after:
            act()
        return result

    setattr(owner, name, wrapped)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_readers() -> None:
    """Return the image workers: children of the fork server, which is a child of this process."""
    servers = [pid for pid, parent, words in _processes() if parent == os.getpid() and "forkserver" in words]
    readers = [pid for pid, parent, _ in _processes() if parent in servers]
    assert readers
    for pid in readers:
        os.kill(pid, signal.SIGKILL)


def _processes() -> list[tuple[int, int, str]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.append((int(folder.name), parent, (folder / "cmdline").read_bytes().decode(errors="replace")))
        except OSError:
            continue
    return found
