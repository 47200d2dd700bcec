"""``precision: auto``: number format and memory layout by a short measurement, once per device and network.

Whether bf16 pays depends on the instructions of the processor, whether a layout with channels last does on the
network: depth-wise layers gain little from either. So both are timed, forward and backward. The faster layout is
taken, since numbers are the same in either; bf16, in which they are not, only where it is clearly faster than fp32.
What was found is kept, so that every run on this machine computes alike.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from segmi.datasets.cache import cache_folder
from segmi.errors import RunError, SegmiError
from segmi.records.serialization import read_record, write_record
from segmi.training.allocator import keeping_freed_memory, keeps_freed_memory
from segmi.training.cohort import Cohort
from segmi.training.precision import FABRIC_PRECISION, Precision, check_precision

GAIN: Final = 0.9
"""The share of the time of fp32 that bf16 must not exceed to be taken: it costs digits, and timings wander."""

ROUNDS: Final = 3
SETTLED_SECONDS: Final = 0.5
"""Short steps are timed again until each candidate had this long, at most `MOST_ROUNDS` times."""

MOST_ROUNDS: Final = 20
HOPELESS: Final = 3.0
"""A format whose first step takes this many times the best one is not timed further: emulated bf16 takes ten."""

TRIFLE: Final = 0.05
"""Seconds of a step, summed over the threads of a CPU, below which it is calls that take the time, not arithmetic."""

IMAGES_ON_CPU: Final = 2
MEMORY_FORMATS: Final = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CANDIDATES: Final = tuple(f"{precision} {layout}" for precision in ("fp32", "bf16") for layout in MEMORY_FORMATS)
"""Of equals the first one is taken."""


@dataclass(frozen=True)
class NumberFormat:
    """In which numbers and in which order of them a run computes.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``.
        memory_format: ``channels_last`` or ``contiguous``.
        chosen: ``measured`` or ``given``.
        seconds: a forward and backward pass of each candidate as measured, where it was; None: too slow to go on.
        images: how many of them it was measured on.
        threads: those of the CPU among which sums are divided; None before a run has settled it.
        kernels: what computes the parts of the objective that have a choice, by the names of the parts.
    """

    precision: str
    memory_format: str
    chosen: str = "given"
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    images: int = 0
    threads: int | None = None
    kernels: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain types, for the records."""
        return {**asdict(self), "seconds": dict(self.seconds), "kernels": dict(self.kernels)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> NumberFormat:
        """From `plain`, whatever else a record says.

        Raises:
            RunError: the record names no number format.
        """
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        if known.get("precision") not in FABRIC_PRECISION or known.get("memory_format") not in MEMORY_FORMATS:
            raise RunError(
                f"the number format on record does not fit this run: expected a precision of "
                f"{', '.join(FABRIC_PRECISION)} and a memory format of {', '.join(MEMORY_FORMATS)}, got {known}",
                "start the run anew with --overwrite",
            )
        return cls(**known)

    def describe(self) -> str:
        """The choice and its reasons in a line.

        Example:
            >>> NumberFormat("fp32", "contiguous", "measured", {"fp32 contiguous": 0.1, "bf16": None}, 2).describe()
            'fp32 contiguous (measured on 2 images: fp32 contiguous 100.0 ms; bf16 far slower)'
        """
        times = "; ".join(
            f"{name} {1000 * value:.1f} ms" if value is not None else f"{name} far slower"
            for name, value in self.seconds.items()
        )
        head = f"{self.precision} {self.memory_format}"
        return f"{head} (measured on {self.images} images: {times})" if times else f"{head} ({self.chosen})"

    def apply(self, cohort: nn.Module) -> None:
        """Lay out the weights."""
        cohort.to(memory_format=MEMORY_FORMATS[self.memory_format])


def choose_format(
    precision: Precision, cohort: Cohort, device: torch.device, *, images: int, side: int
) -> NumberFormat:
    """What ``precision`` means for these networks on this device; ``auto`` is measured unless that was done before.

    Args:
        precision: as in `fit`.
        cohort: the networks; moved to the device, otherwise left as they are.
        device: where the run computes.
        images: of a batch; on a CPU, where steps take long, two of them are measured.
        side: of the crops.

    Raises:
        UsageError: for an unknown precision, or for fp16 on a CPU.
    """
    check_precision(precision, device)
    layout = "contiguous" if device.type == "mps" else "channels_last"
    if precision != "auto":
        return NumberFormat(precision, layout)
    if device.type == "mps":
        return NumberFormat("fp32", layout)
    count = min(images, IMAGES_ON_CPU) if device.type == "cpu" else images
    images_folder = cache_folder()
    if images_folder is None:  # nothing is to be kept
        return _decide(_measure(cohort, device, count, side), count)
    path = images_folder.parent / "number-formats" / f"{_key(cohort, device, count, side)}.json"
    known = _read(path)
    if known is None:
        known = _decide(_measure(cohort, device, count, side), count)
        _keep(path, known)
        known = _read(path) or known  # another process may have been first
    return known


def _decide(seconds: Mapping[str, float | None], images: int) -> NumberFormat:
    known = {name: found for name in CANDIDATES if (found := seconds.get(name)) is not None}
    best = {
        precision: min(
            (name for name in known if name.startswith(precision)), key=lambda name: known[name], default=None
        )
        for precision in ("fp32", "bf16")
    }
    plain, half = best["fp32"], best["bf16"]
    chosen = plain or half or CANDIDATES[0]
    if plain and half and known[half] <= GAIN * known[plain]:
        chosen = half
    precision, memory_format = chosen.split()
    return NumberFormat(precision, memory_format, "measured", dict(seconds), images)


def _measure(cohort: Cohort, device: torch.device, images: int, side: int) -> dict[str, float | None]:
    """Seconds per candidate, the least of some interleaved rounds; the cohort's state is as before afterwards."""
    cohort.to(device)
    inputs = torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    kept = {name: value.clone() for name, value in cohort.named_buffers()}
    mode = cohort.training
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), keeping_freed_memory(device):
            cohort.train()
            return _timed(cohort, inputs)
    finally:
        cohort.train(mode)
        with torch.no_grad():
            for name, value in cohort.named_buffers():
                value.copy_(kept[name])


