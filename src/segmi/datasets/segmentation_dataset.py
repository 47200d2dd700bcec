"""The images of a split with their processing: whole, or as batches of random crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from segmi.datasets.cache import Store
from segmi.datasets.crops import as_tensor, overlap, take
from segmi.datasets.label_noise import noisy_labels
from segmi.datasets.processing import Pair, Processing
from segmi.datasets.reader import DatasetReader, Pixels, Sample
from segmi.randomness import Keys, key
from segmi.types import Batch, Labels


class _Memory:
    """Decoded things up to a number of bytes; what comes later is not kept."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self.items: dict[tuple[str, int], Any] = {}

    def keep(self, what: tuple[str, int], value: Any, size: int) -> None:
        if self.used + size <= self.budget:
            self.items[what] = value
            self.used += size


class SegmentationDataset:
    """The images of a split together with their processing.

    They come from a cache entry where there is one. Otherwise they are decoded, and resized images and labels are
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
        dataset: DatasetReader,
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
        return self._prepared is None or processing.scale != (1.0, 1.0) or processing.color > 0

    def resized(self, index: int) -> Pair:
        """ImageFile ``index`` with its labels at the working scale, whole."""
        if self._prepared is not None:
            image, mask = self._prepared.array("images", index), self._prepared.array("masks", index)
            return Pair(tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask)))
        pair: Pair | None = self._memory.items.get(("resized", index))
        if pair is None:
            image, mask = self.dataset.read(self.samples[index])
            pair = self.processing.resized(image, mask)
            self._memory.keep(("resized", index), pair, pair.image.nbytes + pair.mask.nbytes)
        return pair

    def labels(self, index: int) -> Labels:
        """The labels of image ``index`` at their original size: H×W uint8."""
        if self._labels is not None:
            return as_tensor(self._labels.array(self._labels.store.columns[-1], index))
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

    def reseeded(self, seed: int) -> SegmentationDataset:
        """The same images with other random choices; what is decoded already is shared."""
        other = object.__new__(SegmentationDataset)  # copy.copy would drop the memory, as pickling should
        other.__dict__.update(self.__dict__, seed=seed)
        return other

    def with_label_noise(self, share: float) -> SegmentationDataset:
        """The same images, a share of whose labels is another class when they are trained on."""
        other = self.reseeded(self.seed)
        other.label_noise = share
        return other

    def crop(self, epoch: int, index: int) -> Pair:
        """The random crop of image ``index`` in ``epoch``, augmented."""
        pair = self.resized(index)
        if self.label_noise:
            pair = pair._replace(mask=tv_tensors.Mask(as_tensor(self._noisy(pair.mask.numpy(), index))))
        return self.processing.augmented(pair, key(self.seed, "augment", epoch, index))

    def crops(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The random crops for (epoch, index) ``keys``: N×3×H×W and N×H×W uint8, `crop` by `crop` the same pixels."""
        processing = self.processing
        pairs = [self._arrays(index) for _, index in keys]
        seeds = self._augmentation_seeds(keys)
        drawn = [processing.window(mask.shape, seed) for (_, mask), seed in zip(pairs, seeds, strict=True)]
        crops, labels = take(pairs, drawn, processing.crop)
        if processing.color:
            crops = torch.stack([processing.recolored(one, seed) for one, seed in zip(crops, seeds, strict=True)])
        return crops, labels

    def covered(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """Where the random crops for (epoch, index) ``keys`` show an image, and do not reach beyond it: N×H×W bool."""
        side = self.processing.crop
        seen = torch.zeros(len(keys), side, side, dtype=torch.bool)
        for number, ((_, index), seed) in enumerate(zip(keys, self._augmentation_seeds(keys), strict=True)):
            window = self.processing.window(self._arrays(index)[1].shape, seed)
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

    def _augmentation_seeds(self, keys: Sequence[tuple[int, int]]) -> list[int]:
        of_epoch = {epoch: Keys(self.seed, "augment", epoch) for epoch in {epoch for epoch, _ in keys}}
        return [of_epoch[epoch](index) for epoch, index in keys]

    def _arrays(self, index: int) -> tuple[Pixels, Pixels]:
        """ImageFile and labels at the working scale, from the cache without a copy; labels with their noise."""
        if self._prepared is not None:
            image, mask = self._prepared.array("images", index), self._prepared.array("masks", index)
        else:
            pair = self.resized(index)
            image, mask = pair.image.numpy(), pair.mask.numpy()
        return image, self._noisy(mask, index) if self.label_noise else mask

    def _noisy(self, mask: Pixels, index: int) -> Pixels:
        classes = len(self.dataset.info.classes)
        return noisy_labels(mask, self.label_noise, classes=classes, seed=key(self.seed, "label noise", index))

    def __getstate__(self) -> dict[str, object]:
        # Worker processes get the list of files, not a copy of the decoded images.
        return {**self.__dict__, "_memory": _Memory(self._memory.budget)}


class _Rows(NamedTuple):
    """A cache entry, and the row of each sample in it."""

    store: Store
    rows: list[int]

    def array(self, column: str, index: int) -> Pixels:
        return self.store.array(column, self.rows[index])
