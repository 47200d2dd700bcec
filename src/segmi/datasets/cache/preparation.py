"""Opening or building a cache entry: one process decodes and resizes its images under a lock, the others wait."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.cache.cache_folder import entry_folders
from segmi.datasets.cache.identity import IMAGES, LABELS, EntryKey
from segmi.datasets.cache.store import DamagedError, Store, StoreWriter
from segmi.datasets.decode import printable
from segmi.datasets.image_format import ImageArray
from segmi.datasets.reader import DatasetReader, Sample, combined_error
from segmi.errors import EnvironmentProblem, SegmiError, UsageError, counted
from segmi.records import atomic_folder, run_lock, sweep

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]  # called with the number of prepared images and their total
TRIAL_SECONDS: Final = 1.0  # how long one process decodes before the remaining time is estimated
WORTH_SECONDS: Final = 20.0
"""Several processes are started if one would need longer than this; each imports PyTorch first."""

_ELSEWHERE: Final = "choose another folder with --cache DIR or SEGMI_CACHE"


def prepare(
    root: Path,
    dataset: DatasetReader,
    samples: Sequence[Sample],
    key: EntryKey,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Return the entry of ``key``; build it if it is missing, outdated or damaged.

    Args:
        root: the folder of all entries.
        dataset: reads the samples.
        samples: the samples of the entry, in order.
        key: the identity of the entry.
        jobs: the number of processes that decode; None: one per CPU core if that is faster.
        progress: called after each image while the entry is built.

    Raises:
        DataError: images cannot be read; all of them are named.
        EnvironmentProblem: disk space or write permission is missing; existing entries are intact.
        UsageError: the cache is inside the dataset's folder.
    """
    store = find_entry(root, key)
    if store is not None:
        return store
    if dataset.root is not None and root.resolve().is_relative_to(dataset.root.resolve()):
        raise UsageError(
            f"expected a cache outside the dataset's folder {printable(dataset.root)}, got {printable(root)}",
            f"{_ELSEWHERE}: datasets are never written to",
        )
    slot = (root / key.folder).parent
    try:
        slot.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the cache {printable(slot)} is not writable: {error.strerror}", f"{_ELSEWHERE}, or pass --cache none"
        ) from error

    def on_wait(holder: str) -> None:
        log.warning("waiting for %s, which prepares %s", holder, printable(slot))

    with run_lock(slot, patience=math.inf, on_wait=on_wait):
        sweep(slot)  # unfinished files of killed processes
        store = find_entry(root, key)  # another process can have built it in the meantime
        if store is None:
            outdated = [path for path in entry_folders(slot) if path.name != key.folder.name]
            if outdated:
                log.warning("the files of %s, %s, have changed and are prepared again", dataset.info.name, key.split)
            samples_ = Decoder(dataset, samples, key)
            _check_disk_space(root, [samples_])
            _build(root / key.folder, samples_, jobs, progress)
            for path in outdated:
                shutil.rmtree(path, ignore_errors=True)
            store = Store(root / key.folder, key.digest)
    return store


def find_entry(root: Path, key: EntryKey) -> Store | None:
    """Return an existing valid entry, otherwise None; warns about a damaged one."""
    folder = root / key.folder
    try:
        return Store(folder, key.digest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedError, OSError) as error:
        log.warning("the cache entry %s is damaged (%s) and is built again", printable(folder), error)
        return None


def check_disk_space(root: Path, dataset: DatasetReader, wanted: Sequence[tuple[Sequence[Sample], EntryKey]]) -> None:
    """Check that the disk has room for all of these entries together, except those that exist.

    Raises:
        EnvironmentProblem: disk space is missing.
    """
    missing = [Decoder(dataset, samples, key) for samples, key in wanted if find_entry(root, key) is None]
    if missing:
        _check_disk_space(root, missing)


def _check_disk_space(root: Path, decoders: Sequence[Decoder]) -> None:
    needed = sum(decoder.expected_bytes() for decoder in decoders)
    free = shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free
    if needed > free:
        images = sum(len(decoder) for decoder in decoders if decoder.key.columns == IMAGES)
        splits = ", ".join(dict.fromkeys(decoder.key.split for decoder in decoders))
        content = counted(images, "prepared image") if images else f"the labels of {counted(len(decoders[0]), 'image')}"
        raise EnvironmentProblem(
            f"{printable(root)}: expected {format_bytes(needed)} of disk space for {content} of "
            f"{decoders[0].dataset.info.name}, {splits}, got {format_bytes(free)}",
            f"free space, {_ELSEWHERE}, or pass --cache none",
        )


