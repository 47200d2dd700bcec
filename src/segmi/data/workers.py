"""Worker processes that read pictures, through PyTorch's loader."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from segmi.errors import DataError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

STALLED_SECONDS: Final = 300

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
        DataError: if a worker dies or gives nothing within five minutes.
    """
    loader = DataLoader(
        dataset,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context="forkserver",  # fork hangs now and then beside threads
        timeout=STALLED_SECONDS,
        generator=torch.Generator().manual_seed(0),  # the loader draws from it for its workers; segmi never does
        pin_memory=False,
        worker_init_fn=_end_with_its_starter,
        **options,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader" not in str(error):
            raise
        raise DataError(
            f"a data loader worker was lost or stalled: {error}",
            "look for a full memory or an unreachable disk, then run again: the run continues from its checkpoint",
        ) from error


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
