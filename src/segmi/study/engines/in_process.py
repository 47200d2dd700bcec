"""Engine contract, and the engine that does one run after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from segmi.errors import Diverged, UsageError
from segmi.records import RunFolder
from segmi.study.events import Event
from segmi.study.executor import RunExecutor, stoppable

if TYPE_CHECKING:
    from segmi.study.run_config import Run

Report: TypeAlias = "Callable[[Run, Event], None]"

# Failures that all processes of a run have at the same point, so that they can continue with the next run.
SYNCHRONOUS: Final = (Diverged, UsageError)


class Engine(Protocol):
    """Does the runs of a study. A failed run is recorded, and the others continue."""

    name: str
    joint: bool  # whether several processes, started by another program, can do a run together

    def do(self, executor: RunExecutor, runs: Sequence[Run], report: Report) -> None:
        """Start the runs in their order, and call ``report`` with their events.

        Raises:
            Interrupted: on SIGINT or SIGTERM, after checkpoints are written.
            EnvironmentProblem: if records cannot be written.
        """


class InProcess:
    """Starts no process; a crash ends the study until the same command is run again."""

    name, joint = "in-process", True

    def do(self, executor: RunExecutor, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        with stoppable():
            for run in runs:
                error = executor.do(run, partial(report, run), overwrite=executor.job.overwrite)
                if error is not None and executor.processes.world_size > 1 and not isinstance(error, SYNCHRONOUS):
                    raise error  # the other processes are at another point of this run and cannot start the next one


def follow(executor: RunExecutor) -> None:
    """Do the part of another process in the runs that process 0 starts, until it starts no more."""
    from segmi.study.run_config import Run, RunConfig

    with stoppable():
        while (config := executor.processes.receive_task()) is not None:
            run = Run(RunConfig.from_plain(config))
            with suppress(*SYNCHRONOUS), executor.processes.report_errors():
                executor.execute(run, RunFolder(run.folder(executor.job.root)))
