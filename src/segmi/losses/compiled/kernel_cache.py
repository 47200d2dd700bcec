"""The cache of compiled CPU kernels: its folder, whether a kernel is in it, and compilation in another process.

Compiling the kernel of `RMILoss` takes 18 s of one core for the forward pass and 9 s for the separate backward pass
(Numba 0.68, AMD EPYC with AVX-512); loading it takes 0.6 s, most of them for importing Numba. A call with
``kernel="auto"`` therefore does not wait: if the kernel is not in the cache, another process compiles it while the
PyTorch routine is used, and the loss changes to the kernel when a marker file says that it is complete. The first call
of `RMILoss` with 2×21×64×64 logits then takes 0.3 s instead of 42 s. The two routines round differently, so runs of
`segmi.training.fit`, ``kernel="numba"`` and deterministic algorithms wait for the kernel instead, see `compile_now`.

The marker is named after a digest of the sources, the version of Numba and the processor. A lock on a file allows one
compilation at a time. The other process has a low priority, one thread and a time limit; it may outlive its parent,
so a script that ends at once still leaves a compiled kernel for the next one. `SEGMI_KERNELS` changes this: ``wait``
compiles in the calling process, ``off`` uses PyTorch wherever ``kernel="auto"``.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch

if sys.platform != "win32":
    import fcntl

VARIABLE: Final = "SEGMI_KERNELS"
MODES: Final = ("background", "wait", "off")
EXPECTED_SECONDS: Final = 30  # of one core, for a message
RMI_MODULE: Final = "segmi.losses.rmi.cpu"
CELLS_MODULE: Final = f"{RMI_MODULE}.cells"
ABLATIONS_MODULE: Final = f"{RMI_MODULE}.algebra"
PIXEL_MODULE: Final = "segmi.losses.pixel._binary_cross_entropy_cpu"
_LIMIT_SECONDS: Final = 900.0  # of the other process

log = logging.getLogger(__name__)


def kernel_mode() -> str:
    """Return how ``kernel="auto"`` treats compiled kernels: the value of ``SEGMI_KERNELS``, ``background`` by default.

    Raises: ValueError for an unknown value.
    """
    mode = os.environ.get(VARIABLE) or MODES[0]
    if mode not in MODES:
        raise ValueError(f"{VARIABLE}: expected {', '.join(MODES)}, got {mode!r}. Fix: unset it.")
    return mode


def source_digest(*folders: Path) -> str:
    """Return a digest of the Python sources in this folder and in ``folders``.

    Numba invalidates its cache when the file of the cached function changes, but not when a function that it calls
    does. An entry closes over this digest, which makes it part of the cache key.
    """
    files = sorted(file for folder in (Path(__file__).parent, *folders) for file in folder.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# --- folder


def cache_folders() -> list[Path]:
    """Return the folders to try for the cache, in order; the last one is in the temporary folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(given)] if given else [Path(__file__).parent / "__pycache__"]
    with suppress(RuntimeError):  # without a home folder
        local = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
        folders.append((Path(local) if local else Path.home() / ".cache") / "segmi" / "kernels")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return [*folders, Path(tempfile.gettempdir()) / f"segmi-kernels-{user}"]


@cache
def cache_folder() -> Path | None:
    """Return the first writable folder of `cache_folders`, created if missing; None if none is writable."""
    *folders, temporary = cache_folders()
    usable = [folder for folder in folders if _is_writable(folder)]
    # The cache holds code, and any user can create folders in the temporary folder.
    if usable or not _is_writable(temporary) or (hasattr(os, "getuid") and temporary.stat().st_uid != os.getuid()):
        return usable[0] if usable else None
    return temporary


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def marker_path(module: str) -> Path | None:
    """Return the file that exists if all entry points of a module are in the cache; None without a folder."""
    folder = cache_folder()
    return folder and folder / f"{module}-{_digest(module)}.json"


@cache
def _digest(module: str) -> str:
    spec = find_spec(module)
    sources = source_digest(Path(spec.origin).parent) if spec and spec.origin else ""
    options = sorted(pair for pair in os.environ.items() if pair[0].startswith("NUMBA_") and pair[0][6:] != "CACHE_DIR")
    parts = [module, sources, version("numba"), sys.version, platform.machine(), _processor(), str(options)]
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor()


# --- compilation


