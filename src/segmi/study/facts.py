"""What the runs of a study on one dataset share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segmi.errors import EnvironmentProblem
from segmi.study import resolve

if TYPE_CHECKING:
    from segmi.datasets.cache import Store
    from segmi.datasets.processing import Processing
    from segmi.datasets.reader import DatasetReader, Sample
    from segmi.datasets.segmentation_dataset import SegmentationDataset

log = logging.getLogger(__name__)


class Facts:
    """The dataset, opened once, its images, the frequencies of its classes.

    Args:
        dataset: opened.
        cache: the folder of decoded images; None decodes in every process and keeps them in memory.
    """

    def __init__(self, dataset: DatasetReader, cache: Path | None = None) -> None:
        self.dataset = dataset
        self._cache = cache
        self._most_frequent: int | None = None
        self._train_counts: np.ndarray | None = None
        self._images: dict[tuple[str, tuple[str, ...], Processing, bool], SegmentationDataset] = {}

    def images(
        self,
        split: str,
        samples: Sequence[Sample],
        processing: Processing,
        seed: int,
        *,
        labels: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> SegmentationDataset:
        """Samples of a split with their processing; decoded once for all runs that prepare them alike.

        Args:
            split: of the dataset.
            samples: all or some of it.
            processing: how they are prepared.
            seed: keys what is drawn.
            labels: whether they are scored whole, which takes their labels at the original size.
            progress: hears of every image that is decoded into the cache.
        """
        known = (split, tuple(sample.name for sample in samples), processing, labels)
        if known not in self._images:
            prepared = self._store(split, self.dataset.split(split), processing, progress)
            original = self._store(split, samples, None, progress) if labels and processing.resize is not None else None
            if prepared is not None and split == "train":
                self._train_counts = prepared.label_counts
            self._images[known] = resolve.images(
                self.dataset, samples, processing, seed=seed, prepared=prepared, labels=original
            )
        return self._images[known].reseeded(seed)

    def _store(
        self,
        split: str,
        samples: Sequence[Sample],
        processing: Processing | None,
        progress: Callable[[int, int], None] | None,
    ) -> Store | None:
        """The cache entry with samples at the working scale or, without one, with their original labels."""
        if self._cache is None:
            return None
        try:
            return resolve.prepared(self._cache, self.dataset, split, samples, processing, progress=progress)
        except EnvironmentProblem as problem:
            log.warning("%s; images are decoded in every run instead", problem.message)
            self._cache = None  # said once is enough
            return None

    def forget_images(self) -> None:
        """Free the memory of the decoded images."""
        self._images.clear()

    def most_frequent_class(self) -> int:
        """The class with the most pixels in train."""
        if self._most_frequent is None:
            counts = np.zeros(256, dtype=np.int64) if self._train_counts is None else self._train_counts
            if self._train_counts is None:
                for sample in self.dataset.split("train"):
                    counts += np.bincount(self.dataset.read_mask(sample).ravel(), minlength=256)
            self._most_frequent = int(counts[: len(self.dataset.info.classes)].argmax())
        return self._most_frequent
