"""Tests of the paired differences of a few seeds: t test, exact sign-flip test, effect size and power.

Textbook power formulas take the estimated standard deviation for the true one, which is often far too small with three
seeds; `detectable_factor` averages over the distribution of the estimate instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests

# Accepted chance of a false alarm over all comparisons of a family; intervals are at 1 - LEVEL.
LEVEL: Final = 0.05
MARGIN: Final = 0.01  # largest difference in mIoU without practical relevance, for the test of equivalence
POWER: Final = 0.8  # probability of finding a difference that counts as detectable
# Largest number of sign patterns that are all evaluated; of more patterns, this many are drawn.
_FLIPS: Final = 2**16
# Scores are fractions of counts: differences within this bound differ only by rounding.
_NO_SPREAD: Final = 1e-12


@dataclass(frozen=True)
class Difference:
    """Statistics of the differences of the seeds; None if there are too few seeds."""

    n: int  # number of seeds
    mean: float  # NaN without seeds
    sd: float | None = None  # standard deviation (n - 1)
    interval: tuple[float, float] | None = None  # t interval of the mean at 1 - `LEVEL`
    p: float | None = None  # paired t test, two-sided, n - 1 degrees of freedom
    p_flip: float | None = None  # exact sign-flip test, two-sided
    effect: float | None = None  # Cohen's d_z = mean / sd with Hedges' correction for few seeds; requires three seeds
    improvement: float | None = None  # probability that the method scores higher than its baseline for another seed
    improvement_interval: tuple[float, float] | None = None  # its interval at 1 - `LEVEL`
    p_equivalent: float | None = None  # test of a difference within ± `MARGIN`; small if the methods are equivalent


def describe_differences(differences: npt.ArrayLike) -> Difference:
    """Describe the difference that is expected over retraining, from k paired differences.

    One seed gives only its difference. The same applies to seeds with identical differences, which are copies.

    Unit and sign: the unit of the scores; positive if the method scores higher than its baseline.

    Raises:
        ValueError: the differences are not one-dimensional or not finite.

    Example:
        >>> result = describe_differences([0.01, 0.02, 0.03])
        >>> round(result.mean, 3), round(result.p, 4), result.p_flip
        (0.02, 0.0742, 0.25)
        >>> describe_differences([0.01]).p is None
        True
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"differences: expected one finite value per seed, got {values}; leave out missing seeds")
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return Difference(len(values), mean)
    # Identical differences: the t statistic would be infinite and p = 0.
    if float(np.ptp(values)) <= _NO_SPREAD:
        return Difference(len(values), mean, 0.0)
    # H0: the expected difference over retraining is 0.
    tested = stats.ttest_1samp(values, 0.0)
    low, high = map(float, tested.confidence_interval(1 - LEVEL))
    sd, p = float(values.std(ddof=1)), float(tested.pvalue)
    improvement, improvement_interval = probability_of_improvement(values)
    return Difference(
        len(values), mean, sd, (low, high), p, _sign_flip(values), _hedges(values),
        improvement, improvement_interval, equivalence_p(values),
    )  # fmt: skip


def probability_of_improvement(values: npt.ArrayLike) -> tuple[float, tuple[float, float]]:
    """Return P(d > 0) for the difference d of another seed, and its interval at 1 - `LEVEL`.

    For normal differences, P(d > 0) = Φ(μ/σ). The statistic √k · mean/sd has a noncentral t distribution with
    noncentrality √k μ/σ and k - 1 degrees of freedom; solving it for μ/σ gives an interval with exact coverage. A
    bootstrap of 3 to 10 seeds does not cover, and the count of positive seeds has k + 1 values only.

    Args:
        values: the differences of at least two seeds, which are not all equal.

    Source: the criterion of Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021.

    Example:
        >>> probability, (low, high) = probability_of_improvement([0.01, 0.02, 0.03])
        >>> round(probability, 3), round(low, 3), round(high, 3)
        (0.977, 0.444, 1.0)
    """
    array = np.asarray(values, dtype=float)
    root, ratio = np.sqrt(len(array)), float(array.mean() / array.std(ddof=1))
    # T = (Z + shift) / S with Z standard normal, so P(T ≤ t) is the mean of Φ(t S - shift) over S.
    scales, weights = _scales(len(array) - 1)
    observed = root * ratio * scales

    def bound(probability: float) -> float:
        def excess(shift: float) -> float:
            return float(weights @ special.ndtr(observed - shift)) - probability

        shift = optimize.brentq(excess, observed.min() - 9, observed.max() + 9)  # Φ(±9) is 1 or 0 in float64
        return float(special.ndtr(shift / root))

    return float(special.ndtr(ratio)), (bound(1 - LEVEL / 2), bound(LEVEL / 2))


