"""CPU memory: an allocator that keeps freed memory for the next training step, and out-of-memory errors.

By default, glibc returns large blocks to the system when they are freed, so every activation of every step is new
memory that the system maps and zeroes page by page. On virtual machines this can take longer than the arithmetic.
Keeping freed memory raises the peak because of fragmentation (figures in docs/guides/optimization.md).
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

# Parameters of ``mallopt``, from ``malloc.h``.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4

DEFAULTS: Final = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""Largest values that glibc chooses dynamically, since it stops adapting the values once they are set."""

KEEP_FREED: Final = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
"""Allocate no block directly from the system, and return none."""

ENVIRONMENT: Final = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

_holders = 0
_lock = threading.Lock()


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep freed CPU memory inside the context, and return it to the system on exit.

    This has no effect for other devices, without glibc, or if the environment configures the allocator
    (``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES`` and the like). It affects the whole process.
    """
    global _holders
    library = _glibc() if device.type == "cpu" else None
    if library is None:
        yield
        return
    # The settings apply to the whole process, so runs in several threads share them.
    with _lock:
        _holders += 1
        if _holders == 1:
            _set(library, KEEP_FREED)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _set(library, DEFAULTS)
                library.malloc_trim(ctypes.c_size_t(0))


def keeps_freed_memory(device: torch.device) -> bool:
    """Return whether `keep_freed_memory` has an effect."""
    return device.type == "cpu" and _glibc() is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that GPU or host memory ran out.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
        True
    """
    # PyTorch has an exception for GPU memory, but reports host memory by the message of a RuntimeError only.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _glibc() -> ctypes.CDLL | None:
    """Return glibc if its allocator can be configured and is not configured by the environment."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    configured = "glibc.malloc" in tunables or any(name in os.environ for name in ENVIRONMENT)
    if configured or platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for number, value in values.items():
        library.mallopt(number, value)
