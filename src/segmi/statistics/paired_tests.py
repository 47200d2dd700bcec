"""What the paired differences of a few seeds say: a t test, the exact sign-flip test beside it, and an effect size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

LEVEL: Final = 0.05
"""Chance of a false alarm that is accepted, over all comparisons of a family together; intervals are at 1 - LEVEL."""

_FLIPS: Final = 2**16
"""Up to so many sign patterns are gone through exactly; beyond, as many are drawn."""

_NO_SPREAD: Final = 1e-12
"""Scores are fractions of counts: differences closer than this differ by rounding alone."""


@dataclass(frozen=True)
class Difference:
    """The seeds' differences in a few numbers; those that cannot be had from so few seeds are None.

    Args:
        n: how many seeds.
        mean: their mean; NaN without any.
        sd: their standard deviation (n - 1).
        interval: the mean's t interval at 1 - `LEVEL`.
        p: of the paired t test, two-sided, n - 1 degrees of freedom.
        p_flip: of the exact sign-flip test, two-sided.
        effect: Cohen's d_z = mean / sd with Hedges' correction for few seeds; from three seeds on.
    """

    n: int
    mean: float
    sd: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_flip: float | None = None
    effect: float | None = None


def describe_differences(differences: npt.ArrayLike) -> Difference:
    """What k paired differences say about the difference that is expected over retraining.

    One seed gives its difference and nothing else: a single value has no spread, so nothing says how much of it another
    seed would leave. The same holds of seeds that all give the same difference: they repeat one another.

    Shapes:
        differences: one value per seed.

    Unit and sign: that of the scores; positive where the method scores higher than what it is compared with.

    Raises:
        ValueError: not one-dimensional, or a value that is not finite.

    Example:
        >>> found = describe_differences([0.01, 0.02, 0.03])
        >>> round(found.mean, 3), round(found.p, 4), found.p_flip
        (0.02, 0.0742, 0.25)
        >>> describe_differences([0.01]).p is None
        True
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"differences: expected one finite value per seed, got {values}; leave out what is missing")
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return Difference(len(values), mean)
    if float(np.ptp(values)) <= _NO_SPREAD:
        return Difference(len(values), mean, 0.0)
    tested = stats.ttest_1samp(values, 0.0)
    low, high = tested.confidence_interval(1 - LEVEL)
    return Difference(
        n=len(values),
        mean=mean,
        sd=float(values.std(ddof=1)),
        interval=(float(low), float(high)),
        p=float(tested.pvalue),
        p_flip=_sign_flip(values),
        effect=_hedges(values),
    )


def least_p(seeds: int) -> float:
    """The smallest p that the sign-flip test can reach with so many seeds: 2 of the 2^k sign patterns.

    Example:
        >>> least_p(3), least_p(6)
        (0.25, 0.03125)
    """
    patterns = 2**seeds if 2**seeds <= _FLIPS else _FLIPS + 1
    return min(1.0, 2 / patterns)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values over those that are there.

    Example:
        >>> [p and round(p, 3) for p in holm([0.01, None, 0.04])]
        [0.02, None, 0.04]
    """
    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1] if known else ())
    return [None if p is None else float(next(adjusted)) for p in p_values]


def _sign_flip(values: np.ndarray) -> float:
    """If nothing differed, each seed's difference could as well have had the other sign."""
    result = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=_FLIPS, vectorized=True, rng=0
    )
    return float(result.pvalue)


def _hedges(values: np.ndarray) -> float | None:
    """d_z · Γ(f/2) / (√(f/2) Γ((f - 1)/2)) with f = k - 1, which makes it unbiased; it needs f > 1."""
    freedom = len(values) - 1
    if freedom < 2:
        return None
    correction = np.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    return float(correction * values.mean() / values.std(ddof=1))
