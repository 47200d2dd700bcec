"""The loop itself: update, look, validate, keep, until the budget is spent or somebody asks to stop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from segmi.arrays import Batch
from segmi.errors import Interrupted
from segmi.training.checkpoints import Checkpoints
from segmi.training.interruption import Interruption
from segmi.training.logs import Logs
from segmi.training.progress import FitProgress, ProgressCallback
from segmi.training.selection import Selection
from segmi.training.session import Session

UNBOUNDED: Final = 2**40
"""Updates of a run that time ends: more than any has, and few enough to count pictures by."""


class Rhythm(NamedTuple):
    """How long a run is and what happens how often; all but the batches are counted in updates.

    Args:
        steps: updates in all.
        accumulate: batches per update.
        batch_size: pictures per batch.
        per_epoch: batches per epoch.
        row: updates per row of the history.
        checkpoint: updates between checkpoints.
        log: updates between entries of the log.
        seconds: of training and validation, after which the run ends; None for one that ends after ``steps``.
    """

    steps: int
    accumulate: int
    batch_size: int
    per_epoch: int
    row: int
    checkpoint: int
    log: int
    seconds: float | None = None


def run_loop(
    session: Session,
    selection: Selection,
    checkpoints: Checkpoints,
    batches: Iterator[Batch],
    rhythm: Rhythm,
    folder: Path,
    trackers: Sequence[str],
    progress: ProgressCallback | None,
) -> None:
    """Bring a session to its last update.

    Raises:
        Interrupted: on SIGINT or SIGTERM in any process, after the checkpoint is written.
    """
    processes, profile, steps = session.how.processes, session.how.profile, rhythm.steps

    def tell(phase: str, text: str = "") -> None:
        if progress is not None and processes.leads:
            rate = session.steps_per_second * rhythm.batch_size * rhythm.accumulate
            done, loss = session.step, session.latest.get("loss", math.nan)
            epoch = done * rhythm.accumulate // rhythm.per_epoch
            progress(FitProgress(done, _expected(session, rhythm), epoch, loss, rate, phase, text))

    logs = Logs(folder, trackers, first_step=session.step, writes=processes.leads)
    with Interruption() as interruption, logs:
        tell("begin", f"computes in {_described(session)}")
        over = session.step >= steps or bool(processes.largest(int(_closed_in_time(session, rhythm))))
        while not over:
            session.update(batches, rhythm.accumulate)
            step, last = session.step, session.step == steps
            if rhythm.seconds is not None:  # the clocks of several processes differ: all stop at the first that is over
                last = bool(processes.largest(int(session.seconds >= rhythm.seconds)))
            row_ends = step % rhythm.row == 0 or last
            if session.device.type == "cpu" or step % rhythm.log == 0 or row_ends:
                session.read_back()  # on a GPU every read waits for it
            if step % rhythm.log == 0:
                logs.losses(step, session.latest, session.learning_rate)
            tell("train")
            if row_ends:
                tell("validate")
                with profile.part("validation"):
                    row = selection.close_row(epoch=step * rhythm.accumulate / rhythm.per_epoch)
                logs.row(row, session.history)
            signal_number = processes.largest(interruption.signal_number or 0)
            if signal_number or step % rhythm.checkpoint == 0 or last:
                with profile.part("checkpoint"):
                    checkpoints.save(step, session.weights(), session.state())
            if signal_number and not last:
                steps = _expected(session, rhythm)
                raise Interrupted(
                    f"interrupted at update {step} of {steps}; the checkpoint is in {checkpoints.folder}",
                    "run the same command again to continue",
                    signal_number=signal_number,
                )
            over = last


def _closed_in_time(session: Session, rhythm: Rhythm) -> bool:
    """Whether a run that time ends was at its end when it was stopped: with its last row in the history."""
    if rhythm.seconds is None or session.seconds < rhythm.seconds:
        return False
    return bool(session.history) and session.history[-1]["step"] == session.step


def _expected(session: Session, rhythm: Rhythm) -> int:
    """How many updates the run will have; of one that time ends, by its pace so far."""
    if rhythm.seconds is None:
        return rhythm.steps
    spent = session.seconds
    return max(session.step, round(session.step * rhythm.seconds / spent) if spent else 0)


def _described(session: Session) -> str:
    """In what the session computes, for people."""
    settled = session.how.number_format
    threads = f" with {settled.threads} thread{'s' if settled.threads != 1 else ''}" if settled.threads else ""
    kernels = f", kernel {', '.join(sorted(set(settled.kernels.values())))}" if settled.kernels else ""
    return f"{settled.describe()} on {session.device}{threads}{kernels}"
