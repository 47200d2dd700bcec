"""From covariances of windows to terms, I_G and derivatives.

With P and Y the centered windows of prediction and label (d = R² values each), S their covariances and r a ridge, the
joint covariance factors as ``S + rI = L Lᵀ``. The last d×d block of L is a factor of ``M + rI``, the covariance of the
residuals of the best linear regression ``B P`` of Y (eq. 14). Its inverse W gives the derivative of the term with
respect to the windows in closed form, ``-Bᵀ W (Y - B P)``.

`terms_of` is differentiated by autograd and has all quantities. `solve` uses the closed form and has only the
information. Neither synchronizes with a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from segmi.information import conditional_cholesky, gaussian_entropy
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import is_readable

_FIRST_JITTER: Final = 1e-14  # times the mean of the diagonal
_JITTER_GROWTH: Final = 100.0
_JITTERS: Final = 6
_PUBLISHED_FLOOR: Final = 1e-8  # added to the diagonal of the factor in its logarithm by the published code


def terms_of(sums: Tensor, counts: Tensor, config: RMIConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return terms and I_G of m pairs, and which pairs were jittered (m bool); terms are differentiable.

    ``sums`` are the m×2d×2d centered sums of products over ``counts`` (m) windows.
    """
    d, published = config.dimension, config.variant == "published"
    windows = counts.to(sums.dtype)
    covariance = sums if published else sums / windows.view(-1, 1, 1)  # published: sums, not means (eq. 14)
    ridge = torch.full_like(windows, config.alpha)
    if not published:
        ridge = config.relative_ridge * covariance[:, d:, d:].diagonal(dim1=-2, dim2=-1).mean(-1).detach()
    ridged = covariance + torch.diag_embed(ridge[:, None].expand(sums.shape[:2]))
    factor, jittered = factor_with_jitter(ridged, d)  # m×d×d, a factor of M + rI
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    remaining = torch.log(diagonal).sum(-1)  # ½ log det(M + rI)
    nats = half_log_determinant(ridged[:, d:, d:].detach()) - remaining
    if config.quantity != "information":
        divisor = windows if published else torch.ones_like(windows)
        terms = ablation_terms(Moments.of(covariance, ridge, factor, divisor), config)
    else:
        terms = torch.log(diagonal + _PUBLISHED_FLOOR).sum(-1) if published else -nats
    return terms, nats.detach(), jittered


def value_and_derivative(sums: Tensor, counts: int | Tensor, config: RMIConfig) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return terms and I_G of m pairs, K (m×d×2d), and the number of jittered pairs; see `terms_of`.

    The derivative of a term with respect to the window P_i is ``K (P_i, Y_i)``, both centered.
    """
    sums = sums.detach().requires_grad_()
    with torch.enable_grad():
        terms, nats, jittered = terms_of(sums, torch.as_tensor(counts).expand(len(sums)), config)
        derivative = torch.autograd.grad(terms.sum(), sums)[0]
    return terms.detach(), nats, (derivative + derivative.mT)[:, : config.dimension], int(jittered.sum())


def skipped_value(config: RMIConfig) -> float:
    """Return the term of a pair whose label does not vary, unless `moves_absent_classes`: of covariances of 0."""
    if config.quantity == "information" or config.variant == "corrected":
        return config.absent_value
    if config.quantity in ("cca_trace", "cka", "covariance_matching"):
        return 0.0
    ridge = (2 if config.quantity in ("error_determinant", "log_mse") else 1) * config.alpha
    return config.dimension / 2 * math.log(ridge)


def moves_absent_classes(config: RMIConfig) -> bool:
    """Return whether the map of a class whose label does not vary has a gradient."""
    return (
        config.quantity in MOVES_ABSENT_CLASSES
        and config.variant == "published"
        and config.class_reduction != "present"
    )


def factor_with_jitter(ridged: Tensor, split: int) -> tuple[Tensor, Tensor]:
    """Return `conditional_cholesky` with the least jitter that suffices, and which matrices needed one (m bool).

    The jitter starts at 1e-14 of the mean of the diagonal and grows a hundredfold, six times. A matrix that still
    fails, or contains NaN, gives NaN.
    """
    jitter, jittered = _jitter(ridged.detach())
    eye = torch.eye(ridged.shape[-1], dtype=ridged.dtype, device=ridged.device)
    return conditional_cholesky(ridged + jitter[:, None, None] * eye, split, check=False), jittered


@torch.no_grad()
def _jitter(ridged: Tensor) -> tuple[Tensor, Tensor]:
    """Return what must be added to the diagonals of matrices to factor them (m), and where it is not 0 (m bool)."""
    finite = ridged.isfinite().flatten(1).all(1)  # NaN cannot be repaired by a jitter
    mean = ridged.diagonal(dim1=-2, dim2=-1).mean(-1).abs()
    eye = torch.eye(ridged.shape[-1], dtype=ridged.dtype, device=ridged.device)
    jitter = torch.zeros_like(mean)
    jittered = failed = finite & (torch.linalg.cholesky_ex(ridged).info != 0)
    for step in range(_JITTERS):
        # reading `failed` would synchronize with a GPU, so there all steps are executed
        if is_readable(failed) and not failed.any():
            break
        jitter = jitter + torch.where(failed, mean * (_FIRST_JITTER * _JITTER_GROWTH**step), 0)
        failed = failed & (torch.linalg.cholesky_ex(ridged + jitter[:, None, None] * eye).info != 0)
    return jitter, jittered


class Solution(NamedTuple):
    """Result of `solve` for m maps.

    Args:
        terms: m, the loss times d.
        information: m, I_G in nats.
        coefficients: m×d×2d, K.
        offsets: m×d, k₀; the derivative of the term with respect to the window P_i is ``K (P_i, Y_i) - k₀``.
        jittered: m bool, which covariances needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    coefficients: Tensor
    offsets: Tensor
    jittered: Tensor


