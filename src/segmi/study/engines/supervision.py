"""Supervision of runs in other processes: assignment, crashes, retries and interruption."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from segmi.errors import EnvironmentProblem, Interrupted, RunError, UsageError
from segmi.records import RunFolder
from segmi.study.engines.in_process import Report
from segmi.study.events import ENDS, Clock, Event
from segmi.study.executor import Job, lock_if_free, stoppable

if TYPE_CHECKING:
    from segmi.study.run_config import Run

STOP_PATIENCE: Final = 120.0  # seconds that runs have to finish their step and write their checkpoints
LOCK_PATIENCE: Final = 30.0  # seconds to wait for the lock of a crashed process


class WorkerCrashed(RunError):
    """A run whose process ended without reporting a result."""


@dataclass(frozen=True)
class Task:
    """A run for another process; see `RunExecutor.do`."""

    run: Run
    overwrite: bool
    patience: float = 0.0


@dataclass(frozen=True)
class Crash:
    """End of the process of a run without a result."""

    reason: str  # a sentence without a full stop
    output: str = ""  # printed by the process during the run


class WorkerPool(Protocol):
    """Processes that do runs, as seen from the process of the study."""

    room: float  # number of tasks at a time

    def begin(self, task: Task) -> None:
        """Start a task; called only if there is room."""

    def poll(self) -> list[tuple[Task, Event | Crash]]:
        """Return the events since the last call, after a short wait; one of `ENDS` or a crash ends a task."""

    def stop(self) -> None:
        """Ask all tasks to end after their next checkpoint."""

    def end(self) -> None:
        """End all processes at once."""


def supervise(workers: WorkerPool, job: Job, runs: Sequence[Run], report: Report, *, retries: int) -> None:
    """Do the runs with a pool of workers, the longest first, and end the pool; raises as `Engine.do`.

    A run whose process crashes is given to another process up to ``retries`` times, and then fails.
    """
    from segmi.training.loop import Interruption

    crashes, clock = _CrashCounter(job, report, retries), Clock(runs)
    waiting, again = [Task(run, job.overwrite) for run in runs], list[Task]()
    running, stop_by = 0, math.inf
    with stoppable(), Interruption() as interruption:
        try:
            while (waiting or again or running) and time.monotonic() <= stop_by:
                if interruption.requested and stop_by == math.inf:
                    stop_by = time.monotonic() + STOP_PATIENCE
                    waiting.clear()
                    again.clear()
                    workers.stop()
                while (waiting or again) and running < workers.room:
                    task = again.pop() if again else waiting.pop(clock.longest([task.run for task in waiting]))
                    clock.observe(task.run, Event("started"))
                    workers.begin(task)
                    running += 1
                for task, result in workers.poll():
                    running -= isinstance(result, Crash) or result.kind in ENDS
                    if isinstance(result, Event) and (result.kind != "interrupted" or stop_by < math.inf):
                        if result.kind == "started":
                            crashes.begun.add(task.run.key)
                        clock.observe(task.run, result)
                        report(task.run, result)
                    elif stop_by == math.inf and (retry := crashes.handle(task, result)) is not None:
                        again.append(retry)
        finally:
            workers.end()
    if interruption.signal_number is not None:
        message = "interrupted; the checkpoints of the running runs are written"
        remedy = "run the same command again to continue"
        raise Interrupted(message, remedy, signal_number=interruption.signal_number)


def check_count(option: str, value: int | None, least: int) -> None:
    """Raise `UsageError` if a count is less than ``least``."""
    if value is not None and value < least:
        raise UsageError(f"{option}: expected {least} or more, got {value}", "give a larger number, or omit it")


class _CrashCounter:
    """Counts the crashes of each run, and decides whether it is tried again."""

    def __init__(self, job: Job, report: Report, retries: int) -> None:
        self._job, self._report, self._retries = job, report, retries
        self._count: Counter[str] = Counter()
        self.begun: set[str] = set()  # keys of the runs that have started

    def handle(self, task: Task, result: Crash | Event) -> Task | None:
        """Return the task for another try, or None after recording the failure of the run."""
        crash = result if isinstance(result, Crash) else Crash("the process of the run was ended by a signal")
        run, folder = task.run, RunFolder(task.run.folder(self._job.root))
        self._count[run.key] += 1
        folder.record_crash(crash.reason)
        if self._count[run.key] <= self._retries:
            tries = f"retry {self._count[run.key]} of {self._retries}"
            self._report(run, Event("note", text=f"{crash.reason}; {tries}"))
            return Task(run, task.overwrite and run.key not in self.begun, LOCK_PATIENCE)
        self._report(run, _record_failure(folder, crash, self._count[run.key]))
        return None


def _record_failure(folder: RunFolder, crash: Crash, tries: int) -> Event:
    """Record a crashed run as failed, unless its result was already written."""
    with lock_if_free(folder.path, LOCK_PATIENCE) as problem:
        if isinstance(problem, EnvironmentProblem):
            return Event("busy", text=problem.message)
        if folder.finished:
            return Event("finished")
        message = crash.reason + (f", in each of {tries} tries" if tries > 1 else "")
        remedy = "read its output in failure.json, then run the same command again"
        error = WorkerCrashed(message, f"{remedy}: the run continues from its checkpoint")
        if crash.output:
            error.add_note(f"The process printed:\n{crash.output}")
        folder.write_failure(error)
    return Event("failed", text=str(error))
