"""Several runs at a time, each in a process of its own: what crashes there is that run's failure alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

from segmi.errors import Interrupted, RunError, UsageError
from segmi.records import RunFolder, run_lock
from segmi.study.engines.contract import Report
from segmi.study.engines.worker import serve
from segmi.study.events import ENDS, News
from segmi.study.expand import Run
from segmi.study.workshop import Job, Workshop, stoppable

PATIENCE: Final = 120.0
"""Seconds that runs have to finish their update and write their checkpoints."""

LOCK_PATIENCE: Final = 30.0


class LostWorker(RunError):
    """A run whose process ended without a word."""


class Pool:
    """Processes with an interpreter of their own, each of which does one run after the other.

    Args:
        jobs: how many; by default as many as have the processors that a run computes with to themselves.
        retries: how often a run whose process was lost is taken up again.

    Raises:
        UsageError: for less than one job or a negative number of retries.
    """

    name = "pool"
    joint = False

    def __init__(self, jobs: int | None = None, retries: int = 0) -> None:
        if jobs is not None and jobs < 1:
            raise UsageError(f"--jobs: expected 1 or more, got {jobs}", "give the number of runs to do at a time")
        if retries < 0:
            raise UsageError(f"--retries: expected 0 or more, got {retries}", "give 0 to take up no run again")
        self.jobs, self.retries = jobs, retries

    def do(self, shop: Workshop, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        import torch

        from segmi.training.interruption import Interruption

        threads = torch.get_num_threads()  # of one run, as in this process: other numbers would give other gradients
        jobs = min(self.jobs or max(1, _cores() // threads), len(runs))
        with tempfile.TemporaryDirectory(prefix="segmi-pool-") as outputs, stoppable(), Interruption() as interruption:
            crew = [_Worker(shop.job, threads, Path(outputs, f"{number}.txt")) for number in range(jobs)]
            waiting = deque((run, shop.job.overwrite, 0.0) for run in runs)
            tries: dict[str, int] = {}
            stop_by: float | None = None
            try:
                while waiting or any(worker.run for worker in crew):
                    if interruption.requested and stop_by is None:
                        stop_by = time.monotonic() + PATIENCE
                        waiting.clear()
                        for worker in crew:
                            worker.stop()
                    if stop_by is not None and time.monotonic() > stop_by:
                        break
                    for worker in crew:
                        if waiting and worker.run is None:
                            worker.begin(*waiting.popleft())
                    for worker, run, reason in _heard(crew, report):
                        if stop_by is not None:
                            continue
                        tries[run.key] = tries.get(run.key, 0) + 1
                        if tries[run.key] <= self.retries:
                            again = f"{reason}; taken up again ({tries[run.key]} of {self.retries})"
                            report(run, News("note", text=again))
                            waiting.appendleft((run, False, LOCK_PATIENCE))
                        else:
                            _record_loss(shop.job, run, reason, worker.last_words(), partial(report, run))
            finally:
                for worker in crew:
                    worker.end()
            if interruption.signal_number is not None:
                raise Interrupted(
                    "interrupted; the checkpoints of the runs that were going on are written",
                    "run the same command again to continue",
                    signal_number=interruption.signal_number,
                )


class _Worker:
    """A process of the pool, started when it is first needed and again when it was lost."""

    def __init__(self, job: Job, threads: int, output: Path) -> None:
        self._job, self._threads, self._output = job, threads, output
        self.run: Run | None = None
        self.process: multiprocessing.process.BaseProcess | None = None

    def begin(self, run: Run, overwrite: bool, patience: float) -> None:
        """Give it a run."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self._job, self._threads, self._output))
            self.process.start()
            theirs.close()
        self.run = run
        with suppress(OSError):  # it died at this moment: heard of next
            self.connection.send((run, overwrite, patience))

    def stop(self) -> None:
        """Ask it to end after the checkpoint."""
        if self.process is not None:
            with suppress(OSError):
                self.connection.send(None)

    def lost(self) -> str:
        """It has ended: how, in words."""
        process = self.process
        if process is None:
            return "the process of the run never started"
        process.join()
        self.connection.close()
        self.process, self.run = None, None
        code = process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", which the system does when memory runs out" if name == "SIGKILL" else ""
            return f"the process of the run was ended by {name}{hint}"
        return f"the process of the run ended with exit code {code}"

    def last_words(self) -> str:
        """What it printed since the run began."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def end(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


def _heard(crew: Sequence[_Worker], report: Report) -> list[tuple[_Worker, Run, str]]:
    """Pass on what has come in; the workers that were lost in a run, with the run and how they ended."""
    lost = []
    there = {worker.connection: worker for worker in crew if worker.process is not None}
    for ready in wait(list(there), timeout=0.2):
        worker = there[ready]  # type: ignore[index]
        try:
            while worker.connection.poll():
                news = worker.connection.recv()
                run = worker.run
                if run is None:
                    continue
                if news.kind in ENDS:
                    worker.run = None
                report(run, news)
        except (EOFError, OSError):
            run, reason = worker.run, worker.lost()
            if run is not None:
                lost.append((worker, run, reason))
    return lost


def _record_loss(job: Job, run: Run, reason: str, last_words: str, tell: partial[None]) -> None:
    """A run whose process was lost has failed, unless that happened when its result was there already."""
    folder = RunFolder(run.folder(job.root))
    with run_lock(folder.path):
        if folder.finished:
            tell(News("finished"))
            return
        error = LostWorker(
            reason,
            "see what it printed in failure.json, then run the same command again: the run goes on from its checkpoint",
        )
        if last_words:
            error.add_note(f"The process printed:\n{last_words}")
        folder.write_failure(error)
    tell(News("failed", text=str(error)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