class Prepared(NamedTuple):
    """A processed sample: an array per column, and the label counts of its mask at the original size."""

    arrays: tuple[ImageArray, ...]
    counts: NDArray[np.int64]


class Decoder:
    """The samples of an entry, decoded on access; picklable. Args: see `prepare`."""

    def __init__(self, dataset: DatasetReader, samples: Sequence[Sample], key: EntryKey) -> None:
        self.dataset, self.samples, self.key = dataset, list(samples), key

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Prepared | SegmiError:
        """Return the sample, or the error of reading it: errors are collected, to name all bad files together."""
        try:
            return self._prepared(self.samples[index])
        except SegmiError as error:
            return error

    def _prepared(self, sample: Sample) -> Prepared:
        from segmi.datasets.processing import Processing  # imports PyTorch

        if self.key.columns == LABELS:
            mask = self.dataset.read_mask(sample)
            arrays: tuple[ImageArray, ...] = (mask,)
        else:
            image, mask = self.dataset.read(sample)
            processing = Processing(resize=self.key.resize, resize_mode=self.key.resize_mode, crop=1)
            pair = processing.resized(image, mask)
            arrays = (pair.image.numpy(), pair.mask.numpy())
        return Prepared(arrays, np.bincount(mask.ravel(), minlength=256))

    def all(self, jobs: int | None = None) -> Iterator[Prepared | SegmiError]:
        """Yield all samples in order.

        Args:
            jobs: the number of processes; None starts one per CPU core if enough work remains after a second.
        """
        begin, count = time.monotonic(), len(self)
        for index in range(count):
            elapsed = time.monotonic() - begin
            slow = index and elapsed > TRIAL_SECONDS and elapsed / index * (count - index) > WORTH_SECONDS
            if (jobs is None and slow) or (jobs is not None and jobs > 1):
                yield from self._by_processes(index, jobs)
                return
            yield self[index]

    def _by_processes(self, first: int, jobs: int | None) -> Iterator[Prepared | SegmiError]:
        from segmi.datasets.workers import processors, read_by_workers

        workers = min(jobs or processors(), len(self) - first)
        # The loader is typed for torch's Dataset, but takes anything with a length and indices.
        return read_by_workers(self, workers, sampler=range(first, len(self)), batch_size=None)  # type: ignore[arg-type]

    def expected_bytes(self) -> int:
        """Return the size of the entry in bytes: exact if all arrays have one size, otherwise from a few samples."""
        if self.key.resize is not None and self.key.resize_mode == "exact":
            return len(self) * (1 + self.dataset.image_format.pixel_bytes) * self.key.resize**2
        indices = np.linspace(0, len(self) - 1, min(5, len(self))).astype(int)
        readable = [one for index in indices if isinstance(one := self[int(index)], Prepared)]
        if not readable:
            return 0  # building the entry reports the unreadable files
        return round(len(self) * sum(array.nbytes for one in readable for array in one.arrays) / len(readable))


def _build(folder: Path, samples: Decoder, jobs: int | None, progress: Progress | None) -> None:
    failures: list[SegmiError] = []
    with atomic_folder(folder, replace=True) as temporary, StoreWriter(temporary, samples.key) as writer:
        for number, outcome in enumerate(samples.all(jobs), 1):
            if isinstance(outcome, Prepared):
                writer.add(*outcome)
            else:
                failures.append(outcome)
            if progress is not None:
                progress(number, len(samples))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            name = samples.dataset.info.name
            raise combined_error(f"{len(failures)} of {len(samples)} images of {name} cannot be read", failures)
        writer.finish()


def format_bytes(count: int) -> str:
    """Format a number of bytes.

    Example:
        >>> format_bytes(512), format_bytes(166_400_000), format_bytes(1_304_000_000)
        ('512 B', '166 MB', '1.3 GB')
    """
    for unit, factor, digits in (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if count >= factor:
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count} B"
