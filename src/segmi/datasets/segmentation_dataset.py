"""The images of a split with their processing: whole, or as batches of random crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from segmi.datasets.cache import Store
from segmi.datasets.crops import as_tensor, crop_batch, overlap, to_unit
from segmi.datasets.image_format import ImageArray
from segmi.datasets.processing import Pair, Processing
from segmi.datasets.reader import DatasetReader, Pixels, Sample
from segmi.randomness import Keys, key
from segmi.types import Batch, Labels


def noisy_labels(labels: Pixels, share: float, *, classes: int, seed: int) -> Pixels:
    """Return labels with symmetric noise: a share of the pixels has another class, all others equally likely.

    ``P(ỹ = y) = 1 - share``, ``P(ỹ = c) = share / (C - 1)`` for every other class c. Ignored pixels stay ignored.

    Args:
        labels: H×W uint8.
        share: probability that a pixel is changed, in [0, 1).
        classes: C, at least two.
        seed: seed of the noise.

    Example:
        >>> noisy_labels(np.zeros((1, 6), np.uint8), 0.5, classes=3, seed=0).tolist()
        [[0, 2, 2, 2, 0, 0]]
    """
    rng = np.random.default_rng(seed)
    wrong = (rng.random(labels.shape) < share) & (labels < classes)
    offsets = rng.integers(1, classes, labels.shape)
    return np.where(wrong, (labels + offsets) % classes, labels).astype(np.uint8)


class _Memory:
    """Decoded arrays up to a number of bytes; later ones are not kept."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self.items: dict[tuple[str, int], Any] = {}

    def keep(self, name: tuple[str, int], value: Any, size: int) -> None:
        if self.used + size <= self.budget:
            self.items[name] = value
            self.used += size


class _Rows(NamedTuple):
    """A cache entry, and the row of each sample in it."""

    store: Store
    rows: list[int]

    def array(self, column: str, index: int) -> ImageArray:
        return self.store.array(column, self.rows[index])


