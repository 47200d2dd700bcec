"""Events of a running study, and estimates of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from segmi.study.run_config import Run

Kind: TypeAlias = Literal[
    "skipped", "started", "note", "prepare", "train", "evaluate", "finished", "failed", "busy", "interrupted"
]

FREQUENT: Final = ("prepare", "train", "evaluate")  # kinds of progress, which may come many times per second
ENDS: Final = ("skipped", "finished", "failed", "busy", "interrupted")  # kinds of the last event of a run


@dataclass(frozen=True)
class Event:
    """Event of one run; plain, so that it can be sent between processes."""

    kind: Kind
    done: int = 0  # steps or images done, of ``of``
    of: int = 0  # total of steps or images
    loss: float | None = None  # last training loss
    rate: float | None = None  # images per second
    text: str = ""  # further text, the only content of a ``note``


@dataclass(frozen=True)
class StudyEvent(Event):
    """Event with its run."""

    _: KW_ONLY
    run: Run
    number: int  # number of the run, from 1 to ``total``
    total: int
    run_seconds_left: float | None = None  # estimate, None while unknown
    study_seconds_left: float | None = None


Emit: TypeAlias = Callable[[Event], None]
Listener: TypeAlias = Callable[[StudyEvent], None]


@dataclass
class Clock:
    """Time left, estimated from the seconds per step of each method; the mean of all methods for unknown ones."""

    runs: Sequence[Run]
    now: Callable[[], float] = time.monotonic  # monotonic clock in seconds
    pace: dict[tuple[str, str], float] = field(default_factory=dict)  # seconds per step by (dataset, method)
    steps: dict[tuple[str, str], int] = field(default_factory=dict)
    _began: dict[str, tuple[float, int]] = field(default_factory=dict)  # time and step by key of the run
    _left: dict[str, float] = field(default_factory=dict)  # seconds
    _done: set[str] = field(default_factory=set)

    def start(self, run: Run) -> None:
        """Note that a run starts, or starts again."""
        self._began.pop(run.key, None)

    def end(self, run: Run) -> None:
        """Note that a run has ended."""
        self._done.add(run.key)
        self._began.pop(run.key, None)
        self._left.pop(run.key, None)

    def estimate(self, run: Run, step: int, steps: int) -> tuple[float | None, float | None]:
        """Return the seconds left for a run at ``step`` of ``steps`` and for all runs, None while unknown.

        The time left for all runs is divided by the number of runs that are in progress.
        """
        kind = (run.dataset, run.method)
        self.steps[kind] = steps
        if run.key not in self._began:  # a resumed run does not begin at step 0
            self._began[run.key] = self.now(), step
            return None, None
        since, first = self._began[run.key]
        if step > first:
            self.pace[kind] = (self.now() - since) / (step - first)
        if kind not in self.pace:
            return None, None
        self._left[run.key] = self.pace[kind] * (steps - step)
        waiting = (other for other in self.runs if other.key not in self._done and other.key not in self._began)
        whole = sum(self._left.values()) + sum(self._whole(other) for other in waiting)
        return self._left[run.key], whole / len(self._began)

    def _whole(self, run: Run) -> float:
        kind = (run.dataset, run.method)
        steps = self.steps.get(kind) or run.config.training.steps or mean(self.steps.values())
        return self.pace.get(kind, mean(self.pace.values())) * steps
