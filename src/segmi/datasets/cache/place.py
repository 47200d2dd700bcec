"""Where the cache is, what lies in it, and its removal."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from segmi.datasets.cache.store import DamagedError, Store
from segmi.errors import EnvironmentProblem
from segmi.records import lock_holder, run_lock

VARIABLE: Final = "SEGMI_CACHE"
NONE: Final = "none"


def cache_folder(choice: str | Path | None = None) -> Path | None:
    """The folder of prepared images; None where nothing is to be cached.

    Args:
        choice: a folder, or ``none``; None: the environment variable ``SEGMI_CACHE``, which may say the same, and
            without it the user's cache folder.

    Example:
        >>> cache_folder("/scratch").as_posix(), cache_folder("none")
        ('/scratch/images', None)
    """
    said = choice if choice is not None else os.environ.get(VARIABLE) or _of_the_user()
    return None if str(said) == NONE else Path(said).expanduser().absolute() / "images"


def _of_the_user() -> Path:
    """The folder in which programs of this system keep what they can make again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "segmi" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "segmi"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segmi"


@dataclass(frozen=True)
class Entry:
    """What is known about an entry without reading its images.

    Args:
        folder: of the entry.
        dataset: the dataset's name.
        split: the split's name.
        columns: what it holds: ``images, masks`` or ``labels``.
        resize: the working scale, None where nothing was resized.
        resize_mode: likewise.
        images: how many.
        bytes: of all its files.
        built: when, in UTC.
        damage: what is wrong with it, None if nothing is.
    """

    folder: Path
    dataset: str
    split: str
    columns: tuple[str, ...]
    resize: int | None
    resize_mode: str
    images: int
    bytes: int
    built: str
    damage: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        return {**asdict(self), "folder": str(self.folder), "columns": list(self.columns)}


def entries(root: Path, *, verify: bool = False) -> list[Entry]:
    """What lies in the cache, by name.

    Args:
        root: the folder of all entries; one that is not there holds none.
        verify: compare every byte with the checksums taken when it was written.
    """
    return [entry for slot in _slots(root) for entry in _entries_of(slot, verify)]


def _slots(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*-*-*-*") if path.is_dir())


def _entries_of(slot: Path, verify: bool = False) -> list[Entry]:
    folders = sorted(path for path in slot.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [entry_of(folder, verify=verify) for folder in folders]


def entry_of(folder: Path, *, verify: bool = False) -> Entry:
    """What is known about the entry in a folder."""
    there = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    try:
        store = Store(folder)
    except (DamagedError, OSError) as error:
        dataset, split, *_ = folder.parent.name.rsplit("-", 3)
        return Entry(folder, dataset, split, (), None, "", 0, there, "", str(error))
    told = store.manifest
    return Entry(
        folder, told["dataset"], told["split"], store.columns, told["resize"], told["resize_mode"], len(store), there,
        told["built"], _damage(store) if verify else None,
    )  # fmt: skip


def _damage(store: Store) -> str | None:
    try:
        store.verify()
    except DamagedError as error:
        return str(error)
    return None


def clear(root: Path, dataset: str | None = None) -> tuple[list[Entry], list[str]]:
    """Remove entries, and what killed builders left.

    Args:
        root: the folder of all entries.
        dataset: only those of this dataset.

    Returns: the entries that were removed, and a line for each slot that was not, because another process builds in it.

    Raises:
        EnvironmentProblem: entries may not be removed.
    """
    removed: list[Entry] = []
    left: list[str] = []
    for slot in _slots(root):
        if dataset is not None and slot.name.rsplit("-", 3)[0] != dataset:
            continue
        found = _entries_of(slot)
        try:
            with run_lock(slot):
                for path in slot.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
        except EnvironmentProblem as problem:
            if "in use" not in problem.message:
                raise
            holder = lock_holder(slot) or {}
            left.append(f"{slot} is being built by process {holder.get('pid', '?')} on {holder.get('host', '?')}")
            continue
        with suppress(OSError):  # another process begins to build in it
            slot.rmdir()
        removed += found
    return removed, left
