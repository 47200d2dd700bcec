"""The cache folder: its location, its entries, and their removal."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from segmi.datasets.cache.store import DamagedError, Store
from segmi.records import LockedError, run_lock

VARIABLE: Final = "SEGMI_CACHE"
NONE: Final = "none"


def cache_folder(choice: str | Path | None = None) -> Path | None:
    """Return the folder of all entries; None if the cache is disabled.

    Args:
        choice: a folder, or ``none``; by default ``$SEGMI_CACHE``, which has the same form, or the user's cache folder.

    Example:
        >>> cache_folder("/scratch").as_posix(), cache_folder("none")
        ('/scratch/images', None)
    """
    chosen = choice if choice is not None else os.environ.get(VARIABLE) or _user_cache_folder()
    return None if str(chosen) == NONE else Path(chosen).expanduser().absolute() / "images"


def _user_cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "segmi" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "segmi"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segmi"


@dataclass(frozen=True)
class EntryInfo:
    """The facts about an entry, known without reading its images."""

    folder: Path  # folder of the entry
    dataset: str  # name of the dataset
    split: str  # name of the split
    columns: tuple[str, ...]  # ``images, masks`` or ``labels``
    resize: int | None  # as in `segmi.datasets.processing.Processing`, None without resizing
    resize_mode: str  # as in `segmi.datasets.processing.Processing`
    images: int  # number of images
    bytes: int  # size of all files
    built: str  # time of completion, in UTC
    damage: str | None = None  # description of the damage, None if the entry is valid

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return {**asdict(self), "folder": str(self.folder), "columns": list(self.columns)}


def entries(root: Path, *, verify: bool = False) -> list[EntryInfo]:
    """Return the entries of the cache, sorted by name; ``verify`` compares every byte with its checksums."""
    return [entry_info(folder, verify=verify) for slot in _slots(root) for folder in entry_folders(slot)]


def _slots(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*-*-*-*") if path.is_dir())


def entry_folders(slot: Path) -> list[Path]:
    """Return the folders of the finished entries of a slot."""
    return sorted(path for path in slot.iterdir() if path.is_dir() and not path.name.startswith("."))


def entry_info(folder: Path, *, verify: bool = False) -> EntryInfo:
    """Return the facts about the entry in a folder; ``verify`` compares every byte with its checksums."""
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    try:
        store = Store(folder)
    except (DamagedError, OSError) as error:
        dataset, split, *_ = folder.parent.name.rsplit("-", 3)
        return EntryInfo(folder, dataset, split, (), None, "", 0, size, "", str(error))
    damage = None
    if verify:
        try:
            store.verify()
        except DamagedError as error:
            damage = str(error)
    facts = {name: store.manifest[name] for name in ("dataset", "split", "resize", "resize_mode", "built")}
    return EntryInfo(folder, columns=store.columns, images=len(store), bytes=size, damage=damage, **facts)


def clear(root: Path, dataset: str | None = None) -> tuple[list[EntryInfo], list[str]]:
    """Remove the entries (of one dataset) and the unfinished files of killed processes.

    Returns:
        The removed entries, and a line for each slot that another process is building.

    Raises:
        EnvironmentProblem: write permission is missing.
    """
    removed: list[EntryInfo] = []
    busy: list[str] = []
    for slot in _slots(root):
        if dataset is not None and slot.name.rsplit("-", 3)[0] != dataset:
            continue
        infos = [entry_info(folder) for folder in entry_folders(slot)]
        try:
            with run_lock(slot):
                for path in filter(Path.is_dir, slot.iterdir()):
                    shutil.rmtree(path)
        except LockedError as error:
            busy.append(f"{slot} is being built by {error.holder}")
            continue
        with suppress(OSError):  # another process starts building in it
            slot.rmdir()
        removed += infos
    return removed, busy
