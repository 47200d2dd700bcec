"""Memory that a step on the CPU has freed stays with the process, for the next step to have.

glibc gives big blocks back to the system as soon as they are freed, so that every activation of every step is fresh
memory, which the system hands out page by page and filled with zeros. On virtual machines that can cost more than the
arithmetic. The price of keeping it is a higher peak (docs/studies.md has figures), for want of holes of the right size.
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

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
MMAP_MAX: Final = -4
"""Numbers of ``mallopt``, from its manual page."""

USUAL: Final = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""The most that glibc arrives at by itself where big blocks are freed; it does not adapt any more afterwards."""

KEEPING: Final = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
"""Nothing is had from the system block by block, and nothing is given back."""

OUTSIDE: Final = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

_holders = 0
_lock = threading.Lock()


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """Within it, memory freed on the CPU is kept; afterwards what is free is given back.

    Nothing happens for other devices, where the C library is not glibc, and where that has been told from outside
    (``MALLOC_TRIM_THRESHOLD_`` and the like, ``GLIBC_TUNABLES``), which then counts. The whole process is affected,
    threads besides the main one in smaller blocks alone.

    Args:
        device: where the computing is done.
    """
    global _holders
    library = _glibc() if device.type == "cpu" else None
    if library is None:
        yield
        return
    with _lock:
        _holders += 1
        if _holders == 1:
            _set(library, KEEPING)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _set(library, USUAL)
                library.malloc_trim(ctypes.c_size_t(0))


def keeps_freed_memory(device: torch.device) -> bool:
    """Whether `keeping_freed_memory` does anything here."""
    return device.type == "cpu" and _glibc() is not None


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is one whose allocator can be told and has not been."""
    told = any(name in os.environ for name in OUTSIDE) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if told or platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for number, value in values.items():
        library.mallopt(number, value)
