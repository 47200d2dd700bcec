"""Engine that does several runs at a time, each in its own process; a crash there fails that run only."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from segmi.study.engines.in_process import Report
from segmi.study.engines.supervision import Crash, Task, check_count, supervise
from segmi.study.engines.worker import serve
from segmi.study.events import ENDS, Event
from segmi.study.executor import Job, RunExecutor

if TYPE_CHECKING:
    from segmi.study.run_config import Run


class Pool:
    """Worker processes that each do one run after the other.

    The arguments are options of ``segmi study run``. By default as many processes start as the CPU cores allow with the
    threads of each run.
    """

    name, joint = "pool", False

    def __init__(self, jobs: int | None = None, retries: int = 0) -> None:
        check_count("--jobs", jobs, 1)
        check_count("--retries", retries, 0)
        self.jobs, self.retries = jobs, retries

    def do(self, executor: RunExecutor, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        import torch

        from segmi.datasets.workers import processors

        threads = torch.get_num_threads()  # as in this process: the number of threads changes rounding
        most = max(run.config.training.threads or threads for run in runs)
        jobs = min(self.jobs or max(1, processors() // most), len(runs))
        with tempfile.TemporaryDirectory(prefix="segmi-pool-", ignore_cleanup_errors=True) as outputs:
            paths = [Path(outputs, f"{number}.txt") for number in range(jobs)]
            supervise(_Workers(executor.job, threads, paths), executor.job, runs, report, retries=self.retries)


class _Workers:
    """Worker pool of processes of this machine, see `WorkerPool`."""

    def __init__(self, job: Job, threads: int, outputs: Sequence[Path]) -> None:
        self._workers = [_Worker(job, threads, output) for output in outputs]
        self.room = float(len(outputs))

    def begin(self, task: Task) -> None:
        next(worker for worker in self._workers if worker.task is None).begin(task)

    def poll(self) -> list[tuple[Task, Event | Crash]]:
        started = {worker.connection: (worker, worker.process) for worker in self._workers if worker.process}
        ready = wait(list(started), timeout=0.2)
        polled = [worker.poll(process) for one, (worker, process) in started.items() if one in ready]
        return [result for results in polled for result in results]

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def end(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    """Process of the pool, started with its first task and again after a crash."""

    def __init__(self, job: Job, threads: int, output: Path) -> None:
        self._job, self._threads, self._output = job, threads, output
        self.task: Task | None = None
        self.process: BaseProcess | None = None

    def begin(self, task: Task) -> None:
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self._job, self._threads, self._output))
            self.process.start()
            theirs.close()
        self.task = task
        with suppress(OSError):  # the process has just crashed, which the next poll finds
            self.connection.send(task)

    def poll(self, process: BaseProcess) -> list[tuple[Task, Event | Crash]]:
        """Return its new events, or a crash if it ended without the last event of a run."""
        results: list[tuple[Task, Event | Crash]] = []
        try:
            while self.connection.poll():
                event = self.connection.recv()
                if self.task is not None:
                    results.append((self.task, event))
                if event.kind in ENDS:
                    self.task = None
        except (EOFError, OSError):
            task, reason = self.task, self._reap(process)
            if task is not None:
                output = self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""
                results.append((task, Crash(reason, output)))
        return results

    def stop(self) -> None:
        if self.process is not None:
            with suppress(OSError):
                self.connection.send(None)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self._reap(self.process)

    def _reap(self, process: BaseProcess) -> str:
        """Wait for the ended process and return the reason."""
        process.join()
        self.connection.close()
        self.process = self.task = None
        code = process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            return f"the process of the run was ended by {name}{hint}"
        return f"the process of the run ended with exit code {code}"