def _timed(cohort: Cohort, images: Tensor) -> dict[str, float | None]:
    best: dict[str, float] = {}
    for name in CANDIDATES:
        if name == "bf16 contiguous" and "bf16 channels_last" not in best:
            continue
        if not best:
            _step(cohort, images, name)  # the first step of a process also sets up the libraries
        seconds = _step(cohort, images, name)
        if not best and images.device.type == "cpu" and seconds * torch.get_num_threads() < TRIFLE:
            return {name: seconds}
        limit = HOPELESS * min(best.values(), default=seconds)
        if limit < seconds < 1:  # the first step in a layout also makes what the library keeps for it
            seconds = _step(cohort, images, name)
        if seconds <= limit:
            best[name] = seconds
    rounds = round(SETTLED_SECONDS / max(1e-3, min(best.values(), default=1.0)))
    for _ in range(min(max(ROUNDS, rounds), MOST_ROUNDS)):
        for name in best:
            best[name] = min(best[name], _step(cohort, images, name))
    return {name: best[name] if math.isfinite(best.get(name, math.inf)) else None for name in CANDIDATES}


def _step(cohort: Cohort, images: Tensor, name: str) -> float:
    """Seconds of one forward and backward pass; endless where the device cannot do it.

    On a CPU they are those that its threads computed, each its part: what other programs do meanwhile counts little.
    """
    precision, layout = name.split()
    cohort.to(memory_format=MEMORY_FORMATS[layout])
    device = images.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    try:
        _wait(device)
        began = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = cohort(images)
        torch.stack([output.logits.float().square().mean() for output in outputs.values()]).sum().backward()
        _wait(device)
        return (clock() - began) / (torch.get_num_threads() if device.type == "cpu" else 1)
    except RuntimeError:  # no memory left, or no such operation in bf16
        return math.inf
    finally:
        cohort.zero_grad(set_to_none=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _key(cohort: Cohort, device: torch.device, images: int, side: int) -> str:
    """What the choice depends on, as a name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor()} {_cpu()}"
    parts = [repr(cohort), name, torch.get_num_threads(), torch.__version__, images, side]
    parts += ["freed memory is kept"] if keeps_freed_memory(device) else []
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def _cpu() -> str:
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    half = " ".join(name for name in ("avx512_bf16", "amx_bf16", "bf16") if known.get(name))
    return f"{known.get('cpu_name', '')} {torch.backends.cpu.get_cpu_capability()} {half}"


def _read(path: Path) -> NumberFormat | None:
    """What follows from the times on record; the choice noted with them may be by a rule of another version."""
    try:
        found = read_record(path)
        known = NumberFormat.from_plain(found) if found else None
    except (SegmiError, TypeError):
        return None
    return _decide(known.seconds, known.images) if known else None


def _keep(path: Path, found: NumberFormat) -> None:
    """Where several processes measure at once, the choice of the first stands for all of them."""
    mine = path.with_name(f".{path.stem}.{os.getpid()}.json")
    with suppress(SegmiError, OSError):  # a home that cannot be written costs a measurement per run, nothing else
        write_record(mine, found.plain())
        try:
            os.link(mine, path)  # which unlike a rename replaces nothing
        finally:
            mine.unlink()
