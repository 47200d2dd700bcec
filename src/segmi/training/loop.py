"""The training loop: step, log, validate and save, until the budget is spent or a signal asks to stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias

from segmi.errors import Interrupted, counted
from segmi.records.process import STOP_SIGNALS
from segmi.training.checkpoints import Checkpoints
from segmi.training.loggers import RunLogger
from segmi.training.run_callbacks import CallbackList
from segmi.training.selection import Selection
from segmi.training.session import Session
from segmi.types import Batch

UNBOUNDED: Final = 2**40
"""Length in steps of a run with a budget in minutes: never reached, and small enough to compute with."""


@dataclass(frozen=True)
class FitProgress:
    """Progress of a run."""

    step: int  # optimizer steps done
    steps: int  # total number of steps
    epoch: int  # index of the current pass over the training images
    loss: float  # weighted sum of the losses at the last logged step
    images_per_second: float  # average since this process started
    phase: str = "train"  # ``compile``, ``begin``, ``train`` or ``validate``
    text: str = ""  # message for the user


ProgressCallback: TypeAlias = Callable[[FitProgress], None]


class LoopSchedule(NamedTuple):
    """Length of a run and the intervals of its loop, in optimizer steps unless stated otherwise."""

    steps: int  # total number
    accumulate: int  # batches per step
    batch_size: int  # images per batch
    batches_per_epoch: int
    validate_every: int | None  # steps per row of the history; None: by time, see `next_row`
    checkpoint_every: int
    log_every: int
    seconds: float | None = None  # time of training and validation; None: the run ends after ``steps``
    estimate: bool = False  # whether to measure a step first, and to report how long the run takes
    patience: int | None = None  # rows without a better score after which the run ends

    def expected_steps(self, session: Session) -> int:
        """Return the total number of steps; with a time limit, extrapolated from the pace so far."""
        if self.seconds is None:
            return self.steps
        elapsed = session.seconds
        return max(session.step, round(session.step * self.seconds / elapsed) if elapsed else 0)

    def is_finished(self, session: Session) -> bool:
        """Return whether a resumed run has nothing left to do."""
        if self.is_exhausted(session):
            return True
        if self.seconds is None or session.seconds < self.seconds:
            return session.step >= self.steps
        # A run that was stopped after its time was up may still lack its last row.
        return bool(session.history) and session.history[-1]["step"] == session.step

    def is_exhausted(self, session: Session) -> bool:
        """Return whether the last ``patience`` rows of the history have no better score than those before."""
        later = sum(row["step"] > session.best_step for row in session.history)
        return self.patience is not None and later >= self.patience

    def describe(self, session: Session, step_seconds: float) -> str:
        """Return how long the rest of the run takes, from the seconds of a step."""
        left = self.steps - session.step
        if self.seconds is not None:
            left = round(max(0.0, self.seconds - session.seconds) / step_seconds)
        epochs = left * self.accumulate / self.batches_per_epoch
        minutes = left * step_seconds / 60
        return (
            f"a step of {counted(self.batch_size * self.accumulate, 'image')} takes {step_seconds:.2f} s: "
            f"about {counted(left, 'step')}, {epochs:.1f} epochs, in {minutes:.1f} min without validation"
        )

    def next_row(self, now: float, validation: float) -> float:
        """Return when the next row is due after a validation of this many seconds, which may take 1/20 of the time."""
        return now + max((self.seconds or 0) / 10, 19 * validation)


class Interruption:
    """Context manager that records SIGINT, SIGTERM and Windows' SIGBREAK, so that a run can save a checkpoint first.

    A second signal has its usual effect.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal was received."""
        return self.signal_number is not None

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._record) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()  # a second signal is not recorded

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def run_loop(
    session: Session, selection: Selection, checkpoints: Checkpoints, batches: Iterator[Batch], schedule: LoopSchedule,
    folder: Path, loggers: Sequence[str], progress: ProgressCallback | None, callbacks: CallbackList,
) -> None:  # fmt: skip
    """Train until the last step.

    Raises:
        Interrupted: on SIGINT or SIGTERM in any process, after a checkpoint is written.
    """
    processes, profile = session.runtime.processes, session.runtime.profile

    def report(phase: str, text: str = "") -> None:
        if progress is not None and processes.is_main:
            rate = session.steps_per_second * schedule.batch_size * schedule.accumulate
            epoch = session.step * schedule.accumulate // schedule.batches_per_epoch
            loss = session.latest.get("loss", math.nan)
            progress(FitProgress(session.step, schedule.expected_steps(session), epoch, loss, rate, phase, text))

    logger = RunLogger(folder, loggers, first_step=session.step, writes=processes.is_main)
    with Interruption() as interruption, logger:
        report("begin", f"computes in {_describe(session)}")
        # The clocks of the processes differ: all of them stop when the first one is out of time.
        last = bool(processes.max(int(schedule.is_finished(session)))) or callbacks.stopped_by is not None
        validation = 0.0  # seconds
        if schedule.estimate and not last:
            group = [next(batches) for _ in range(schedule.accumulate)]
            step_seconds = session.time_step(group)
            report("begin", schedule.describe(session, step_seconds))
            batches = chain(group, batches)
            # A forward pass takes about a third of a step.
            validation = selection.predicted_images * step_seconds / (3 * schedule.accumulate * schedule.batch_size)
        if session.runtime.compile and not last:
            report("compile", "torch.compile compiles the networks in the first step")
        due = schedule.next_row(session.seconds, validation)
        callbacks.call("start")
        while not last:
            session.train_step(batches, schedule.accumulate)
            step = session.step
            last = step == schedule.steps
            if schedule.seconds is not None:
                last = bool(processes.max(int(session.seconds >= schedule.seconds)))
            if schedule.validate_every is None:
                row_ends = bool(processes.max(int(session.seconds >= due))) or last
            else:
                row_ends = step % schedule.validate_every == 0 or last
            if session.device.type == "cpu" or step % schedule.log_every == 0 or row_ends:
                session.fetch_metrics()  # waits for a GPU, so not after every step
            if step % schedule.log_every == 0:
                losses = {f"train/{name}": value for name, value in session.latest.items()}
                logger.log({**losses, "lr": session.learning_rate}, step)  # the learning rate of the next step
            report("train")
            callbacks.call("step")
            if callbacks and processes.max(int(callbacks.stopped_by is not None)):
                last = row_ends = True
                session.fetch_metrics()
            if row_ends:
                report("validate")
                began = session.seconds
                with profile.part("validation"):
                    row = selection.close_row(epoch=step * schedule.accumulate / schedule.batches_per_epoch)
                logger.log_row(row, session.history)
                due = schedule.next_row(session.seconds, session.seconds - began)
                callbacks.call("validation")
                stopped = callbacks and processes.max(int(callbacks.stopped_by is not None))
                last = last or bool(stopped) or schedule.is_exhausted(session)
            # Once per step, so that all processes stop at the same one.
            signal_number = processes.max(interruption.signal_number or 0)
            if signal_number or step % schedule.checkpoint_every == 0 or last:
                with profile.part("checkpoint"):
                    state = {**session.state(), "callbacks": callbacks.state_dict()}
                    checkpoints.save(step, session.weights(), state)
            if callbacks.stopped_by is not None:
                report("train", f"stopped at step {step} by {callbacks.stopped_by}")
            if signal_number:  # also in the last step, since other runs may follow
                raise Interrupted(
                    f"interrupted at step {step} of {schedule.expected_steps(session)}; the checkpoint is in "
                    f"{checkpoints.folder}",
                    "run the same command again to continue",
                    signal_number=signal_number,
                )


def _describe(session: Session) -> str:
    """Return precision, device, threads and kernels for the user."""
    precision = session.runtime.precision
    threads = f" with {precision.threads} thread{'s' if precision.threads != 1 else ''}" if precision.threads else ""
    kernels = f", kernel {', '.join(sorted(set(precision.kernels.values())))}" if precision.kernels else ""
    return f"{precision.describe()} on {session.device}{threads}{kernels}"
