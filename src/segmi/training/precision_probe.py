"""Measurement behind ``precision: auto``: the time of a training step in each precision and memory format.

Whether bf16 is faster depends on the instructions of the processor, and whether ``channels_last`` is faster depends on
the network: depthwise layers gain little from either. Each candidate is therefore timed, forward and backward. The
times are cached per device and network, so that all runs on a machine choose the same candidate.

The measurement is limited to `MAX_SECONDS` of wall time for every network. On a CPU, a step on a small crop predicts
the time of larger ones, and the crop is as large as the limit allows; candidates without time left are not
measured. A CPU without bf16 instructions emulates them, at a tenth of the speed, so bf16 is not tried there.
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
from typing import Final, NamedTuple

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

MAX_SECONDS: Final = 4.5
"""Wall time after which no step is started; a step is started only if it is expected to end before."""

SMALL_SIDE: Final = 32
"""Side of the crop that predicts the time of larger ones; a multiple of `SIDE_STEP`."""

SIDE_STEP: Final = 32
"""Sides of crops are multiples of this, since many networks need it."""


class Measurement(NamedTuple):
    """Seconds of a training step by candidate, and the images that were measured.

    A candidate that is far slower than the best one has None; those that were not tried are missing.
    """

    seconds: dict[str, float | None]
    images: int
    side: int


def measure_steps(cohort: Cohort, device: torch.device, *, images: int, side: int) -> Measurement:
    """Return the seconds of a training step of each candidate, from the cache if they were measured before.

    The cohort moves to ``device``, otherwise unchanged.
    """
    image_cache = cache_folder()
    if image_cache is None:
        return _measure(cohort, device, images, side)
    path = image_cache.parent / "precision" / f"{_key(cohort, device, images, side)}.json"
    measurement = _read(path)
    if measurement is None:
        measurement = _measure(cohort, device, images, side)
        _write(path, measurement)
        measurement = _read(path) or measurement  # another process may have written first
    return measurement


def candidates(device: torch.device) -> list[str]:
    """Return the candidates to measure on a device: bf16 on a CPU only if it has instructions for it."""
    bf16 = device.type != "cpu" or _has_bf16_instructions()
    return [name for name in CANDIDATES if bf16 or not name.startswith("bf16")]


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


def _measure(cohort: Cohort, device: torch.device, images: int, side: int) -> Measurement:
    """Time all candidates, and restore the state of the cohort."""
    end = time.perf_counter() + MAX_SECONDS
    cohort.to(device)
    # N×C×S×S in [0, 1], from a separate generator.
    inputs = torch.rand(images, cohort.in_channels, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    buffers = {name: value.clone() for name, value in cohort.named_buffers()}
    mode, threads = cohort.training, torch.get_num_threads()
    try:
        # Threads that share their cores with other programs mostly wait for each other: 2 threads on 2 cores with a
        # load of 10 took 50 times as long as one.
        if device.type == "cpu" and threads > 1 and _is_busy():
            torch.set_num_threads(1)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), keep_freed_memory(device):
            cohort.train()
            crop = _affordable_crop(cohort, inputs, end) if device.type == "cpu" else inputs
            if crop is None:
                return Measurement({}, images, side)
            return Measurement(_time_candidates(cohort, crop, end), images, crop.shape[-1])
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        cohort.train(mode)
        with torch.no_grad():
            for name, value in cohort.named_buffers():
                value.copy_(buffers[name])


def _affordable_crop(cohort: Cohort, images: Tensor, end: float) -> Tensor | None:
    """Return the largest corner of the images whose steps are expected to end in time; None without one."""
    side = images.shape[-1]
    if side <= SMALL_SIDE:
        return images
    small, now, seconds = images[..., :SMALL_SIDE, :SMALL_SIDE], time.perf_counter(), 0.0
    for _ in range(2):  # the first step of a process also initializes the libraries
        if now > end:
            return None
        if math.isinf(_step(cohort, small, CANDIDATES[0])):  # too small for the network
            return images
        now, seconds = time.perf_counter(), time.perf_counter() - now
    steps = (2 + MIN_ROUNDS) * len(candidates(images.device))
    affordable = SMALL_SIDE * math.sqrt(max(0.0, end - now) / (steps * seconds))
    if affordable >= side:
        return images
    if 2 * affordable < SMALL_SIDE:  # even few steps on the small corner take too long
        return None
    side = max(1, int(affordable) // SIDE_STEP) * SIDE_STEP
    return images[..., :side, :side]


def _time_candidates(cohort: Cohort, images: Tensor, end: float) -> dict[str, float | None]:
    """Return the shortest time of each candidate over interleaved rounds, in at most the time until ``end``."""
    best: dict[str, float] = {}
    tried: list[str] = []
    wall = 0.0  # of the longest step that was not the first of its candidate
    for name in candidates(images.device):
        if name == "bf16 contiguous" and "bf16 channels_last" not in best:
            tried.append(name)
            continue  # slow in both memory formats
        if time.perf_counter() + wall > end:
            break
        tried.append(name)
        if not best:
            _step(cohort, images, name)  # the first step of a process also initializes the libraries
        began = time.perf_counter()
        seconds = _step(cohort, images, name)
        wall = max(wall, time.perf_counter() - began)
        if not best and images.device.type == "cpu" and seconds * torch.get_num_threads() < NEGLIGIBLE_SECONDS:
            return {name: seconds}
        limit = GIVE_UP * min(best.values(), default=seconds)
        # the first step in a memory format also fills caches of the library
        if limit < seconds < 1 and time.perf_counter() + wall < end:
            seconds = _step(cohort, images, name)
        if seconds <= limit:
            best[name] = seconds
    # The minimum is the time without interruptions; interleaving spreads slow phases over the candidates.
    rounds = round(MEASURED_SECONDS / max(1e-3, min(best.values(), default=1.0)))
    for _ in range(min(max(MIN_ROUNDS, rounds), MAX_ROUNDS)):
        if time.perf_counter() + len(best) * wall > end:  # complete rounds only: all candidates have as many steps
            break
        for name in best:
            best[name] = min(best[name], _step(cohort, images, name))
    return {name: best[name] if math.isfinite(best.get(name, math.inf)) else None for name in tried}


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
    except (RuntimeError, ValueError):  # out of memory, an operation without bf16, a crop that is too small
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
    if not known and Path("/proc/cpuinfo").is_file():
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
        known = {name: name in flags for name in ("avx512_bf16", "amx_bf16", "bf16")}
    bf16 = " ".join(name for name in ("avx512_bf16", "amx_bf16", "bf16") if known.get(name))
    return f"{known.get('cpu_name', '')} {torch.backends.cpu.get_cpu_capability()} {bf16}"


def _is_busy() -> bool:
    # Whether more threads than cores want to run
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)


def _has_bf16_instructions() -> bool:
    return any(name in _cpu().split() for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _read(path: Path) -> Measurement | None:
    try:
        return Measurement(**{name: (read_record(path) or {})[name] for name in Measurement._fields})
    except (SegmiError, KeyError):
        return None


def _write(path: Path, measurement: Measurement) -> None:
    """Cache the times; if several processes measure at once, the first file is kept."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.json")
    with suppress(SegmiError, OSError):  # without a writable cache, each run measures again
        write_record(temporary, measurement._asdict())
        try:
            os.link(temporary, path)  # unlike a rename, this does not replace an existing file
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            path.write_bytes(temporary.read_bytes())
        finally:
            temporary.unlink()
