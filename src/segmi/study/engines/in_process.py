"""One run after the other in this process; also the part of a process in runs that several do together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from segmi.errors import Diverged, UsageError
from segmi.records import RunFolder
from segmi.study.engines.contract import Report
from segmi.study.expand import Run
from segmi.study.workshop import Workshop, stoppable

ALIKE: Final = (Diverged, UsageError)
"""The failures that all processes of a run meet at the same point, so that they can go on to the next one."""


class InProcess:
    """Nothing is started; a crash of the process ends the study until the same command is given again."""

    name = "in-process"
    joint = True

    def do(self, shop: Workshop, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        with stoppable():
            for run in runs:
                error = shop.do(run, partial(report, run), overwrite=shop.job.overwrite)
                if error is not None and shop.processes.world_size > 1 and not isinstance(error, ALIKE):
                    raise error  # the others stand somewhere else in the run: there is no next one to do together


def follow(shop: Workshop) -> None:
    """What the other processes do: their part of the runs that the first one orders, until it orders none."""
    with stoppable():
        while (order := shop.processes.receive_task()) is not None:
            run = Run(**order)
            with suppress(*ALIKE), shop.processes.report_errors():
                shop.execute(run, RunFolder(run.folder(shop.job.root)))
