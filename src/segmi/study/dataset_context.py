"""Folders of the datasets on this machine, and data shared by the runs of a study on one dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from segmi.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from segmi.datasets.cache import Store
    from segmi.datasets.processing import Processing
    from segmi.datasets.reader import DatasetReader, Sample
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.study.run_config import TrainingSection

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]  # called with the number of done and of all images


@dataclass(frozen=True)
class DataRoots:
    """Folders given with ``--root``; a study file never names them."""

    named: dict[str, Path] = field(default_factory=dict)  # folder by dataset
    default: Path | None = None  # folder of all other datasets. None: ``$SEGMI_DATA``.

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> DataRoots:
        """Parse ``NAME=DIR`` and ``DIR`` arguments.

        Raises:
            UsageError: if a dataset has two folders, or an empty one.

        Example:
            >>> DataRoots.parse(["voc2012=/data/VOCdevkit", "/data"]).of("camvid").as_posix()
            '/data'
        """
        named: dict[str, Path] = {}
        default: Path | None = None
        for argument in arguments:
            name, equals, folder = argument.partition("=")
            if equals and not Path(argument).exists():
                if not name or not folder or name in named:
                    raise UsageError(f"--root {argument} is not valid", "write --root NAME=DIR once per dataset")
                named[name] = Path(folder)
            elif not argument or default is not None:
                message = f"--root {argument or repr('')} comes after --root {default}"
                raise UsageError(message, "write --root NAME=DIR if datasets are in different folders")
            else:
                default = Path(argument)
        return cls(named, default)

    def of(self, name: str) -> Path | None:
        """Return the folder of a dataset, or None for ``$SEGMI_DATA``.

        One folder serves several datasets with ``segmi.toml``, each in a subfolder of the dataset's name in the study.
        """
        from segmi.datasets.custom.dataset_config import FILE_NAME
        from segmi.datasets.layout import ROOT_VARIABLE

        if name in self.named:
            return self.named[name]
        given = self.default or os.environ.get(ROOT_VARIABLE)
        own = Path(given, name) if given else None
        if own is not None and (own / FILE_NAME).is_file() and not (own.parent / FILE_NAME).is_file():
            return own
        return self.default

    def absolute(self) -> DataRoots:
        """Return the same folders as absolute paths, for processes with another working directory."""
        named = {name: folder.absolute() for name, folder in self.named.items()}
        return DataRoots(named, self.default and self.default.absolute())


class TrainingSamples(NamedTuple):
    """The train split of a run in three disjoint parts."""

    labeled: list[Sample]
    unlabeled: list[Sample]
    held_out: list[Sample]


def split_train(samples: Sequence[Sample], training: TrainingSection, seed: int) -> TrainingSamples:
    """Split train into labeled, unlabeled and held-out images.

    The held-out images are the same for all methods and seeds of a study. The other parts are the same for all methods,
    and differ by ``seed`` only if ``training.subset`` is below 1.
    """
    from segmi.datasets.holdout import draw_subset, hold_out

    kept, held_out = hold_out(samples, training.holdout, 0) if training.holdout else (list(samples), [])
    kept = draw_subset(kept, training.subset, seed) if training.subset < 1 else kept
    labeled, unlabeled = hold_out(kept, 1 - training.labeled, 1) if training.labeled < 1 else (kept, [])
    return TrainingSamples(labeled, unlabeled, held_out)


class DatasetContext:
    """One dataset of a study: its reader, its decoded images and its class frequencies.

    Without a ``cache`` folder, every process decodes images and keeps them in memory.
    """

    def __init__(self, dataset: DatasetReader, cache: Path | None = None) -> None:
        self.dataset, self._cache = dataset, cache
        self._train_counts: np.ndarray | None = None  # pixels of each label in train
        self._images: dict[tuple[str, tuple[str, ...], Processing, bool], SegmentationDataset] = {}

    def images(
        self,
        split: str,
        samples: Sequence[Sample],
        processing: Processing,
        seed: int,
        *,
        labels: bool = False,
        progress: Progress | None = None,
    ) -> SegmentationDataset:
        """Return processed samples of a split; runs with the same samples and processing share the decoded images.

        ``seed`` is for crops and augmentation. ``labels``: whole images are evaluated, which needs their labels at the
        original size. ``progress`` is called while images are decoded into the cache.
        """
        from segmi.datasets.segmentation_dataset import SegmentationDataset

        known = (split, tuple(sample.name for sample in samples), processing, labels)
        if known not in self._images:
            entry, cached = self.dataset.cached_split(split)
            prepared = self._store(entry, cached, processing, progress)
            original = self._store(split, samples, None, progress) if labels and processing.resize is not None else None
            if prepared is not None and entry == split == "train":
                self._train_counts = prepared.label_counts
            self._images[known] = SegmentationDataset(
                self.dataset, samples, processing, seed=seed, prepared=prepared, labels=original
            )
        return self._images[known].reseeded(seed)

    def _store(
        self, split: str, samples: Sequence[Sample], processing: Processing | None, progress: Progress | None
    ) -> Store | None:
        """Return the cache entry of resized samples or, without processing, of their original labels."""
        from segmi.datasets.cache import IMAGES, LABELS, entry_key, prepare

        if self._cache is None:
            return None
        options: dict[str, Any] = {"columns": LABELS}
        if processing is not None:
            options = {"columns": IMAGES, "resize": processing.resize, "resize_mode": processing.resize_mode}
        key = entry_key(self.dataset, split, samples, **options)
        try:
            return prepare(self._cache, self.dataset, samples, key, progress=progress) if key is not None else None
        except EnvironmentProblem as problem:
            log.warning("%s; images are decoded in every run instead", problem.message)
            self._cache = None  # do not try again, and warn once
            return None

    def release_images(self) -> None:
        """Free the memory of the decoded images."""
        self._images.clear()

    def most_frequent_class(self) -> int:
        """Return the class with the most pixels in train."""
        if self._train_counts is None:
            self._train_counts = np.zeros(256, dtype=np.int64)  # labels are uint8
            for sample in self.dataset.split("train"):
                self._train_counts += np.bincount(self.dataset.read_mask(sample).ravel(), minlength=256)
        return int(self._train_counts[: len(self.dataset.info.classes)].argmax())
