"""An entry found or built: one process builds it under a lock, whole or not at all, and the others wait for it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from segmi.datasets.cache.content import IMAGES, Content
from segmi.datasets.cache.decoding import Decoding, Prepared, decoded, expected_bytes
from segmi.datasets.cache.store import DamagedError, Store, StoreWriter
from segmi.datasets.decode import printable
from segmi.datasets.reader import DatasetReader, Sample
from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError, together
from segmi.records import atomic_folder, lock_holder, run_lock, sweep

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many images are prepared and how many there are."""

SECONDS_BETWEEN_LOOKS: Final = 0.2


def found(root: Path, content: Content) -> Store | None:
    """The entry if it is there and sound, else None; what is damaged is told."""
    folder = root / content.folder
    try:
        return Store(folder, content.digest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedError, OSError) as error:
        log.warning("the cache entry %s is damaged (%s) and is built anew", printable(folder), error)
        return None


def prepared(
    root: Path,
    dataset: DatasetReader,
    samples: Sequence[Sample],
    content: Content,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """The entry of a content, built if it is missing, out of date or damaged.

    Args:
        root: the folder of all entries.
        dataset: reads the samples.
        samples: those of the content.
        content: what the entry holds.
        jobs: how many processes decode; None: as many as there are processors, where that gains.
        progress: hears of every image while it is built.

    Raises:
        DataError: images that cannot be read; all are named.
        EnvironmentProblem: no room, or the folder may not be written; what was there before is intact.
        UsageError: the folder lies inside the dataset's.
    """
    store = found(root, content)
    if store is not None:
        return store
    _refuse_inside(root, dataset)
    slot = (root / content.folder).parent
    _make(slot)
    with _lock_when_free(slot):
        sweep(slot)  # what a killed builder left
        store = found(root, content)  # another process may have built it while this one waited
        if store is None:
            outdated = [path for path in _entries_of(slot) if path.name != content.folder.name]
            if outdated:
                log.warning(
                    "the files of %s, %s, have changed: they are prepared anew", dataset.info.name, content.split
                )
            decoding = Decoding(dataset, samples, content)
            _refuse_without_room(root, [decoding])
            _build(root / content.folder, decoding, jobs, progress)
            for path in outdated:
                shutil.rmtree(path, ignore_errors=True)
            store = Store(root / content.folder, content.digest)
    return store


def check_room(root: Path, dataset: DatasetReader, wanted: Sequence[tuple[Sequence[Sample], Content]]) -> None:
    """Refuse a disk without room for all of these entries together, as far as they are still to be built.

    Args:
        root: the folder of all entries.
        dataset: reads the samples.
        wanted: the samples of each entry, and its content.

    Raises:
        EnvironmentProblem: no room.
    """
    missing = [Decoding(dataset, samples, content) for samples, content in wanted if found(root, content) is None]
    if missing:
        _refuse_without_room(root, missing)


def _build(folder: Path, decoding: Decoding, jobs: int | None, progress: Progress | None) -> None:
    failures: list[SegmiError] = []
    with atomic_folder(folder, replace=True) as temporary, StoreWriter(temporary, decoding.content) as writer:
        for number, outcome in enumerate(decoded(decoding, jobs), 1):
            if isinstance(outcome, Prepared):
                writer.add(*outcome)
            else:
                failures.append(outcome)
            if progress is not None:
                progress(number, len(decoding))
        if failures:
            raise _together(failures, decoding)
        writer.finish()


def _together(failures: list[SegmiError], decoding: Decoding) -> SegmiError:
    if len(failures) == 1:
        return failures[0]
    what = f"{len(failures)} of {len(decoding)} images of {decoding.dataset.info.name} cannot be read"
    remedies = dict.fromkeys(error.remedy for error in failures if error.remedy)
    return DataError(f"{what}:\n{together([error.message for error in failures])}", "; ".join(remedies))


@contextmanager
def _lock_when_free(folder: Path) -> Iterator[None]:
    """The lock of a folder, waited for as long as another process that runs has it."""
    told = False
    while True:
        lock = run_lock(folder)
        try:
            lock.__enter__()
            break
        except EnvironmentProblem as problem:
            if "in use" not in problem.message:
                raise
        if not told:
            holder = lock_holder(folder) or {}
            log.warning(
                "waiting for process %s on %s, which prepares %s",
                holder.get("pid", "?"), holder.get("host", "?"), printable(folder),
            )  # fmt: skip
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _refuse_without_room(root: Path, decodings: Sequence[Decoding]) -> None:
    needed = sum(expected_bytes(decoding) for decoding in decodings)
    there = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        images = sum(len(decoding) for decoding in decodings if decoding.content.columns == IMAGES)
        splits = ", ".join(dict.fromkeys(decoding.content.split for decoding in decodings))
        what = f"{images} prepared images" if images else f"the labels of {len(decodings[0])} images"
        raise EnvironmentProblem(
            f"no room in {printable(root)} for {what} of {decodings[0].dataset.info.name}, {splits}: about {size(needed)} "
            f"are needed, {size(free)} are free",
            "free space, name a folder on another disk with --cache DIR or SEGMI_CACHE, or say --cache none",
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the cache cannot be written to {printable(folder)}: {error.strerror}",
            "name a folder that can be written with --cache DIR or SEGMI_CACHE, or say --cache none",
        ) from error


def _refuse_inside(root: Path, dataset: DatasetReader) -> None:
    home = getattr(dataset, "root", None)
    if isinstance(home, Path) and root.resolve().is_relative_to(home.resolve()):
        raise UsageError(
            f"the cache {printable(root)} lies in the folder of the dataset, {printable(home)}",
            "name a folder outside with --cache DIR or SEGMI_CACHE: datasets are never written to",
        )


def _entries_of(slot: Path) -> list[Path]:
    return sorted(path for path in slot.iterdir() if path.is_dir() and not path.name.startswith("."))


def size(count: int) -> str:
    """Bytes as people say them.

    Example:
        >>> size(512), size(166_400_000), size(1_304_000_000)
        ('512 B', '166 MB', '1.3 GB')
    """
    for unit, factor, digits in (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if count >= factor:
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count} B"
