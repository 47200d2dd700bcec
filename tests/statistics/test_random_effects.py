"""Mean differences over datasets: against closed forms, statsmodels, and simulated studies."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from segmi.statistics import LEVEL, StudyRuns, pool_datasets
from segmi.statistics.random_effects import pool


def test_datasets_have_equal_weight() -> None:
    groups = [np.array([0.01, 0.02, 0.03]), np.array([0.0, 0.0, 0.03]), np.array([0.04, 0.05])]
    pooled, _, _ = pool(groups)
    means = [0.02, 0.01, 0.045]
    assert pooled.mean == pytest.approx(np.mean(means))
    assert pooled.interval == pytest.approx(stats.t.interval(0.95, 2, np.mean(means), np.std(means, ddof=1) / 3**0.5))


def test_heterogeneity_vanishes_for_equal_datasets_and_equals_a_large_spread() -> None:
    rng = np.random.default_rng(0)
    noise = [0.001 * rng.normal(size=200) for _ in range(40)]
    _, tau, i2 = pool([0.01 + values for values in noise])
    assert tau < 0.0001
    assert i2 < 0.5
    shifts = 0.02 * rng.normal(size=40)
    _, tau, i2 = pool([shift + values for shift, values in zip(shifts, noise, strict=True)])
    assert tau == pytest.approx(shifts.std(ddof=1), rel=0.02)
    assert i2 > 0.99


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("datasets", [3, 6])
def test_the_interval_covers_the_mean_over_datasets(seeds: int, datasets: int) -> None:
    """Datasets whose true differences spread as much as the seeds: 93 to 97 % of 2,000 intervals have their mean."""
    rng = np.random.default_rng(10 * seeds + datasets)
    spreads = np.geomspace(0.005, 0.02, datasets)
    truths = 0.01 + 0.02 * rng.normal(size=(2000, datasets, 1))
    studies = truths + spreads[:, None] * rng.normal(size=(2000, datasets, seeds))
    found = stats.ttest_1samp(studies.mean(axis=2), 0.0, axis=1).confidence_interval(1 - LEVEL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pool(list(studies[0]))[0].interval == pytest.approx((found.low[0], found.high[0]))
    assert 0.93 <= np.mean((found.low <= 0.01) & (found.high >= 0.01)) <= 0.97


def test_methods_of_a_study_are_pooled_and_adjusted(study_of: Callable[..., StudyRuns]) -> None:
    gains = {"a": 0.01, "b": 0.03, "c": 0.02}
    scores = {}
    for dataset, gain in gains.items():
        scores[dataset, "base"] = {0: 0.5, 1: 0.52, 2: 0.51}
        scores[dataset, "new"] = {0: 0.5 + gain, 1: 0.522 + gain, 2: 0.508 + gain}
        scores[dataset, "same"] = {0: 0.5, 1: 0.521, 2: 0.509}
    first, second = pool_datasets(study_of(scores))
    assert (first.treatment, first.network, list(first.differences)) == ("new", "", list(gains))
    assert first.pooled.mean == pytest.approx(0.02)
    assert first.pooled.p == pytest.approx(stats.ttest_1samp([0.01, 0.03, 0.02], 0).pvalue)
    assert first.p_holm == pytest.approx(first.pooled.p)  # the other one has no spread and no test
    assert (second.p_holm, second.verdict) == (None, "no test: no spread")
    assert second.pooled.mean == pytest.approx(0.0)


def test_two_datasets_or_single_seeds_are_not_pooled(study_of: Callable[..., StudyRuns]) -> None:
    two = {(d, m): {0: 0.5, 1: 0.52 + 0.01 * (m == "new")} for d in "ab" for m in ("base", "new")}
    assert pool_datasets(study_of(two, seeds=(0, 1))) == []
    one = {(d, m): {0: 0.5 + 0.01 * (m == "new")} for d in "abc" for m in ("base", "new")}
    assert pool_datasets(study_of(one, seeds=(0,))) == []
