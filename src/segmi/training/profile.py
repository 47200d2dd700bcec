"""Profile of a run: time in data loading, forward, objective, backward, optimizer and the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch

PARTS: Final = ("data", "forward", "objective", "backward", "optimizer", "validation", "checkpoint")
"""Measured parts. Everything else, such as logs and progress, is ``other``."""

ON_DEVICE: Final = ("forward", "objective", "backward", "optimizer")


class Profile:
    """Seconds per part of a run, without its first step, which allocates memory and compiles.

    Parts on a GPU are measured with CUDA events, without synchronization. They can overlap with data loading, so the
    shares can add up to more than 1; ``other`` is then 0.

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
        self._start: float | None = None
        self._end = 0.0
        self.steps = 0

    def part(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that measures a part."""
        return self._timed(name) if self.enabled else nullcontext()

    def begin(self) -> None:
        """Start measuring."""
        self._seconds, self._events, self.steps = dict.fromkeys(PARTS, 0.0), [], 0
        self._start = self._end = time.perf_counter()

    def step_done(self) -> None:
        """Count a step; measuring starts after the first one."""
        if self.enabled and self._start is None:
            self.begin()
        elif self.enabled:
            self.steps += 1

    def collect(self) -> None:
        """Read the CUDA events of the past steps; the device must be synchronized before."""
        for name, start, end in self._events:
            self._seconds[name] += start.elapsed_time(end) / 1000
        self._events.clear()
        self._end = time.perf_counter()

    def summary(self) -> dict[str, Any]:
        """Return seconds, share of the total and milliseconds per step of each part, as plain data."""
        # From the start after the first step to the last measured part.
        whole = 0.0 if self._start is None else self._end - self._start
        seconds = {**dict.fromkeys(PARTS, 0.0), **self._seconds}
        seconds["other"] = max(0.0, whole - sum(seconds.values()))
        rows = [
            {"part": name, "seconds": value, "share": value / whole if whole else 0.0,
             "ms_per_step": 1000 * value / self.steps if self.steps else 0.0}
            for name, value in seconds.items()
        ]  # fmt: skip
        return {"steps": self.steps, "seconds": whole, "parts": rows}

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        if self._on_cuda and name in ON_DEVICE:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            # Events mark the time when the GPU reaches them.
            start.record()
            yield
            end.record()
            if self._start is not None:
                self._events.append((name, start, end))
            return
        before = time.perf_counter()
        yield
        if self._start is not None:
            self._seconds[name] += time.perf_counter() - before
            self._end = time.perf_counter()


UNTIMED: Final = Profile(torch.device("cpu"), enabled=False)
"""Profile that measures nothing."""
