"""Messages for errors of the disk: full, failing, read-only, or something else at the path."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from segmi.errors import EnvironmentProblem

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_BLOCKED: Final = (
    errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG, errno.EBUSY,
)  # fmt: skip
_FAILING: Final = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT)

_SAME_COMMAND: Final = "run the same command again"


def environment_problem(
    error: BaseException, target: str | Path, *, needed: int | None = None, free: int | None = None
) -> EnvironmentProblem | None:
    """Return the error to show when the disk is full or fails, or the target cannot be written; None for any other.

    Args:
        error: the error. Libraries that hide its number are recognized by the text, or by a file system without space.
        target: the path that was being written.
        needed: the bytes that the target needs, if known.
        free: the bytes that were free at that moment; looked up by default.

    Example:
        >>> print(environment_problem(OSError(errno.EROFS, "Read-only file system"), "/media/disk/x.json").message)
        cannot write /media/disk/x.json: Read-only file system
    """
    target = Path(target)
    number = error.errno if isinstance(error, OSError) else None
    free = free_bytes(target) if free is None else free
    text = str(error).lower()
    # safetensors (Rust) reports "os error 28" without an error number.
    full = number in _DISK_FULL or "no space left" in text or "os error 28" in text
    if full or (number is None and free is not None and free < 4096 and isinstance(error, OSError | RuntimeError)):
        need = f"at least {needed:,} bytes are needed" if needed else "the number of bytes needed is unknown"
        return EnvironmentProblem(
            f"no space left to write {target}: {need}, {free or 0:,} bytes are available",
            f"free space on the file system of {_existing(target)} (or its quota) and {_SAME_COMMAND}; "
            "the previous content is intact",
        )
    what, reason = str(target), os.strerror(number or 0)
    if number == errno.EFBIG:
        reason = "it would be larger than the limit for files"
        fix = f"raise the limit (ulimit -f) or choose a folder on another file system, and {_SAME_COMMAND}"
    elif number in _BLOCKED:
        fix = f"move away the file or folder that blocks the path, at {_existing(target)}"
    elif number in _FAILING:
        disk = f"check the disk or network share of {_existing(target.parent)}"
        fix = f"{disk}, then {_SAME_COMMAND}; the previous content is intact"
    elif number in _NOT_ALLOWED:
        what += f" ({needed:,} bytes)" if needed else ""
        fix = f"make {_existing(target.parent)} writable for this user, or choose another folder for the output"
    else:
        return None
    return EnvironmentProblem(f"cannot write {what}: {reason}", fix)


def free_bytes(path: Path) -> int | None:
    """Return the free bytes of the file system that holds a path or would hold it; None if unknown."""
    with suppress(OSError):
        return shutil.disk_usage(_existing(path)).free
    return None


def _existing(path: Path) -> Path:
    """Return the nearest ancestor that exists (the path itself included)."""
    path = path.absolute()
    # os.path.exists, because Path.exists raises for a folder without permission.
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110
        path = path.parent
    return path
