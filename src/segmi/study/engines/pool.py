"""Several runs at a time, each in a process of its own: what crashes there is that run's failure alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from segmi.study.engines.contract import Report
from segmi.study.engines.supervision import Loss, Order, check_count, supervise
from segmi.study.engines.worker import serve
from segmi.study.events import ENDS, News
from segmi.study.expand import Run
from segmi.study.workshop import Job, Workshop


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
        check_count("--jobs", jobs, 1)
        check_count("--retries", retries, 0)
        self.jobs, self.retries = jobs, retries

    def do(self, shop: Workshop, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        import torch

        threads = torch.get_num_threads()  # as in this process: other numbers would give other gradients
        most = max(run.config["training"]["threads"] or threads for run in runs)
        jobs = min(self.jobs or max(1, cores() // most), len(runs))
        with tempfile.TemporaryDirectory(prefix="segmi-pool-") as outputs:
            crew = _Processes(shop.job, threads, [Path(outputs, f"{number}.txt") for number in range(jobs)])
            supervise(crew, shop.job, runs, report, retries=self.retries)


class _Processes:
    """The crew of a pool, see `Crew`."""

    def __init__(self, job: Job, threads: int, outputs: Sequence[Path]) -> None:
        self._workers = [_Worker(job, threads, output) for output in outputs]

    @property
    def has_room(self) -> bool:
        return any(worker.order is None for worker in self._workers)

    @property
    def is_busy(self) -> bool:
        return any(worker.order is not None for worker in self._workers)

    def begin(self, order: Order) -> None:
        next(worker for worker in self._workers if worker.order is None).begin(order)

    def listen(self) -> list[tuple[Order, News | Loss]]:
        there = {worker.connection: worker for worker in self._workers if worker.process is not None}
        ready = wait(list(there), timeout=0.2)
        return [heard for connection, worker in there.items() if connection in ready for heard in worker.heard()]

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def end(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process of the pool, started when it is first needed and again when it was lost."""

    def __init__(self, job: Job, threads: int, output: Path) -> None:
        self._job, self._threads, self._output = job, threads, output
        self.order: Order | None = None
        self.process: multiprocessing.process.BaseProcess | None = None

    def begin(self, order: Order) -> None:
        """Give it a run."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self._job, self._threads, self._output))
            self.process.start()
            theirs.close()
        self.order = order
        with suppress(OSError):  # it died at this moment: heard of next
            self.connection.send(order)

    def heard(self) -> list[tuple[Order, News | Loss]]:
        """What it told, its loss if it told no end of a run."""
        found: list[tuple[Order, News | Loss]] = []
        try:
            while self.connection.poll():
                news = self.connection.recv()
                if self.order is not None:
                    found.append((self.order, news))
                if news.kind in ENDS:
                    self.order = None
        except (EOFError, OSError):
            order, reason = self.order, self._lost()
            if order is not None:
                found.append((order, Loss(reason, self._last_words())))
        return found

    def stop(self) -> None:
        """Ask it to end after the checkpoint."""
        if self.process is not None:
            with suppress(OSError):
                self.connection.send(None)

    def end(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None

    def _lost(self) -> str:
        """It has ended: how, in words."""
        process = self.process
        if process is None:
            return "the process of the run never started"
        process.join()
        self.connection.close()
        self.process, self.order = None, None
        code = process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", which the system does when memory runs out" if name == "SIGKILL" else ""
            return f"the process of the run was ended by {name}{hint}"
        return f"the process of the run ended with exit code {code}"

    def _last_words(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
