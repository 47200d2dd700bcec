"""Work that several threads share, each of which takes what is next.

Best are PyTorch's own threads: after an operation they keep their cores busy for milliseconds, waiting for the next
one, and other threads would have to share the cores with them. They belong to the OpenMP runtime that PyTorch has
loaded, whose entry ``GOMP_parallel`` runs a function in all of them; LLVM's and Intel's have it under the same name.
Where there is none, on macOS and Windows and in forked processes, in which OpenMP must not be used again, they are
Python's.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

T = TypeVar("T")

_BODY: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def share(run: Callable[[T], None], things: Iterable[T]) -> None:
    """``run`` each of the things, in as many threads as PyTorch has; ``run`` must let go of the interpreter's lock.

    Whoever is free takes what is next, because equal shares would wait for the slowest thread. If a call fails, the
    others end what they have begun, and the first failure is raised.
    """
    waiting, failures = deque(things), list[BaseException]()

    def work(*_: object) -> None:
        try:
            while not failures:
                try:
                    thing = waiting.popleft()
                except IndexError:
                    return
                run(thing)
        except BaseException as failure:  # an interruption too: nothing may leave a function that OpenMP has called
            failures.append(failure)

    threads = min(torch.get_num_threads(), len(waiting))
    parallel = openmp() if threads > 1 and not _Process.forked else None
    if parallel is not None:
        parallel(_BODY(work), None, threads, 0)
    else:
        helping = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
        work()
        for each in helping:
            each.result()
    if failures:
        raise failures[0]


@cache
def openmp() -> Callable[..., Any] | None:
    """``GOMP_parallel`` of the runtime that PyTorch computes with, None where there is none."""
    path = _runtime(_loaded(), str(Path(torch.__file__).parent))
    if path is None or not torch.backends.openmp.is_available():
        return None
    try:
        found: Any = ctypes.CDLL(path).GOMP_parallel
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = [_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return found


def _loaded() -> str:
    """What is mapped into this process, as Linux tells it; nothing elsewhere."""
    maps = Path("/proc/self/maps")
    return maps.read_text(errors="replace") if maps.is_file() else ""


def _runtime(maps: str, home: str) -> str | None:
    """The OpenMP runtime among what is mapped: PyTorch's own, or the only one there is.

    Example:
        >>> maps = "7f00 r-xp 0 /site/torch/lib/libgomp.so.1\\n7f10 r-xp 0 /site/sklearn.libs/libgomp-a34b.so.1"
        >>> _runtime(maps, "/site/torch")
        '/site/torch/lib/libgomp.so.1'
    """
    paths = sorted(set(re.findall(r"(?m)\s(/\S*/lib(?:g|i)?omp\d?[-.][^/\s]*)$", maps)))
    own = [path for path in paths if path.startswith(home)]
    return own[0] if own else paths[0] if len(paths) == 1 else None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="segmi-region")


class _Process:
    """What is known of this process."""

    forked = False

    @classmethod
    def fork(cls) -> None:
        """In a forked process there are none of the threads of its parent."""
        cls.forked = True
        _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.fork)
