"""Precision, memory format, CPU threads and kernels of a run: resolved when it starts, kept when it resumes.

Floating-point results depend on all four of them, so they are stored in ``precision.json`` and in every checkpoint. A
resumed run uses the stored values, also on another machine or if the arguments have changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from segmi.errors import RunError, UsageError, counted
from segmi.losses.base import Loss, Objective
from segmi.losses.compiled.kernel_cache import compile_now
from segmi.records.serialization import read_record, write_record
from segmi.training.checkpoints import Checkpoint
from segmi.training.cohort import Cohort
from segmi.training.config import Precision
from segmi.training.distributed import FABRIC_PRECISION, ProcessGroup
from segmi.training.precision_probe import MAX_CPU_IMAGES, MAX_SECONDS, MEMORY_FORMATS, fastest, measure_steps

RECORD: Final = "precision.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedPrecision:
    """Everything that affects the floating-point results of a run besides its settings."""

    dtype: str  # fp32, bf16 or fp16
    memory_format: str  # channels_last or contiguous
    source: str = "given"  # or measured, or the reason for a default
    # Measured time of a training step by candidate; None: far slower than the best one.
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    images: int = 0  # per measured step
    side: int = 0  # of their crops, smaller than the run's crops if steps are slow
    threads: int | None = None  # on the CPU; None until the run starts
    # Kernel of each loss that has several, by the name of its module in the objective.
    kernels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ResolvedPrecision:
        """Return the inverse of `to_dict`; unknown keys are ignored.

        Raises:
            RunError: if the dtype or the memory format is missing or unknown.
        """
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        if known.get("dtype") not in FABRIC_PRECISION or known.get("memory_format") not in MEMORY_FORMATS:
            raise RunError(
                f"the stored precision does not fit this run: expected a dtype of {', '.join(FABRIC_PRECISION)} and a "
                f"memory format of {', '.join(MEMORY_FORMATS)}, got {known}",
                "start over with --overwrite",
            )
        return cls(**known)

    def describe(self) -> str:
        """Return dtype, memory format and the measured times in one line.

        Example:
            >>> seconds = {"fp32 contiguous": 0.1, "bf16 contiguous": None}
            >>> ResolvedPrecision("fp32", "contiguous", "measured", seconds, 2).describe()
            'fp32 contiguous (measured on 2 images: fp32 contiguous 100.0 ms; bf16 contiguous far slower)'
        """
        parts = {k: "far slower" if value is None else f"{1000 * value:.1f} ms" for k, value in self.seconds.items()}
        times = "; ".join(f"{name} {part}" for name, part in parts.items())
        head = f"{self.dtype} {self.memory_format}"
        crops = f" of {self.side} pixels" if self.side else ""
        measured = f"measured on {counted(self.images, 'image')}{crops}: {times}"
        return f"{head} ({measured if times else self.source})"

    def apply(self, cohort: nn.Module) -> None:
        """Convert the weights to the memory format."""
        cohort.to(memory_format=MEMORY_FORMATS[self.memory_format])


def check_precision(precision: str, device: torch.device) -> None:
    """Raise a UsageError for an unknown precision, or for fp16 on a CPU."""
    if precision not in ("auto", *FABRIC_PRECISION):
        raise UsageError(f"unknown precision {precision!r}", "use one of: auto, fp32, bf16, fp16")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU, this run is on the CPU", "use auto, bf16 or fp32")


def choose_precision(
    precision: Precision, cohort: Cohort, device: torch.device, *, images: int, side: int
) -> ResolvedPrecision:
    """Return dtype and memory format for ``precision`` on this device; ``auto`` is measured.

    Args:
        precision: see `segmi.training.RuntimeConfig`.
        cohort: moved to ``device`` if it is measured, otherwise unchanged.
        device: device of the run.
        images: images per batch; at most `MAX_CPU_IMAGES` are measured on a CPU.
        side: height and width of the crops.

    Raises:
        UsageError: for an unknown precision, or for fp16 on a CPU.
    """
    check_precision(precision, device)
    memory_format = "contiguous" if device.type == "mps" else "channels_last"
    if precision != "auto":
        return ResolvedPrecision(precision, memory_format)
    if device.type == "mps":
        return ResolvedPrecision("fp32", memory_format)
    count = min(images, MAX_CPU_IMAGES) if device.type == "cpu" else images
    measured = measure_steps(cohort, device, images=count, side=side)
    dtype, memory_format = fastest(measured.seconds).split()
    if not measured.seconds:
        reason = f"default, since a step takes too long to be measured in {MAX_SECONDS} s"
        return ResolvedPrecision(dtype, memory_format, reason)
    crop = measured.side if measured.side < side else 0
    return ResolvedPrecision(dtype, memory_format, "measured", measured.seconds, count, crop)


@contextmanager
def preserve_threads(count: int | None = None) -> Iterator[None]:
    """Restore PyTorch's number of CPU threads on exit, and set it inside the context unless ``count`` is None."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_precision(
    folder: Path, checkpoint: Checkpoint | None, cohort: Cohort, objective: Objective, *,
    threads: int | None, precision: Precision, device: torch.device, processes: ProcessGroup, images: int, side: int,
    resume: bool, notify: Callable[[str], None] | None = None,
) -> ResolvedPrecision:  # fmt: skip
    """Return the stored precision of the run, or choose one; set its threads and kernels in this process.

    Args:
        folder: run folder. Its stored precision is used if ``resume`` is set.
        checkpoint: checkpoint that the run resumes from; its precision has priority.
        objective: its kernels are selected.
        threads, precision: see `segmi.training.RuntimeConfig`.
        processes: all of them use the choice of process 0.
        images: images per batch and process.
        side: height and width of the crops.
        notify: receives a line before a kernel is compiled.

    Raises:
        UsageError: for an unsupported precision or fewer than one thread.
    """
    check_precision(precision, device)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}", "omit it for PyTorch's default")
    stored = processes.broadcast_object(_stored(folder, checkpoint, resume=resume) if processes.is_main else None)
    count = threads or (stored.threads if stored else None) or processes.broadcast_object(torch.get_num_threads())
    torch.set_num_threads(count)
    # Without a checkpoint nothing was computed yet, so another precision may replace the stored one.
    if stored is None or (checkpoint is None and precision not in ("auto", stored.dtype)):
        chosen = choose_precision(precision, cohort, device, images=images, side=side) if processes.is_main else None
        chosen = processes.broadcast_object(chosen)
    else:
        chosen = stored
    kernels = select_kernels(objective, device, stored.kernels if stored else {}, notify)
    resolved = replace(chosen, threads=count, kernels=kernels)
    if processes.is_main and resolved != stored:
        write_record(folder / RECORD, resolved.to_dict())
    return resolved