@torch.no_grad()
def solve(sums: Tensor, means: Tensor, counts: Tensor, *, published: bool, ridge: float) -> Solution:
    """Return terms of m maps and their derivatives, NaN for a covariance that cannot be factored.

    Args:
        sums: m×2d×2d, ``Σ x xᵀ - n m mᵀ`` over the windows x = (P, Y).
        means: m×2d.
        counts: m, the numbers n of windows, at least 1.
        published: whether ``ridge`` is α, added to sums; else sums are divided by n, and the ridge is relative to the
            mean variance of the label window.
        ridge: see ``published``.

    Shapes:
        sums: m×2d×2d, float64; means: m×2d; counts: m.
    """
    d = sums.shape[-1] // 2
    scale = torch.ones_like(counts, dtype=sums.dtype) if published else 1 / counts.to(sums.dtype)
    ridged = sums * scale[:, None, None]
    diagonal = ridged.diagonal(dim1=-2, dim2=-1)
    diagonal += ridge if published else ridge * diagonal[:, d:].mean(-1, keepdim=True)
    possible, _ = torch.linalg.cholesky_ex(ridged[:, d:, d:])  # a factor of S_yy + rI
    jitter, jittered = _jitter(ridged)
    diagonal += jitter[:, None]
    lower, failed = torch.linalg.cholesky_ex(ridged)
    lower = torch.where((failed != 0)[:, None, None], torch.nan, lower)
    pivots = lower[:, d:, d:].diagonal(dim1=-2, dim2=-1)  # m×d, of the factor of M + rI
    remaining = pivots.log().sum(-1)
    information = possible.diagonal(dim1=-2, dim2=-1).log().sum(-1) - remaining
    regression = torch.linalg.solve_triangular(lower[:, :d, :d], lower[:, d:, :d], upper=False, left=False)  # B
    eye = torch.eye(d, dtype=sums.dtype, device=sums.device)
    inverse = torch.linalg.solve_triangular(lower[:, d:, d:], eye.expand(len(sums), d, d), upper=False)
    # The derivative of Σ log(pivot + floor) by M is ½ L⁻ᵀ diag(pivot / (pivot + floor)) L⁻¹, up to symmetry.
    weighted = inverse * (pivots / (pivots + _PUBLISHED_FLOOR))[:, :, None] if published else inverse
    by_label = regression.mT @ (inverse.mT @ weighted) * scale[:, None, None]  # Bᵀ W
    coefficients = torch.cat([by_label @ regression, -by_label], -1)
    offsets = (coefficients @ means[:, :, None])[..., 0]  # k₀ = K (mean of P, mean of Y)
    terms = (pivots + _PUBLISHED_FLOOR).log().sum(-1) if published else -information
    return Solution(terms, information, coefficients, offsets, jittered)


# --- ablations: other functions of the same covariances
#
# With a ridge r, all measure how far Y is from BP; they differ in the matrix B (free in region mutual information,
# diagonal in `own_pixel`, the identity in `error_determinant` and `log_mse`) and in the size of the residuals (their
# volume, the volume of a box around them in `diagonal`, their mean square in `log_mse`). `cca_trace` replaces the
# logarithm, `cka` whitening, `covariance_matching` regression.

