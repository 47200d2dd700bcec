"""Example images of a dataset for the figures and the gallery, and their comparison with the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from segmi.records import SamplePaths
from segmi.statistics import StudyRuns
from segmi.types import IGNORE_INDEX

Mask = npt.NDArray[np.uint8]

_IDS: Final = 256


@dataclass(frozen=True)
class ImageSet:
    """Example images of one dataset, from the runs of one seed."""

    dataset: str  # name of the dataset
    seed: int  # seed of the predictions
    classes: Sequence[str]  # names of the classes
    palette: Mask  # 256×3, RGB by train id; ids without a color are black, ignored pixels white
    names: Sequence[str]  # names of the images, in the order of the split
    samples: Mapping[str, Mapping[str, SamplePaths]]  # paths by method and image
    networks: Mapping[str, str]  # reported network by method
    states: Mapping[str, str]  # state of the run, for methods without images

    def source(self, name: str) -> SamplePaths:
        """Return the paths of an image and its ground truth, which are the same in every run."""
        return next(images[name] for images in self.samples.values() if name in images)


def image_set(study: StudyRuns, dataset: str) -> ImageSet | None:
    """Return the images of a dataset for the lowest seed with images; None if no run kept any."""
    for seed in sorted(study.plan.seeds):
        keys = {method: study.key(dataset, method, seed) for method in study.plan.methods}
        samples = {
            method: {sample.name: sample for sample in study.runs[key].samples(list(result["networks"]))}
            for method, key in keys.items()
            if (result := study.results.get(key)) is not None
        }
        samples = {method: images for method, images in samples.items() if images}
        if samples:
            first = study.results[keys[next(iter(samples))]].get("dataset") or {}
            return ImageSet(
                dataset=dataset,
                seed=seed,
                classes=[str(name) for name in first.get("classes") or []],
                palette=_palette(first.get("palette") or []),
                names=list(dict.fromkeys(name for images in samples.values() for name in images)),
                samples=samples,
                networks={m: str(study.results[keys[m]].get("reported_network")) for m in samples},
                states={m: study.states.get(key, "missing") for m, key in keys.items() if m not in samples},
            )
    return None


def image_iou(truth: Mask, prediction: Mask) -> dict[int, float]:
    """Return the IoU of the classes in truth or prediction of one image, without ignored pixels.

    >>> image_iou(np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 0]], np.uint8))
    {0: 0.5, 1: 0.5}
    """
    valid = truth != IGNORE_INDEX
    pairs = truth[valid].astype(np.int32) * _IDS + prediction[valid]
    counts = np.bincount(pairs, minlength=_IDS**2).reshape(_IDS, _IDS)
    hits = np.diagonal(counts)
    unions = counts.sum(0) + counts.sum(1) - hits
    return {int(c): float(hits[c] / unions[c]) for c in np.flatnonzero(unions)}


def class_shares(truth: Mask) -> dict[int, float]:
    """Return the fraction of the valid pixels of every class in the ground truth.

    >>> class_shares(np.array([[0, 0, 0, 2, 255]], np.uint8))
    {0: 0.75, 2: 0.25}
    """
    ids, counts = np.unique(truth[truth != IGNORE_INDEX], return_counts=True)
    return {int(c): float(n / counts.sum()) for c, n in zip(ids, counts, strict=True)}


def disagreement(truth: Mask, predictions: Sequence[Mask]) -> float:
    """Return the fraction of valid pixels on which predictions differ; 0 for fewer than two predictions.

    >>> a, b = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
    >>> disagreement(a, [a, b])
    0.5
    """
    valid = truth != IGNORE_INDEX
    if len(predictions) < 2 or not valid.any():
        return 0.0
    stacked = np.stack([one[valid] for one in predictions])
    return float((stacked != stacked[0]).any(axis=0).mean())


def _palette(colors: Sequence[Sequence[int]]) -> Mask:
    palette = np.zeros((_IDS, 3), np.uint8)
    for index, color in enumerate(colors[:_IDS]):
        palette[index] = color
    palette[IGNORE_INDEX] = (255, 255, 255)
    return palette
