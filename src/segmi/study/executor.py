"""Execution of single runs in their folders: lock, failure record, interruption; the same in every process.

PyTorch is imported when the first run starts, so that a worker process can first detach from the terminal.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import EnvironmentProblem, Interrupted
from segmi.records import LockedError, RunFolder, run_lock, sweep
from segmi.records.process import STOP_SIGNALS
from segmi.study.dataset_context import DataRoots, DatasetContext
from segmi.study.events import Emit, Event

if TYPE_CHECKING:
    from segmi.study.run_config import Run
    from segmi.training import Callback
    from segmi.training.distributed import ProcessGroup

# Files and folders of a run that ``--overwrite`` removes, in this order: without a result, a run is not finished.
RECORDS: Final = (
    "result.json", "failure.json", "crashes.json", "config.yaml", "environment.json", "origin.json",
    "precision.json", "metrics.csv", "profile.json", "usage.json", "trackers.json", "confusion", "samples",
    "ensemble.json", "bundles", "checkpoints", "tensorboard", "mlflow", "wandb",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Settings common to all runs of one call; plain, so that they can be sent to other processes."""

    root: Path  # folder of all runs
    datasets: Mapping[str, Mapping[str, Any]]  # options of the study's datasets
    roots: DataRoots = field(default_factory=DataRoots)  # folders of the datasets
    cache: Path | None = None  # folder of decoded images. None: keep them in memory.
    init_from: Path | None = None  # bundle whose weights the reported network starts from
    overwrite: bool = False  # start all runs again, finished ones included
    profile: bool = False  # measure where the time goes


class RunExecutor:
    """Does runs one at a time, together with other ``processes`` if given, and keeps the data that they share."""

    def __init__(self, job: Job, processes: ProcessGroup | None = None, callbacks: Sequence[Callback] = ()) -> None:
        from segmi.study.components import connect_processes

        self.job, self.callbacks = job, callbacks
        self.processes = processes or connect_processes([])
        self._contexts: dict[str, DatasetContext] = {}

    def context(self, name: str) -> DatasetContext:
        """Return a dataset, opened once. Images of other datasets are released: runs are ordered by dataset."""
        from segmi.study.components import open_data

        for other in self._contexts.keys() - {name}:
            self._contexts[other].release_images()
        if name not in self._contexts:
            dataset = open_data(name, self.job.datasets[name], self.job.roots)
            self._contexts[name] = DatasetContext(dataset, self.job.cache)
        return self._contexts[name]

    def do(self, run: Run, emit: Emit, *, overwrite: bool = False, patience: float = 0.0) -> Exception | None:
        """Do a run, unless it is finished or another process has its lock; the last event is one of `ENDS`.

        ``overwrite`` starts a finished run again. ``patience`` are the seconds to wait for the lock, for a run whose
        process has just crashed. Returns the error of a failed run, which is also written to its folder; raises as
        `Engine.do`.
        """
        folder = RunFolder(run.folder(self.job.root))
        with lock_if_free(folder.path, patience) as problem:
            if problem is not None:
                emit(Event("busy", text=problem.message))
                return None
            if folder.finished and not overwrite:
                emit(Event("skipped"))
                return None
            prepare(folder.path, overwrite=overwrite)
            emit(Event("started"))
            self.processes.send_task(run.config.plain())
            try:
                with self.processes.report_errors():
                    self.execute(run, folder, emit)
            except (Interrupted, KeyboardInterrupt):
                raise
            except Exception as error:
                folder.write_failure(error)
                emit(Event("failed", text=str(error)))
                return error
            emit(Event("finished"))
            return None

    def execute(self, run: Run, folder: RunFolder, emit: Emit = lambda event: None) -> None:
        """Execute a run whose folder is locked by this process, or by the process that leads it."""
        from segmi.study.execute import execute

        context = self.context(run.dataset)
        execute(run, folder, context, job=self.job, processes=self.processes, emit=emit, callbacks=self.callbacks)


@contextmanager
def lock_if_free(folder: Path, patience: float) -> Iterator[EnvironmentProblem | None]:
    """Lock a run folder, or yield the reason why the lock is not free within ``patience`` seconds."""
    with ExitStack() as stack:
        try:
            stack.enter_context(run_lock(folder, patience=patience))
        except LockedError as problem:
            yield problem
        else:
            yield None


def prepare(folder: Path, *, overwrite: bool) -> None:
    """Remove incomplete files of a killed process; with ``overwrite``, all records of the previous run."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    for name in RECORDS if overwrite else ("result.json", "failure.json"):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Interrupted` on `STOP_SIGNALS`, also outside the training loop."""
    remedy = "run the same command again to continue"

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("terminated", remedy, signal_number=number)

    main = threading.current_thread() is threading.main_thread()
    before = {one: signal.signal(one, stop) for one in STOP_SIGNALS if main and one != signal.SIGINT}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy, signal_number=signal.SIGINT) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
