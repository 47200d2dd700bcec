"""Files and folders that are either wholly there or not at all, whatever happens while they are written.

Everything is written to a temporary name *beside* its target (the same file system, so that the rename is atomic),
flushed to the disk, renamed onto the target, and the rename itself is flushed by syncing the folder.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from segmi.errors import EnvironmentProblem, SegmiError
from segmi.records.process import is_running, process_start

TEMPORARY_PREFIX: Final = ".segmi-partial-"
"""How unfinished files and folders begin; ``sweep`` removes those whose writer is gone."""

RETIRED_PREFIX: Final = ".segmi-retired-"
"""How a folder begins that is being replaced by a new one; ``sweep`` puts it back if the new one never came."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG, errno.EBUSY)
_FAILING = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT)


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    """Write a file that holds the whole content or, after any crash, what it held before.

    Missing parent folders are made; text is written as UTF-8 with ``\\n`` line ends.

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
    """A temporary path for a writer that wants a path; on leaving without an error it takes the target's place.

    The temporary name ends as the target does, since some writers choose their format by it.

    Args:
        path: the target; missing parent folders are made.
        needed: how many bytes will be written, if known, for the message when the disk is full.

    Raises:
        EnvironmentProblem: no space, no permission or a read-only file system, naming the path and the bytes.
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
    temporary = target.with_name(_temporary_name(target))
    with _guarded(target, temporary, needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.is_file():
            raise RuntimeError(f"nothing was written to {temporary}, which was to become {target}")
        _sync(temporary)
        os.replace(temporary, target)  # noqa: PTH105 - one name for the tests to watch
        _sync_folder(target.parent)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder to be filled; on leaving without an error it takes the target's place, whole.

    Args:
        path: the target folder; missing parents are made.
        replace: whether an existing target is replaced. The old folder is set aside first; a crash between the two
            renames is mended by ``sweep`` or by the next ``atomic_folder`` of the same target.

    Raises:
        FileExistsError: the target exists and ``replace`` is False.
        EnvironmentProblem: no space, no permission or a read-only file system, naming the path and the bytes.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "bundle"
        >>> with atomic_folder(target) as folder:
        ...     _ = (folder / "model.json").write_text("{}")
        >>> [p.name for p in target.iterdir()]
        ['model.json']
    """
    target = Path(path)
    temporary = target.with_name(_temporary_name(target))
    with _guarded(target, temporary):
        target.parent.mkdir(parents=True, exist_ok=True)
        _put_back(target.parent)
    if target.exists() and not replace:
        raise FileExistsError(errno.EEXIST, "the folder exists already", str(target))
    with _guarded(target, temporary):
        temporary.mkdir()
        yield temporary
        _sync_tree(temporary)
        _take_place(temporary, target)


def sweep(folder: str | Path, *, deep: bool = True) -> list[Path]:
    """Remove what dead writers left unfinished under a folder, and put back folders that were set aside too early.

    Leftovers of processes that still run on this host are left alone. Call it while holding the folder's lock.

    Args:
        folder: where to look.
        deep: whether the folders in it are looked through as well.

    Returns: what was removed or put back.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / f"{TEMPORARY_PREFIX}999999999-0-ab.json").touch()
        >>> [path.suffix for path in sweep(folder)]
        ['.json']
    """
    swept: list[Path] = []
    for parent, names, files in os.walk(folder):
        swept += _put_back(Path(parent))
        for name in [*names, *files]:
            path = Path(parent, name)
            if not name.startswith(TEMPORARY_PREFIX) or _writer_runs(name) or not _exists(path):
                continue
            _remove(path)
            swept.append(path)
        names[:] = [name for name in names if deep and not name.startswith((TEMPORARY_PREFIX, RETIRED_PREFIX))]
    return swept


def _temporary_name(target: Path) -> str:
    suffix = target.suffix if len(target.suffix) <= 16 else ""
    return f"{TEMPORARY_PREFIX}{_writer()}-{secrets.token_hex(6)}{suffix}"


def _writer() -> str:
    return f"{os.getpid()}-{process_start(os.getpid()) or ''}"


def _writer_runs(name: str) -> bool:
    parts = name.split("-")  # "", "segmi", "partial", pid, start, token
    try:
        pid, start = int(parts[2]), parts[3]
    except (ValueError, IndexError):
        return False
    return is_running(pid, start or None)


def _take_place(temporary: Path, target: Path) -> None:
    """Rename a finished folder onto its target; an old one steps aside first, for a folder cannot be renamed onto."""
    retired = target.with_name(f"{RETIRED_PREFIX}{_writer()}-{secrets.token_hex(6)}-{target.name}")
    if target.exists():
        os.replace(target, retired)  # noqa: PTH105
    try:
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        if retired.exists():
            os.replace(retired, target)  # noqa: PTH105
        raise
    _sync_folder(target.parent)
    _remove(retired)


def _put_back(parent: Path) -> list[Path]:
    """End replacements of folders that a crash cut in two: keep the new one if it came, else the old one."""
    mended = []
    for retired in sorted(parent.glob(f"{RETIRED_PREFIX}*")):
        if _writer_runs(retired.name):
            continue
        target = parent / retired.name[len(RETIRED_PREFIX) :].split("-", 3)[3]
        if target.exists():
            _remove(retired)
        else:
            os.replace(retired, target)  # noqa: PTH105
        mended.append(retired)
    return mended


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _remove(path: Path) -> None:
    with suppress(OSError):  # a folder that may not even be looked into holds nothing of ours
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":  # Windows cannot open a folder; its renames are journaled
        with suppress(PermissionError):  # a folder that may be written but not read
            _sync(folder)


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            if not Path(parent, name).is_symlink():
                _sync(Path(parent, name))
        _sync_folder(Path(parent))


@contextmanager
def _guarded(target: Path, temporary: Path, needed: int | None = None) -> Iterator[None]:
    """Remove the temporary file when anything goes wrong, and say in words what the system refused."""
    try:
        yield
    except BaseException as error:
        written, free = _bytes_in(temporary), _free_bytes(target)  # before the removal makes room again
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


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def environment_problem(
    error: BaseException, target: str | Path, *, needed: int | None = None, free: int | None = None
) -> EnvironmentProblem | None:
    """The error to show when the disk is full or fails, or the target cannot be written; None for any other error.

    Args:
        error: what was raised while writing; libraries that hide the error number are recognized by their text, or
            by a file system without room.
        target: what was being written.
        needed: the bytes it needs, or that it had when the space ran out, if known.
        free: the bytes that were free then; looked up if not given.

    Example:
        >>> print(environment_problem(OSError(errno.EROFS, "Read-only file system"), "/media/disk/x.json").message)
        cannot write /media/disk/x.json: Read-only file system
    """
    target = Path(target)
    number = error.errno if isinstance(error, OSError) else None
    free = _free_bytes(target) if free is None else free
    text = str(error).lower()
    full = number in _DISK_FULL or "no space left" in text or "os error 28" in text
    if full or (number is None and free is not None and free < 4096 and isinstance(error, OSError | RuntimeError)):
        need = f"at least {needed:,} bytes are needed" if needed else "the bytes needed are not known"
        return EnvironmentProblem(
            f"no space left to write {target}: {need}, {free or 0:,} bytes are available",
            f"free space on the file system of {_existing(target)} (or its quota) and run the same command again; "
            "what was there before is intact",
        )
    if number == errno.EFBIG:
        return EnvironmentProblem(
            f"cannot write {target}: it would be larger than files may be here",
            "raise the limit (ulimit -f), or choose a folder on another file system, and run the same command again",
        )
    if number in _IN_THE_WAY:
        return EnvironmentProblem(
            f"cannot write {target}: {os.strerror(number or 0)}",
            f"move away what is in its place or on the way to it, beginning at {_existing(target)}",
        )
    if number in _FAILING:
        return EnvironmentProblem(
            f"cannot write {target}: {os.strerror(number or 0)}",
            f"see to the disk or the network share that holds {_existing(target.parent)}, then run the same command "
            "again; what was there before is intact",
        )
    if number in _NOT_ALLOWED:
        need = f" ({needed:,} bytes)" if needed else ""
        return EnvironmentProblem(
            f"cannot write {target}{need}: {os.strerror(number or 0)}",
            f"make {_existing(target.parent)} writable for this user, or choose another folder for the output",
        )
    return None


def _existing(path: Path) -> Path:
    """The nearest ancestor that exists (the path itself included)."""
    path = path.absolute()
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110  (Path.exists raises where it may not look)
        path = path.parent
    return path
