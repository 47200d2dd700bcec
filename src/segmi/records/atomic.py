"""Atomic writes: after a crash at any moment, a file or folder is either complete or unchanged.

Content is written under a temporary name beside the target, flushed to the disk and renamed to the target.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from segmi.errors import SegmiError
from segmi.records.disk_errors import environment_problem, free_bytes
from segmi.records.process import is_running, process_start

TEMPORARY_PREFIX: Final = ".segmi-partial-"  # of unfinished files and folders
RETIRED_PREFIX: Final = ".segmi-retired-"  # of a folder that is being replaced
_WINDOWS_WAITS: Final = (0.01, 0.05, 0.2, 0.5, 1.0)  # seconds between attempts to rename


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    """Write a file atomically: after a crash it holds either the new content or the previous one.

    Missing parent folders are created; text is written as UTF-8 with ``\\n`` line ends.

    Raises:
        EnvironmentProblem: no space, no permission or a read-only file system, naming the path and the bytes.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> atomic_write(folder / "note.txt", "whole").read_text()
        'whole'
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path, needed=len(data)) as temporary, temporary.open("wb") as file:
        file.write(data)
    return Path(path)


@contextmanager
def atomic_path(path: str | Path, *, needed: int | None = None) -> Iterator[Path]:
    """Context with a temporary path, with the suffix of the target, that replaces the target on exit without an error.

    Missing parent folders are created. ``needed`` are the bytes to write, for the message when the disk is full.

    Raises:
        EnvironmentProblem: as in `atomic_write`.
        RuntimeError: the block ended without writing the temporary file.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "numbers.csv"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("1,2")
        >>> target.read_text(), [p.name for p in target.parent.iterdir()]
        ('1,2', ['numbers.csv'])
    """
    target = Path(path)
    temporary = _temporary(target)
    with _guarded(target, temporary, needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.is_file():
            raise RuntimeError(f"nothing was written to {temporary}, expected the content of {target}")
        _sync(temporary)
        _replace(temporary, target)
        _sync_folder(target.parent)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Context with a temporary folder that replaces the target on exit without an error.

    With ``replace``, an existing target is renamed first; after a crash between the two renames, `sweep` or the next
    `atomic_folder` of the same target restores it.

    Raises:
        FileExistsError: the target exists and ``replace`` is False.
        EnvironmentProblem: as in `atomic_write`.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "bundle"
        >>> with atomic_folder(target) as folder:
        ...     _ = (folder / "model.json").write_text("{}")
        >>> [p.name for p in target.iterdir()]
        ['model.json']
    """
    target = Path(path)
    temporary = _temporary(target)
    with _guarded(target, temporary):
        target.parent.mkdir(parents=True, exist_ok=True)
        _restore(target.parent)
    if target.exists() and not replace:
        raise FileExistsError(errno.EEXIST, "the folder already exists", str(target))
    with _guarded(target, temporary):
        temporary.mkdir()
        yield temporary
        _sync_tree(temporary)
        _take_place(temporary, target)


def sweep(folder: str | Path, *, deep: bool = True) -> list[Path]:
    """Remove unfinished files of processes that no longer run, and restore folders whose replacement is missing.

    Call it while holding the lock of the folder; ``deep`` includes its subfolders. Returns the paths that were removed
    or restored.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / f"{TEMPORARY_PREFIX}999999999-0-ab.json").touch()
        >>> [path.suffix for path in sweep(folder)]
        ['.json']
    """
    swept: list[Path] = []
    for parent, names, files in os.walk(folder):
        swept += _restore(Path(parent))
        for name in [*names, *files]:
            path = Path(parent, name)
            if name.startswith(TEMPORARY_PREFIX) and not _writer_runs(name) and os.path.lexists(path):
                _remove(path)
                swept.append(path)
        names[:] = [name for name in names if deep and not name.startswith((TEMPORARY_PREFIX, RETIRED_PREFIX))]
    return swept


def _temporary(target: Path) -> Path:
    suffix = target.suffix if len(target.suffix) <= 16 else ""  # some writers choose their format by it
    return target.with_name(f"{TEMPORARY_PREFIX}{_writer()}{suffix}")


def _writer() -> str:
    return f"{os.getpid()}-{process_start(os.getpid()) or ''}-{secrets.token_hex(6)}"


def _writer_runs(name: str) -> bool:
    parts = name.split("-")  # "", "segmi", "partial", pid, start, token
    try:
        return is_running(int(parts[2]), parts[3] or None)
    except (ValueError, IndexError):
        return False


def _take_place(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its target; an existing target is renamed first, because it cannot be overwritten."""
    retired = target.with_name(f"{RETIRED_PREFIX}{_writer()}-{target.name}")
    if target.exists():
        _replace(target, retired)
    try:
        _replace(temporary, target)
    except BaseException:
        if retired.exists():
            _replace(retired, target)
        raise
    # The new folder must be on disk before the old one is removed.
    _sync_folder(target.parent)
    _remove(retired)


def _restore(parent: Path) -> list[Path]:
    """Complete replacements of folders that a crash interrupted: keep the new folder if it exists, else the old one."""
    restored = [path for path in sorted(parent.glob(f"{RETIRED_PREFIX}*")) if not _writer_runs(path.name)]
    for retired in restored:
        # retired name: prefix, pid, start, token, target name.
        target = parent / retired.name[len(RETIRED_PREFIX) :].split("-", 3)[3]
        if target.exists():
            _remove(retired)
        else:
            _replace(retired, target)
    return restored


def _remove(path: Path) -> None:
    with suppress(OSError):  # a folder without permission contains no file of ours
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Rename; Windows refuses it while another process, such as a virus scanner, has one of the files open."""
    for seconds in _WINDOWS_WAITS if sys.platform == "win32" else ():
        try:
            os.replace(source, target)  # noqa: PTH105 - tests patch this name
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    os.replace(source, target)  # noqa: PTH105


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":  # Windows cannot open a folder; its renames are journaled
        with suppress(PermissionError):  # a writable folder without read permission
            _sync(folder)


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in files):
            if not path.is_symlink():
                _sync(path)
        _sync_folder(Path(parent))


@contextmanager
def _guarded(target: Path, temporary: Path, needed: int | None = None) -> Iterator[None]:
    """Remove the temporary file on any error, and raise `EnvironmentProblem` for errors of the disk."""
    try:
        yield
    except BaseException as error:
        written, free = _bytes_in(temporary), free_bytes(target)  # before the removal frees space
        _remove(temporary)
        if isinstance(error, Exception) and not isinstance(error, SegmiError):
            problem = environment_problem(error, target, needed=needed or written, free=free)
            if problem is not None:
                raise problem from error
        raise


def _bytes_in(path: Path) -> int | None:
    try:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files) or None
    except OSError:
        return None
