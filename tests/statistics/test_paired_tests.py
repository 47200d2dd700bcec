"""Tests of a few seeds and their power against closed forms, statsmodels and simulated repetitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from segmi.statistics import LEVEL, POWER, describe_differences, detectable_factor, holm, least_p
from segmi.statistics.paired_tests import equivalence_p, probability_of_improvement, repeated_power


def test_two_seeds_by_hand() -> None:
    """t with one degree of freedom is Cauchy: differences 0.01 and 0.03 give t = 2, p = 1 - 2/π · arctan 2."""
    found = describe_differences([0.01, 0.03])
    assert found.mean == pytest.approx(0.02)
    assert found.sd == pytest.approx(0.02 / math.sqrt(2))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2))
    quantile = math.tan(math.pi * (0.5 - LEVEL / 2))
    assert found.interval == pytest.approx((0.02 - 0.01 * quantile, 0.02 + 0.01 * quantile))
    assert found.p_flip == pytest.approx(0.5)
    assert found.effect is None  # the correction for few seeds would be 0


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_against_statsmodels_and_every_sign_pattern(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.01, 0.02, seeds)
    found = describe_differences(values)
    other = DescrStatsW(values)
    assert found.p == pytest.approx(other.ttest_mean(0)[1])
    assert found.interval == pytest.approx(other.tconfint_mean(LEVEL))
    means = [abs(np.mean(values * signs)) for signs in itertools.product((1, -1), repeat=seeds)]
    assert found.p_flip == pytest.approx(np.mean(np.array(means) >= abs(values.mean()) - 1e-15))


@pytest.mark.parametrize(("seeds", "correction"), [(3, 1 / math.sqrt(math.pi)), (5, 2 / math.sqrt(2 * math.pi))])
def test_effect_by_hand(seeds: int, correction: float) -> None:
    """Γ(1) / (√1 Γ(1/2)) for three seeds, Γ(2) / (√2 Γ(3/2)) for five."""
    values = np.arange(1.0, seeds + 1)
    assert describe_differences(values).effect == pytest.approx(correction * values.mean() / values.std(ddof=1))


def test_the_effect_is_unbiased() -> None:
    drawn = np.random.default_rng(0).normal(0.7, 1.0, (20_000, 5))
    raw = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1)
    one = describe_differences(drawn[0]).effect
    assert one is not None
    correction = one / raw[0]
    error = correction * raw.std() / math.sqrt(len(raw))
    assert correction * raw.mean() == pytest.approx(0.7, abs=4 * error)
    assert raw.mean() > 0.7 + 4 * error  # and without the correction it would not be


def test_one_seed_gives_no_p_value() -> None:
    found = describe_differences([0.2])
    assert (found.n, found.mean) == (1, 0.2)
    assert (found.sd, found.interval, found.p, found.p_flip, found.effect) == (None,) * 5


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]])
def test_identical_differences_give_no_p_value(values: list[float]) -> None:
    found = describe_differences(values)
    assert (found.sd, found.p, found.p_flip, found.interval) == (0.0, None, None, None)


def test_no_seed_and_bad_values() -> None:
    assert math.isnan(describe_differences([]).mean)
    for wrong in ([[0.1, 0.2]], [0.1, float("nan")]):
        with pytest.raises(ValueError, match=r"expected one finite value per seed, got .*; leave out missing seeds"):
            describe_differences(wrong)


@pytest.mark.parametrize("seeds", [2, 3, 6, 10])
def test_the_least_p_is_reached_with_equal_signs(seeds: int) -> None:
    assert describe_differences(np.linspace(0.01, 0.02, seeds)).p_flip == pytest.approx(least_p(seeds))
    assert least_p(seeds) == 2 / 2**seeds


def test_many_seeds_are_drawn_and_agree_with_the_t_test() -> None:
    """With 24 seeds not all 2²⁴ patterns are gone through; the p is repeatable and close to the t test's."""
    values = np.random.default_rng(3).normal(0.5, 1, 24)
    first, second = describe_differences(values), describe_differences(values)
    assert first == second
    assert first.p_flip == pytest.approx(first.p, abs=0.01)
    assert describe_differences(np.linspace(1, 2, 24)).p_flip == pytest.approx(least_p(24))


def test_holm_by_hand_and_against_statsmodels() -> None:
    # Sorted 0.01, 0.02, 0.04: 3 · 0.01, then max(0.03, 2 · 0.02), then max(0.04, 0.04).
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    drawn = stats.uniform.rvs(size=9, random_state=1)
    assert holm(list(drawn)) == pytest.approx(list(multipletests(drawn, method="holm")[1]))
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
def test_power_without_a_difference_is_the_level(level: float) -> None:
    for seeds in (2, 3, 5, 10):
        assert repeated_power(seeds, level, 0.0) == pytest.approx(level, rel=1e-4)