def select_kernels(
    objective: Objective, device: torch.device, stored: Mapping[str, str], notify: Callable[[str], None] | None = None
) -> dict[str, str]:
    """Select the kernel of each loss of an objective, compile it, and return them by the names of the modules.

    The PyTorch routine never replaces a kernel for the first steps of a run, since it rounds differently.
    A ``stored`` kernel, which the run started with, is replaced with a warning if it is not available.
    """
    # 0×2×1×1: kernels are selected by type and device, not by size.
    logits = torch.empty(0, 2, 1, 1, device=device)
    kernels = {}
    for name, part in objective.named_modules():
        if not isinstance(part, Loss):
            continue
        try:
            kernel = part.select_kernel(logits, stored.get(name))
        except ValueError as problem:  # for example, the run started on a GPU
            kernel = part.select_kernel(logits)
            log.warning(
                "%s; the run started with this kernel, and continues with %r, whose rounding differs", problem, kernel
            )
        if kernel is not None:
            kernels[name] = kernel
        if kernel == "numba":
            compile_now(part.compiled_module, notify)
    return kernels


def _stored(folder: Path, checkpoint: Checkpoint | None, *, resume: bool) -> ResolvedPrecision | None:
    """Return the precision that the run started with, None for a new run."""
    if checkpoint:
        stored = checkpoint.state.get("precision")
        return ResolvedPrecision.from_dict(stored if isinstance(stored, Mapping) else {})
    record = read_record(folder / RECORD) if resume else None
    return ResolvedPrecision.from_dict(record) if record else None
