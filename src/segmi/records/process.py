"""Identity of a process: a pid alone is not enough, because pids are reused.

Start times are read from ``/proc`` instead of psutil, whose ``create_time`` adds the boot time of the wall clock: it
changes when the clock is adjusted, and a running writer would look like a dead one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return when a process started, in the unit of the system; None if it does not exist or the time is unknown."""
    if sys.platform.startswith("linux"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text[text.rindex(")") + 2 :].split()  # the process name before it may contain spaces and brackets
        return None if fields[0] in ("Z", "X") else fields[19]  # a zombie holds no files
    if sys.platform == "win32":
        return None
    try:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return "".join(c for c in answer.stdout if c.isalnum()) or None


def is_running(pid: int, start: str | None = None) -> bool:
    """Return whether the process ``pid`` of this host runs, and started at ``start`` if that is known."""
    if pid <= 0:
        return False
    now = process_start(pid)
    if now is not None:
        return start is None or start == now
    if sys.platform.startswith("linux") and Path("/proc/self/stat").exists():
        return False
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would terminate the process on Windows
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # a process of another user
    return True
