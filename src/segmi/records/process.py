"""Which process wrote something: a pid alone is not enough, since pids are used again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def process_start(pid: int) -> str | None:
    """A text that tells apart two processes with the same pid: when the process started, as the system counts it.

    Returns None where no such process exists or the system does not tell.

    >>> process_start(os.getpid()) == process_start(os.getpid())
    True
    """
    if sys.platform.startswith("linux"):
        return _start_from_proc(pid)
    if sys.platform == "win32":
        return None
    try:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return "".join(c for c in answer.stdout if c.isalnum()) or None


def is_running(pid: int, start: str | None = None) -> bool:
    """Whether the process ``pid`` of this host, started at ``start`` if that is known, still runs.

    >>> is_running(os.getpid()), is_running(os.getpid(), "another start")
    (True, False)
    """
    if pid <= 0:
        return False
    now = process_start(pid)
    if now is not None:
        return start is None or start == now
    if sys.platform.startswith("linux") and Path("/proc/self/stat").exists():
        return False
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would end the process there; better a lock too many than one too few
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_from_proc(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    if fields[0] in ("Z", "X"):  # a zombie works no more and holds no file
        return None
    return fields[19]