class _Compilation:
    # State of the compilation of one module in this process

    def __init__(self, module: str) -> None:
        self.module, self.complete = module, False
        self.process: subprocess.Popen[bytes] | None = None
        self.warned = False

    def is_complete(self) -> bool:
        marker = marker_path(self.module)
        self.complete = self.complete or (marker is not None and marker.exists())
        return self.complete

    def warn(self, reason: str) -> None:
        if not self.warned:
            log.warning("segmi: %s; the PyTorch routine is used, which is several times slower", reason)
        self.warned = True

    def start(self, folder: Path, marker: Path) -> None:
        if self.process is not None:
            if self.process.poll():
                self.warn(f"compiling the {_name(self.module)} failed, see {folder / 'compilation.log'}")
            return
        with _lock(marker.with_suffix(".lock"), wait=False) as free:
            if not free:  # another process compiles it
                return
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        log.warning(
            "segmi: compiling the %s in the background (about %d s, once); the PyTorch routine until then",
            _name(self.module), EXPECTED_SECONDS,
        )  # fmt: skip
        try:
            with (folder / "compilation.log").open("wb") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", f"from {__name__} import main; main({self.module!r})"],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, **_apart(),
                )  # fmt: skip
        except OSError as problem:
            self.warn(f"cannot start a process to compile a kernel: {problem}")


def _apart() -> dict[str, Any]:
    # Options that keep Ctrl-C from the other process. Windows sets the priority here too, see `main`.
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    return {"start_new_session": True}


@cache
def _compilation(module: str) -> _Compilation:
    return _Compilation(module)


def is_compiled(module: str, *, wait: bool = False) -> bool:
    """Return whether to call the kernel of this module now; if not, another process compiles it.

    With ``wait`` it is compiled in this process.
    """
    state = _compilation(module)
    if state.complete or state.is_complete():
        return True
    if wait or kernel_mode() == "wait" or torch.are_deterministic_algorithms_enabled():
        compile_now(module)
        return True
    folder, marker = cache_folder(), marker_path(module)
    if folder is None or marker is None:
        tried = ", ".join(map(str, cache_folders()))
        state.warn(f"cannot cache the compiled kernel: none of {tried} is writable. Fix: set NUMBA_CACHE_DIR")
    elif not state.warned:
        state.start(folder, marker)
    return False


def compile_now(module: str, notify: Callable[[str], None] | None = None) -> None:
    """Compile the entry points of a module in this process, or load them from the cache.

    Waits for another process that compiles them. ``notify`` receives a line when this takes time; by default the line
    is logged.
    """
    state, marker, began = _compilation(module), marker_path(module), time.perf_counter()
    if state.complete:
        return
    if not state.is_complete():
        text = f"compiling the {_name(module)} (about {EXPECTED_SECONDS} s, once)"
        notify(text) if notify else log.warning("segmi: %s", text)
    with _lock(marker and marker.with_suffix(".lock")):
        import_module(module).compile_entries()
        if marker and not marker.exists():
            seconds = time.perf_counter() - began
            marker.write_text(json.dumps({"module": module, "seconds": round(seconds, 1)}) + "\n", encoding="utf-8")
    state.complete = True


_NAMES: Final = {
    RMI_MODULE: "RMI kernel",
    CELLS_MODULE: "RMI kernel of pooling and softmax",
    ABLATIONS_MODULE: "RMI kernel of ablations without regression",
    PIXEL_MODULE: "kernel of binary cross-entropy",
}


def _name(module: str) -> str:
    return _NAMES.get(module, f"kernel {module}")


@contextmanager
def _lock(path: Path | None, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yields whether it is held. It ends with the process.

    Where locks are missing (Windows, some file systems), two processes may compile a kernel. This is harmless, since
    Numba replaces its files atomically.
    """
    if sys.platform == "win32" or path is None:
        yield True
    else:
        with path.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass
            yield True


def main(module: str) -> None:
    """Compile a module in this separate process, with a low priority and a time limit."""
    if hasattr(os, "nice"):
        os.nice(10)
    limit = threading.Timer(_LIMIT_SECONDS, os._exit, (1,))
    limit.daemon = True
    limit.start()
    compile_now(module)


def kernel_states() -> dict[str, bool]:
    """Return whether each kernel is in the cache, for `segmi doctor`."""
    return {_name(module): _compilation(module).is_complete() for module in _NAMES}
