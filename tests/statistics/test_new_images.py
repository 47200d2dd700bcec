"""Drawing whole groups: pooled scores, why not frames, and what too few groups cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from segmi.metrics.scores import scores
from segmi.records import ConfusionRecord, RunKey
from segmi.statistics import compare_on_new_images
from segmi.statistics.new_images import GroupCounts, group_bootstrap, group_counts

Make = Callable[..., Any]
ONE_SEED = {("a", "base"): {0: 0.5}, ("a", "new"): {0: 0.5}}


def images(rng: np.random.Generator, number: int, hits: float = 0.7) -> np.ndarray:
    """Confusion counts of images with three classes, one of them rare."""
    counts = np.zeros((number, 3, 3), int)
    for image in counts:
        for truth, pixels in enumerate((600, 300, int(rng.integers(0, 2)) * 40)):
            share = np.full(3, (1 - hits) / 2)
            share[truth] = hits
            image[truth] = rng.multinomial(pixels, share)
    return counts


def record(counts: np.ndarray, groups: list[str]) -> GroupCounts:
    return group_counts(ConfusionRecord(counts, tuple(f"p{i}" for i in range(len(counts))), tuple(groups)))


def test_the_difference_agrees_with_pooled_scores() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{i % 7}" for i in range(20)]
    counts = {(m, s): images(rng, 20, 0.7 + 0.05 * m) for m in (0, 1) for s in (0, 1)}
    found, (low, high) = group_bootstrap(
        [record(counts[1, s], groups) for s in (0, 1)], [record(counts[0, s], groups) for s in (0, 1)], draws=500
    )
    expected = np.mean([scores(counts[1, s])["mIoU"] - scores(counts[0, s])["mIoU"] for s in (0, 1)])
    assert found == pytest.approx(expected)
    assert low < found < high


def test_draws_are_scored_like_repeated_images() -> None:
    """One draw by hand: the statistic on a drawn list equals pooling the images of those groups again."""
    rng = np.random.default_rng(1)
    own, other = images(rng, 6, 0.9), images(rng, 6, 0.6)
    names = [f"g{i}" for i in range(6)]
    _, interval = group_bootstrap([record(own, names)], [record(other, names)], draws=4000)
    drawn = np.random.default_rng(5).integers(6, size=(800, 6))
    values = [scores(own[d])["mIoU"] - scores(other[d])["mIoU"] for d in drawn]
    assert interval[0] <= np.quantile(values, 0.025)  # upcast for few groups
    assert interval[1] >= np.quantile(values, 0.975)
    assert interval == pytest.approx((np.min(values), np.max(values)), abs=0.2 * np.ptp(values))


def test_copies_of_frames_change_nothing() -> None:
    """Ten copies of every image: drawing groups gives the same interval, drawing frames would shrink it threefold."""
    rng = np.random.default_rng(2)
    own, other = images(rng, 8, 0.75), images(rng, 8, 0.7)
    names = [f"g{i}" for i in range(8)]
    _, once = group_bootstrap([record(own, names)], [record(other, names)], draws=1000)
    copied = [record(np.repeat(counts, 10, axis=0), list(np.repeat(names, 10))) for counts in (own, other)]
    _, grouped = group_bootstrap(copied[:1], copied[1:], draws=1000)
    assert grouped == pytest.approx(once)
    single = [record(np.repeat(counts, 10, axis=0), [f"f{i}" for i in range(80)]) for counts in (own, other)]
    _, frames = group_bootstrap(single[:1], single[1:], draws=1000)
    assert np.ptp(frames) < 0.5 * np.ptp(once)


@pytest.mark.parametrize("groups", [5, 12])
def test_coverage_of_the_interval(groups: int) -> None:
    """Networks that differ by chance only, groups of very unequal sizes: about 5 %, and never the 15 % of the plain
    percentile interval of five groups. Out of 200 studies, 10 % or more has a chance of 1 in 500 if 5 % are true.
    """
    rng = np.random.default_rng(groups)
    rejected = 0
    for _ in range(200):
        size = rng.lognormal(0, 0.7, (groups, 4)) * 1000
        hard = rng.normal(0, 0.8, (groups, 1))
        shares = [1 / (1 + np.exp(-(1 + hard + rng.normal(0, 0.3, (groups, 4))))) for _ in range(2)]
        names = tuple(map(str, range(groups)))
        own, other = (GroupCounts(names, names, share * size, size) for share in shares)
        _, (low, high) = group_bootstrap([own], [other], draws=1000)
        rejected += low > 0 or high < 0
    assert rejected <= 20


def test_a_study_with_groups(study_of: Make) -> None:
    rng = np.random.default_rng(3)
    counts = {"base": images(rng, 12, 0.6), "new": images(rng, 12, 0.9)}
    groups = tuple(f"clip{i // 2}" for i in range(12))
    (found,) = compare_on_new_images(study_of(ONE_SEED, counts=lambda key: counts[key.method], groups=groups))
    assert (found.groups, found.images, found.verdict) == (6, 12, "better")
    assert found.difference == pytest.approx(scores(counts["new"])["mIoU"] - scores(counts["base"])["mIoU"])


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (("clip",) * 6, "not possible: one group"),
        (("a", "a", "b", "b", "c", "c"), "not possible: 3 groups, fewer than 5"),
    ],
)
def test_too_few_groups_give_no_interval(study_of: Make, groups: tuple[str, ...], reason: str) -> None:
    rng = np.random.default_rng(4)
    study = study_of(ONE_SEED, counts=lambda key: images(rng, 6), groups=groups)
    (found,) = compare_on_new_images(study)
    assert (found.verdict, found.interval) == (reason, None)
    assert np.isfinite(found.difference)


def test_different_images_and_missing_counts_are_reported(study_of: Make) -> None:
    def counts(key: RunKey) -> np.ndarray:
        return np.ones((6 if key.method == "base" else 7, 2, 2), int)

    study = study_of(ONE_SEED, counts=counts)
    assert compare_on_new_images(study)[0].verdict == "not possible: the runs scored different images"
    path = next(run for key, run in study.runs.items() if key.method == "new").confusion_path("net", "full")
    path.write_bytes(b"x" * path.stat().st_size)
    assert compare_on_new_images(study)[0].verdict == "not possible: the counts of new/seed0 are unreadable"


def test_no_common_seed(study_of: Make) -> None:
    study = study_of({("a", "base"): {0: 0.5}, ("a", "new"): {1: 0.5}})
    assert compare_on_new_images(study)[0].verdict == "not possible: no seed finished in both"