MOVES_ABSENT_CLASSES: Final = frozenset({"error_determinant", "log_mse", "covariance_matching"})


class Moments(NamedTuple):
    """Covariances of m pairs of maps, or the sums of products.

    Args:
        pp, yp, yy: m×d×d.
        ridge: m.
        left: m×d×d, M + rI, the covariance of the residuals of the regression of Y on P.
        windows: () or m, the number of windows that are summed; 1 for covariances, which are means.
    """

    pp: Tensor
    yp: Tensor
    yy: Tensor
    ridge: Tensor
    left: Tensor
    windows: Tensor

    @classmethod
    def of(cls, covariance: Tensor, ridge: Tensor, factor: Tensor, windows: Tensor) -> Moments:
        """Return the moments of an m×2d×2d covariance of (P, Y); ``factor`` is the Cholesky factor of ``left``."""
        d = covariance.shape[-1] // 2
        p, y = slice(0, d), slice(d, 2 * d)
        blocks = covariance[:, p, p], covariance[:, y, p], covariance[:, y, y]
        return cls(*blocks, ridge, factor @ factor.mT, windows)

    def of_constant(self) -> Moments:
        """Return the moments of a constant prediction."""
        nothing = torch.zeros_like(self.pp)
        return self._replace(pp=nothing, yp=nothing, left=self.ridged(self.yy))

    def ridged(self, matrix: Tensor, times: int = 1) -> Tensor:
        """Return the matrix with ``times`` ridges on its diagonal."""
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return matrix + times * self.ridge[:, None, None] * eye

    @property
    def error(self) -> Tensor:
        """m×d×d, the covariance of Y - P."""
        return self.yy - self.yp - self.yp.mT + self.pp


def ablation_terms(moments: Moments, config: RMIConfig) -> Tensor:
    """Return the m terms of `RMIConfig.quantity`, times d.

    For the variant ``corrected`` the value of a constant prediction is subtracted.
    """
    quantity = _QUANTITIES[config.quantity]
    return quantity(moments) if config.variant == "published" else quantity(moments) - quantity(moments.of_constant())


def half_log_determinant(covariance: Tensor) -> Tensor:
    """Return ½ log det of m×d×d matrices; NaN where one is not positive definite."""
    return gaussian_entropy(covariance, check=False) - covariance.shape[-1] / 2 * math.log(2 * math.pi * math.e)


def _diagonal(moments: Moments) -> Tensor:
    return 0.5 * moments.left.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _own_pixel(moments: Moments) -> Tensor:
    of_yp, of_pp = (block.diagonal(dim1=-2, dim2=-1) for block in (moments.yp, moments.pp))
    slope = of_yp / (of_pp + moments.ridge[:, None])
    fitted = slope[:, :, None] * moments.yp.mT  # DS_py
    spread = slope[:, :, None] * moments.ridged(moments.pp) * slope[:, None, :]
    return half_log_determinant(moments.ridged(moments.yy - fitted - fitted.mT + spread))


def _error_determinant(moments: Moments) -> Tensor:
    return half_log_determinant(moments.ridged(moments.error, times=2))


def _log_mse(moments: Moments) -> Tensor:
    squares = moments.ridged(moments.error, times=2).diagonal(dim1=-2, dim2=-1)
    return 0.5 * squares.shape[-1] * squares.mean(-1).log()


def _cca_trace(moments: Moments) -> Tensor:
    # (S_yy + rI) - (M + rI) = S_yp (S_pp + rI)⁻¹ S_ypᵀ
    unexplained, _ = torch.linalg.solve_ex(moments.ridged(moments.yy), moments.left)
    return -0.5 * (unexplained.shape[-1] - unexplained.diagonal(dim1=-2, dim2=-1).sum(-1))


def _cka(moments: Moments) -> Tensor:
    y_norm, p_norm = (torch.linalg.matrix_norm(moments.ridged(matrix)) for matrix in (moments.yy, moments.pp))
    return -moments.yp.shape[-1] * moments.yp.square().sum((-2, -1)) / (y_norm * p_norm)


def _covariance_matching(moments: Moments) -> Tensor:
    apart = (moments.pp - moments.yy).square() + (moments.yp - moments.yy).square()
    return apart.shape[-1] * apart.sum((-2, -1)) / moments.windows**2


_QUANTITIES: Final[dict[str, Callable[[Moments], Tensor]]] = {
    "diagonal": _diagonal,
    "own_pixel": _own_pixel,
    "error_determinant": _error_determinant,
    "log_mse": _log_mse,
    "cca_trace": _cca_trace,
    "cka": _cka,
    "covariance_matching": _covariance_matching,
}
