"""What the engines share that do runs in other processes: who does which run, what is lost, taken up again, stopped."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from segmi.errors import EnvironmentProblem, Interrupted, RunError, UsageError
from segmi.records import RunFolder
from segmi.study.engines.contract import Report
from segmi.study.events import News
from segmi.study.expand import Run
from segmi.study.workshop import Job, lock_if_free, stoppable

STOP_PATIENCE: Final = 120.0
"""Seconds that runs have to finish their update and write their checkpoints."""

LOCK_PATIENCE: Final = 30.0
"""Seconds until the lock of a process that was lost must be free."""


class LostWorker(RunError):
    """A run whose process ended without a word."""


@dataclass(frozen=True)
class Order:
    """A run as another process is told to do it; see `Workshop.do`."""

    run: Run
    overwrite: bool
    patience: float = 0.0


@dataclass(frozen=True)
class Loss:
    """The process of a run ended without a word.

    Args:
        reason: how, as a sentence without a full stop.
        last_words: what it printed in this run.
    """

    reason: str
    last_words: str = ""


class Crew(Protocol):
    """Processes that do runs, seen from the process of the study."""

    @property
    def has_room(self) -> bool:
        """Whether another run can be begun."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a run is going on."""
        ...

    def begin(self, order: Order) -> None:
        """Have a run done; called only where there is room."""
        ...

    def listen(self) -> list[tuple[Order, News | Loss]]:
        """What was heard since the last call, after waiting for a moment; one of `ENDS` or a loss ends a run."""
        ...

    def stop(self) -> None:
        """Ask all runs to end after their checkpoints."""
        ...

    def end(self) -> None:
        """End everything at once."""
        ...


def supervise(crew: Crew, job: Job, runs: Sequence[Run], report: Report, *, retries: int) -> None:
    """Have the runs done by a crew, which is ended afterwards.

    A run whose process is lost is given to another one, ``retries`` times, and has then failed.

    Raises:
        Interrupted: on SIGINT or SIGTERM, after the checkpoints are written.
    """
    from segmi.training.loop import Interruption

    losses = _Losses(job, report, retries)
    waiting = deque(Order(run, job.overwrite) for run in runs)
    stop_by: float | None = None
    with stoppable(), Interruption() as interruption:
        try:
            while waiting or crew.is_busy:
                if interruption.requested and stop_by is None:
                    stop_by = time.monotonic() + STOP_PATIENCE
                    waiting.clear()
                    crew.stop()
                if stop_by is not None and time.monotonic() > stop_by:
                    break
                while waiting and crew.has_room:
                    crew.begin(waiting.popleft())
                for order, heard in crew.listen():
                    if isinstance(heard, News) and (heard.kind != "interrupted" or stop_by is not None):
                        losses.seen(order, heard)
                        report(order.run, heard)
                    elif stop_by is None and (again := losses.after(order, heard)) is not None:
                        waiting.appendleft(again)
        finally:
            crew.end()
    if interruption.signal_number is not None:
        raise Interrupted(
            "interrupted; the checkpoints of the runs that were going on are written",
            "run the same command again to continue",
            signal_number=interruption.signal_number,
        )


def check_count(option: str, value: int | None, least: int) -> None:
    """Refuse what is too small to be meant.

    Raises:
        UsageError: naming the option.
    """
    if value is not None and value < least:
        raise UsageError(f"{option}: expected {least} or more, got {value}", "give a larger number, or leave it out")


class _Losses:
    """Counts how often each run was lost, and decides what becomes of it."""

    def __init__(self, job: Job, report: Report, retries: int) -> None:
        self._job, self._report, self._retries = job, report, retries
        self._count: Counter[str] = Counter()
        self._begun: set[str] = set()

    def seen(self, order: Order, news: News) -> None:
        if news.kind == "started":
            self._begun.add(order.run.key)

    def after(self, order: Order, heard: Loss | News) -> Order | None:
        """The order to be given again; None if the run has failed now, which is then on record."""
        loss = heard if isinstance(heard, Loss) else Loss("the process of the run was ended by a signal")
        run, folder = order.run, RunFolder(order.run.folder(self._job.root))
        self._count[run.key] += 1
        folder.record_crash(loss.reason)
        if self._count[run.key] <= self._retries:
            tries = f"taken up again ({self._count[run.key]} of {self._retries})"
            self._report(run, News("note", text=f"{loss.reason}; {tries}"))
            return Order(run, order.overwrite and run.key not in self._begun, LOCK_PATIENCE)
        self._report(run, _recorded(folder, loss, self._count[run.key]))
        return None


def _recorded(folder: RunFolder, loss: Loss, tries: int) -> News:
    """A run whose process was lost has failed, unless that happened when its result was there already."""
    with lock_if_free(folder.path, LOCK_PATIENCE) as problem:
        if isinstance(problem, EnvironmentProblem):
            return News("busy", text=problem.message)
        if folder.finished:
            return News("finished")
        error = LostWorker(
            loss.reason + (f", in each of {tries} tries" if tries > 1 else ""),
            "see what it printed in failure.json, then run the same command again: the run goes on from its checkpoint",
        )
        if loss.last_words:
            error.add_note(f"The process printed:\n{loss.last_words}")
        folder.write_failure(error)
    return News("failed", text=str(error))
