"""Where single runs are done: in its folder, under its lock, its failure recorded; the same in every process."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from segmi.errors import EnvironmentProblem, Interrupted
from segmi.records import RunFolder, run_lock, sweep
from segmi.study import resolve
from segmi.study.events import News
from segmi.study.execute import execute
from segmi.study.expand import Run
from segmi.study.facts import Facts
from segmi.study.roots import Roots

if TYPE_CHECKING:
    from segmi.training.distributed import ProcessGroup

RECORDS: Final = (
    "result.json", "failure.json", "crashes.json", "config.yaml", "environment.json", "origin.json",
    "precision.json", "metrics.csv", "profile.json", "usage.json", "trackers.json", "confusion", "samples",
    "bundles", "checkpoints", "tensorboard", "mlflow", "wandb",
)  # fmt: skip
"""What a run folder holds, the mark of a finished run first; starting over removes nothing else."""

Tell: TypeAlias = Callable[[News], None]


@dataclass(frozen=True)
class Job:
    """What all runs of one call have in common; plain, so that it travels to other processes.

    Args:
        root: the folder of all runs.
        datasets: the options of the study's datasets.
        roots: where they are.
        cache: the folder of decoded images; None keeps them in memory.
        init_from: a bundle from whose weights the reported network starts.
        overwrite: start the runs anew, finished ones included.
        profile: measure what takes how long.
    """

    root: Path
    datasets: Mapping[str, Mapping[str, Any]]
    roots: Roots = field(default_factory=Roots)
    cache: Path | None = None
    init_from: Path | None = None
    overwrite: bool = False
    profile: bool = False


class Workshop:
    """Does runs one at a time in this process, and keeps what the runs on one dataset share.

    Args:
        job: what the runs have in common.
        processes: those that do a run together; this one alone by default.
    """

    def __init__(self, job: Job, processes: ProcessGroup | None = None) -> None:
        self.job = job
        self.processes = processes or resolve.connect([])
        self._facts: dict[str, Facts] = {}

    def facts(self, name: str) -> Facts:
        """A dataset, opened once; the images of the others are forgotten, for runs go dataset by dataset."""
        for other in self._facts.keys() - {name}:
            self._facts[other].forget_images()
        if name not in self._facts:
            self._facts[name] = Facts(resolve.open_data(name, self.job.datasets[name], self.job.roots), self.job.cache)
        return self._facts[name]

    def do(self, run: Run, tell: Tell, *, overwrite: bool = False, patience: float = 0.0) -> Exception | None:
        """Do a run unless it is finished or another process has it.

        Args:
            run: what is to be done.
            tell: hears of it; the last news are one of `ENDS`.
            overwrite: start it anew, even if it is finished.
            patience: seconds to wait for the lock of the run, for one whose process was lost a moment ago.

        Returns:
            What it failed with; that is on record, and the next run can be done.

        Raises:
            EnvironmentProblem: if records cannot be written.
            Interrupted: on SIGINT or SIGTERM, after the checkpoint is written.
        """
        folder = RunFolder(run.folder(self.job.root))
        with lock_if_free(folder.path, patience) as problem:
            if problem is not None:
                tell(News("busy", text=problem.message))
                return None
            if folder.finished and not overwrite:
                tell(News("skipped"))
                return None
            prepare(folder.path, overwrite=overwrite)
            tell(News("started"))
            self.processes.send_task(vars(run))
            try:
                with self.processes.report_errors():
                    self.execute(run, folder, **_listeners(tell))
            except (Interrupted, KeyboardInterrupt):
                raise
            except Exception as error:
                folder.write_failure(error)
                tell(News("failed", text=str(error)))
                return error
            tell(News("finished"))
            return None

    def execute(self, run: Run, folder: RunFolder, **listeners: Any) -> None:
        """A run's own work, by whoever holds its lock or helps the process that does."""
        execute(
            run, folder, self.facts(run.dataset), init_from=self.job.init_from, processes=self.processes,
            profile=self.job.profile, **listeners,
        )  # fmt: skip


def _listeners(tell: Tell) -> dict[str, Any]:
    def on_fit(progress: Any) -> None:
        if progress.text:
            tell(News("note", text=progress.text))
        else:
            tell(News("train", progress.step, progress.steps, loss=progress.loss, rate=progress.images_per_second))

    def on_evaluate(done: int, of: int) -> None:
        tell(News("evaluate", done, of))

    def on_prepare(done: int, of: int) -> None:
        tell(News("prepare", done, of))

    return {"on_fit": on_fit, "on_evaluate": on_evaluate, "on_prepare": on_prepare}


@contextmanager
def lock_if_free(folder: Path, patience: float) -> Iterator[EnvironmentProblem | None]:
    """The lock of a run folder, or the reason why it cannot be had within ``patience`` seconds."""
    until = time.monotonic() + patience
    while True:
        lock = run_lock(folder)
        try:
            lock.__enter__()
            break
        except EnvironmentProblem as problem:
            if "in use" not in problem.message:
                raise
            if time.monotonic() >= until:
                yield problem
                return
        time.sleep(0.2)
    try:
        yield None
    finally:
        lock.__exit__(None, None, None)


def prepare(folder: Path, *, overwrite: bool) -> None:
    """Sweep what a killed process left half-written; on ``overwrite`` remove the records of the run before."""
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
    """SIGINT and SIGTERM end what is inside as `Interrupted`, also where no training loop watches for them."""
    remedy = "run the same command again to continue"

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("terminated", remedy, signal_number=number)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy, signal_number=signal.SIGINT) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
