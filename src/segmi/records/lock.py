"""One process per run folder: a lock that names its holder and dies with it."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem
from segmi.records.atomic import environment_problem
from segmi.records.process import is_running, process_start

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME: Final = "run.lock"

_held: set[int] = set()  # descriptors of this process's locks; a forked child closes them, so that they die with us


@contextmanager
def run_lock(folder: str | Path) -> Iterator[Path]:
    """Hold a run folder, so that no second process writes into it.

    The system's own lock on the file decides, which ends with its process however that ends; the JSON text in the
    file (pid, host, start) is for the message. Where the file system offers no such lock, the text decides, and the
    lock of a dead process of this host is taken over.

    Args:
        folder: the run folder, made if missing.

    Raises:
        EnvironmentProblem: another process holds it, naming its pid, host and start; or the folder is not writable.

    Example:
        >>> import tempfile
        >>> with run_lock(tempfile.mkdtemp()) as path:
        ...     path.name, json.loads(path.read_text())["pid"] == os.getpid()
        ('run.lock', True)
    """
    path = Path(folder) / LOCK_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _take(path)
    except OSError as error:
        problem = environment_problem(error, path)
        if problem is None:
            raise
        raise problem from error
    _held.add(descriptor)
    try:
        yield path
    finally:
        if descriptor in _held:  # not in a forked child, where the lock stays the parent's
            _held.discard(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)  # while it is still held: whoever waits on it sees a file that is gone
            os.close(descriptor)


def lock_holder(folder: str | Path) -> dict[str, Any] | None:
    """What the lock of a run folder says about its holder; None if nobody holds it.

    Example:
        >>> lock_holder("no/such/folder") is None
        True
    """
    path = Path(folder) / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        holder = _read(descriptor)
        if fcntl is not None and _flock(descriptor, fcntl.LOCK_SH):
            return None
    except _NoSystemLocksError:
        pass
    finally:
        os.close(descriptor)
    return None if _is_stale(holder) else holder


class _NoSystemLocksError(Exception):
    """The platform or the file system has no ``flock``."""


def _take(path: Path) -> int:
    try:
        return _take_by_system(path)
    except _NoSystemLocksError:
        return _take_by_text(path)


def _take_by_system(path: Path) -> int:
    if fcntl is None:
        raise _NoSystemLocksError
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _flock(descriptor, fcntl.LOCK_EX, patience=0.3):
                raise _busy(path, _read(descriptor))
            if _is_still(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _text(), 0)
                return descriptor
            os.close(descriptor)  # its holder removed it between our open and our lock: that file locks nothing
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise


def _flock(descriptor: int, kind: int, *, patience: float = 0.0) -> bool:
    """Whether the lock was granted; a little patience, since ``lock_holder`` takes it for an instant."""
    until = time.monotonic() + patience
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
            return _flock(descriptor, kind, patience=until - time.monotonic())
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise _NoSystemLocksError from error
        raise
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _take_by_text(path: Path) -> int:
    """Create the file or fail; a guard, itself created or failed, lets one reclaimer at a time remove a stale one."""
    guard = path.with_suffix(".reclaim")
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            holder = _read_path(path)
            if not _is_stale(holder):
                raise _busy(path, holder) from None
            _reclaim(path, guard, holder)
        else:
            os.write(descriptor, _text())
            return descriptor
    raise _busy(path, {})


def _reclaim(path: Path, guard: Path, stale: dict[str, Any]) -> None:
    try:
        os.close(os.open(guard, os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise _busy(path, stale) from None
    try:
        if _read_path(path) == stale:  # not yet someone else's
            path.unlink(missing_ok=True)
    finally:
        guard.unlink(missing_ok=True)


def _is_stale(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    return not is_running(pid, holder.get("process_start"))


def _text() -> bytes:
    holder = {
        "schema_version": 1,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "process_start": process_start(os.getpid()),
    }
    return json.dumps(holder, indent=1).encode()


def _read(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.read(descriptor, 4096))
    except (OSError, ValueError, RecursionError):  # being written at this moment, or nonsense
        return {}
    return holder if isinstance(holder, dict) else {}


def _read_path(path: Path) -> dict[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # removed at this moment
        return {}
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _busy(path: Path, holder: dict[str, Any]) -> EnvironmentProblem:
    who = (
        f"process {holder['pid']} on {holder.get('host', 'an unknown host')}, which took it at "
        f"{holder.get('started', 'an unknown time')}"
        if holder.get("pid")
        else "another process"
    )
    return EnvironmentProblem(
        f"the run folder {path.parent} is in use by {who}",
        f"wait for it to end or stop it; only if it surely runs no more, delete {path}",
    )


def _close_in_child() -> None:
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
