"""Measurement behind ``precision: auto``: the time of a training step in each precision and memory format.

Whether bf16 is faster depends on the instructions of the processor, and whether ``channels_last`` is faster depends on
the network: depthwise layers gain little from either. Each candidate is therefore timed, forward and backward. The
times are cached per device and network, so that all runs on a machine choose the same candidate.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from segmi.datasets.cache import cache_folder
from segmi.errors import SegmiError
from segmi.records.serialization import read_record, write_record
from segmi.training.allocator import keep_freed_memory, keeps_freed_memory
from segmi.training.cohort import Cohort

MEMORY_FORMATS: Final = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CANDIDATES: Final = tuple(f"{dtype} {memory_format}" for dtype in ("fp32", "bf16") for memory_format in MEMORY_FORMATS)
"""In order of preference: of equally fast candidates the first one is chosen."""

MAX_RELATIVE_TIME: Final = 0.9
"""bf16 is chosen only if it takes at most this share of the time of fp32, since it costs digits and timings vary."""

MIN_ROUNDS, MAX_ROUNDS = 3, 20
MEASURED_SECONDS: Final = 0.5
"""Steps are repeated for about this long per candidate, within `MIN_ROUNDS` and `MAX_ROUNDS`."""

GIVE_UP: Final = 3.0
"""A candidate is dropped if its first step takes this many times the best one. Emulated bf16 takes about ten times."""

NEGLIGIBLE_SECONDS: Final = 0.05
"""CPU seconds over all threads below which a step is dominated by call overhead, so that there is nothing to choose."""

MAX_CPU_IMAGES: Final = 2
"""Images per measured step on a CPU, where steps are slow."""


def step_seconds(cohort: Cohort, device: torch.device, *, images: int, side: int) -> dict[str, float | None]:
    """Return the seconds of a training step of each candidate, from the cache if they were measured before.

    A candidate that is far slower than the best one has None. The cohort moves to ``device``, otherwise unchanged.
    """
    image_cache = cache_folder()
    if image_cache is None:
        return _measure(cohort, device, images, side)
    path = image_cache.parent / "precision" / f"{_key(cohort, device, images, side)}.json"
    seconds = _read(path)
    if seconds is None:
        seconds = _measure(cohort, device, images, side)
        _write(path, seconds)
        seconds = _read(path) or seconds  # another process may have written first
    return seconds


def fastest(seconds: Mapping[str, float | None]) -> str:
    """Return the candidate to use; bf16 only if it is clearly faster than fp32.

    Example:
        >>> fastest({"fp32 contiguous": 1.0, "fp32 channels_last": 1.1, "bf16 channels_last": 0.95})
        'fp32 contiguous'
    """
    known = {name: value for name in CANDIDATES if (value := seconds.get(name)) is not None}
    fp32, bf16 = (
        min((name for name in known if name.startswith(dtype)), key=lambda name: known[name], default=None)
        for dtype in ("fp32", "bf16")
    )
    if fp32 and bf16 and known[bf16] <= MAX_RELATIVE_TIME * known[fp32]:
        return bf16
    return fp32 or bf16 or CANDIDATES[0]


def _measure(cohort: Cohort, device: torch.device, images: int, side: int) -> dict[str, float | None]:
    """Time all candidates, and restore the state of the cohort."""
    cohort.to(device)
    # N×C×S×S in [0, 1], from a separate generator.
    inputs = torch.rand(images, cohort.in_channels, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    buffers = {name: value.clone() for name, value in cohort.named_buffers()}
    mode = cohort.training
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), keep_freed_memory(device):
            cohort.train()
            return _time_candidates(cohort, inputs)
    finally:
        cohort.train(mode)
        with torch.no_grad():
            for name, value in cohort.named_buffers():
                value.copy_(buffers[name])


def _time_candidates(cohort: Cohort, images: Tensor) -> dict[str, float | None]:
    """Return the shortest time of each candidate over interleaved rounds."""
    best: dict[str, float] = {}
    for name in CANDIDATES:
        if name == "bf16 contiguous" and "bf16 channels_last" not in best:
            continue  # slow in both memory formats
        if not best:
            _step(cohort, images, name)  # the first step of a process also initializes the libraries
        seconds = _step(cohort, images, name)
        if not best and images.device.type == "cpu" and seconds * torch.get_num_threads() < NEGLIGIBLE_SECONDS:
            return {name: seconds}
        limit = GIVE_UP * min(best.values(), default=seconds)
        if limit < seconds < 1:  # the first step in a memory format also fills caches of the library
            seconds = _step(cohort, images, name)
        if seconds <= limit:
            best[name] = seconds
    # The minimum is the time without interruptions; interleaving spreads slow phases over the candidates.
    rounds = round(MEASURED_SECONDS / max(1e-3, min(best.values(), default=1.0)))
    for _ in range(min(max(MIN_ROUNDS, rounds), MAX_ROUNDS)):
        for name in best:
            best[name] = min(best[name], _step(cohort, images, name))
    return {name: best[name] if math.isfinite(best.get(name, math.inf)) else None for name in CANDIDATES}


def _step(cohort: Cohort, images: Tensor, name: str) -> float:
    """Return the seconds of one forward and backward pass; infinity if the device does not support the candidate.

    On a CPU this is CPU time per thread, which is hardly affected by other programs.
    """
    dtype, memory_format = name.split()
    cohort.to(memory_format=MEMORY_FORMATS[memory_format])
    device = images.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    try:
        _synchronize(device)
        start = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16"):
            outputs = cohort(images)
        torch.stack([output.logits.float().square().mean() for output in outputs.values()]).sum().backward()
        _synchronize(device)
        return (clock() - start) / (torch.get_num_threads() if device.type == "cpu" else 1)
    except RuntimeError:  # out of memory, or an operation without bf16
        return math.inf
    finally:
        cohort.zero_grad(set_to_none=True)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _key(cohort: Cohort, device: torch.device, images: int, side: int) -> str:
    """Return a hash of everything that affects the times."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor()} {_cpu()}"
    parts = [repr(cohort), name, torch.get_num_threads(), torch.__version__, images, side]
    parts += ["freed memory is kept"] if keeps_freed_memory(device) else []
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def _cpu() -> str:
    # Only new versions of PyTorch have this function.
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = " ".join(name for name in ("avx512_bf16", "amx_bf16", "bf16") if known.get(name))
    return f"{known.get('cpu_name', '')} {torch.backends.cpu.get_cpu_capability()} {bf16}"


def _read(path: Path) -> dict[str, float | None] | None:
    try:
        seconds = (read_record(path) or {}).get("seconds")
    except SegmiError:
        return None
    return seconds if isinstance(seconds, dict) else None


def _write(path: Path, seconds: Mapping[str, float | None]) -> None:
    """Cache the times; if several processes measure at once, the first file is kept."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.json")
    with suppress(SegmiError, OSError):  # without a writable cache, each run measures again
        write_record(temporary, {"seconds": dict(seconds)})
        try:
            os.link(temporary, path)  # unlike a rename, this does not replace an existing file
        finally:
            temporary.unlink()
