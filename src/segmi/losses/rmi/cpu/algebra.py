"""Term, I_G and derivative of one map from the moments of its windows; small dense matrices."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from segmi.losses.compiled.runtime import allocating, compiled

LOG_MSE: Final = 2  # number of the quantity, see `_compare`
_JITTERS = 6  # as `segmi.losses.rmi.covariances.factor_with_jitter`


@compiled
def varies(first: Any, count: int) -> bool:
    """Return whether any position of the label window takes both values; sums of zeros and ones are exact."""
    d = len(first) // 2
    result = False
    for i in range(d, 2 * d):
        result = result or 0.0 < first[i] < count
    return result


@allocating
def solve(
    first: Any, second: Any, count: int, published: bool, ridge: float, quantity: Any, counted: bool,
    coefficients: Any, offsets: Any,
) -> tuple[float, float, int]:  # fmt: skip
    """Return the term and I_G of one map, and 1 if its covariance had to be jittered, else 0.

    With the joint covariance and its ridge factored as L Lᵀ, the last block of L is a factor of M + αI (eq. 14), so
    ½ log det(M + αI) is the sum of the logarithms of its pivots. NaN if factoring fails.

    Args:
        first, second: Σ x and the lower triangle of Σ x xᵀ, x = (P, Y), of ``count`` windows.
        published: whether ``ridge`` is α, added to sums; else it is relative to the mean variance of the label.
        quantity: 0 for region mutual information, else the number of an ablation, see `_compare`; None for 0, without
            compiling the others.
        counted: whether the label varies; else I_G is 0.
        coefficients, offsets: receive K (d×2d) and k₀; the derivative of the term by P_i is ``K (P_i, Y_i) - k₀``.
    """
    side = len(first)
    d = side // 2
    scale = 1.0 if published else 1.0 / count  # sums as published, else means
    matrix = np.zeros((side, side))
    variance = 0.0
    for i in range(side):
        for j in range(i + 1):
            matrix[i, j] = scale * (second[i, j] - first[i] * (first[j] / count))  # centered, lower triangle
        if i >= d:
            variance += matrix[i, i]
    if not published:
        ridge = ridge * variance / d  # ε
    term, nats, jittered, derive, compared = 0.0, 0.0, 0, True, 0.0
    if quantity is not None:
        derive = quantity == 0
        if not derive:
            compared = _compare(matrix, ridge, quantity, published, scale, count, coefficients)
    if counted:
        term, nats, jittered = _inform(matrix, ridge, derive, published, scale, coefficients)
    for i in range(d):
        offsets[i] = 0.0
        for k in range(side):
            offsets[i] += coefficients[i, k] * first[k] / count
    return (term if derive else compared), nats, jittered


@allocating
def _inform(
    matrix: Any, ridge: float, derive: bool, published: bool, scale: float, coefficients: Any
) -> tuple[float, float, int]:
    """Return region mutual information, I_G and whether there was a jitter; write K if ``derive``.

    The ridge is added to the ``matrix``, the joint covariance.
    """
    side = len(matrix)
    d = side // 2
    for i in range(side):
        matrix[i, i] += ridge
    lower, labels = np.zeros((side, side)), np.zeros((d, d))
    jittered, possible = _factor_with_jitter(matrix, lower)
    if not (_factor(matrix[d:, d:], labels) and possible):
        if derive:
            coefficients[:] = np.nan
        return np.nan, np.nan, jittered
    weighted = np.zeros(d)  # derivative of log(pivot + 1e-8) over the derivative of log(pivot)
    remaining, whole, term = 0.0, 0.0, 0.0
    for i in range(d):
        pivot = lower[d + i, d + i]
        remaining += math.log(pivot)
        whole += math.log(labels[i, i])
        term += math.log(pivot + 1e-8)
        weighted[i] = pivot / (pivot + 1e-8) if published else 1.0
    if derive:
        _derive(lower, weighted, scale, coefficients)
    nats = whole - remaining  # I_G
    return (term if published else -nats), nats, jittered


@allocating
def _compare(
    matrix: Any, ridge: float, quantity: int, published: bool, scale: float, count: float, coefficients: Any
) -> float:
    """Return the term of an ablation without regression, and write its K; see `segmi.losses.rmi.covariances`.

    1 is ``error_determinant``, 2 ``log_mse``, 3 ``covariance_matching``. With the covariance S of the errors Y - P, the
    derivative by P is ``W (P - Y)``, W = (S + 2rI)⁻¹ or the inverse of its mean diagonal. If not ``published``, the
    term of a constant prediction is subtracted.
    """
    d = len(matrix) // 2
    errors, labels, lower, inverse = np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    windows = count if published else 1.0
    total, trace, constant = 0.0, 2.0 * ridge, 2.0 * ridge
    coefficients[:] = 0.0
    for i in range(d):
        for j in range(d):
            p, y = matrix[max(i, j), min(i, j)], matrix[d + max(i, j), d + min(i, j)]
            errors[i, j], labels[i, j] = p + y - matrix[d + i, j] - matrix[d + j, i], y
            if quantity == 3:
                total += (p - y) ** 2 + (matrix[d + i, j] - y) ** 2 - (0.0 if published else 2.0 * y**2)
                coefficients[i, j] = 4.0 * d * scale * (p - y) / windows**2
                coefficients[i, d + j] = 2.0 * d * scale * (matrix[d + j, i] - y) / windows**2
        trace += errors[i, i] / d
        constant += labels[i, i] / d
        errors[i, i] += 2.0 * ridge
        labels[i, i] += 2.0 * ridge
    if quantity == 3:
        return d * total / windows**2
    term = 0.5 * d * (math.log(trace) - (0.0 if published else math.log(constant)))
    if quantity == 1:
        term = _half_log_determinant(errors, lower)
        _invert(lower, inverse)
        errors = _product_of_transposed(inverse, inverse)
        if not published:
            term -= _half_log_determinant(labels, lower)
    for i in range(d):
        for j in range(d):
            weight = errors[i, j] if quantity == 1 else (1.0 / trace if i == j else 0.0)
            coefficients[i, j] = scale * weight
            coefficients[i, d + j] = -scale * weight
    return term


@compiled
def _half_log_determinant(matrix: Any, lower: Any) -> float:
    """Write the Cholesky factor and return the sum of the logarithms of its pivots, or NaN if it does not exist."""
    if not _factor(matrix, lower):
        lower[:] = np.nan
    result = 0.0
    for i in range(len(lower)):
        result += math.log(lower[i, i])
    return result


@allocating
def _derive(lower: Any, weighted: Any, scale: float, coefficients: Any) -> None:
    """Write K = ``BᵀWB P - BᵀW Y`` as coefficients of (P, Y), B = S_yp (S_pp + αI)⁻¹, W = L⁻ᵀ diag(weighted) L⁻¹.

    This is -Bᵀ W E for the residuals E = Y - BP.
    """
    d = len(weighted)
    inverse_p, inverse_m = np.zeros((d, d)), np.zeros((d, d))
    _invert(lower[:d, :d], inverse_p)
    _invert(lower[d:, d:], inverse_m)  # L⁻¹ of M + αI
    regression = _product(lower[d:, :d], inverse_p)  # B
    halves = _product(inverse_m, regression)  # L⁻¹ B
    # Loops, since Numba compiles expressions of whole arrays ten times more slowly.
    for i in range(d):
        for j in range(d):
            inverse_m[i, j] *= scale * weighted[i]
    residual = _product_of_transposed(halves, inverse_m)  # BᵀW
    predicted = _product(residual, regression)
    for i in range(d):
        for j in range(d):
            coefficients[i, j] = predicted[i, j]
            coefficients[i, d + j] = -residual[i, j]


@compiled
def _factor_with_jitter(matrix: Any, lower: Any) -> tuple[int, bool]:
    """Return whether a jitter had to be added to the diagonal, and whether there is a factor."""
    if _factor(matrix, lower):
        return 0, True
    trace = 0.0
    for i in range(len(matrix)):
        trace += matrix[i, i]
    scale = abs(trace) / len(matrix)
    for step in range(_JITTERS):
        for i in range(len(matrix)):
            matrix[i, i] += scale * 1e-14 * 100.0**step
        if _factor(matrix, lower):
            return 1, True
    return 1, False


@compiled
def _factor(matrix: Any, out: Any) -> bool:
    """Write the lower Cholesky factor of a matrix given by its lower triangle; return False if it does not exist."""
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= out[i, k] * out[j, k]
            if i > j:
                out[i, j] = rest / out[j, j]
            elif rest > 0.0:
                out[i, i] = math.sqrt(rest)
            else:
                return False
    return True


@compiled
def _invert(lower: Any, out: Any) -> None:
    """Write the inverse of a lower triangular matrix."""
    for j in range(len(lower)):
        out[j, j] = 1.0 / lower[j, j]
        for i in range(j + 1, len(lower)):
            rest = 0.0
            for k in range(j, i):
                rest -= lower[i, k] * out[k, j]
            out[i, j] = rest / lower[i, i]


@allocating
def _product(a: Any, b: Any) -> Any:
    result = np.zeros((len(a), b.shape[1]))
    for i in range(len(a)):
        for k in range(len(b)):
            for j in range(b.shape[1]):
                result[i, j] += a[i, k] * b[k, j]
    return result


@allocating
def _product_of_transposed(a: Any, b: Any) -> Any:
    result = np.zeros((a.shape[1], b.shape[1]))
    for k in range(len(a)):
        for i in range(a.shape[1]):
            for j in range(b.shape[1]):
                result[i, j] += a[k, i] * b[k, j]
    return result


def compile_entries() -> None:
    """Compile the entry points with the ablations of `_compare`, or load them from the cache."""
    from segmi.losses.rmi import cpu

    cpu.compile_entries(quantity="log_mse")
