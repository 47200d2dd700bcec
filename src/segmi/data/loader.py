"""Pictures of a split as batches, where every random choice is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors

from segmi.arrays import VOID, Batch, Labels, Views
from segmi.data.base import DataSet, Pixels, Sample
from segmi.data.cache import Store
from segmi.data.crops import as_tensor, overlap, take
from segmi.data.label_noise import noisy_labels
from segmi.data.processing import Pair, Processing
from segmi.data.workers import read_by_workers
from segmi.randomness import key


class _Memory:
    """Decoded things up to a number of bytes; what comes later is not kept."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self.items: dict[tuple[str, int], Any] = {}

    def keep(self, what: tuple[str, int], value: Any, size: int) -> None:
        if self.used + size <= self.budget:
            self.items[what] = value
            self.used += size


class Pictures:
    """The pictures of a split together with their processing.

    They come from a cache entry where there is one. Otherwise they are decoded, and resized pictures and labels are
    kept in memory up to ``memory_bytes``, because decoding costs a hundred times more than copying. The pixels are the
    same, bit for bit.

    Args:
        dataset: reads the samples.
        samples: which ones.
        processing: how they are prepared.
        seed: keys the random crops and augmentations.
        memory_bytes: memory for what is decoded, per process; 0 decodes every time.
        prepared: a cache entry with the samples at the working scale.
        labels: a cache entry with their labels at the original size; not needed where nothing is resized.
    """

    def __init__(
        self,
        dataset: DataSet,
        samples: Sequence[Sample],
        processing: Processing,
        *,
        seed: int = 0,
        memory_bytes: int = 2**30,
        prepared: Store | None = None,
        labels: Store | None = None,
    ) -> None:
        self.dataset = dataset
        self.samples = list(samples)
        self.processing = processing
        self.seed = seed
        self.label_noise = 0.0
        self._memory = _Memory(memory_bytes)
        names = [sample.name for sample in self.samples]
        self._prepared = _Rows(prepared, prepared.rows(names)) if prepared else None
        if labels is not None:
            self._labels: _Rows | None = _Rows(labels, labels.rows(names))
        else:
            self._labels = self._prepared if processing.resize is None else None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def prepared(self) -> Store | None:
        """The cache entry that they come from, None where they are decoded."""
        return self._prepared.store if self._prepared is not None else None

    @property
    def needs_workers(self) -> bool:
        """Whether there is work that further processes could share: decoding, or pixels computed at random."""
        processing = self.processing
        return self._prepared is None or processing.scale != (1.0, 1.0) or processing.colour > 0

    def resized(self, index: int) -> Pair:
        """Picture ``index`` with its labels at the working scale, whole."""
        if self._prepared is not None:
            image, mask = self._prepared.arrays("images", "masks", index=index)
            return Pair(tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask)))
        pair: Pair | None = self._memory.items.get(("resized", index))
        if pair is None:
            image, mask = self.dataset.read(self.samples[index])
            pair = self.processing.resized(image, mask)
            self._memory.keep(("resized", index), pair, pair.image.nbytes + pair.mask.nbytes)
        return pair

    def labels(self, index: int) -> Labels:
        """The labels of picture ``index`` at their original size: H×W uint8."""
        if self._labels is not None:
            (mask,) = self._labels.arrays(self._labels.store.columns[-1], index=index)
            return as_tensor(mask)
        labels: Tensor | None = self._memory.items.get(("labels", index))
        if labels is None:
            labels = as_tensor(self.dataset.read_mask(self.samples[index]))
            self._memory.keep(("labels", index), labels, labels.nbytes)
        return labels

    def class_counts(self) -> Tensor:
        """How many pixels of each class the labels have at the working scale, whole: C int64."""
        counts = np.zeros(256, dtype=np.int64)
        for index in range(len(self)):
            counts += np.bincount(self._arrays(index)[1].ravel(), minlength=256)
        return torch.from_numpy(counts[: len(self.dataset.info.classes)])

    def reseeded(self, seed: int) -> Pictures:
        """The same pictures with other random choices; what is decoded already is shared."""
        other = object.__new__(Pictures)  # copy.copy would drop the memory, as pickling should
        other.__dict__.update(self.__dict__, seed=seed)
        return other

    def with_label_noise(self, share: float) -> Pictures:
        """The same pictures, a share of whose labels is another class when they are trained on."""
        other = self.reseeded(self.seed)
        other.label_noise = share
        return other

    def crop(self, epoch: int, index: int) -> Pair:
        """The random crop of picture ``index`` in ``epoch``, augmented."""
        pair = self.resized(index)
        if self.label_noise:
            pair = pair._replace(mask=tv_tensors.Mask(as_tensor(self._noisy(pair.mask.numpy(), index))))
        return self.processing.augmented(pair, key(self.seed, "augment", epoch, index))

    def crops(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The random crops for (epoch, index) ``keys``: N×3×H×W and N×H×W uint8, `crop` by `crop` the same pixels."""
        processing = self.processing
        images, masks, seeds, drawn = [], [], [], []
        for epoch, index in keys:
            image, mask = self._arrays(index)
            seed = key(self.seed, "augment", epoch, index)
            images.append(image)
            masks.append(mask)
            seeds.append(seed)
            drawn.append(processing.window(mask.shape, seed))
        crops, labels = take(images, masks, drawn, processing.crop)
        if processing.colour:
            crops = torch.stack([processing.recoloured(one, seed) for one, seed in zip(crops, seeds, strict=True)])
        return crops, labels

    def covered(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """Where the random crops for (epoch, index) ``keys`` show a picture, and do not reach beyond it: N×H×W bool."""
        side = self.processing.crop
        seen = torch.zeros(len(keys), side, side, dtype=torch.bool)
        for number, (epoch, index) in enumerate(keys):
            window = self.processing.window(self._arrays(index)[1].shape, key(self.seed, "augment", epoch, index))
            (rows, columns), _ = overlap(window, side)
            mirrored = slice(side - columns.stop, side - columns.start)
            seen[number, rows, mirrored if window.flipped else columns] = True
        return seen

    def batch(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """The crops for (epoch, index) ``keys`` as one batch: float images in [0, 1], int64 labels."""
        images, labels = self.crops(keys)
        samples = [self.samples[index] for _, index in keys]
        return Batch(
            images=images.float().div_(255),
            labels=labels.long(),
            names=tuple(sample.name for sample in samples),
            groups=tuple(sample.group for sample in samples),
        )

    def _arrays(self, index: int) -> Sequence[Pixels]:
        """Picture and labels at the working scale, from the cache without a copy; labels with their noise."""
        if self._prepared is not None:
            image, mask = self._prepared.arrays("images", "masks", index=index)
        else:
            pair = self.resized(index)
            image, mask = pair.image.numpy(), pair.mask.numpy()
        return image, self._noisy(mask, index) if self.label_noise else mask

    def _noisy(self, mask: Pixels, index: int) -> Pixels:
        classes = len(self.dataset.info.classes)
        return noisy_labels(mask, self.label_noise, classes=classes, seed=key(self.seed, "label noise", index))

    def __getstate__(self) -> dict[str, object]:
        # Worker processes get the list of files, not a copy of the decoded pictures.
        return {**self.__dict__, "_memory": _Memory(self._memory.budget)}


class _Rows(NamedTuple):
    """A cache entry, and the row of each sample in it."""

    store: Store
    rows: list[int]

    def arrays(self, *columns: str, index: int) -> list[Pixels]:
        return [self.store.array(column, self.rows[index]) for column in columns]


def steps_per_epoch(pictures: int, batch_size: int, *, drop_last: bool) -> int:
    """The number of batches in one pass over ``pictures``."""
    return pictures // batch_size if drop_last else -(-pictures // batch_size)


def epoch_order(pictures: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which pictures are drawn in ``epoch``: a permutation keyed by (seed, epoch)."""
    return np.random.default_rng(key(seed, "order", epoch)).permutation(pictures)


@dataclass(frozen=True)
class Share:
    """Which part of every batch is meant: that of process ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    def of(self, total: int) -> slice:
        """A run of ``total`` things; those of all processes are as even as can be, and in order make all of them.

        Example:
            >>> [Share(rank, 3).of(8) for rank in range(3)]
            [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)


WHOLE = Share()
"""The share of a process that trains alone."""


@dataclass(frozen=True)
class Unlabelled:
    """Pictures whose labels are not looked at, and how they join the batches.

    Their stream is one of its own, endless and reshuffled like that of the pictures with labels, and as much a function
    of the number of the batch.

    Args:
        pictures: the pictures.
        batch_size: how many join each batch.
        two_views: whether each comes twice, the second time mirrored or not and in other colours.
    """

    pictures: Pictures
    batch_size: int
    two_views: bool = False

    def keys(self, number: int, share: Share) -> list[tuple[int, int]]:
        """The (epoch, index) of those that join batch ``number``, or of a process's share of them."""
        count = len(self.pictures)
        places = range(number * self.batch_size, (number + 1) * self.batch_size)[share.of(self.batch_size)]
        orders = {epoch: epoch_order(count, self.pictures.seed, epoch) for epoch in {p // count for p in places}}
        return [(place // count, int(orders[place // count][place % count])) for place in places]

    def join(self, batch: Batch, keys: Sequence[tuple[int, int]]) -> Batch:
        """A batch with these pictures behind it."""
        pictures = self.pictures
        images, masks = pictures.crops(keys)
        seen = pictures.covered(keys)
        views, flipped = [images], None
        if self.two_views:
            seeds = [key(pictures.seed, "second view", epoch, index) for epoch, index in keys]
            seconds, mirrored = zip(
                *(pictures.processing.second_view(one, seed) for one, seed in zip(images, seeds, strict=True)),
                strict=True,
            )
            views.append(torch.stack(seconds))
            flipped = torch.tensor(mirrored)
        samples = [pictures.samples[index] for _, index in keys]
        labels = torch.full((len(keys) * len(views), *masks.shape[1:]), VOID)
        return Batch(
            images=torch.cat([batch.images, torch.cat(views).float().div_(255)]),
            labels=torch.cat([batch.labels, labels]),
            names=(*batch.names, *(sample.name for sample in samples)),
            groups=(*batch.groups, *(sample.group for sample in samples)),
            views=Views(seen, flipped),
        )


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
