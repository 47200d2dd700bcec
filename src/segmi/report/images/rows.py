"""Which images a gallery shows, and how well each method did on each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from segmi.records import RunKey, SamplePaths
from segmi.report.gallery import IGNORE_INDEX, samples_of
from segmi.statistics import StudyRuns

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageSet:
    """The images of one dataset that runs of one seed have kept.

    Args:
        dataset: its name.
        seed: whose predictions are shown.
        classes: names.
        palette: RGB by train id.
        names: the images, in the order of the split.
        samples: by method, the images that it has, by name.
        networks: by method, the network that stands for it.
        states: by method without any image, why.
    """

    dataset: str
    seed: int
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    names: Sequence[str]
    samples: Mapping[str, Mapping[str, SamplePaths]]
    networks: Mapping[str, str]
    states: Mapping[str, str]

    def source(self, name: str) -> SamplePaths:
        """The image and its truth, which are the same in every run."""
        return next(found[name] for found in self.samples.values() if name in found)


@dataclass(frozen=True)
class ImageScores:
    """How a method did on one image.

    Args:
        accuracy: share of valid pixels that are right; NaN without any.
        iou: by class that truth or prediction holds.
    """

    accuracy: float
    iou: Mapping[int, float]

    @property
    def mean_iou(self) -> float:
        """The mean over the classes of this image; NaN without any."""
        return float(np.mean(list(self.iou.values()))) if self.iou else float("nan")


@dataclass(frozen=True)
class ImageRow:
    """What sorting and captions need of an image.

    Args:
        name: of the image.
        size: width and height as kept.
        shares: by class in the truth, its share of the valid pixels.
        scores: by method.
        disagreement: share of the valid pixels on which not all methods say the same.
        layers: of ``image`` and ``truth`` and of every method, which layers there are.
        unreadable: layers that are there and cannot be read.
    """

    name: str
    size: tuple[int, int]
    shares: Mapping[int, float]
    scores: Mapping[str, ImageScores]
    disagreement: float
    layers: Mapping[str, Sequence[str]]
    unreadable: Sequence[str] = ()


def image_set(study: StudyRuns, dataset: str) -> ImageSet | None:
    """The images of a dataset under the lowest seed that has any; None if no run kept some."""
    for seed in sorted(study.plan.seeds):
        keys = {method: RunKey(study.folder.name, dataset, method, seed) for method in study.plan.methods}
        samples = {method: found for method, key in keys.items() if (found := samples_of(study, key))}
        if samples:
            first = study.results[keys[next(iter(samples))]]
            card = first.get("dataset") or {}
            return ImageSet(
                dataset=dataset,
                seed=seed,
                classes=[str(name) for name in card.get("classes") or []],
                palette=card.get("palette") or [],
                names=list(dict.fromkeys(name for found in samples.values() for name in found)),
                samples=samples,
                networks={m: str(study.results[keys[m]].get("reported_network")) for m in samples},
                states={m: study.states.get(key, "missing") for m, key in keys.items() if m not in samples},
            )
    return None


_STEPS: Final = 256


def image_scores(truth: Mask, prediction: Mask) -> ImageScores:
    """Accuracy and IoU per class of one image; ignored counts nowhere.

    >>> found = image_scores(np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 0]], np.uint8))
    >>> round(found.accuracy, 3), found.iou
    (0.667, {0: 0.5, 1: 0.5})
    """
    valid = truth != IGNORE_INDEX
    cells = truth[valid].astype(np.int32) * _STEPS + prediction[valid]
    counts = np.bincount(cells, minlength=_STEPS**2).reshape(_STEPS, _STEPS)
    hits = np.diagonal(counts)
    unions = counts.sum(0) + counts.sum(1) - hits
    total = int(counts.sum())
    iou = {int(c): float(hits[c] / unions[c]) for c in np.flatnonzero(unions)}
    return ImageScores(float(hits.sum() / total) if total else float("nan"), iou)


def class_shares(truth: Mask) -> dict[int, float]:
    """By class its share of the valid pixels.

    >>> class_shares(np.array([[0, 0, 0, 2, 255]], np.uint8))
    {0: 0.75, 2: 0.25}
    """
    ids, counts = np.unique(truth[truth != IGNORE_INDEX], return_counts=True)
    return {int(c): float(n / counts.sum()) for c, n in zip(ids, counts, strict=True)}


def disagreement(truth: Mask, predictions: Sequence[Mask]) -> float:
    """The share of valid pixels on which not all predictions are the same; 0 for fewer than two.

    >>> a, b = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
    >>> disagreement(a, [a, b])
    0.5
    """
    valid = truth != IGNORE_INDEX
    if len(predictions) < 2 or not valid.any():
        return 0.0
    stacked = np.stack([one[valid] for one in predictions])
    return float((stacked != stacked[0]).any(axis=0).mean())
