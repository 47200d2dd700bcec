"""Worker processes that read images, through PyTorch's loader."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from segmi.errors import RunError, SegmiError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

STALLED_SECONDS: Final = 300

SECONDS_BETWEEN_LOOKS: Final = 5
"""How soon a worker that has ended is missed; workers of a fork server send no signal when they do."""

Item = TypeVar("Item")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_by_workers(dataset: Dataset[Item], workers: int, **options: Any) -> Iterator[Item]:
    """What a loader with ``workers`` processes yields, uncollated.

    Args:
        dataset: picklable.
        workers: how many processes, at least 1.
        options: further ones of the loader.

    Raises:
        RunError: if a worker dies or gives nothing within five minutes.
        SegmiError: what a worker refused, as it would be refused here.
    """
    loader = DataLoader(
        _Telling(dataset),
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context="forkserver",  # fork hangs now and then beside threads
        timeout=SECONDS_BETWEEN_LOOKS,
        generator=torch.Generator().manual_seed(0),  # the loader draws from it for its workers; segmi never does
        pin_memory=False,
        worker_init_fn=_end_with_its_starter,
        **options,
    )
    try:
        for item in _patiently(iter(loader)):
            if isinstance(item, _Refusal):
                raise item.error
            yield item
    except (RuntimeError, OSError, EOFError) as error:
        if not _is_loss(error):
            raise
        raise RunError(
            f"a data loader worker was lost or stalled: {error}",
            "look for a full memory or an unreachable disk, then run again: the run continues from its checkpoint",
        ) from error


def _patiently(items: Iterator[Item]) -> Iterator[Item]:
    """The items, the next one waited for for five minutes; the loader itself gives up after every look."""
    waited = 0
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except RuntimeError as error:
            waited += SECONDS_BETWEEN_LOOKS
            if not str(error).startswith("DataLoader timed out") or waited >= STALLED_SECONDS:
                raise
        else:
            waited = 0
            yield item


def _is_loss(error: Exception) -> bool:
    """Whether the loader tells that a worker has gone, or what it had sent cannot be fetched from it any more."""
    if isinstance(error, RuntimeError):
        return "DataLoader" in str(error) and "Caught" not in str(error)
    return "Caught" not in str(error)


class _Refusal:
    """What a worker refused; raised there, PyTorch would make one text of it and its traceback."""

    def __init__(self, error: SegmiError) -> None:
        self.error = error


class _Telling(Dataset[Any]):
    """The items of a dataset, and what they are refused with."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        if hasattr(dataset, "__getitems__"):
            self.__getitems__ = self._items

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except SegmiError as error:
            return _Refusal(error)

    def _items(self, keys: Any) -> Any:
        try:
            return self.dataset.__getitems__(keys)
        except SegmiError as error:
            return _Refusal(error)


def _end_with_its_starter(worker: int) -> None:
    """A worker is the child of the fork server, so PyTorch's own watch over the parent misses a killed trainer."""
    starter = multiprocessing.parent_process()
    if starter is not None:
        threading.Thread(target=_follow, args=(starter,), daemon=True).start()


def _follow(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


def _as_it_is(item: Item) -> Item:
    return item
