"""Batches of a training stream in which every random choice is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from segmi.datasets.order import WHOLE, Share, epoch_order, steps_per_epoch
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.datasets.unlabeled import Unlabeled
from segmi.datasets.workers import read_by_workers
from segmi.types import Batch


class _Keys(NamedTuple):
    """The (epoch, index) of the images of a batch, those with labels and those without."""

    labeled: list[tuple[int, int]]
    unlabeled: list[tuple[int, int]]


class _KeyedBatches(Sampler[_Keys]):
    """Batches of (epoch, index) from number ``first`` to ``last``; those before are skipped without being read."""

    def __init__(
        self,
        images: SegmentationDataset,
        batch_size: int,
        first: int,
        last: int,
        *,
        drop_last: bool,
        share: Share,
        unlabeled: Unlabeled | None,
    ) -> None:
        self.unlabeled = unlabeled
        self.count, self.seed, self.share = len(images), images.seed, share
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
                self.unlabeled.keys(number, self.share) if self.unlabeled else [],
            )


class _KeyedImages(Dataset[Batch]):
    """Hands all keys of a batch on at once, so that it is made in one place."""

    def __init__(self, images: SegmentationDataset, unlabeled: Unlabeled | None) -> None:
        self.images, self.unlabeled = images, unlabeled

    def __getitems__(self, keys: _Keys) -> Batch:
        batch = self.images.batch(keys.labeled)
        return self.unlabeled.join(batch, keys.unlabeled) if self.unlabeled else batch

    def __getitem__(self, key_: tuple[int, int]) -> Batch:
        return self.images.batch([key_])


def training_batches(
    images: SegmentationDataset,
    *,
    batch_size: int,
    first: int,
    last: int,
    drop_last: bool = True,
    workers: int = 0,
    share: Share = WHOLE,
    unlabeled: Unlabeled | None = None,
) -> Iterator[Batch]:
    """Batches number ``first`` to ``last`` of an endless, reshuffled training stream, or a process's share of each.

    The stream is the same whatever the number of workers or processes and wherever it is entered. Workers are started
    only where there is something left for them to do.

    Raises:
        DataError: if a worker dies or gives no batch within five minutes.
    """
    batches = _KeyedBatches(images, batch_size, first, last, drop_last=drop_last, share=share, unlabeled=unlabeled)
    made = _KeyedImages(images, unlabeled)
    if workers and (images.needs_workers or (unlabeled and unlabeled.images.needs_workers)):
        yield from read_by_workers(made, workers, batch_sampler=batches)
    else:
        yield from map(made.__getitems__, batches)