class SegmentationDataset(Dataset[Pair]):
    """The images of a split with their labels and processing; item ``i`` is the resized image ``i`` with its labels.

    Images are read from a cache entry if there is one. Otherwise they are decoded, and the resized images and labels
    are kept in memory up to ``memory_bytes``, since decoding takes a hundred times as long as copying. The pixels are
    the same, bit for bit. Training reads random crops, see `batch` and `segmi.datasets.loader.training_batches`.

    Args:
        dataset: reads the samples.
        samples: the samples.
        processing: how they are prepared.
        seed: keys the random crops and augmentations.
        memory_bytes: memory for decoded images, per process; 0 decodes every time.
        prepared: a cache entry with the resized images and labels.
        labels: a cache entry with the labels at their original size; not needed if nothing is resized.
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
        whole = self._prepared if processing.resize is None else None
        self._labels = whole if labels is None else _Rows(labels, labels.rows(names))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        """Return image ``index`` with its labels, resized and whole: C×H×W uint8 or float32, and H×W uint8."""
        if self._prepared is not None:
            image, mask = self._prepared.array("images", index), self._prepared.array("masks", index)
            return Pair(tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask)))
        pair: Pair | None = self._memory.items.get(("resized", index))
        if pair is None:
            image, mask = self.dataset.read(self.samples[index])
            pair = self.processing.resized(image, mask)
            self._memory.keep(("resized", index), pair, pair.image.nbytes + pair.mask.nbytes)
        return pair

    @property
    def prepared(self) -> Store | None:
        """The cache entry of the resized images, None if they are decoded."""
        return self._prepared.store if self._prepared is not None else None

    @property
    def needs_workers(self) -> bool:
        """Whether worker processes have work to share: decoding, random scaling, colors or transforms."""
        processing = self.processing
        return (
            self._prepared is None
            or processing.scale != (1.0, 1.0)
            or processing.color > 0
            or bool(processing.transforms)
        )

    def labels(self, index: int) -> Labels:
        """Return the labels of image ``index`` at their original size: H×W uint8."""
        if self._labels is not None:
            return as_tensor(self._labels.array(self._labels.store.columns[-1], index))
        labels: Tensor | None = self._memory.items.get(("labels", index))
        if labels is None:
            labels = as_tensor(self.dataset.read_mask(self.samples[index]))
            self._memory.keep(("labels", index), labels, labels.nbytes)
        return labels

    def class_counts(self) -> Tensor:
        """Return the number of pixels of each class in the resized labels: C int64."""
        counts = np.zeros(256, dtype=np.int64)
        for index in range(len(self)):
            counts += np.bincount(self._arrays(index)[1].ravel(), minlength=256)
        return torch.from_numpy(counts[: len(self.dataset.info.classes)])

    def reseeded(self, seed: int) -> SegmentationDataset:
        """Return the same images with another seed; decoded images are shared."""
        other = object.__new__(SegmentationDataset)  # copy.copy uses __getstate__, which drops the decoded images
        other.__dict__.update(self.__dict__, seed=seed)
        return other

    def with_label_noise(self, share: float) -> SegmentationDataset:
        """Return the same images whose crops have symmetric label noise, see `noisy_labels`."""
        other = self.reseeded(self.seed)
        other.label_noise = share
        return other

    def crops(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Return the random crops of (epoch, index) ``keys``: N×C×H×W uint8 or float32, and N×H×W uint8."""
        processing = self.processing
        pairs = [self._arrays(index) for _, index in keys]
        seeds = self._augmentation_seeds(keys)
        windows = [processing.window(mask.shape, seed) for (_, mask), seed in zip(pairs, seeds, strict=True)]
        crops, labels = crop_batch(pairs, windows, processing.crop)
        if processing.color:
            crops = torch.stack([processing.recolored(one, seed) for one, seed in zip(crops, seeds, strict=True)])
        if processing.transforms:
            pairs_ = zip(crops, labels, seeds, strict=True)
            changed = [processing.transformed(image, mask, seed) for image, mask, seed in pairs_]
            crops, labels = (torch.stack(parts) for parts in zip(*changed, strict=True))
        return crops, labels

    def covered(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """Return which pixels of the random crops of (epoch, index) ``keys`` are inside their images: N×H×W bool."""
        side = self.processing.crop
        covered = torch.zeros(len(keys), side, side, dtype=torch.bool)
        for number, ((_, index), seed) in enumerate(zip(keys, self._augmentation_seeds(keys), strict=True)):
            window = self.processing.window(self._arrays(index)[1].shape, seed)
            (rows, columns), _ = overlap(window, side)
            if window.flipped:
                columns = slice(side - columns.stop, side - columns.start)
            if window.inverted:
                rows = slice(side - rows.stop, side - rows.start)
            covered[number, rows, columns] = True
        return covered

    def batch(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """Return the random crops of (epoch, index) ``keys`` as a batch: float images in [0, 1], int64 labels."""
        images, labels = self.crops(keys)
        samples = [self.samples[index] for _, index in keys]
        return Batch(
            images=to_unit(images),
            labels=labels.long(),
            names=tuple(sample.name for sample in samples),
            groups=tuple(sample.group for sample in samples),
        )

    def _augmentation_seeds(self, keys: Sequence[tuple[int, int]]) -> list[int]:
        by_epoch = {epoch: Keys(self.seed, "augment", epoch) for epoch in {epoch for epoch, _ in keys}}
        return [by_epoch[epoch](index) for epoch, index in keys]

    def _arrays(self, index: int) -> tuple[ImageArray, Pixels]:
        """Return the resized image and its (noisy) labels; from the cache without a copy."""
        if self._prepared is not None:
            image, mask = self._prepared.array("images", index), self._prepared.array("masks", index)
        else:
            pair = self[index]
            image, mask = pair.image.numpy(), pair.mask.numpy()
        if self.label_noise:
            classes, seed = len(self.dataset.info.classes), key(self.seed, "label noise", index)
            mask = noisy_labels(mask, self.label_noise, classes=classes, seed=seed)
        return image, mask

    def __getstate__(self) -> dict[str, object]:
        # Worker processes get the list of files, not a copy of the decoded images.
        return {**self.__dict__, "_memory": _Memory(self._memory.budget)}
