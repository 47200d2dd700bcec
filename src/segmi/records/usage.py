"""What a run took of its machine, session by session: time, the peak of memory, energy where it can be read.

Nothing is estimated. A counter that cannot be read is null, and so is the sum over sessions of which one was not told
to the end, because its process was killed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from segmi.errors import DataError, EnvironmentProblem
from segmi.records.serialization import read_record, write_record

USAGE_NAME: Final = "usage.json"
POWERCAP: Final = Path("/sys/class/powercap")
SECONDS_BETWEEN_READINGS: Final = 20.0
"""A counter of the processor runs over within half an hour at full load; it is read far more often."""

_PROCESS: Final = Path("/proc/self")


class RaplCounters:
    """The energy that the processor packages have used, by the counters of Linux's powercap; joules since it was made.

    They count everything that runs on the machine. On most machines they are for the administrator alone to read.

    Args:
        root: the folder of the counters.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
        self._last = [_whole(path / "energy_uj") for path in self._packages]
        self._range = [_whole(path / "max_energy_range_uj") for path in self._packages]
        self._joules, self._lock = 0.0, threading.Lock()
        self.readable = bool(self._packages) and None not in (*self._last, *self._range)

    def joules(self) -> float | None:
        """Joules so far; None if they cannot be read."""
        with self._lock:
            return self._read()

    def _read(self) -> float | None:
        for index, path in enumerate(self._packages if self.readable else ()):
            now, before, run_over = _whole(path / "energy_uj"), self._last[index], self._range[index]
            if now is None or before is None or run_over is None:
                self.readable = False
                break
            self._joules += (now - before if now >= before else now + run_over - before) / 1e6
            self._last[index] = now
        return self._joules if self.readable else None


class GpuCounter:
    """The energy that a GPU has used, by NVIDIA's counter; joules since it was made.

    Args:
        uuid: of the GPU, as ``GPU-…``; None where there is none.
    """

    def __init__(self, uuid: str | None) -> None:
        self._read: Callable[[], float] | None = None
        self._first = 0.0
        if uuid is None:
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            self._first = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            self._read = lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except Exception:  # not installed, no driver, no such counter: it is then not known
            self._read = None

    def joules(self) -> float | None:
        """Joules so far; None if they cannot be read."""
        try:
            return (self._read() - self._first) / 1e3 if self._read else None
        except Exception:  # the driver went away
            self._read = None
            return None


class Usage:
    """Context that measures one session of a run and adds it to ``usage.json`` in its folder.

    Args:
        folder: the run folder.
        gpu: the UUID of its GPU.
        device_memory: gives the peak of the memory taken on the device, in bytes; None where there is no such device.
        counters: of the processor's energy.
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
        except DataError:  # it says nothing that the run needs; what the sessions before took is then not known
            self._before = [{"ended": False}]
        self._began = time.monotonic()
        self._memory_is_its_own = reset_peak_memory()
        write_record(self._path, {"sessions": [*self._before, {"ended": False}]})
        if self._rapl.readable:
            threading.Thread(target=self._keep_reading, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with nullcontext() if error is None else suppress(EnvironmentProblem):  # what ended the session matters more
            write_record(self._path, {"sessions": [*self._before, self.session()]})

    def session(self) -> dict[str, Any]:
        """What this session took so far."""
        return {
            "ended": True,
            "seconds": time.monotonic() - self._began,
            "peak_memory_bytes": peak_memory() if self._memory_is_its_own else None,
            "peak_device_memory_bytes": self._device_memory() if self._device_memory else None,
            "processor_joules": self._rapl.joules(),
            "gpu_joules": self._gpu.joules(),
        }

    def summary(self) -> dict[str, Any]:
        """All sessions of the run so far, this one included."""
        return summary([*self._before, self.session()])

    def _keep_reading(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_READINGS):
            self._rapl.joules()


def sessions(folder: Path) -> list[dict[str, Any]]:
    """The sessions of a run so far.

    Raises:
        DataError: their record is damaged, or written by a newer segmi.
    """
    record = read_record(folder / USAGE_NAME) or {}
    return list(record.get("sessions") or [])


def summary(of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The peaks and sums over sessions; None where one of them is not known.

    Example:
        >>> known = {"ended": True, "seconds": 2.0, "peak_memory_bytes": 10, "gpu_joules": None}
        >>> summary([known, {**known, "peak_memory_bytes": 20}])["peak_memory_bytes"]
        20
        >>> summary([known, {"ended": False}])["seconds"] is None
        True
    """

    def over(name: str, how: Callable[[list[float]], float]) -> float | None:
        values = [one.get(name) for one in of]
        known = [value for value in values if value is not None]
        return how(known) if known and len(known) == len(values) else None

    return {
        "sessions": len(of),
        "seconds": over("seconds", sum),
        "peak_memory_bytes": over("peak_memory_bytes", max),
        "peak_device_memory_bytes": over("peak_device_memory_bytes", max),
        "processor_joules": over("processor_joules", sum),
        "gpu_joules": over("gpu_joules", sum),
    }


def reset_peak_memory(process: Path = _PROCESS) -> bool:
    """Let the peak of this process's memory begin anew; False where the system cannot, as all but Linux."""
    try:
        (process / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory(process: Path = _PROCESS) -> int | None:
    """The peak of this process's resident memory in bytes, since it was last reset; None where that is not told.

    Worker processes that read images are not counted.
    """
    try:
        for line in (process / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _whole(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
