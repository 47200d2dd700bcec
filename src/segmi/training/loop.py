"""The loop itself: update, look, validate, keep, until the budget is spent or somebody asks to stop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from segmi.errors import Interrupted
from segmi.training.checkpoints import Checkpoints
from segmi.training.interruption import Interruption
from segmi.training.logs import Logs
from segmi.training.progress import FitProgress, ProgressCallback
from segmi.training.selection import Selection
from segmi.training.session import Session
from segmi.types import Batch

UNBOUNDED: Final = 2**40
"""Updates of a run that time ends: more than any has, and few enough to count images by."""


class LoopSchedule(NamedTuple):
    """Length of a run and the intervals of its loop, in optimizer steps unless stated otherwise.

    Args:
        steps: total number of steps.
        accumulate: batches per step.
        batch_size: images per batch.
        batches_per_epoch: batches in a pass over the training images.
        validate_every: steps per row of the history.
        checkpoint_every: steps between checkpoints.
        log_every: steps between entries of the loggers.
        seconds: training and validation time after which the run ends. None: the run ends after ``steps``.
    """

    steps: int
    accumulate: int
    batch_size: int
    batches_per_epoch: int
    validate_every: int
    checkpoint_every: int
    log_every: int
    seconds: float | None = None


def run_loop(
    session: Session,
    selection: Selection,
    checkpoints: Checkpoints,
    batches: Iterator[Batch],
    loop_schedule: LoopSchedule,
    folder: Path,
    trackers: Sequence[str],
    progress: ProgressCallback | None,
) -> None:
    """Bring a session to its last step.

    Raises:
        Interrupted: on SIGINT or SIGTERM in any process, after the checkpoint is written.
    """
    processes, profile, steps = session.runtime.processes, session.runtime.profile, loop_schedule.steps

    def tell(phase: str, text: str = "") -> None:
        if progress is not None and processes.leads:
            rate = session.steps_per_second * loop_schedule.batch_size * loop_schedule.accumulate
            done, loss = session.step, session.latest.get("loss", math.nan)
            epoch = done * loop_schedule.accumulate // loop_schedule.batches_per_epoch
            progress(FitProgress(done, _expected(session, loop_schedule), epoch, loss, rate, phase, text))

    logs = Logs(folder, trackers, first_step=session.step, writes=processes.leads)
    with Interruption() as interruption, logs:
        tell("begin", f"computes in {_described(session)}")
        over = session.step >= steps or bool(processes.largest(int(_closed_in_time(session, loop_schedule))))
        while not over:
            session.update(batches, loop_schedule.accumulate)
            step, last = session.step, session.step == steps
            if (
                loop_schedule.seconds is not None
            ):  # the clocks of several processes differ: all stop at the first that is over
                last = bool(processes.largest(int(session.seconds >= loop_schedule.seconds)))
            row_ends = step % loop_schedule.validate_every == 0 or last
            if session.device.type == "cpu" or step % loop_schedule.log_every == 0 or row_ends:
                session.read_back()  # on a GPU every read waits for it
            if step % loop_schedule.log_every == 0:
                logs.losses(step, session.latest, session.learning_rate)
            tell("train")
            if row_ends:
                tell("validate")
                with profile.part("validation"):
                    row = selection.close_row(epoch=step * loop_schedule.accumulate / loop_schedule.batches_per_epoch)
                logs.row(row, session.history)
            signal_number = processes.largest(interruption.signal_number or 0)
            if signal_number or step % loop_schedule.checkpoint_every == 0 or last:
                with profile.part("checkpoint"):
                    checkpoints.save(step, session.weights(), session.state())
            if signal_number and not last:
                steps = _expected(session, loop_schedule)
                raise Interrupted(
                    f"interrupted at update {step} of {steps}; the checkpoint is in {checkpoints.folder}",
                    "run the same command again to continue",
                    signal_number=signal_number,
                )
            over = last


def _closed_in_time(session: Session, loop_schedule: LoopSchedule) -> bool:
    """Whether a run that time ends was at its end when it was stopped: with its last row in the history."""
    if loop_schedule.seconds is None or session.seconds < loop_schedule.seconds:
        return False
    return bool(session.history) and session.history[-1]["step"] == session.step


def _expected(session: Session, loop_schedule: LoopSchedule) -> int:
    """How many steps the run will have; of one that time ends, by its pace so far."""
    if loop_schedule.seconds is None:
        return loop_schedule.steps
    spent = session.seconds
    return max(session.step, round(session.step * loop_schedule.seconds / spent) if spent else 0)


def _described(session: Session) -> str:
    """In what the session computes, for people."""
    settled = session.runtime.number_format
    threads = f" with {settled.threads} thread{'s' if settled.threads != 1 else ''}" if settled.threads else ""
    kernels = f", kernel {', '.join(sorted(set(settled.kernels.values())))}" if settled.kernels else ""
    return f"{settled.describe()} on {session.device}{threads}{kernels}"
