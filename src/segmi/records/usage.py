"""Resource usage of a run by session: time, peak memory, and energy where the counters are readable.

Nothing is estimated: a counter that cannot be read is null, and so is the sum over sessions if one of them was killed.
The counters are read directly, because psutil neither resets nor reads peak memory and has no energy counters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final, Self

from segmi.errors import DataError, EnvironmentProblem
from segmi.records.serialization import read_record, write_record

USAGE_NAME: Final = "usage.json"
POWERCAP: Final = Path("/sys/class/powercap")
# Counters of the processor overflow within half an hour at full load, so they are read far more often.
SECONDS_BETWEEN_READINGS: Final = 20.0
_PROCESS: Final = Path("/proc/self")


class RaplCounters:
    """Energy of the processor packages since construction, from the powercap counters of Linux (RAPL).

    They count everything that runs on the machine. On most machines only the administrator can read them.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
        self._last = [_read_int(path / "energy_uj") for path in self._packages]
        self._range = [_read_int(path / "max_energy_range_uj") for path in self._packages]
        self._joules, self._lock = 0.0, threading.Lock()
        self.readable = bool(self._packages) and None not in (*self._last, *self._range)

    def joules(self) -> float | None:
        """Return the joules so far; None if they cannot be read."""
        with self._lock:
            for index, path in enumerate(self._packages if self.readable else ()):
                now, before, limit = _read_int(path / "energy_uj"), self._last[index], self._range[index]
                if now is None or before is None or limit is None:
                    self.readable = False
                    break
                # After an overflow the counter restarts from 0; its unit is the microjoule.
                self._joules += (now - before if now >= before else now + limit - before) / 1e6
                self._last[index] = now
            return self._joules if self.readable else None


class GpuCounter:
    """Energy of a GPU (by its UUID ``GPU-…``; None without a GPU) since construction, from the NVML counter."""

    def __init__(self, uuid: str | None) -> None:
        self._read: Callable[[], float] | None = None
        self._first = 0.0
        if uuid is None:
            return
        with suppress(Exception):  # not installed, no driver or no such counter: the energy is unknown
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            # NVML counts millijoules since the driver was loaded.
            self._first = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            self._read = lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))

    def joules(self) -> float | None:
        """Return the joules so far; None if they cannot be read."""
        try:
            return (self._read() - self._first) / 1e3 if self._read else None
        except Exception:  # the driver was unloaded
            self._read = None
            return None


class Usage:
    """Context that measures one session of a run and adds it to ``usage.json`` in its folder.

    Args:
        folder: the run folder.
        gpu: the UUID of the GPU.
        device_memory: returns the peak memory of the device in bytes; None without a device.
        counters: the energy counters of the processor.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gpu: str | None = None,
        device_memory: Callable[[], int] | None = None,
        counters: RaplCounters | None = None,
    ) -> None:
        self._path, self._device_memory = folder / USAGE_NAME, device_memory
        self._rapl, self._gpu = counters or RaplCounters(), GpuCounter(gpu)
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._before = sessions(self._path.parent)
        except DataError:  # the run does not need this record; the usage of earlier sessions becomes unknown
            self._before = [{"ended": False}]
        self._start = time.monotonic()
        self._peak_was_reset = reset_peak_memory()
        # Written first: if the process is killed, the session remains as not ended.
        write_record(self._path, {"sessions": [*self._before, {"ended": False}]})
        if self._rapl.readable:
            threading.Thread(target=self._poll, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        # The error that ended the session is raised instead of a failure to write.
        with nullcontext() if error is None else suppress(EnvironmentProblem):
            write_record(self._path, {"sessions": [*self._before, self.session()]})

    def session(self) -> dict[str, Any]:
        """Return the usage of this session so far."""
        return {
            "ended": True,
            "seconds": time.monotonic() - self._start,
            "peak_memory_bytes": peak_memory() if self._peak_was_reset else None,
            "peak_device_memory_bytes": self._device_memory() if self._device_memory else None,
            "processor_joules": self._rapl.joules(),
            "gpu_joules": self._gpu.joules(),
        }

    def summary(self) -> dict[str, Any]:
        """Return the usage of all sessions of the run so far, including this one."""
        return summary([*self._before, self.session()])

    def _poll(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_READINGS):
            self._rapl.joules()


def sessions(folder: Path) -> list[dict[str, Any]]:
    """Return the recorded sessions of a run; raises `DataError` as `read_record`."""
    return list((read_record(folder / USAGE_NAME) or {}).get("sessions") or [])


def summary(of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the peaks and sums over sessions; None if the value of a session is unknown."""

    def combined(name: str) -> float | None:
        known = [value for one in of if (value := one.get(name)) is not None]
        if not known or len(known) < len(of):
            return None
        return max(known) if name.startswith("peak") else sum(known)

    names = ("seconds", "peak_memory_bytes", "peak_device_memory_bytes", "processor_joules", "gpu_joules")
    return {"sessions": len(of), **{name: combined(name) for name in names}}


def reset_peak_memory(process: Path = _PROCESS) -> bool:
    """Reset the peak memory of this process; False if the system cannot (only Linux can)."""
    with suppress(OSError):
        (process / "clear_refs").write_text("5", encoding="ascii")  # 5 resets VmHWM, see proc(5)
        return True
    return False


def peak_memory(process: Path = _PROCESS) -> int | None:
    """Return the peak resident memory of this process in bytes since the last reset; None if unknown.

    Worker processes that load images are not counted.
    """
    with suppress(OSError, ValueError, IndexError):
        for line in (process / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
