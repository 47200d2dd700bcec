"""The second statement: would the difference between the trained networks hold on new images of the same kind?

The networks are fixed, the images are the sample. Frames of one clip or images of one city resemble each other, so
whole groups are drawn with replacement and never single images. What a group contributes to a pooled mIoU are its
summed intersections and unions, so a draw costs one row of a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from segmi.errors import DataError
from segmi.records import ConfusionRecord, RunKey
from segmi.statistics.paired_tests import LEVEL
from segmi.statistics.pairing import Pairing, pairings
from segmi.statistics.study_runs import StudyRuns

FEWEST_GROUPS: Final = 5
"""With fewer groups, the spread among them says next to nothing about the spread among all that could have been."""

DRAWS: Final = 10_000

_AT_ONCE: Final = 500

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """What each group of images contributes to a pooled IoU, of one network.

    Args:
        groups: names of the G groups.
        names: names of the images, in the record's order.
        intersections: G×C: true positives.
        unions: G×C: true positives, false positives and false negatives.
    """

    groups: tuple[str, ...]
    names: tuple[str, ...]
    intersections: Floats
    unions: Floats


@dataclass(frozen=True)
class NewImages:
    """A method against its baseline on new images.

    Args:
        pairing: the runs.
        groups: how many groups the images come from.
        images: how many images.
        difference: in pooled mIoU, averaged over the common seeds; NaN where there is none.
        interval: at 1 - `LEVEL`, for this comparison alone; None where it cannot be had.
        verdict: in words, or why there is no interval.
    """

    pairing: Pairing
    groups: int
    images: int
    difference: float
    interval: tuple[float, float] | None
    verdict: str


def compare_on_new_images(study: StudyRuns) -> list[NewImages]:
    """Every method of a study against its baseline on every dataset, from the confusion counts on the disk."""
    read: dict[RunKey, GroupCounts] = {}
    found = []
    for pair in pairings(study):
        read = {key: counts for key, counts in read.items() if key.dataset == pair.dataset}
        try:
            counts = [[_counts(study, key, read) for key in keys] for keys in pair.keys(study)]
        except DataError as error:
            found.append(NewImages(pair, 0, 0, float("nan"), None, f"not possible: {error.message}"))
            continue
        found.append(_compared(pair, [own for own, _ in counts], [other for _, other in counts]))
    return found


def group_counts(record: ConfusionRecord) -> GroupCounts:
    """Confusion counts per image as intersections and unions per group, in the order in which groups appear.

    Example:
        >>> counts = np.array([[[3, 1], [0, 2]], [[1, 0], [0, 1]]])
        >>> found = group_counts(ConfusionRecord(counts, ("a", "b"), ("clip", "clip")))
        >>> found.intersections.tolist(), found.unions.tolist()
        ([[4.0, 3.0]], [[5.0, 4.0]])
    """
    groups = tuple(dict.fromkeys(record.groups))
    place = {group: index for index, group in enumerate(groups)}
    owner = np.array([place[group] for group in record.groups], dtype=np.int64)
    hits = np.diagonal(record.counts, axis1=1, axis2=2)
    unions = record.counts.sum(axis=1) + record.counts.sum(axis=2) - hits
    summed = np.zeros((2, len(groups), hits.shape[1]))
    np.add.at(summed[0], owner, hits)
    np.add.at(summed[1], owner, unions)
    return GroupCounts(groups, record.names, summed[0], summed[1])


def group_bootstrap(
    methods: Sequence[GroupCounts], baselines: Sequence[GroupCounts], draws: int = DRAWS
) -> tuple[float, tuple[float, float]]:
    """The difference in pooled mIoU, averaged over seeds, and its interval over draws of whole groups.

    The same draw is scored by the method and by the baseline, with every seed, so what makes a group hard cancels. The
    interval is the percentile interval, upcast for few groups as a t interval is (Hesterberg 2015, "What teachers
    should know about the bootstrap": the level at which √(G/(G - 1)) t(1 - level/2; G - 1) is the normal quantile).

    Args:
        methods: the method's counts, one per seed.
        baselines: the baseline's, of the same seeds and groups.
        draws: how many times groups are drawn.

    Unit and sign: a fraction; positive where the method scores higher.
    """
    pairs = list(zip(methods, baselines, strict=True))
    # G×(seeds, method or baseline, intersection or union, C): one matrix product pools a draw of all of them.
    stacked = np.stack([np.stack([(c.intersections, c.unions) for c in pair]) for pair in pairs])
    shape, number = stacked.shape, stacked.shape[3]
    columns = np.ascontiguousarray(np.moveaxis(stacked, 3, 0).reshape(number, -1))

    def statistic(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        flat = np.atleast_2d(drawn)
        offsets = np.arange(len(flat))[:, None] * number
        times = np.bincount((flat + offsets).ravel(), minlength=len(flat) * number).reshape(len(flat), number)
        pooled = (times @ columns).reshape(len(flat), *shape[:3], shape[4])
        differences = _mean_difference(pooled)
        return differences if np.ndim(drawn) > 1 else differences[0]

    everything = np.arange(number)
    tail = stats.norm.sf(np.sqrt(number / (number - 1)) * stats.t.isf(LEVEL / 2, number - 1))
    result = stats.bootstrap(
        (everything,), statistic, n_resamples=draws, batch=_AT_ONCE, vectorized=True,
        confidence_level=1 - 2 * tail, method="percentile", rng=0,
    )  # fmt: skip
    low, high = result.confidence_interval
    return float(statistic(everything)), (float(low), float(high))


def _mean_difference(pooled: Floats) -> Floats:
    """Pooled intersections and unions, draws×seeds×2×2×C, to the difference in mIoU averaged over seeds."""
    intersections, unions = pooled[..., 0, :], pooled[..., 1, :]
    present = unions > 0
    iou = np.divide(intersections, unions, out=np.zeros_like(intersections), where=present)
    miou = iou.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    difference: Floats = (miou[..., 0] - miou[..., 1]).mean(axis=-1)
    return difference


def _counts(study: StudyRuns, key: RunKey, read: dict[RunKey, GroupCounts]) -> GroupCounts:
    if key not in read:
        result = study.results[key]
        try:
            record = study.runs[key].confusion(str(result.get("reported_network")), str(result.get("protocol")))
        except DataError as error:  # its own message names the whole path, which is too much for a table
            raise DataError(f"the counts of {key.method}/seed{key.seed} are unreadable", error.remedy) from error
        read[key] = group_counts(record)
    return read[key]


def _compared(pair: Pairing, methods: list[GroupCounts], baselines: list[GroupCounts]) -> NewImages:
    every = [*methods, *baselines]
    if not every:
        return NewImages(pair, 0, 0, float("nan"), None, "not possible: no seed finished in both")
    groups, images = len(every[0].groups), len(set(every[0].names))
    if any((one.groups, one.names) != (every[0].groups, every[0].names) for one in every):
        return NewImages(pair, groups, images, float("nan"), None, "not possible: the runs scored different images")
    if groups < FEWEST_GROUPS:
        whole = np.stack([np.stack([(c.intersections.sum(0), c.unions.sum(0)) for c in both])
                          for both in zip(methods, baselines, strict=True)])  # fmt: skip
        reason = "one group" if groups == 1 else f"{groups} groups, fewer than {FEWEST_GROUPS}"
        return NewImages(pair, groups, images, float(_mean_difference(whole)), None, f"not possible: {reason}")
    difference, (low, high) = group_bootstrap(methods, baselines)
    verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    return NewImages(pair, groups, images, difference, (low, high), verdict)
