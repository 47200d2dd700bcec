"""The training loop: a cohort, an objective, images; it resumes exactly from any step.

Nothing random stateful: the order of the images is keyed by the epoch, their crops by (epoch, index), dropout by the
step. So a checkpoint needs weights, optimizer and counters only, and a resumed run equals one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch

from segmi.datasets.loader import Unlabeled, steps_per_epoch, training_batches
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError, unknown_name
from segmi.losses import ClassCounts, Objective
from segmi.records.serialization import write_record
from segmi.training.allocator import keeping_freed_memory
from segmi.training.checkpoints import Checkpoint, Checkpoints
from segmi.training.cohort import Cohort
from segmi.training.feature_hooks import look_inside
from segmi.training.loop import UNBOUNDED, LoopSchedule, run_loop
from segmi.training.number_format import NumberFormat
from segmi.training.optimization import build_optimizer, build_schedule, may_be_fused
from segmi.training.precision import Precision, resolve_device
from segmi.training.processes import Processes, Strategy, connect
from segmi.training.profile import Profile
from segmi.training.progress import ProgressCallback
from segmi.training.selection import SelectBy, Selection
from segmi.training.session import RuntimeConfig, Session
from segmi.training.settling import keeping_threads, settle
from segmi.training.trackers import Tracker, check_trackers

StepOrder: TypeAlias = Literal["simultaneous", "sequential"]
"""Whether the networks of a cohort take their steps at once or in turn."""


@dataclass(frozen=True)
class FitOutcome:
    """What a finished run amounts to; plain types only.

    Args:
        steps: optimizer steps taken.
        images: images seen.
        epochs: passes over the training images, a fraction where the last was not completed.
        best_step: the step whose weights the cohort holds.
        best_score: its held-out mIoU or mean training loss; None for ``last``.
        number_format: in which numbers it was computed, with which threads and kernels, and why.
        wall_seconds: training and validation time over all sessions of the run.
        history: a row per ``validate_every`` steps.
    """

    steps: int
    images: int
    epochs: float
    best_step: int
    best_score: float | None
    number_format: NumberFormat
    wall_seconds: float
    history: list[dict[str, Any]]

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16`` or ``fp16``."""
        return self.number_format.precision