def equivalence_p(values: npt.ArrayLike, margin: float = MARGIN) -> float:
    """Return the p value of two one-sided t tests: small if the expected difference is within ± ``margin``.

    Args:
        values: the differences of at least two seeds, which are not all equal.
        margin: in the unit of the differences.

    Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.

    Example:
        >>> round(equivalence_p([0.001, -0.002, 0.0005, 0.001, -0.001]), 5), round(equivalence_p([0.02, 0.03]), 2)
        (4e-05, 0.9)
    """
    low = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    high = stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(low, high))


def least_p(seeds: int) -> float:
    """Return the smallest p value of the sign-flip test with k seeds: 2 of the 2^k sign patterns.

    Example:
        >>> least_p(3), least_p(6)
        (0.25, 0.03125)
    """
    # With drawn patterns, scipy counts the observed one too: p is at least 2 / (number of draws + 1).
    patterns = 2**seeds if 2**seeds <= _FLIPS else _FLIPS + 1
    return min(1.0, 2 / patterns)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values by Holm's procedure; None is not part of the family.

    Example:
        >>> [p and round(p, 3) for p in holm([0.01, None, 0.04])]
        [0.02, None, 0.04]
    """
    # Untestable comparisons (None) do not count towards the size of the family.
    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1] if known else ())
    return [None if p is None else float(next(adjusted)) for p in p_values]


@lru_cache(maxsize=1024)
def detectable_factor(seeds: int, level: float, power: float = POWER) -> float:
    """Return the smallest detectable difference in units of the standard deviation of the differences.

    The factor c solves P(|T| > t(1 - level/2; k - 1)) = power, where T = (Z + √k c S) / S' is the t statistic of a
    repetition with k new seeds: Z is standard normal; S and S' are the standard deviations of this study and of the
    repetition, relative to the true one, independent, with k - 1 degrees of freedom.

    Args:
        seeds: k, at least 2.
        level: two-sided level of the t test.
        power: the probability of finding the difference.

    Raises:
        ValueError: fewer than two seeds.

    Example:
        >>> [round(detectable_factor(k, 0.05), 2) for k in (3, 5, 10)]
        [5.06, 2.09, 1.1]
    """
    if seeds < 2:
        raise ValueError(f"seeds: expected at least 2, got {seeds}; one seed has no standard deviation")
    # The power increases with the factor, so doubling brackets the root for Brent's method.
    upper = 1.0
    while repeated_power(seeds, level, upper) < power:
        upper *= 2
    return float(optimize.brentq(lambda c: repeated_power(seeds, level, c) - power, 0.0, upper, rtol=1e-10))


def repeated_power(seeds: int, level: float, factor: float) -> float:
    """Return the power of a repetition for a difference of ``factor`` times the estimated standard deviation."""
    freedom = seeds - 1
    scales, weights = _scales(freedom)
    # Rows: nodes of S (this study); columns: nodes of S' (the repetition).
    threshold = stats.t.isf(level / 2, freedom) * scales[None, :]
    shift = np.sqrt(seeds) * factor * scales[:, None]
    # P(|Z + √k c S| > t S') for fixed S and S', from the normal distribution of Z.
    probability = special.ndtr(shift - threshold) + special.ndtr(-shift - threshold)
    return float(weights @ probability @ weights)


@lru_cache(maxsize=64)
def _scales(freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values of S and their weights: Gauss-Legendre nodes in the probability of χ²."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    # leggauss integrates over [-1, 1]; (x + 1) / 2 maps it to probabilities in [0, 1].
    return np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom), weights / 2


def _sign_flip(values: np.ndarray) -> float:
    """Return the p value of the mean if each difference could have had either sign with equal probability."""
    # Exact for up to log2(_FLIPS) = 16 seeds; the fixed generator makes drawn patterns reproducible.
    options = {"permutation_type": "samples", "n_resamples": _FLIPS, "vectorized": True, "rng": 0}
    return float(stats.permutation_test((values,), np.mean, **options).pvalue)


def _hedges(values: np.ndarray) -> float | None:
    """Return d_z · Γ(f/2) / (√(f/2) Γ((f - 1)/2)) with f = k - 1, which is unbiased; it requires f > 1."""
    half = (len(values) - 1) / 2
    if half < 1:
        return None
    correction = np.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / np.sqrt(half)
    return float(correction * values.mean() / values.std(ddof=1))
