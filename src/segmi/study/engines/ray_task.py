"""What Ray does elsewhere: a task does a run and pins up its news on a board, where the study's process reads them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem
from segmi.study.engines.supervision import Order
from segmi.study.engines.worker import do_order, printing_into
from segmi.study.events import News
from segmi.study.workshop import Job, Workshop

CARRIED: Final = ("SEGMI_DATA", "SEGMI_CACHE")
"""The variables that say where data are, as in the study's process."""

SECONDS_TO_PIN: Final = 10.0


@dataclass(frozen=True)
class Task:
    """What all tasks of one call have in common.

    Args:
        job: likewise the runs.
        threads: those that a run computes with.
        outputs: the folder for what they print, which all machines see.
        variables: see `CARRIED`.
    """

    job: Job
    threads: int
    outputs: Path
    variables: Mapping[str, str]

    def output(self, ticket: int) -> Path:
        """The file for what a task prints."""
        return self.outputs / f"{ticket}.txt"

    def printed(self, ticket: int) -> str:
        """What a task printed."""
        with suppress(OSError):
            return self.output(ticket).read_text(errors="replace")
        return ""


class Board:
    """The news that the study's process has not read yet, with the ticket of their task; a Ray actor."""

    def __init__(self) -> None:
        self._pinned: list[tuple[int, News]] = []

    def pin(self, ticket: int, news: News) -> None:
        """Add news."""
        self._pinned.append((ticket, news))

    def take(self) -> list[tuple[int, News]]:
        """All of them, which are then forgotten."""
        taken, self._pinned = self._pinned, []
        return taken

    def wait(self) -> None:
        """Nothing; answered when everything that the caller pinned before is there."""


_latest: list[Workshop] = []
"""The workshop of this process: Ray gives the next task of a study to a process that is through with one."""


def do_task(board: Any, ticket: int, task: Task, order: Order) -> News:
    """Do a run in a process of Ray.

    Args:
        board: the handle of a `Board`.
        ticket: tells this try of this run from all others.
        task: what all tasks have in common.
        order: the run.

    Returns: the last news of the run.
    """
    import ray
    import torch

    if not task.outputs.is_dir():
        return News("failed", text=str(_unseen(task.job.root)))
    os.environ.update(task.variables)
    torch.set_num_threads(task.threads)
    if not _latest or _latest[0].job != task.job:
        _latest[:] = [Workshop(task.job)]
    with printing_into(task.output(ticket)):
        last = do_order(_latest[0], order, lambda news: board.pin.remote(ticket, news))
    task.output(ticket).unlink(missing_ok=True)
    with suppress(ray.exceptions.RayError):  # progress is lost with the board, results are not
        ray.get(board.wait.remote(), timeout=SECONDS_TO_PIN)
    return last


def _unseen(root: Path) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{socket.gethostname()} does not see the folder of the runs {root}",
        "give a folder with --runs that all machines of the cluster share under the same path",
    )
