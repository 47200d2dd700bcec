"""Signals that stop this process, and the identity of others: a pid alone is not enough, because pids are reused.

On Linux, start times are read from ``/proc`` instead of psutil, whose ``create_time`` adds the boot time of the wall
clock there: it changes when the clock is adjusted, and a running writer would look like a dead one.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

# Windows has no other signal that a process can send to stop another one.
_BREAK: Final = (signal.Signals["SIGBREAK"],) if "SIGBREAK" in signal.Signals.__members__ else ()
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, *_BREAK)
"""Signals on which a run writes a checkpoint and ends."""


def request_stop() -> None:
    """Send SIGTERM to this process: its handler is called, or the process ends."""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)  # os.kill would end the process without calling its handler
    else:
        os.kill(os.getpid(), signal.SIGTERM)  # unlike raise_signal, interrupts a wait of the main thread


def process_start(pid: int) -> str | None:
    """Return when a process started, in the unit of the system; None if it does not exist or the time is unknown."""
    if sys.platform.startswith("linux"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text[text.rindex(")") + 2 :].split()  # the process name before it may contain spaces and brackets
        return None if fields[0] in ("Z", "X") else fields[19]  # a zombie holds no files
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(round(process.create_time() * 1e6))
    except psutil.Error:
        return None


def is_running(pid: int, start: str | None = None) -> bool:
    """Return whether the process ``pid`` of this host runs, and started at ``start`` if that is known."""
    if pid <= 0:
        return False
    now = process_start(pid)
    if now is not None:
        return start is None or start == now
    if sys.platform.startswith("linux") and Path("/proc/self/stat").exists():
        return False
    import psutil

    return psutil.pid_exists(pid)  # the start time of a process of another user may be hidden
