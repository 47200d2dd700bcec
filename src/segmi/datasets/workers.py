"""Reading items in worker processes, through PyTorch's `DataLoader`."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from segmi.errors import RunError, SegmiError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

STALLED_SECONDS: Final = 300  # how long the next item is waited for
POLL_SECONDS: Final = 5
"""How often the loader checks for exited workers; the workers of a fork server send no signal when they exit."""

Item = TypeVar("Item")


def processors() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_by_workers(dataset: Dataset[Item], workers: int, **options: Any) -> Iterator[Item]:
    """Yield the items of a `DataLoader` with ``workers`` ≥ 1 processes, uncollated; ``options`` go to the loader.

    Raises:
        RunError: a worker dies or returns nothing within five minutes.
        SegmiError: the error of an item, raised here as the worker raised it.
    """
    loader = DataLoader(
        _WithErrors(dataset),
        collate_fn=_identity,
        num_workers=workers,
        multiprocessing_context=_start_method(),
        timeout=POLL_SECONDS,
        generator=torch.Generator().manual_seed(0),  # the loader seeds its workers from it; segmi draws nothing there
        pin_memory=False,
        worker_init_fn=_exit_with_parent,
        **options,
    )
    try:
        for item in _with_patience(iter(loader)):
            if isinstance(item, _ItemError):
                raise item.error
            yield item
    except (RuntimeError, OSError, EOFError) as error:
        if not _is_crash(error):
            raise
        raise RunError(
            f"a data loader worker crashed or stalled: {error}",
            "free memory or restore the disk, then run again to continue from the checkpoint",
        ) from error


def _start_method() -> str:
    # fork can deadlock in a process with threads; Windows can only spawn
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _with_patience(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, waiting five minutes for each; the loader itself times out after every poll."""
    waited = 0
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except RuntimeError as error:
            waited += POLL_SECONDS
            if not str(error).startswith("DataLoader timed out") or waited >= STALLED_SECONDS:
                raise
        else:
            waited = 0
            yield item


def _is_crash(error: Exception) -> bool:
    """Return whether the loader reports an exited worker, or data of one that can no longer be fetched."""
    if isinstance(error, RuntimeError):
        return "DataLoader" in str(error) and "Caught" not in str(error)
    return "Caught" not in str(error)


class _ItemError(NamedTuple):
    """The error of an item; raised in the worker, PyTorch would turn it into one text with its traceback."""

    error: SegmiError


class _WithErrors(Dataset[Any]):
    """The items of a dataset, or their errors."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        if hasattr(dataset, "__getitems__"):  # the loader then fetches whole batches
            self.__getitems__ = self._batch

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except SegmiError as error:
            return _ItemError(error)

    def _batch(self, keys: Any) -> Any:
        try:
            return self.dataset.__getitems__(keys)
        except SegmiError as error:
            return _ItemError(error)


def _exit_with_parent(worker: int) -> None:
    """Exit when the trainer is killed: PyTorch watches the parent, which for this worker is the fork server."""
    trainer = multiprocessing.parent_process()
    if trainer is not None:
        threading.Thread(target=_exit_after, args=(trainer,), daemon=True).start()


def _exit_after(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


def _identity(item: Item) -> Item:
    return item
