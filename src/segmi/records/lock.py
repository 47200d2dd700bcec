"""Exclusive use of a run folder by one process, by a lock file that names its holder.

The system releases ``flock`` when the process ends. Without ``flock`` (Windows, some NFS mounts), the existence of the
file is the lock, and the lock of a process of this host that no longer runs is taken over.
"""

from __future__ import annotations

import errno
import json
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import BaseFileLock, FileLock, MarkerSoftFileLock, Timeout

from segmi.errors import EnvironmentProblem
from segmi.records.disk_errors import environment_problem
from segmi.records.process import is_running, process_start

LOCK_NAME: Final = "run.lock"

# Seconds to wait for a busy lock: ``lock_holder`` of another process takes it for an instant.
_PATIENCE: Final = 0.3
# The same for a soft lock: filelock takes over an unreadable marker after 2 seconds without a change.
_SOFT_PATIENCE: Final = 2.5

_NO_FLOCK: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class LockedError(EnvironmentProblem):
    """A folder that another process holds; ``holder`` names the process, for messages."""

    def __init__(self, message: str, remedy: str | None = None, *, holder: str = "another process") -> None:
        super().__init__(message, remedy)
        self.holder = holder


@contextmanager
def run_lock(
    folder: str | Path, *, patience: float = 0.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[Path]:
    """Hold a run folder, so that no second process writes into it; yields the path of the lock file.

    Args:
        folder: the run folder, created if missing.
        patience: seconds to wait while another process holds it; ``math.inf`` waits without limit.
        on_wait: called once before waiting, with the process that holds the folder.

    Raises:
        LockedError: another process holds it (names its pid, host and start).
        EnvironmentProblem: the folder is not writable.

    Example:
        >>> import tempfile
        >>> with run_lock(tempfile.mkdtemp()) as path:
        ...     path.name, json.loads(path.read_text())["pid"] == os.getpid()
        ('run.lock', True)
    """
    path = Path(folder) / LOCK_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _acquire(path)
        except Timeout:
            if patience <= 0:
                raise
            if on_wait is not None:
                on_wait(_holder_text(path))
            lock = _acquire(path, patience=-1 if patience == math.inf else patience)
    except Timeout:
        message = f"the run folder {path.parent} is in use by {_holder_text(path, since=True)}"
        remedy = f"wait for it to end or stop it; delete {path} only if the process certainly no longer runs"
        raise LockedError(message, remedy, holder=_holder_text(path)) from None
    except OSError as error:
        problem = environment_problem(error, path)
        if problem is None:
            raise
        raise problem from error
    try:
        yield path
    finally:
        _release(lock)


def lock_holder(folder: str | Path) -> dict[str, Any] | None:
    """Return the pid, host and start of the process that holds a run folder; None if it is free.

    Example:
        >>> lock_holder("no/such/folder") is None
        True
    """
    path = Path(folder) / LOCK_NAME
    if not path.is_file():
        return None
    try:
        _release(_acquire(path, patience=0, write=False))
    except Timeout:
        return _read_holder(path)
    except OSError:  # no permission to write: only the text is left to judge by
        holder = _read_holder(path)
        here = holder.get("host") == socket.gethostname() and isinstance(holder.get("pid"), int)
        return None if here and not is_running(holder["pid"], holder.get("process_start")) else holder
    return None


def _acquire(path: Path, *, patience: float | None = None, write: bool = True) -> BaseFileLock:
    """Acquire the lock; raises `Timeout` if another process holds it."""
    common: dict[str, Any] = {"poll_interval": 0.02, "thread_local": False}
    if sys.platform != "win32":  # Windows locks the bytes of the file, which hides the text from other processes
        try:
            lock: BaseFileLock = FileLock(
                path, _PATIENCE if patience is None else patience, fallback_to_soft=False,
                on_acquired=_write_holder if write else None, **common,
            )  # fmt: skip
            lock.acquire()
            return lock
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in _NO_FLOCK:
                raise
    lock = MarkerSoftFileLock(path, _SOFT_PATIENCE if patience is None else patience, **common)
    lock.acquire()
    return lock


def _release(lock: BaseFileLock) -> None:
    if lock.is_locked:  # False in a forked child, where the lock remains with the parent
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: a waiting process notices its absence
        lock.release()


def _write_holder(descriptor: int) -> None:
    holder = {
        "schema_version": 1, "pid": os.getpid(), "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "process_start": process_start(os.getpid()),
    }  # fmt: skip
    # The file may contain the longer text of an earlier holder.
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(holder, indent=1).encode())


def _read_holder(path: Path) -> dict[str, Any]:
    """Return the content of the lock file; empty if it is unreadable or being written."""
    owner = MarkerSoftFileLock(path).owner
    try:
        if owner is not None:
            started = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
            return {"pid": owner.pid, "host": owner.hostname.partition("?")[0], "started": started}
        with path.open("rb") as file:
            holder = json.loads(file.read(4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _holder_text(path: Path, *, since: bool = False) -> str:
    holder = _read_holder(path)
    if not holder.get("pid"):
        return "another process"
    text = f"process {holder['pid']} on {holder.get('host', 'an unknown host')}"
    return f"{text}, which started at {holder.get('started', 'an unknown time')}" if since else text
