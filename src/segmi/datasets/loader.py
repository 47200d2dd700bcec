"""Training batches; every random choice is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from segmi.datasets.crops import to_unit
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.datasets.workers import read_by_workers
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch, Views


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Return the number of batches in one pass over ``images``."""
    return images // batch_size if drop_last else -(-images // batch_size)


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of the image indices in ``epoch``, a function of ``seed`` and ``epoch``."""
    return np.random.default_rng(key(seed, "order", epoch)).permutation(images)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that process ``rank`` of ``count`` reads."""

    rank: int = 0
    count: int = 1

    def slice(self, total: int) -> slice:
        """Return this process's slice of ``total`` items; the slices differ in length by at most one.

        Example:
            >>> [Shard(rank, 3).slice(8) for rank in range(3)]
            [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)


WHOLE = Shard()  # the shard of a process that trains alone


@dataclass(frozen=True)
class Unlabeled:
    """Images without labels that are appended to every batch.

    They form a second endless stream, reshuffled in every epoch, and a function of the batch number.
    """

    images: SegmentationDataset  # their labels are not read
    batch_size: int  # number of images appended to each batch
    two_views: bool = False  # whether each image appears twice, the second time recolored and mirrored at random

    def keys(self, number: int, shard: Shard) -> list[tuple[int, int]]:
        """Return the (epoch, index) keys that a process appends to batch ``number``."""
        count = len(self.images)
        positions = range(number * self.batch_size, (number + 1) * self.batch_size)[shard.slice(self.batch_size)]
        # A batch can span the end of one epoch and the start of the next.
        orders = {epoch: epoch_order(count, self.images.seed, epoch) for epoch in {p // count for p in positions}}
        return [(p // count, int(orders[p // count][p % count])) for p in positions]

    def join(self, batch: Batch, keys: Sequence[tuple[int, int]]) -> Batch:
        """Return ``batch`` with the images of these keys appended; all their labels are ``IGNORE_INDEX``."""
        images = self.images
        crops, masks = images.crops(keys)
        views, flipped = [crops], None
        if self.two_views:
            seeds = [key(images.seed, "second view", epoch, index) for epoch, index in keys]
            second = [images.processing.second_view(crop, seed) for crop, seed in zip(crops, seeds, strict=True)]
            views.append(torch.stack([crop for crop, _ in second]))
            flipped = torch.tensor([mirrored for _, mirrored in second])
        samples = [images.samples[index] for _, index in keys]
        labels = torch.full((len(keys) * len(views), *masks.shape[1:]), IGNORE_INDEX)
        return Batch(
            images=torch.cat([batch.images, to_unit(torch.cat(views))]),
            labels=torch.cat([batch.labels, labels]),
            names=(*batch.names, *(sample.name for sample in samples)),
            groups=(*batch.groups, *(sample.group for sample in samples)),
            views=Views(images.covered(keys), flipped),
        )


class _BatchKeys(NamedTuple):
    """The (epoch, index) keys of a batch."""

    labeled: list[tuple[int, int]]
    unlabeled: list[tuple[int, int]]


@dataclass(eq=False)
class _BatchSampler(Sampler[_BatchKeys]):
    """Keys of batches ``first`` to ``last``; earlier batches are skipped without being read."""

    images: SegmentationDataset
    batch_size: int
    first: int
    last: int
    drop_last: bool
    shard: Shard
    unlabeled: Unlabeled | None

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[_BatchKeys]:
        count, seed = len(self.images), self.images.seed
        per_epoch = steps_per_epoch(count, self.batch_size, drop_last=self.drop_last)
        order, order_epoch = np.empty(0, dtype=np.int64), -1
        for number in range(self.first, self.last):
            epoch, position = divmod(number, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = epoch_order(count, seed, epoch), epoch
            chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield _BatchKeys(
                [(epoch, int(index)) for index in chosen[self.shard.slice(len(chosen))]],
                self.unlabeled.keys(number, self.shard) if self.unlabeled else [],
            )


@dataclass(eq=False)
class _BatchDataset(Dataset[Batch]):
    """Builds a whole batch from its keys in one call."""

    images: SegmentationDataset
    unlabeled: Unlabeled | None

    def __getitems__(self, keys: _BatchKeys) -> Batch:
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
    shard: Shard = WHOLE,
    unlabeled: Unlabeled | None = None,
) -> Iterator[Batch]:
    """Yield batches ``first`` to ``last`` of an endless training stream that is reshuffled in every epoch.

    The stream does not depend on the number of workers or processes, nor on where it is entered.

    Args:
        images: the labeled images.
        batch_size: images per batch, over all processes.
        first: number of the first batch.
        last: number of the batch after the last one.
        drop_last: whether an incomplete batch at the end of an epoch is left out.
        workers: worker processes; none are started if every image is in the cache and no pixel is changed at random.
        shard: the part of every batch that is read.
        unlabeled: images without labels that are appended to every batch.

    Raises:
        RunError: a worker dies or returns no batch within five minutes.
    """
    sampler = _BatchSampler(images, batch_size, first, last, drop_last, shard, unlabeled)
    batches = _BatchDataset(images, unlabeled)
    if workers and (images.needs_workers or (unlabeled and unlabeled.images.needs_workers)):
        yield from read_by_workers(batches, workers, batch_sampler=sampler)
    else:
        yield from map(batches.__getitems__, sampler)