def test_power_with_many_seeds_agrees_with_the_textbook() -> None:
    """The standard deviation is then known, and only then."""
    textbook = TTestPower().solve_power(nobs=400, alpha=0.05, power=POWER)
    assert detectable_factor(400, 0.05) == pytest.approx(textbook, rel=5e-3)
    assert detectable_factor(5, 0.05) > 1.2 * TTestPower().solve_power(nobs=5, alpha=0.05, power=POWER)


def test_power_with_two_seeds_by_hand() -> None:
    """For two seeds and a large difference, T = √2 c |N| / |N'| has the quantiles of a Cauchy variable."""
    level = 0.001
    factor = np.tan(np.pi / 2 * (1 - level)) / np.sqrt(2) / np.tan(np.pi / 2 * (1 - POWER))
    assert detectable_factor(2, level) == pytest.approx(factor, rel=1e-3)


def test_the_factor_decreases_with_seeds_and_increases_with_strictness() -> None:
    factors = [detectable_factor(seeds, 0.05) for seeds in (2, 3, 4, 6, 10, 20)]
    assert factors == sorted(factors, reverse=True)
    assert detectable_factor(5, 0.05 / 4) > detectable_factor(5, 0.05)


def test_one_seed_has_no_factor() -> None:
    with pytest.raises(ValueError, match="expected at least 2, got 1; one seed has no standard deviation"):
        detectable_factor(1, 0.05)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("tests", [1, 4])
def test_simulated_power(seeds: int, tests: int) -> None:
    """Repetitions find the reported detectable difference, if it is true, in 80 % of cases.

    With 20,000 pairs of study and repetition the standard error is 0.3 points. The tolerance of 2 points is six times
    larger and excludes the textbook formula, which is 6 to 40 points off.
    """
    rng = np.random.default_rng(1000 * seeds + tests)
    level, number, sd = LEVEL / tests, 20_000, 0.013
    studies = rng.normal(0.0, sd, (number, seeds))
    reported = detectable_factor(seeds, level) * studies.std(axis=1, ddof=1)
    repetitions = rng.normal(reported[:, None], sd, (number, seeds))
    found = stats.ttest_1samp(repetitions, 0.0, axis=1).pvalue < level
    assert np.mean(found) == pytest.approx(POWER, abs=0.02)


@pytest.mark.parametrize("values", [[0.01, 0.02, 0.03], [0.01, 0.02], [-0.01, 0.02, 0.03, 0.001, 0.004]])
def test_the_interval_of_improvement_solves_the_noncentral_t_distribution(values: list[float]) -> None:
    seeds, ratio = len(values), np.mean(values) / np.std(values, ddof=1)
    probability, (low, high) = probability_of_improvement(values)
    assert probability == pytest.approx(stats.norm.cdf(ratio))
    for bound, tail in ((low, 1 - LEVEL / 2), (high, LEVEL / 2)):
        shift = stats.norm.ppf(bound) * np.sqrt(seeds)
        assert stats.nct.cdf(np.sqrt(seeds) * ratio, seeds - 1, shift) == pytest.approx(tail, abs=1e-4)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("effect", [0.0, 0.7, 2.0])
def test_the_interval_of_improvement_covers(seeds: int, effect: float) -> None:
    """The share of 2,000 studies whose interval has the true probability is 93 to 97 %."""
    rng = np.random.default_rng(100 * seeds + int(10 * effect))
    truth = stats.norm.cdf(effect)
    intervals = [probability_of_improvement(effect + rng.normal(size=seeds))[1] for _ in range(2000)]
    assert 0.93 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.97


def test_improvement_of_negated_differences_is_the_complement() -> None:
    values = np.array([0.01, -0.02, 0.015, 0.003])
    probability, (low, high) = probability_of_improvement(values)
    other, (other_low, other_high) = probability_of_improvement(-values)
    assert (other, other_low, other_high) == pytest.approx((1 - probability, 1 - high, 1 - low))


def test_improvement_of_nearly_equal_differences_is_certain() -> None:
    assert probability_of_improvement([0.03, 0.03 + 1e-9, 0.03 - 1e-9]) == (1.0, (1.0, 1.0))


def test_equivalence_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5, 10):
        values = rng.normal(0.002, 0.006, seeds)
        assert equivalence_p(values, 0.01) == pytest.approx(DescrStatsW(values).ttost_mean(-0.01, 0.01)[0])


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_equivalence_is_rarely_claimed_at_the_margin(seeds: int) -> None:
    """A true difference of exactly the margin is called equivalent in at most 5 % of studies, up to chance."""
    rng = np.random.default_rng(seeds)
    claimed = sum(equivalence_p(rng.normal(0.01, 0.004, seeds), 0.01) < LEVEL for _ in range(1000))
    assert claimed <= stats.binom.ppf(1 - 1e-4, 1000, LEVEL)
    assert equivalence_p([0.001, -0.002, 0.0005, 0.001, -0.001]) < 0.001
