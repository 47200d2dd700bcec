"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from segmi.study.events import News
from segmi.study.expand import Run
from segmi.study.workshop import Workshop

Report: TypeAlias = Callable[[Run, News], None]


class Engine(Protocol):
    """Does the runs of a study; a failing run is a record, and the others go on."""

    name: str
    joint: bool
    """Whether several processes, started from outside, can do a run together."""

    def do(self, shop: Workshop, runs: Sequence[Run], report: Report) -> None:
        """Do the runs.

        Args:
            shop: of this process; its job is what other processes are sent.
            runs: in the order in which they are begun.
            report: hears what every run tells.

        Raises:
            Interrupted: on SIGINT or SIGTERM, after the checkpoints are written.
            EnvironmentProblem: if records cannot be written.
        """
        ...
