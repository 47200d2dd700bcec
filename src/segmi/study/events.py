"""What a study tells while it runs, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from segmi.study.expand import Run

if TYPE_CHECKING:
    from segmi.training import FitProgress

Kind: TypeAlias = Literal["skipped", "started", "note", "prepare", "train", "evaluate", "finished", "failed", "busy"]


@dataclass(frozen=True)
class Event:
    """One piece of news.

    Args:
        kind: what happened; ``prepare``, ``train`` and ``evaluate`` come often.
        run: the run it is about.
        number: its place among the runs, from 1.
        total: the number of runs.
        done: steps or pictures done, of ``of``.
        of: steps or pictures in all.
        loss: the last training loss.
        rate: pictures per second.
        run_seconds_left: an estimate, None before there is one.
        study_seconds_left: likewise for all runs.
        text: what to say beyond that; of a ``note``, all there is.
    """

    kind: Kind
    run: Run
    number: int
    total: int
    done: int = 0
    of: int = 0
    loss: float | None = None
    rate: float | None = None
    run_seconds_left: float | None = None
    study_seconds_left: float | None = None
    text: str = ""


Listener: TypeAlias = Callable[[Event], None]


@dataclass
class Clock:
    """Estimates from the pace so far: seconds per update of each method, the mean of the others where none is known.

    Args:
        runs: the runs to be done, in order.
        now: a clock in seconds that never jumps back.
    """

    runs: Sequence[Run]
    now: Callable[[], float] = time.monotonic
    pace: dict[tuple[str, str], float] = field(default_factory=dict)
    steps: dict[tuple[str, str], int] = field(default_factory=dict)
    _began: float | None = None
    _began_at_step: int = 0

    def start_run(self) -> None:
        """Forget where the last run began."""
        self._began = None

    def estimate(self, run: Run, progress: FitProgress) -> tuple[float | None, float | None]:
        """Seconds left for this run and for all, as far as they can be told."""
        kind = (run.dataset, run.method)
        self.steps[kind] = progress.steps
        if self._began is None:  # resumed runs begin in the middle
            self._began, self._began_at_step = self.now(), progress.step
            return None, None
        taken = progress.step - self._began_at_step
        if taken > 0:
            self.pace[kind] = (self.now() - self._began) / taken
        if kind not in self.pace:
            return None, None
        run_left = self.pace[kind] * (progress.steps - progress.step)
        return run_left, run_left + sum(self._whole(later) for later in self.runs[self.runs.index(run) + 1 :])

    def _whole(self, run: Run) -> float:
        kind = (run.dataset, run.method)
        mean_pace = sum(self.pace.values()) / len(self.pace)
        mean_steps = sum(self.steps.values()) / len(self.steps)
        steps = self.steps.get(kind) or run.config["training"].get("updates") or mean_steps
        return self.pace.get(kind, mean_pace) * steps