def fit(
    cohort: Cohort,
    objective: Objective,
    train: SegmentationDataset,
    *,
    folder: Path,
    holdout: SegmentationDataset | None = None,
    unlabeled: SegmentationDataset | None = None,
    seed: int = 0,
    steps: int | None = None,
    epochs: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    batch_size: int = 8,
    accumulate: int = 1,
    drop_last: bool = True,
    unlabeled_batch_size: int | None = None,
    optimizer: str = "Adam",
    optimizer_options: dict[str, Any] | None = None,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    schedule_options: dict[str, Any] | None = None,
    clip_norm: float | None = None,
    step_order: StepOrder = "simultaneous",
    precision: Precision = "auto",
    threads: int | None = None,
    device: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: Strategy = "auto",
    sync_batch_norm: bool = False,
    compile: bool = False,
    workers: int = 0,
    select_by: SelectBy = "holdout_mIoU",
    select_network: str | None = None,
    validate_every: int | None = None,
    checkpoint_every: int = 200,
    log_every: int = 20,
    logger: tuple[Tracker, ...] = ("tensorboard",),
    resume: bool = True,
    profile: bool = False,
    progress: ProgressCallback | None = None,
) -> FitOutcome:
    """Train ``cohort`` on ``objective`` and leave it with the weights that were selected.

    On several devices every process calls this with the same arguments, see `segmi.training.processes`; batches, and so
    the learning rate that suits them, stay those of one process, as does the gradient, up to rounding and to batch
    statistics, which are those of a process's part unless ``sync_batch_norm`` is set.

    Args:
        cohort: the networks, trained in place.
        objective: minimized; its own parameters are optimized and checkpointed too.
        train: the training images.
        folder: the run folder; ``checkpoints/``, ``metrics.csv`` and what the trackers keep are written into it.
        unlabeled: images whose labels are not looked at, for losses that ask for them; others do without.
        holdout: images to select by, never the test split; needed for ``holdout_mIoU``.
        seed: keys dropout; the images bring their own seed.
        steps: the budget in optimizer steps; give this or one of the next three.
        epochs: the budget in passes over the training images.
        images: the budget in images seen, rounded up to whole steps.
        minutes: the budget in time of training and validation. Such a run ends at another update on another machine, or
            on the same one on another day.
        batch_size: images per forward pass, those of all processes together.
        accumulate: forward passes per step; their joint batch is what the objective averages over.
        drop_last: leave out the incomplete batch at the end of an epoch.
        unlabeled_batch_size: images without labels per forward pass, those of all processes together; by default as
            many as with labels.
        optimizer: a class of ``torch.optim`` by name.
        optimizer_options: its further arguments.
        learning_rate: its learning rate.
        schedule: ``constant`` or a class of ``torch.optim.lr_scheduler`` by name, stepped per step.
        schedule_options: its further arguments.
        clip_norm: largest norm of the gradient over all networks together; None leaves it alone.
        step_order: ``simultaneous``, one step of all networks at once; or ``sequential``, where each network in turn
            takes its own step after what the others say by then, as in the published algorithm of mutual learning. That
            takes a forward pass of all networks for each that learns, and one process.
        precision: ``auto`` measures whether bf16, and which memory layout, is faster for these networks on this device;
            predict_labels once and kept on resume, see `segmi.training.number_format`.
        threads: those that a CPU computes with; None: as many as PyTorch takes by itself where the run begins, kept on
            resume, see `segmi.training.settling`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        devices: processes per node, each with a device of its own; started by ``torchrun`` or SLURM.
        num_nodes: machines, all of which see ``folder``.
        strategy: ``auto`` or ``ddp``; ``ddp_find_unused_parameters_true`` for networks with parts without effect.
        sync_batch_norm: whether batch statistics are those of all processes; on CUDA only.
        compile: whether the cohort is compiled by ``torch.compile``: a long wait before the first step.
        workers: processes that read images, per training process; 0 reads in this one.
        select_by: ``holdout_mIoU`` (highest), ``train_loss`` (lowest mean of an epoch) or ``last``.
        select_network: the network whose held-out mIoU decides; the first that learns by default.
        validate_every: steps per row of the history, each closed by a validation; by default an epoch, and at least a
            twentieth of the run when held-out images are scored.
        checkpoint_every: steps between checkpoints.
        log_every: steps between entries of the trackers.
        logger: the trackers: ``tensorboard``, ``mlflow``, ``wandb``, and ``csv`` for ``metrics.csv``, always written.
        resume: continue from the folder's checkpoints where there are some.
        profile: measure what takes how long, and write it to ``profile.json``.
        progress: called after every step.

    Raises:
        UsageError: if the arguments contradict each other.
        EnvironmentProblem: if a tracker's package is not installed.
        RunError: if the loss is not finite, memory runs out, or another process is lost.
        Interrupted: on SIGINT or SIGTERM, after the checkpoint is written.
    """
    processes = connect(device, devices, num_nodes, strategy)
    per_epoch = _batches_per_epoch(train, batch_size, processes, drop_last=drop_last)
    per_batch = batch_size if drop_last else len(train) / per_epoch
    last_step = _budget(
        {"steps": steps, "epochs": epochs, "images": images, "minutes": minutes},
        per_epoch / accumulate, per_batch * accumulate,
    )  # fmt: skip
    if select_by == "holdout_mIoU" and not holdout:
        raise UsageError(
            "select_by holdout_mIoU needs images held out of train, got none",
            "hold out a part of train (holdout: 0.1), or use select_by: last",
        )
    _check_scope(objective, processes, accumulate)
    _check_step_order(step_order, processes)
    check_trackers(logger)
    _tell_class_counts(objective, train)
    joining = _unlabeled(objective, unlabeled, unlabeled_batch_size or batch_size, processes)
    target = processes.device or resolve_device(device)
    _check_sync_batch_norm(sync_batch_norm, target)
    look_inside(cohort, objective, device=target, side=train.processing.crop, seed=seed)
    built = build_optimizer(
        [*cohort.parameters(), *objective.parameters()],
        optimizer,
        learning_rate,
        optimizer_options,
        fused=may_be_fused(optimizer, target, precision=precision, clipped=clip_norm is not None),
    )
    built_schedule = build_schedule(built, schedule, None if minutes else last_step, schedule_options)
    with processes.watched(), keeping_threads(), keeping_freed_memory(target):
        checkpoints = Checkpoints(folder / "checkpoints", writes=processes.leads)
        checkpoint = _agreed_checkpoint(checkpoints, processes) if resume else None
        how = RuntimeConfig(
            device=target,
            number_format=settle(
                folder, checkpoint, cohort, objective, threads=threads, precision=precision, device=target,
                processes=processes, images=max(1, batch_size // processes.count), side=train.processing.crop,
                resume=resume,
            ),
            processes=processes,
            compile=compile,
            sync_batch_norm=sync_batch_norm,
            profile=Profile(target, enabled=profile),
        )  # fmt: skip
        session = Session(
            cohort, objective, built, built_schedule, how=how, seed=seed, clip_norm=clip_norm,
            classes=train.dataset.info.classes, sequential=step_order == "sequential",
        )  # fmt: skip
        if checkpoint:
            session.restore(checkpoint.step, checkpoint.weights, checkpoint.state)
        else:
            cohort.average(None)
        selection = Selection(session, checkpoints, select_by, holdout=holdout, network=select_network)
        epoch = math.ceil(per_epoch / accumulate)
        loop_schedule = LoopSchedule(
            steps=last_step,
            accumulate=accumulate,
            batch_size=batch_size,
            per_epoch=per_epoch,
            row=validate_every or (max(epoch, last_step // 20) if holdout and not minutes else epoch),
            checkpoint=checkpoint_every,
            log=log_every,
            seconds=minutes * 60 if minutes else None,
        )
        batches = training_batches(
            train, batch_size=batch_size, first=session.step * accumulate, last=last_step * accumulate,
            drop_last=drop_last, workers=workers, shard=processes.shard, unlabeled=joining,
        )  # fmt: skip
        run_loop(session, selection, checkpoints, batches, loop_schedule, folder, logger, progress)
        selection.take_best()
    cohort.watch({})
    if profile and processes.leads:
        write_record(folder / "profile.json", how.profile.summary())
    epochs_done, rest = divmod(session.step * accumulate, per_epoch)
    return FitOutcome(
        steps=session.step,
        images=epochs_done * (per_epoch * batch_size if drop_last else len(train)) + rest * batch_size,
        epochs=session.step * accumulate / per_epoch,
        best_step=session.best_step,
        best_score=session.best_score,
        number_format=how.number_format,
        wall_seconds=session.seconds,
        history=session.history,
    )


def _agreed_checkpoint(checkpoints: Checkpoints, processes: Processes) -> Checkpoint | None:
    """The newest intact checkpoint by the word of process 0, so that all continue from the same one."""
    checkpoint = checkpoints.newest() if processes.leads else None
    step = processes.from_leader(checkpoint.step if checkpoint else None)
    return checkpoint if processes.leads or step is None else checkpoints.read(step)


def _tell_class_counts(objective: Objective, train: SegmentationDataset) -> None:
    """Tell the parts of an objective that ask for it how often the classes are in the training images."""
    asking = [part for part in objective.modules() if isinstance(part, ClassCounts)]
    counts = train.class_counts() if asking else None
    for part in asking:
        part.set_counts(counts)  # type: ignore[arg-type]


def _unlabeled(
    objective: Objective, images: SegmentationDataset | None, batch_size: int, processes: Processes
) -> Unlabeled | None:
    """How images without labels join the batches, if the objective asks for some."""
    needs = objective.requires
    two_views = "two views" in needs
    if not two_views and "unlabeled images" not in needs:
        return None
    if not images:
        raise UsageError(
            "the objective asks for images without labels, got none",
            "hide the labels of a part of train (labeled: 0.5), or set applies_to: labeled where the objective has it",
        )
    if batch_size % processes.count:
        raise UsageError(
            f"unlabeled_batch_size {batch_size} does not divide by {processes.count} processes",
            f"use a multiple of {processes.count}",
        )
    return Unlabeled(images, batch_size, two_views)


def _check_scope(objective: Objective, processes: Processes, accumulate: int) -> None:
    scope = objective.scope
    divided = []
    if scope == "batch" and processes.count > 1:
        divided.append(f"{processes.count} processes")
    if scope in ("batch", "global") and accumulate > 1:
        divided.append(f"accumulate: {accumulate}")
    if divided:
        raise UsageError(
            f"the objective couples the images of a batch (its scope is {scope!r}), which {' and '.join(divided)} "
            "would divide",
            "train on whole batches: devices: 1, accumulate: 1",
        )


def _check_step_order(wanted: StepOrder, processes: Processes) -> None:
    if wanted not in get_args(StepOrder):
        raise unknown_name("step_order", wanted, get_args(StepOrder))
    if wanted == "sequential" and processes.count > 1:
        raise UsageError(
            f"step_order: sequential is for one process, got {processes.count}",
            "set step_order: simultaneous, or devices: 1",
        )


def _check_sync_batch_norm(wanted: bool, device: torch.device) -> None:
    if wanted and device.type != "cuda":
        raise UsageError(
            f"sync_batch_norm needs CUDA devices, this run is on {device.type}",
            "set sync_batch_norm: false; every process then normalizes by its own images",
        )


def _batches_per_epoch(train: SegmentationDataset, batch_size: int, processes: Processes, *, drop_last: bool) -> int:
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}")
    if batch_size % processes.count:
        raise UsageError(
            f"batch_size {batch_size}, the images of all processes together, does not divide by {processes.count} "
            "processes",
            f"use a multiple of {processes.count}; the learning rate goes with it",
        )
    left = len(train) % batch_size
    if not drop_last and 0 < left < processes.count:
        raise UsageError(
            f"the last batch of an epoch has {left} of {len(train)} images, too few for {processes.count} processes",
            "set drop_last: true, or another batch_size",
        )
    count = steps_per_epoch(len(train), batch_size, drop_last=drop_last)
    if count == 0:
        raise UsageError(
            f"{len(train)} training images do not fill a batch of {batch_size}",
            "lower batch_size, or set drop_last: false",
        )
    return count


def _budget(given: Mapping[str, float | None], steps_per_epoch: float, images_per_step: float) -> int:
    """The number of steps that the one budget which is given comes to; more than any run has for one in minutes."""
    stated = {unit: amount for unit, amount in given.items() if amount is not None}
    if len(stated) != 1:
        told = " and ".join(f"{unit} = {amount}" for unit, amount in stated.items()) or "none of them"
        raise UsageError(f"give the budget as steps, epochs, images or minutes, got {told}", "set exactly one of them")
    ((unit, amount),) = stated.items()
    if not amount > 0:
        raise UsageError(f"the budget must be more than 0, got {unit} = {amount}")
    steps = {"steps": amount, "epochs": amount * steps_per_epoch, "images": amount / images_per_step}
    return math.ceil(steps.get(unit, UNBOUNDED))
