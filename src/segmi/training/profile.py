"""Where the time of a run goes: data, forward, objective, backward, optimizer, and the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch

PARTS: Final = ("data", "forward", "objective", "backward", "optimizer", "validation", "checkpoint")
"""What is told apart; what is in none of them is ``other``: logs, progress, the loop itself."""

ON_DEVICE: Final = ("forward", "objective", "backward", "optimizer")


class Profile:
    """Seconds per part of a run, its first step left out, which allocates memory and compiles.

    On a GPU the parts that run there are timed there, by events that nobody waits for; reading images and copying
    them is the time that the loop itself spends on it, so on a GPU the shares may add up to more than the whole where
    both go on at the same time, and ``other`` is then 0.

    Args:
        device: where the run computes.
        enabled: whether to measure; if not, all this costs nothing.

    Example:
        >>> profile = Profile(torch.device("cpu"))
        >>> profile.begin()
        >>> with profile.part("forward"):
        ...     sum(range(10))
        45
        >>> [row["part"] for row in profile.summary()["parts"]]
        ['data', 'forward', 'objective', 'backward', 'optimizer', 'validation', 'checkpoint', 'other']
    """

    def __init__(self, device: torch.device, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._on_cuda = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._began: float | None = None
        self._ended = 0.0
        self.steps = 0

    def part(self, name: str) -> AbstractContextManager[None]:
        """Context whose time counts as ``name``."""
        return self._timed(name) if self.enabled else nullcontext()

    def begin(self) -> None:
        """Count from here on."""
        self._seconds, self._events, self.steps = dict.fromkeys(PARTS, 0.0), [], 0
        self._began = self._ended = time.perf_counter()

    def step_done(self) -> None:
        """One update more; after the first, counting begins."""
        if self.enabled and self._began is None:
            self.begin()
        elif self.enabled:
            self.steps += 1

    def collect(self) -> None:
        """Take the times that the device has measured; to be called when it has been waited for."""
        for name, start, end in self._events:
            self._seconds[name] += start.elapsed_time(end) / 1000
        self._events.clear()
        self._ended = time.perf_counter()

    def summary(self) -> dict[str, Any]:
        """Seconds, share of the whole and milliseconds per step of every part, as plain data."""
        whole = self._ended - (self._began or 0.0) if self._began is not None else 0.0
        seconds = {**dict.fromkeys(PARTS, 0.0), **self._seconds}
        seconds["other"] = max(0.0, whole - sum(seconds.values()))
        rows = [
            {
                "part": name,
                "seconds": value,
                "share": value / whole if whole else 0.0,
                "ms_per_step": 1000 * value / self.steps if self.steps else 0.0,
            }
            for name, value in seconds.items()
        ]
        return {"steps": self.steps, "seconds": whole, "parts": rows}

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        if self._on_cuda and name in ON_DEVICE:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            if self._began is not None:
                self._events.append((name, start, end))
            return
        before = time.perf_counter()
        yield
        if self._began is not None:
            self._seconds[name] += time.perf_counter() - before
            self._ended = time.perf_counter()


UNTIMED: Final = Profile(torch.device("cpu"), enabled=False)
"""Measures nothing."""
