"""What a run settles once, when it begins, because its roundings hang on it: threads, kernels, numbers, their layout.

It is kept in ``number_format.json`` and in every checkpoint, and taken up again on another machine, or on the same one
when something else is said there: sums in another order would make another run of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from segmi.errors import UsageError
from segmi.losses.base import Loss, Objective
from segmi.records.serialization import read_record, write_record
from segmi.training.checkpoints import Checkpoint
from segmi.training.cohort import Cohort
from segmi.training.number_format import NumberFormat, choose_format
from segmi.training.precision import Precision, check_precision
from segmi.training.processes import Processes

log = logging.getLogger(__name__)


@contextmanager
def keeping_threads(count: int | None = None) -> Iterator[None]:
    """The number of threads is afterwards what it was before, whatever is set inside.

    Args:
        count: of threads to begin with; None: as before.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle(
    folder: Path,
    checkpoint: Checkpoint | None,
    cohort: Cohort,
    objective: Objective,
    *,
    threads: int | None,
    precision: Precision,
    device: torch.device,
    processes: Processes,
    images: int,
    side: int,
    resume: bool,
) -> NumberFormat:
    """What the run computes in, as it was begun or, where it was not, by choice; set in this process and ``objective``.

    Args:
        folder: the run folder.
        checkpoint: what the run continues from.
        cohort: the networks.
        objective: its kernels are settled.
        threads: as in `fit`.
        precision: likewise.
        device: where the run computes.
        processes: all settle on what process 0 has.
        images: of a process's part of a batch.
        side: of the crops.
        resume: whether what is in the folder counts.

    Raises:
        UsageError: threads or a precision that cannot be meant.
    """
    check_precision(precision, device)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}", "leave it out for what PyTorch takes by itself")
    begun = processes.from_leader(_begun(folder, checkpoint, resume=resume) if processes.leads else None)
    count = threads or (begun.threads if begun else None) or processes.from_leader(torch.get_num_threads())
    torch.set_num_threads(count)
    if begun is None or (checkpoint is None and precision not in ("auto", begun.precision)):
        found = choose_format(precision, cohort, device, images=images, side=side) if processes.leads else None
        found = processes.from_leader(found)
    else:
        found = begun
    kernels = settle_kernels(objective, device, begun.kernels if begun else {})
    found = replace(found, threads=count, kernels=kernels)
    if processes.leads and found != begun:
        write_record(folder / "number_format.json", found.plain())
    return found


def settle_kernels(objective: Objective, device: torch.device, begun: Mapping[str, str]) -> dict[str, str]:
    """Fix the kernels of an objective's parts, so that they stay what they are; their names by those of the parts.

    Args:
        objective: whose parts are looked through.
        device: of the logits, which are fp32.
        begun: the kernels that the run began with; one that cannot be had here is replaced, with a warning.
    """
    logits = torch.empty(0, 2, 1, 1, device=device)
    settled = {}
    for name, part in objective.named_modules():
        if not isinstance(part, Loss):
            continue
        try:
            kernel = part.select_kernel(logits, begun.get(name))
        except ValueError as problem:
            kernel = part.select_kernel(logits)
            log.warning("%s; the run was begun so, and goes on with %r in other roundings", problem, kernel)
        if kernel is not None:
            settled[name] = kernel
    return settled


def _begun(folder: Path, checkpoint: Checkpoint | None, *, resume: bool) -> NumberFormat | None:
    """What the run was begun in; None for one that is new."""
    if checkpoint and "number_format" in checkpoint.state:
        return NumberFormat.from_plain(checkpoint.state["number_format"])
    if checkpoint:  # of a segmi that knew no memory formats
        return NumberFormat(checkpoint.state["precision"], "channels_last")
    record = read_record(folder / "number_format.json") if resume else None
    return NumberFormat.from_plain(record) if record else None
