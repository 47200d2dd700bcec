"""What a study tells while it runs, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Literal, TypeAlias

from segmi.study.expand import Run

Kind: TypeAlias = Literal[
    "skipped", "started", "note", "prepare", "train", "evaluate", "finished", "failed", "busy", "interrupted"
]

FREQUENT: Final = ("prepare", "train", "evaluate")
ENDS: Final = ("skipped", "finished", "failed", "busy", "interrupted")
"""The last that is heard of a run."""


@dataclass(frozen=True)
class News:
    """What a run tells while it is done; plain, so that it travels between processes.

    Args:
        kind: what happened; those of `FREQUENT` come often, one of `ENDS` comes last.
        done: steps or images done, of ``of``.
        of: steps or images in all.
        loss: the last training loss.
        rate: images per second.
        text: what to say beyond that; of a ``note``, all there is.
    """

    kind: Kind
    done: int = 0
    of: int = 0
    loss: float | None = None
    rate: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Event(News):
    """News with the run that they are about.

    Args:
        run: the run.
        number: its place among the runs, from 1.
        total: the number of runs.
        run_seconds_left: an estimate, None before there is one.
        study_seconds_left: likewise for all runs.
    """

    _: KW_ONLY
    run: Run
    number: int
    total: int
    run_seconds_left: float | None = None
    study_seconds_left: float | None = None


Listener: TypeAlias = Callable[[Event], None]


@dataclass
class Clock:
    """Estimates from the pace so far: seconds per step of each method, the mean of the others where none is known.

    Args:
        runs: the runs to be done, in order.
        now: a clock in seconds that never jumps back.
    """

    runs: Sequence[Run]
    now: Callable[[], float] = time.monotonic
    pace: dict[tuple[str, str], float] = field(default_factory=dict)
    steps: dict[tuple[str, str], int] = field(default_factory=dict)
    _began: dict[str, tuple[float, int]] = field(default_factory=dict)
    _left: dict[str, float] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    def start(self, run: Run) -> None:
        """A run begins, or begins again."""
        self._began.pop(run.key, None)

    def end(self, run: Run) -> None:
        """Nothing is left of a run."""
        self._done.add(run.key)
        self._began.pop(run.key, None)
        self._left.pop(run.key, None)

    def estimate(self, run: Run, step: int, steps: int) -> tuple[float | None, float | None]:
        """Seconds left for a run at ``step`` of ``steps`` and for all, as far as they can be told.

        Runs that are done at the same time share what is left.
        """
        kind = (run.dataset, run.method)
        self.steps[kind] = steps
        if run.key not in self._began:  # resumed runs begin in the middle
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
        mean_pace = sum(self.pace.values()) / len(self.pace)
        mean_steps = sum(self.steps.values()) / len(self.steps)
        steps = self.steps.get(kind) or run.config["training"].get("steps") or mean_steps
        return self.pace.get(kind, mean_pace) * steps
