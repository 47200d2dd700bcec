"""Batches of a training stream in which every random choice is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from segmi.arrays import Batch
from segmi.data.order import WHOLE, Share, epoch_order, steps_per_epoch
from segmi.data.pictures import Pictures
from segmi.data.unlabelled import Unlabelled
from segmi.data.workers import read_by_workers


class _Keys(NamedTuple):
    """The (epoch, index) of the pictures of a batch, those with labels and those without."""

    labelled: list[tuple[int, int]]
    unlabelled: list[tuple[int, int]]


class _KeyedBatches(Sampler[_Keys]):
    """Batches of (epoch, index) from number ``first`` to ``last``; those before are skipped without being read."""

    def __init__(
        self,
        pictures: Pictures,
        batch_size: int,
        first: int,
        last: int,
        *,
        drop_last: bool,
        share: Share,
        unlabelled: Unlabelled | None,
    ) -> None:
        self.unlabelled = unlabelled
        self.count, self.seed, self.share = len(pictures), pictures.seed, share
        self.batch_size, self.first, self.last, self.drop_last = batch_size, first, last, drop_last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[_Keys]:
        per_epoch = steps_per_epoch(self.count, self.batch_size, drop_last=self.drop_last)
        order, order_epoch = np.empty(0, dtype=np.int64), -1
        for number in range(self.first, self.last):
            epoch, position = divmod(number, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = epoch_order(self.count, self.seed, epoch), epoch
            chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield _Keys(
                [(epoch, int(index)) for index in chosen[self.share.of(len(chosen))]],
                self.unlabelled.keys(number, self.share) if self.unlabelled else [],
            )


class _KeyedPictures(Dataset[Batch]):
    """Hands all keys of a batch on at once, so that it is made in one place."""

    def __init__(self, pictures: Pictures, unlabelled: Unlabelled | None) -> None:
        self.pictures, self.unlabelled = pictures, unlabelled

    def __getitems__(self, keys: _Keys) -> Batch:
        batch = self.pictures.batch(keys.labelled)
        return self.unlabelled.join(batch, keys.unlabelled) if self.unlabelled else batch

    def __getitem__(self, key_: tuple[int, int]) -> Batch:
        return self.pictures.batch([key_])


def training_batches(
    pictures: Pictures,
    *,
    batch_size: int,
    first: int,
    last: int,
    drop_last: bool = True,
    workers: int = 0,
    share: Share = WHOLE,
    unlabelled: Unlabelled | None = None,
) -> Iterator[Batch]:
    """Batches number ``first`` to ``last`` of an endless, reshuffled training stream, or a process's share of each.

    The stream is the same whatever the number of workers or processes and wherever it is entered. Workers are started
    only where there is something left for them to do.

    Raises:
        DataError: if a worker dies or gives no batch within five minutes.
    """
    batches = _KeyedBatches(pictures, batch_size, first, last, drop_last=drop_last, share=share, unlabelled=unlabelled)
    made = _KeyedPictures(pictures, unlabelled)
    if workers and (pictures.needs_workers or (unlabelled and unlabelled.pictures.needs_workers)):
        yield from read_by_workers(made, workers, batch_sampler=batches)
    else:
        yield from map(made.__getitems__, batches)
