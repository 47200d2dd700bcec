"""Events of a running study, and estimates of the time left."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from segmi.study.run_config import Run

Kind: TypeAlias = Literal[
    "skipped", "started", "note", "prepare", "compile", "train", "validate", "evaluate", "store",
    "finished", "failed", "busy", "interrupted",
]  # fmt: skip

# Kinds of progress, which may come many times per second. A run starts with preparation.
FREQUENT: Final = ("prepare", "train", "validate", "evaluate", "store")
ENDS: Final = ("skipped", "finished", "failed", "busy", "interrupted")  # kinds of the last event of a run


@dataclass(frozen=True)
class Event:
    """Event of one run; plain, so that it can be sent between processes."""

    kind: Kind
    done: int = 0  # steps or images done, of ``of``
    of: int = 0  # total of steps or images
    loss: float | None = None  # last training loss, None before the first step
    rate: float | None = None  # images per second
    text: str = ""  # further text, the only content of ``note`` and ``compile``


@dataclass(frozen=True)
class StudyEvent(Event):
    """Event with its run."""

    _: KW_ONLY
    run: Run
    ended: int  # number of runs that have ended, of ``total``
    total: int
    run_seconds_left: float | None = None  # estimate, None while unknown
    study_seconds_left: float | None = None


Emit: TypeAlias = Callable[[Event], None]
Listener: TypeAlias = Callable[[StudyEvent], None]


@dataclass
class Clock:
    """Estimates from the runs so far: the time left, and the longest of the waiting runs.

    A method is measured by its pace, and by the whole duration of its finished runs. A method that has not been
    measured on a dataset is assumed to have the pace of the slowest one.
    """

    runs: Sequence[Run]
    now: Callable[[], float] = time.monotonic  # monotonic clock in seconds
    _pace: dict[tuple[str, str], float] = field(default_factory=dict)  # seconds per step by (dataset, method)
    _steps: dict[tuple[str, str], int] = field(default_factory=dict)  # by (dataset, method)
    _durations: dict[tuple[str, str], float] = field(default_factory=dict)  # seconds by (dataset, method)
    _started: dict[str, float] = field(default_factory=dict)  # times by key of the runs in progress
    _first: dict[str, tuple[float, int]] = field(default_factory=dict)  # time and step of the first measurement by key
    _left: dict[str, float] = field(default_factory=dict)  # seconds by key of the runs in progress
    _ended: set[str] = field(default_factory=set)  # keys

    def observe(self, run: Run, event: Event) -> tuple[float | None, float | None]:
        """Return the seconds left after an event: for its run, and for all runs; None while unknown."""
        key, kind = run.key, (run.dataset, run.method)
        if event.kind == "started":
            self._started[key] = self.now()
        elif event.kind == "train" and event.loss is not None:  # the first step is not measured: it warms up
            self._steps[kind] = event.of
            since, first = self._first.setdefault(key, (self.now(), event.done))
            if event.done > first:
                self._pace[kind] = (self.now() - since) / (event.done - first)
                self._left[key] = self._pace[kind] * (event.of - event.done)
        elif event.kind in ENDS:
            if event.kind == "finished" and key in self._started:
                # The longest one: runs that continue from a checkpoint are shorter.
                self._durations[kind] = max(self._durations.get(kind, 0.0), self.now() - self._started[key])
            for state in (self._started, self._first, self._left):
                state.pop(key, None)
            self._ended.add(key)
        return self._left.get(key), self._whole_left()

    def _whole_left(self) -> float | None:
        """Return the seconds until all runs have ended, with as many at a time as are in progress now."""
        if not self._pace and not self._durations:
            return None
        rest = {run.key: self.expected(run) for run in self.runs if run.key not in self._ended}
        loads = [self._left.get(key, rest.pop(key, 0.0)) for key in self._started]
        if not loads:
            return None
        waiting = sorted(rest.values(), reverse=True)
        heapq.heapify(loads)
        for seconds in waiting:  # to the process that is free first
            heapq.heappush(loads, heapq.heappop(loads) + seconds)
        return max(loads)

    def expected(self, run: Run) -> float:
        """Return the expected duration of a whole run in seconds; 0 before anything is measured."""
        kind, training = (run.dataset, run.method), run.config.training
        if training.minutes is not None:
            return max(training.minutes * 60, self._durations.get(kind, 0.0))
        steps = self._steps.get(kind) or training.steps or max(self._steps.values(), default=0)
        pace = self._pace.get(kind, max(self._pace.values(), default=0.0))
        return max(pace * steps, self._durations.get(kind, 0.0))

    def longest(self, runs: Sequence[Run]) -> int:
        """Return the index of the run to start next: the longest one, so that the last runs are short.

        Runs of the first dataset come first, since its images are in memory. Any method without a started run may be
        the longest one and comes before the others, in the order of the pixels that its networks see.
        """

        begun = {(run.dataset, run.method) for run in self.runs if run.key in {*self._started, *self._ended}}

        def priority(index: int) -> tuple[bool, float, float]:
            run = runs[index]
            new = (run.dataset, run.method) not in begun
            return new, 0.0 if new else self.expected(run), _pixels(run)

        return max((index for index, run in enumerate(runs) if run.dataset == runs[0].dataset), key=priority)


def _pixels(run: Run) -> float:
    """Return the pixels that all learning networks of a run see, or per epoch or minute, for comparisons."""
    config, training = run.config, run.config.training
    amount = training.images or (training.steps or training.epochs or 1) * training.batch_size * training.accumulate
    return amount * config.processing.crop**2 * len(config.networks)
