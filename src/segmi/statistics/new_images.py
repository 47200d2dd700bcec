"""Second comparison: the difference between the trained networks on new images of the same kind.

The networks are fixed and the images are the sample. Frames of a clip or images of a city are similar, so whole groups
are drawn with replacement, never single images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from segmi.errors import DataError
from segmi.records import ConfusionRecord, RunKey
from segmi.statistics.paired_tests import LEVEL
from segmi.statistics.study_runs import Pairing, StudyRuns, pairings

FEWEST_GROUPS: Final = 5  # fewer groups do not give a usable estimate of the spread between groups
DRAWS: Final = 10_000
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """Contribution of each group of images to the pooled IoU of one network."""

    groups: tuple[str, ...]  # names of the G groups
    names: tuple[str, ...]  # names of the images, in the order of the record
    intersections: Floats  # G×C, true positives
    unions: Floats  # G×C, true positives, false positives and false negatives


@dataclass(frozen=True)
class NewImages:
    """A method compared with its baseline on new images."""

    pairing: Pairing
    groups: int  # number of groups of images
    images: int  # number of images
    difference: float  # in pooled mIoU, averaged over the common seeds; NaN if unknown
    interval: tuple[float, float] | None  # at 1 - `LEVEL` for this comparison, not adjusted; None if not available
    verdict: str  # the conclusion, or the reason for a missing interval


def compare_on_new_images(study: StudyRuns) -> list[NewImages]:
    """Compare every method of a study with its baseline on every dataset, from the confusion counts on disk."""
    cache: dict[RunKey, GroupCounts] = {}
    comparisons = []
    for pair in pairings(study):
        # Counts of one dataset at a time: the baseline is used by every method, other datasets are not.
        cache = {key: counts for key, counts in cache.items() if key.dataset == pair.dataset}
        try:
            counts = [[_counts(study, key, cache) for key in keys] for keys in pair.keys(study)]
        except DataError as error:
            comparisons.append(NewImages(pair, 0, 0, float("nan"), None, f"not possible: {error.message}"))
            continue
        comparisons.append(_compare(pair, [own for own, _ in counts], [other for _, other in counts]))
    return comparisons


def group_counts(record: ConfusionRecord) -> GroupCounts:
    """Convert confusion counts per image to intersections and unions per group, in order of first appearance.

    Example:
        >>> counts = np.array([[[3, 1], [0, 2]], [[1, 0], [0, 1]]])
        >>> result = group_counts(ConfusionRecord(counts, ("a", "b"), ("clip", "clip")))
        >>> result.intersections.tolist(), result.unions.tolist()
        ([[4.0, 3.0]], [[5.0, 4.0]])
    """
    # owner: N, index of the group of each image.
    owner, groups = pd.factorize(np.array(record.groups, dtype=object))
    # hits, unions: N×C per image.
    hits = np.diagonal(record.counts, axis1=1, axis2=2)
    unions = record.counts.sum(axis=1) + record.counts.sum(axis=2) - hits
    summed = np.zeros((2, len(groups), hits.shape[1]))
    # add.at accumulates repeated indices, unlike summed[0][owner] += hits.
    np.add.at(summed[0], owner, hits)
    np.add.at(summed[1], owner, unions)
    return GroupCounts(tuple(groups), record.names, *summed)


def group_bootstrap(
    methods: Sequence[GroupCounts], baselines: Sequence[GroupCounts], draws: int = DRAWS
) -> tuple[float, tuple[float, float]]:
    """Return the difference in pooled mIoU, averaged over seeds, and its interval over draws of whole groups.

    Each draw is scored by the method and the baseline with every seed, so the difficulty of a group cancels. The
    interval is the percentile interval, widened for few groups like a t interval (Hesterberg 2015, "What teachers
    should know about the bootstrap": the level at which √(G/(G - 1)) t(1 - level/2; G - 1) is the normal quantile).

    Args:
        methods: counts of the method, one per seed.
        baselines: counts of the baseline, of the same seeds and groups.
        draws: number of draws.

    Unit and sign: a fraction; positive if the method scores higher than the baseline.
    """
    stacked = _stacked(methods, baselines)
    number = len(stacked)
    # columns: G×(K·2·2·C), one row per group: one matrix product pools a draw of all of them.
    columns = stacked.reshape(number, -1)

    def statistic(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        offsets = np.arange(len(drawn))[:, None] * number
        # times: draws×G, how often each group was drawn; offsets separate the draws in one bincount.
        times = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape)
        return _mean_difference((times @ columns).reshape(len(drawn), *stacked.shape[1:]))

    # The percentile level that corresponds to a t interval with G groups.
    tail = stats.norm.sf(np.sqrt(number / (number - 1)) * stats.t.isf(LEVEL / 2, number - 1))
    result = stats.bootstrap(
        (np.arange(number),), statistic, n_resamples=draws, batch=500, vectorized=True,
        confidence_level=1 - 2 * tail, method="percentile", rng=0,
    )  # fmt: skip
    low, high = result.confidence_interval
    return float(_mean_difference(stacked.sum(axis=0))), (float(low), float(high))


def _stacked(methods: Sequence[GroupCounts], baselines: Sequence[GroupCounts]) -> Floats:
    """Stack the counts to G×K×2×2×C: groups, seeds, method or baseline, intersections or unions, classes."""
    sides = [[(one.intersections, one.unions) for one in side] for side in (methods, baselines)]
    return np.ascontiguousarray(np.array(sides).transpose(3, 1, 0, 2, 4))


def _mean_difference(pooled: Floats) -> Floats:
    """Convert pooled intersections and unions, draws×seeds×2×2×C, to the difference in mIoU averaged over seeds."""
    intersections, unions = pooled[..., 0, :], pooled[..., 1, :]
    # Classes absent from a draw are left out of its mean.
    present = unions > 0
    iou = np.divide(intersections, unions, out=np.zeros_like(intersections), where=present)
    miou = iou.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    difference: Floats = (miou[..., 0] - miou[..., 1]).mean(axis=-1)
    return difference


def _counts(study: StudyRuns, key: RunKey, cache: dict[RunKey, GroupCounts]) -> GroupCounts:
    if key not in cache:
        result = study.results[key]
        try:
            record = study.runs[key].confusion(str(result.get("reported_network")), str(result.get("protocol")))
        except DataError as error:  # without the path, which is too long for a table
            raise DataError(f"the counts of {key.method}/seed{key.seed} are unreadable", error.remedy) from error
        cache[key] = group_counts(record)
    return cache[key]


def _compare(pair: Pairing, methods: list[GroupCounts], baselines: list[GroupCounts]) -> NewImages:
    both = [*methods, *baselines]
    if not both:
        return NewImages(pair, 0, 0, float("nan"), None, "not possible: no seed finished in both")
    groups, images = len(both[0].groups), len(set(both[0].names))
    if any((one.groups, one.names) != (both[0].groups, both[0].names) for one in both):
        return NewImages(pair, groups, images, float("nan"), None, "not possible: the runs scored different images")
    if groups < FEWEST_GROUPS:
        whole = _stacked(methods, baselines).sum(axis=0)
        reason = "one group" if groups == 1 else f"{groups} groups, fewer than {FEWEST_GROUPS}"
        return NewImages(pair, groups, images, float(_mean_difference(whole)), None, f"not possible: {reason}")
    difference, (low, high) = group_bootstrap(methods, baselines)
    verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    return NewImages(pair, groups, images, difference, (low, high), verdict)
