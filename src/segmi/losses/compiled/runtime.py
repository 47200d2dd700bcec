"""Compilation by Numba, threads, and reusable output buffers.

Functions are compiled for the CPU they run on; the entry points that Python calls are cached on disk.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numba import config, njit
from torch import Tensor

from segmi.losses.compiled.inlining import InlinedCompiler
from segmi.losses.compiled.kernel_cache import cache_folder

T = TypeVar("T")

# --- compilation
#
# Sums in `reordered` functions may be computed in any order, so that LLVM can vectorize them. NaN and infinities keep
# their meaning everywhere. Loops are short and use one width of numbers, since LLVM vectorizes for the widest type.

_njit: Final[Any] = partial(njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
_inlined: Final[Any] = partial(_njit, no_cpython_wrapper=True, pipeline_class=InlinedCompiler)

# `_nrt=False` turns off Numba's reference counting, whose atomic increment at every slice is slow across threads. Such
# functions cannot create arrays; `allocating` functions can. Only compiled functions can call these three kinds.
compiled: Final[Callable[..., Any]] = _inlined(_nrt=False, fastmath={"contract", "nsz"})
reordered: Final[Callable[..., Any]] = _inlined(_nrt=False, fastmath={"reassoc", "contract", "nsz"})
allocating: Final[Callable[..., Any]] = _inlined(fastmath={"contract", "nsz"})


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls; it is cached on disk, with everything it calls, see `cache_folder`."""
    folder, settings = cache_folder(), vars(config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(folder or "")
    try:
        return _njit(fastmath={"contract", "nsz"}, cache=folder is not None)(function)
    finally:
        settings["CACHE_DIR"] = before


# --- threads
#
# PyTorch's own OpenMP threads are the fastest: after an operation they spin for milliseconds waiting for the next one,
# so other threads would compete with them for the cores. `GOMP_parallel` runs a function in all of them; the runtimes
# of LLVM and Intel export the same symbol. Python threads are used where it is missing (macOS, Windows) and in forked
# processes, where OpenMP must not be used again.

_BODY: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def parallel_for(run: Callable[[T], None], items: Iterable[T]) -> None:
    """Call ``run`` on each item, in as many threads as PyTorch uses; ``run`` must release the GIL.

    Items are handed out one at a time, since fixed shares would wait for the slowest thread. After a failure, running
    calls finish and the first exception is raised.
    """
    waiting, failures = deque(items), list[BaseException]()

    def work(*_: object) -> None:
        try:
            while not failures:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                run(item)
        except BaseException as failure:  # even KeyboardInterrupt: no exception may leave a function called by OpenMP
            failures.append(failure)

    # no more threads than items
    threads = min(torch.get_num_threads(), len(waiting))
    parallel = openmp() if threads > 1 and not _Process.forked else None
    if parallel is not None:
        parallel(_BODY(work), None, threads, 0)
    else:
        futures = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
        work()
        for future in futures:
            future.result()
    if failures:
        raise failures[0]


@cache
def openmp() -> Callable[..., Any] | None:
    """Return ``GOMP_parallel`` of the OpenMP runtime that PyTorch uses, None if it is not available."""
    path = _openmp_path(_memory_maps(), str(Path(torch.__file__).parent))
    if path is None or not torch.backends.openmp.is_available():
        return None
    try:
        function: Any = ctypes.CDLL(path).GOMP_parallel
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return function


def _memory_maps() -> str:
    # the memory maps of this process on Linux, an empty string elsewhere
    maps = Path("/proc/self/maps")
    return maps.read_text(encoding="utf-8", errors="replace") if maps.is_file() else ""


def _openmp_path(maps: str, torch_folder: str) -> str | None:
    """Return the path of the mapped OpenMP runtime: PyTorch's own, else the only one.

    Example:
        >>> maps = "7f00 r-xp 0 /site/torch/lib/libgomp.so.1\\n7f10 r-xp 0 /site/sklearn.libs/libgomp-a34b.so.1"
        >>> _openmp_path(maps, "/site/torch")
        '/site/torch/lib/libgomp.so.1'
    """
    paths = sorted(set(re.findall(r"(?m)\s(/\S*/lib(?:g|i)?omp\d?[-.][^/\s]*)$", maps)))
    own = [path for path in paths if path.startswith(torch_folder)]
    return own[0] if own else paths[0] if len(paths) == 1 else None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="segmi-loss")


class _Process:
    # State of this process: whether it was forked
    forked = False

    @classmethod
    def after_fork(cls) -> None:
        """Forget the threads of the parent, which do not exist in a forked process."""
        cls.forked = True
        _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.after_fork)


# --- arrays


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a contiguous NumPy array with the values of a CPU tensor."""
    return tensor.detach().contiguous().numpy()


_BUFFERS: Final[dict[tuple[int, ...], np.ndarray]] = {}
"""The last gradient buffer by its shape. A tensor that uses it, and every view of that, holds a reference."""
_UNUSED: Final = 3  # references to a free buffer: `_BUFFERS`, the local name in `new_maps`, the call of getrefcount
_MIN_BYTES: Final = 2**20  # smaller buffers are not worth keeping


def new_maps(shape: Sequence[int]) -> np.ndarray:
    """Return an uninitialized float32 array, reusing the memory of the last gradient if nothing refers to it.

    Mapping and clearing fresh memory can take as long as computing the gradient. NumPy allocates it, since NumPy asks
    for huge pages.
    """
    wanted = tuple(shape)
    buffer = _BUFFERS.get(wanted)
    if buffer is not None and sys.getrefcount(buffer) == _UNUSED:
        return buffer
    made = np.empty(wanted, np.float32)
    if made.nbytes >= _MIN_BYTES:
        _BUFFERS.clear()
        _BUFFERS[wanted] = made
    return made


def portions(varying: np.ndarray, group: int = 6) -> list[tuple[int, np.ndarray]]:
    """Split the channels of all images into (image, channels) portions of similar cost, the most expensive first.

    Args:
        varying: N×C bool, the maps whose windows are processed; each is a separate portion.
        group: number of other maps per portion; 6 of them cost about as much as one varying map.
    """
    every = np.arange(varying.shape[1])
    single = [(n, every[c : c + 1]) for n, row in enumerate(varying.tolist()) for c, one in enumerate(row) if one]
    light = [(n, every[~row]) for n, row in enumerate(varying)]
    return single + [(n, some[begin : begin + group]) for n, some in light for begin in range(0, len(some), group)]
