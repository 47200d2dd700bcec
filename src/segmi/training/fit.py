"""Training of a cohort on an objective, with exact resumption.

All randomness is stateless: the order of the images is a function of seed and epoch, a crop of seed, epoch and index,
dropout of seed and step. A checkpoint therefore holds weights, optimizer state and counters only, and a resumed run is
bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import torch

from segmi.datasets.loader import Unlabeled, steps_per_epoch, training_batches
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError, unknown_name
from segmi.losses import ClassCounts, Objective
from segmi.losses.compiled.kernel_cache import RMI_MODULE, compile_now, kernel_mode
from segmi.models.inference import InferenceConfig
from segmi.models.network import resolve_device
from segmi.records.serialization import write_record
from segmi.training.allocator import keep_freed_memory
from segmi.training.checkpoints import Checkpoint, Checkpoints
from segmi.training.cohort import Cohort, register_feature_hooks
from segmi.training.config import (
    Budget,
    LoggingConfig,
    OptimizationConfig,
    RuntimeConfig,
    StepOrder,
    check_comparisons,
    check_divisible,
    check_selection,
)  # fmt: skip
from segmi.training.distributed import ProcessGroup, connect
from segmi.training.loggers import check_loggers
from segmi.training.loop import UNBOUNDED, FitProgress, LoopSchedule, ProgressCallback, run_loop
from segmi.training.optimization import TIME_STEPS, build_optimizer, build_schedule, can_be_fused
from segmi.training.precision import ResolvedPrecision, preserve_threads, resolve_precision
from segmi.training.profile import Profile
from segmi.training.run_callbacks import Callback, CallbackList, TrainingState
from segmi.training.selection import Selection
from segmi.training.session import Runtime, Session


@dataclass(frozen=True)
class FitOutcome:
    """Result of a finished run, in plain types."""

    steps: int  # optimizer steps
    images: int  # training images seen
    epochs: float  # passes over the training images, possibly fractional
    best_step: int  # step of the selected weights, which the cohort holds
    best_score: float | None  # held-out mIoU or mean training loss of these weights; None for ``select_by: last``
    precision: ResolvedPrecision  # precision, memory format, threads and kernels
    wall_seconds: float  # training and validation time, summed over all sessions of the run
    history: list[dict[str, Any]]  # one row per validation


_INFERENCE: Final = InferenceConfig(batch_size=8)


def fit(
    cohort: Cohort,
    objective: Objective,
    train: SegmentationDataset,
    *,
    folder: Path,
    budget: Budget,
    holdout: SegmentationDataset | None = None,
    inference: InferenceConfig = _INFERENCE,
    unlabeled: SegmentationDataset | None = None,
    seed: int = 0,
    optimization: OptimizationConfig = OptimizationConfig(),
    runtime: RuntimeConfig = RuntimeConfig(),
    logging: LoggingConfig = LoggingConfig(),
    progress: ProgressCallback | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitOutcome:
    """Train ``cohort`` on ``objective`` and load the selected weights into it.

    With several processes, each calls this with the same arguments, see `segmi.training.distributed`. Batches are split
    over the processes, so batch size and learning rate keep their meaning. The gradient is the same as with one
    process, except for rounding, and for batch statistics unless ``sync_batch_norm`` is set.

    Args:
        cohort: the networks, trained in place.
        objective: minimized; its own parameters are optimized and saved in checkpoints too.
        train: training images.
        folder: run folder for ``checkpoints/``, ``metrics.csv`` and the files of the loggers.
        budget: length of the run.
        holdout: images held out of train, to select weights by. Required by ``select_by: holdout_mIoU``.
        inference: how ``holdout`` is predicted.
        unlabeled: images for losses that use unlabeled images; their labels are ignored.
        seed: seed of dropout. The order and the crops of the images have the seed of their dataset.
        optimization: batches, optimizer and learning rate.
        runtime: hardware and number format.
        logging: validation, selection, checkpoints and logs.
        progress: called after every step.
        callbacks: called at the start, after steps and validations, and at the end.

    Raises:
        UsageError: if the arguments contradict each other.
        EnvironmentProblem: if the package of a logger is not installed.
        RunError: if the loss is NaN or infinite, memory runs out, a callback fails, or another process crashes.
        Interrupted: on SIGINT or SIGTERM, after a checkpoint is written.

    Example:
        ``fit(cohort, objective, train, folder=Path("run"), budget=Budget(epochs=50), holdout=holdout)``
    """
    batch_size, accumulate = optimization.batch_size, optimization.accumulate
    processes = connect(runtime.device, runtime.devices, runtime.num_nodes, runtime.strategy)
    per_epoch = _batches_per_epoch(train, optimization, processes)
    last_step = _total_steps(budget, len(train), per_epoch, optimization)
    check_selection(logging.select_by, holdout=bool(holdout))
    check_comparisons(logging.select_by, patience=logging.patience, weight_average=optimization.weight_average)
    _check_processes(objective, optimization, processes)
    check_loggers(logging.logger)
    called = CallbackList(callbacks)
    _set_class_counts(objective, train)
    unlabeled_source = _unlabeled(objective, unlabeled, optimization.unlabeled_batch_size or batch_size, processes)
    device = processes.device or resolve_device(runtime.device)
    _check_sync_batch_norm(runtime.sync_batch_norm, device)
    # Before the optimizer is built, since this creates parameters of the objective.
    register_feature_hooks(cohort, objective, device=device, side=train.processing.crop, seed=seed)
    fused = can_be_fused(
        optimization.optimizer, device, precision=runtime.precision, clipped=optimization.clip_norm is not None
    )
    optimizer = build_optimizer(
        [*cohort.parameters(), *objective.parameters()], optimization.optimizer, optimization.learning_rate,
        optimization.optimizer_options, fused=fused,
    )  # fmt: skip
    schedule = build_schedule(
        optimizer, optimization.schedule, TIME_STEPS if budget.minutes else last_step, optimization.schedule_options,
        warmup_steps=optimization.warmup_steps,
    )  # fmt: skip

    def notify(text: str) -> None:
        if progress is not None and processes.is_main:
            progress(FitProgress(0, last_step, 0, math.nan, 0.0, "compile", text))

    with processes.report_errors(), preserve_threads(), keep_freed_memory(device):
        # Every process reads the checkpoints, only process 0 writes them.
        checkpoints = Checkpoints(folder / "checkpoints", writes=processes.is_main)
        checkpoint = _common_checkpoint(checkpoints, processes) if logging.resume else None
        resolved = Runtime(
            device=device,
            precision=resolve_precision(
                folder, checkpoint, cohort, objective, threads=runtime.threads, precision=runtime.precision,
                device=device, processes=processes, images=max(1, batch_size // processes.world_size),
                side=train.processing.crop, resume=logging.resume,
                notify=notify,
            ),
            processes=processes, compile=runtime.compile, sync_batch_norm=runtime.sync_batch_norm,
            profile=Profile(device, enabled=logging.profile),
        )  # fmt: skip
        if budget.minutes and holdout and device.type == "cpu" and kernel_mode() != "off":
            compile_now(RMI_MODULE, notify)  # of the diagnostics, before the time of the budget begins
        session = Session(
            cohort, objective, optimizer, schedule, runtime=resolved, seed=seed, clip_norm=optimization.clip_norm,
            classes=train.dataset.info.classes, sequential=optimization.step_order == "sequential",
            budget_seconds=budget.minutes and budget.minutes * 60, weight_average=optimization.weight_average,
        )  # fmt: skip
        state = TrainingState(
            session, folder=folder, steps=None if budget.minutes else last_step, steps_per_epoch=per_epoch / accumulate
        )
        called.attach(state, checkpoint.state.get("callbacks") if checkpoint else None)
        if checkpoint:
            session.restore(checkpoint.step, checkpoint.weights, checkpoint.state)
        else:
            cohort.average(None)  # averages start as copies
        selection = Selection(
            session, checkpoints, logging.select_by, holdout=holdout, inference=inference,
            network=logging.select_network,
        )  # fmt: skip
        epoch = math.ceil(per_epoch / accumulate)  # in steps
        by_time = budget.minutes and holdout
        validate_every = None if by_time else max(epoch, last_step // 20) if holdout else epoch
        loop_schedule = LoopSchedule(
            last_step, accumulate, batch_size, per_epoch, validate_every=logging.validate_every or validate_every,
            checkpoint_every=logging.checkpoint_every, log_every=logging.log_every,
            seconds=budget.minutes and budget.minutes * 60, estimate=logging.estimate, patience=logging.patience,
        )  # fmt: skip
        # Batches are a function of their index, so a resumed run starts in the middle.
        batches = training_batches(
            train, batch_size=batch_size, first=session.step * accumulate, last=last_step * accumulate,
            drop_last=optimization.drop_last, workers=runtime.workers, shard=processes.shard,
            unlabeled=unlabeled_source,
        )  # fmt: skip
        run_loop(session, selection, checkpoints, batches, loop_schedule, folder, logging.logger, progress, called)
        selection.load_best()
        called.call("end")
    cohort.hook_layers({})
    if logging.profile and processes.is_main:
        write_record(folder / "profile.json", resolved.profile.summary())
    # Batches of complete epochs, and of the last, incomplete one.
    epochs_done, rest = divmod(session.step * accumulate, per_epoch)
    return FitOutcome(
        steps=session.step,
        images=epochs_done * (per_epoch * batch_size if optimization.drop_last else len(train)) + rest * batch_size,
        epochs=session.step * accumulate / per_epoch, best_step=session.best_step, best_score=session.best_score,
        precision=resolved.precision, wall_seconds=session.seconds, history=session.history,
    )  # fmt: skip


def _common_checkpoint(checkpoints: Checkpoints, processes: ProcessGroup) -> Checkpoint | None:
    """Return the newest intact checkpoint that process 0 finds, so that all processes continue from the same one."""
    checkpoint = checkpoints.newest() if processes.is_main else None
    step = processes.broadcast_object(checkpoint.step if checkpoint else None)
    return checkpoint if processes.is_main or step is None else checkpoints.read(step)


def _set_class_counts(objective: Objective, train: SegmentationDataset) -> None:
    """Pass the pixel count of each class to the losses that use it."""
    users = [part for part in objective.modules() if isinstance(part, ClassCounts)]
    if users:
        counts = train.class_counts()
        for part in users:
            part.set_counts(counts)


def _unlabeled(
    objective: Objective, images: SegmentationDataset | None, batch_size: int, processes: ProcessGroup
) -> Unlabeled | None:
    """Return the unlabeled part of the batches, or None if the objective does not use it."""
    two_views = "two views" in objective.requires
    if not two_views and "unlabeled images" not in objective.requires:
        return None
    if not images:
        raise UsageError(
            "the objective needs unlabeled images, got none",
            "hide the labels of a part of train (labeled: 0.5), or set applies_to: labeled if the loss has it",
        )
    check_divisible("unlabeled_batch_size", batch_size, processes.world_size)
    return Unlabeled(images, batch_size, two_views)


def _check_processes(objective: Objective, optimization: OptimizationConfig, processes: ProcessGroup) -> None:
    scope, accumulate, order = objective.scope, optimization.accumulate, optimization.step_order
    splits = []
    if scope == "batch" and processes.world_size > 1:
        splits.append(f"{processes.world_size} processes")
    if scope in ("batch", "global") and accumulate > 1:
        splits.append(f"accumulate: {accumulate}")
    if splits:
        raise UsageError(
            f"the objective needs whole batches (its scope is {scope!r}), but {' and '.join(splits)} would split them",
            "set devices: 1 and accumulate: 1",
        )
    if order not in get_args(StepOrder):
        raise unknown_name("step_order", order, get_args(StepOrder))
    if order == "sequential" and processes.world_size > 1:
        raise UsageError(
            f"step_order: sequential needs one process, got {processes.world_size}",
            "set step_order: simultaneous, or devices: 1",
        )


def _check_sync_batch_norm(enabled: bool, device: torch.device) -> None:
    if enabled and device.type != "cuda":
        raise UsageError(
            f"sync_batch_norm needs CUDA devices, this run is on {device.type}",
            "set sync_batch_norm: false; each process then normalizes over its own images",
        )


def _batches_per_epoch(train: SegmentationDataset, optimization: OptimizationConfig, processes: ProcessGroup) -> int:
    batch_size, drop_last = optimization.batch_size, optimization.drop_last
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}")
    check_divisible("batch_size", batch_size, processes.world_size)
    rest = len(train) % batch_size
    if not drop_last and 0 < rest < processes.world_size:
        raise UsageError(
            f"the last batch of an epoch has {rest} of {len(train)} images, too few for {processes.world_size} "
            "processes",
            "set drop_last: true, or another batch_size",
        )
    count = steps_per_epoch(len(train), batch_size, drop_last=drop_last)
    if count == 0:
        raise UsageError(
            f"{len(train)} training images do not fill a batch of {batch_size}",
            "lower batch_size, or set drop_last: false",
        )
    return count


def _total_steps(budget: Budget, images: int, per_epoch: int, optimization: OptimizationConfig) -> int:
    """Return the length of the run in steps; `UNBOUNDED` for a budget in minutes."""
    accumulate = optimization.accumulate
    images_per_batch = optimization.batch_size if optimization.drop_last else images / per_epoch
    if budget.epochs is not None:
        return math.ceil(budget.epochs * (per_epoch / accumulate))
    if budget.images is not None:
        return math.ceil(budget.images / (images_per_batch * accumulate))
    return UNBOUNDED if budget.steps is None else budget.steps
