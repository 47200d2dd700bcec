"""The training loop: a cohort, an objective, pictures; it resumes exactly from any step.

Nothing random remembers: the order of the pictures is keyed by the epoch, their crops by (epoch, index), dropout by the
step. So a checkpoint needs weights, optimiser and counters only, and a resumed run equals one that was never stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmi.data.loader import Pictures, steps_per_epoch, training_batches
from segmi.errors import Interrupted, UsageError
from segmi.objectives.contract import Objective
from segmi.training.checkpoints import Checkpoints
from segmi.training.cohort import Cohort
from segmi.training.interruption import Interruption
from segmi.training.logs import Logs
from segmi.training.optimisation import build_optimizer, build_schedule
from segmi.training.precision import Precision, resolve_device, resolve_precision
from segmi.training.progress import FitProgress, ProgressCallback
from segmi.training.selection import SelectBy, Selection
from segmi.training.session import Session


@dataclass(frozen=True)
class FitOutcome:
    """What a finished run amounts to; plain types only.

    Args:
        updates: optimiser steps taken.
        images: pictures seen.
        epochs: passes over the training pictures, a fraction where the last was not completed.
        best_step: the update whose weights the cohort holds.
        best_score: its held-out mIoU or mean training loss; None for ``last``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        wall_seconds: training and validation time over all sessions of the run.
        history: a row per ``validate_every`` updates.
    """

    updates: int
    images: int
    epochs: float
    best_step: int
    best_score: float | None
    precision: str
    wall_seconds: float
    history: list[dict[str, Any]]


def fit(
    cohort: Cohort,
    objective: Objective,
    train: Pictures,
    *,
    folder: Path,
    holdout: Pictures | None = None,
    seed: int = 0,
    updates: int | None = None,
    epochs: int | None = None,
    batch_size: int = 8,
    accumulate: int = 1,
    drop_last: bool = True,
    optimizer: str = "Adam",
    optimizer_options: dict[str, Any] | None = None,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    schedule_options: dict[str, Any] | None = None,
    clip_norm: float | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    workers: int = 0,
    select_by: SelectBy = "holdout_mIoU",
    select_member: str | None = None,
    validate_every: int | None = None,
    checkpoint_every: int = 200,
    log_every: int = 20,
    resume: bool = True,
    progress: ProgressCallback | None = None,
) -> FitOutcome:
    """Train ``cohort`` on ``objective`` and leave it with the weights that were selected.

    Args:
        cohort: the networks, trained in place.
        objective: minimised; its own parameters are optimised and checkpointed too.
        train: the training pictures.
        folder: the run folder; ``checkpoints/``, ``metrics.csv`` and ``tensorboard/`` are written into it.
        holdout: pictures to select by, never the test split; needed for ``holdout_mIoU``.
        seed: keys dropout; the pictures bring their own seed.
        updates: the budget in optimiser steps; give this or ``epochs``.
        epochs: the budget in passes over the training pictures.
        batch_size: pictures per forward pass.
        accumulate: forward passes per update; their joint batch is what the objective averages over.
        drop_last: leave out the incomplete batch at the end of an epoch.
        optimizer: a class of ``torch.optim`` by name.
        optimizer_options: its further arguments.
        learning_rate: its learning rate.
        schedule: ``constant`` or a class of ``torch.optim.lr_scheduler`` by name, stepped per update.
        schedule_options: its further arguments.
        clip_norm: largest norm of the gradient over all members together; None leaves it alone.
        precision: ``auto`` takes bf16 where the hardware multiplies it; decided once and kept on resume.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: processes that read pictures; 0 reads in this one.
        select_by: ``holdout_mIoU`` (highest), ``train_loss`` (lowest mean of an epoch) or ``last``.
        select_member: the member whose held-out mIoU decides; the first that learns by default.
        validate_every: updates per row of the history, each closed by a validation; by default an epoch, and at least a
            twentieth of the run when held-out pictures are scored.
        checkpoint_every: updates between checkpoints.
        log_every: updates between TensorBoard entries.
        resume: continue from the folder's checkpoints where there are some.
        progress: called after every update.

    Raises:
        UsageError: if the arguments contradict each other.
        RunError: if the loss is not finite or memory runs out.
        Interrupted: on SIGINT or SIGTERM, after the checkpoint is written.
    """
    if select_by == "holdout_mIoU" and not holdout:
        raise UsageError(
            "select_by holdout_mIoU needs pictures held out of train, got none",
            "hold out a part of train (holdout: 0.1), or use select_by: last",
        )
    per_epoch = _batches_per_epoch(train, batch_size, drop_last=drop_last)
    steps = _budget(updates, epochs, per_epoch / accumulate)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoint = checkpoints.newest() if resume else None
    torch_device = resolve_device(device)
    parameters = [*cohort.parameters(), *objective.parameters()]
    built = build_optimizer(parameters, optimizer, learning_rate, optimizer_options)
    session = Session(
        cohort,
        objective,
        built,
        build_schedule(built, schedule, steps, schedule_options),
        device=torch_device,
        # The format is part of the run: one that began in fp32 goes on in fp32, whatever this machine would choose.
        precision=checkpoint.state["precision"] if checkpoint else resolve_precision(precision, torch_device),
        seed=seed,
        clip_norm=clip_norm,
        classes=train.dataset.info.classes,
    )
    if checkpoint:
        session.restore(checkpoint.step, checkpoint.weights, checkpoint.state)
    selection = Selection(session, checkpoints, select_by, holdout=holdout, member=select_member)
    epoch = math.ceil(per_epoch / accumulate)
    row_length = validate_every or (max(epoch, steps // 20) if holdout else epoch)

    def tell(phase: str) -> None:
        if progress is not None:
            rate = session.steps_per_second * batch_size * accumulate
            done, loss = session.step, session.latest.get("loss", math.nan)
            progress(FitProgress(done, steps, done * accumulate // per_epoch, loss, rate, phase))

    with Interruption() as interruption, Logs(folder, first_step=session.step) as logs:
        batches = training_batches(
            train,
            batch_size=batch_size,
            first=session.step * accumulate,
            last=steps * accumulate,
            drop_last=drop_last,
            workers=workers,
        )
        while session.step < steps:
            session.update(batches, accumulate)
            step, last = session.step, session.step == steps
            row_ends = step % row_length == 0 or last
            if session.device.type == "cpu" or step % log_every == 0 or row_ends:
                session.read_back()  # on a GPU every read waits for it
            if step % log_every == 0:
                logs.losses(step, session.latest, session.learning_rate)
            tell("train")
            if row_ends:
                tell("validate")
                logs.row(selection.close_row(epoch=step * accumulate / per_epoch), session.history)
            if interruption.requested or step % checkpoint_every == 0 or last:
                checkpoints.save(step, session.weights(), session.state())
            if interruption.requested and not last:
                raise Interrupted(
                    f"interrupted at update {step} of {steps}; the checkpoint is in {checkpoints.folder}",
                    "run the same command again to continue",
                    signal_number=interruption.signal_number or 2,
                )
    selection.take_best()
    epochs_done, rest = divmod(steps * accumulate, per_epoch)
    return FitOutcome(
        updates=steps,
        images=epochs_done * (per_epoch * batch_size if drop_last else len(train)) + rest * batch_size,
        epochs=steps * accumulate / per_epoch,
        best_step=session.best_step,
        best_score=session.best_score,
        precision=session.precision,
        wall_seconds=session.seconds,
        history=session.history,
    )


def _batches_per_epoch(train: Pictures, batch_size: int, *, drop_last: bool) -> int:
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}")
    count = steps_per_epoch(len(train), batch_size, drop_last=drop_last)
    if count == 0:
        raise UsageError(
            f"{len(train)} training pictures do not fill a batch of {batch_size}",
            "lower batch_size, or set drop_last: false",
        )
    return count


def _budget(updates: int | None, epochs: int | None, updates_per_epoch: float) -> int:
    if (updates is None) == (epochs is None):
        raise UsageError(
            f"give the budget as updates or as epochs, got updates = {updates} and epochs = {epochs}",
            "set exactly one of them",
        )
    budget = updates if updates is not None else math.ceil((epochs or 0) * updates_per_epoch)
    if budget < 1:
        raise UsageError(f"the budget must be at least one update, got {budget}")
    return budget
