"""Settings of `segmi.training.fit`. The ``training`` section of a study has the same keys in one flat mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias

from segmi.errors import UsageError, unknown_name

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
SelectBy: TypeAlias = Literal["holdout_mIoU", "train_loss", "last"]
StepOrder: TypeAlias = Literal["simultaneous", "sequential"]
Strategy: TypeAlias = Literal["auto", "ddp", "ddp_find_unused_parameters_true"]
Tracker: TypeAlias = Literal["tensorboard", "csv", "mlflow", "wandb"]

BUDGETS: Final = ("steps", "epochs", "images", "minutes")


@dataclass(frozen=True)
class Budget:
    """Length of a run, in exactly one unit.

    Args:
        steps: optimizer steps.
        epochs: passes over the training images.
        images: training images, rounded up to whole steps.
        minutes: time of training and validation. The number of steps then depends on the machine and its load.

    Raises:
        UsageError: if no unit is set, several are, or the amount is not positive.
    """

    steps: int | None = None
    epochs: int | None = None
    images: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        amounts = {unit: getattr(self, unit) for unit in BUDGETS if getattr(self, unit) is not None}
        if len(amounts) != 1:
            given = " and ".join(f"{unit} = {amount}" for unit, amount in amounts.items()) or "none of them"
            raise UsageError(
                f"expected a budget in steps, epochs, images or minutes, got {given}", "set exactly one of them"
            )
        ((unit, amount),) = amounts.items()
        if not amount > 0:
            raise UsageError(f"the budget must be more than 0, got {unit} = {amount}")


@dataclass(frozen=True)
class OptimizationConfig:
    """Batches, optimizer and learning rate.

    Args:
        batch_size: images per forward pass, over all processes.
        accumulate: forward passes per optimizer step. The objective is averaged over their joint batch.
        drop_last: leave out the incomplete batch at the end of an epoch.
        unlabeled_batch_size: unlabeled images per forward pass, over all processes. Default: ``batch_size``.
        optimizer: name of a class in ``torch.optim``.
        optimizer_options: further arguments of the optimizer.
        learning_rate: learning rate of the optimizer.
        schedule: ``constant``, the name of a class in ``torch.optim.lr_scheduler``, or a sequence of such classes as
            mappings with ``name``, ``steps`` (except for the last one) and further arguments. Each is stepped once per
            optimizer step.
        schedule_options: further arguments of a single scheduler.
        warmup_steps: optimizer steps of linear warm-up before the schedule.
            With a budget in minutes, the schedule and its warm-up have 1000 steps in all, spread over the time.
        weight_average: evaluate the moving average of the weights beside the weights, and keep the better one; see
            `segmi.training.weight_average`.
        clip_norm: largest norm of the gradient over all networks. None: no clipping.
        step_order: ``simultaneous`` updates all networks in one step. ``sequential`` updates one network after the
            other, each with the current predictions of the others, as in the published algorithm of mutual learning;
            it takes one forward pass of all networks per learning network, and one process.
    """

    batch_size: int = 8
    accumulate: int = 1
    drop_last: bool = True
    unlabeled_batch_size: int | None = None
    optimizer: str = "Adam"
    optimizer_options: dict[str, Any] | None = None
    learning_rate: float = 1e-3
    schedule: str | tuple[dict[str, Any], ...] = "constant"
    schedule_options: dict[str, Any] | None = None
    warmup_steps: int = 0
    weight_average: bool = False
    clip_norm: float | None = None
    step_order: StepOrder = "simultaneous"


@dataclass(frozen=True)
class RuntimeConfig:
    """Hardware and number format.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``. ``auto`` measures whether bf16 is faster on this device, see
            `segmi.training.precision`; the result is stored with the run and kept on resume.
        threads: CPU threads. Default: PyTorch's number when the run starts, kept on resume.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        devices: processes per node, one device each, started by ``torchrun`` or SLURM.
        num_nodes: machines; all of them need access to the run folder.
        strategy: ``auto`` or ``ddp``; ``ddp_find_unused_parameters_true`` if some parameters do not affect the output.
        sync_batch_norm: compute batch statistics over all processes (CUDA only).
        compile: compile the networks with ``torch.compile``. The first step then takes much longer.
        workers: processes that load images, per training process. 0: load in the training process.
    """

    precision: Precision = "auto"
    threads: int | None = None
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Strategy = "auto"
    sync_batch_norm: bool = False
    compile: bool = False
    workers: int = 0


@dataclass(frozen=True)
class LoggingConfig:
    """Validation, selection of weights, checkpoints and logs.

    Args:
        select_by: ``holdout_mIoU`` (highest), ``train_loss`` (lowest mean between validations) or ``last``.
        select_network: network whose held-out mIoU counts. Default: the first one that is trained.
        validate_every: steps between validations. Default: an epoch, and with held-out images at least 1/20 of the run;
            with a budget in minutes a tenth of it, or more if the validations would take more than 1/20 of the time.
        patience: stop after this many validations without a better score. Default: never.
        estimate: measure a step before the first one, and report how long the run takes. The measurement and the
            compilation of kernels in it do not count against a budget in minutes.
        checkpoint_every: steps between checkpoints.
        log_every: steps between entries of the loggers.
        logger: ``tensorboard``, ``mlflow``, ``wandb``; ``csv`` is ``metrics.csv``, which is always written.
        resume: continue from the checkpoints in the run folder, if there are any.
        profile: measure where the time goes, and write ``profile.json``.
    """

    select_by: SelectBy = "holdout_mIoU"
    select_network: str | None = None
    validate_every: int | None = None
    patience: int | None = None
    estimate: bool = False
    checkpoint_every: int = 200
    log_every: int = 20
    logger: tuple[Tracker, ...] = ("tensorboard",)
    resume: bool = True
    profile: bool = False


def check_selection(select_by: SelectBy, *, holdout: bool) -> None:
    """Raise a UsageError if weights are selected by the score of held-out images and there are none."""
    if select_by == "holdout_mIoU" and not holdout:
        raise UsageError(
            "select_by holdout_mIoU needs images held out of train, got none",
            "hold out a part of train (holdout: 0.1), or use select_by: last",
        )


def check_comparisons(select_by: SelectBy, *, patience: int | None, weight_average: bool) -> None:
    """Raise a UsageError for options that compare scores if weights are not selected by one."""
    if patience is not None and select_by == "last":
        raise UsageError(
            f"patience {patience} needs a score, got select_by last", "use select_by: holdout_mIoU, or omit patience"
        )
    if weight_average and select_by != "holdout_mIoU":
        raise UsageError(
            f"weight_average is compared with the weights on held-out images, got select_by {select_by}",
            "use select_by: holdout_mIoU, or omit weight_average",
        )


def check_divisible(name: str, batch_size: int, processes: int) -> None:
    """Raise a UsageError if the batch of all processes cannot be divided among them."""
    if batch_size % processes:
        raise UsageError(
            f"{name} {batch_size}, the total over all processes, is not divisible by {processes} processes",
            f"use a multiple of {processes}, and adapt the learning rate to it",
        )


TRAINING_CONFIGS: Final = (Budget, OptimizationConfig, RuntimeConfig, LoggingConfig)


def training_configs(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the four configs by the names of their arguments in `segmi.training.fit`.

    Args:
        options: fields of the four configs by name.

    Raises:
        UsageError: if a name is unknown, or if a config refuses its values.

    Example:
        >>> training_configs({"steps": 100, "batch_size": 2})["budget"]
        Budget(steps=100, epochs=None, images=None, minutes=None)
    """
    owners = {field.name: config for config in TRAINING_CONFIGS for field in fields(config)}
    for option in options:
        if option not in owners:
            raise unknown_name("training option", option, owners)
    return {
        argument: config(**{name: value for name, value in options.items() if owners[name] is config})
        for argument, config in zip(("budget", "optimization", "runtime", "logging"), TRAINING_CONFIGS, strict=True)
    }
