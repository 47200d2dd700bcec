"""What the covariances of the windows of many maps say, all at once and without waiting for a GPU.

With the joint covariance of (P, Y) and its ridge factored as ``L Lᵀ``, the last block of L is a factor of M + αI, the
covariance that the best linear regression ``B P`` of Y leaves. Its inverse W gives the derivative of the term by the
windows in closed form, ``-Bᵀ W (Y - B P)``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

_FIRST_JITTER: Final = 1e-14
_JITTER_GROWTH: Final = 100.0
_JITTERS: Final = 6
"""As `segmi.losses.rmi.torch.factor_with_jitter`."""

_PUBLISHED_FLOOR: Final = 1e-8
"""Added to the diagonal of the factor in its logarithm by the published code."""


class Solution(NamedTuple):
    """What `solve` finds for m maps.

    Args:
        terms: m, what is minimized, before the division by d.
        information: m, I_G in nats.
        coefficients: m×d×2d, K.
        offsets: m×d, k₀: the derivative of the term by the window P_i is ``K (P_i, Y_i) - k₀``.
        jittered: m bool, which covariances needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    coefficients: Tensor
    offsets: Tensor
    jittered: Tensor


@torch.no_grad()
def solve(sums: Tensor, means: Tensor, counts: Tensor, *, reference: bool, ridge: float) -> Solution:
    """Terms of m maps and their derivatives.

    A covariance that cannot be factored, or holds NaN, gives NaN.

    Args:
        sums: m×2d×2d, ``Σ x xᵀ - n m mᵀ`` over the windows x = (P, Y).
        means: m×2d.
        counts: m, the numbers n of windows, at least 1.
        reference: whether ``ridge`` is α, added to sums; else sums are divided by n, and the ridge is relative to the
            mean variance of the label window.
        ridge: see ``published``.

    Shapes:
        sums: m×2d×2d, float64; means: m×2d; counts: m.
    """
    d = sums.shape[-1] // 2
    scale = torch.ones_like(counts, dtype=sums.dtype) if reference else 1 / counts.to(sums.dtype)
    ridged = sums * scale[:, None, None]
    diagonal = ridged.diagonal(dim1=-2, dim2=-1)
    diagonal += ridge if reference else ridge * diagonal[:, d:].mean(-1, keepdim=True)
    lower, jittered = _factor(ridged)
    possible, _ = torch.linalg.cholesky_ex(ridged[:, d:, d:])
    pivots = lower[:, d:, d:].diagonal(dim1=-2, dim2=-1)
    remaining = pivots.log().sum(-1)
    information = possible.diagonal(dim1=-2, dim2=-1).log().sum(-1) - remaining
    regression = torch.linalg.solve_triangular(lower[:, :d, :d], lower[:, d:, :d], upper=False, left=False)  # B
    eye = torch.eye(d, dtype=sums.dtype, device=sums.device)
    inverse = torch.linalg.solve_triangular(lower[:, d:, d:], eye.expand(len(sums), d, d), upper=False)
    # The derivative of Σ log(pivot + floor) by M is ½ L⁻ᵀ diag(pivot / (pivot + floor)) L⁻¹, up to symmetry.
    weighted = inverse * (pivots / (pivots + _PUBLISHED_FLOOR))[:, :, None] if reference else inverse
    by_label = regression.mT @ (inverse.mT @ weighted) * scale[:, None, None]  # Bᵀ W
    coefficients = torch.cat([by_label @ regression, -by_label], -1)
    offsets = (coefficients @ means[:, :, None])[..., 0]
    terms = (pivots + _PUBLISHED_FLOOR).log().sum(-1) if reference else -information
    return Solution(terms, information, coefficients, offsets, jittered)


def _factor(ridged: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors, with growing jitters where there is none, and which matrices those are."""
    lower, info = torch.linalg.cholesky_ex(ridged)
    finite = ridged.isfinite().flatten(1).all(1)
    jittered = failed = finite & (info != 0)
    mean = ridged.diagonal(dim1=-2, dim2=-1).mean(-1).abs()
    for step in range(_JITTERS):
        # To look whether any failed would make a GPU wait, so there the steps are taken whether needed or not.
        if failed.device.type == "cpu" and not failed.any():
            break
        jitter = failed * mean * (_FIRST_JITTER * _JITTER_GROWTH**step)
        ridged = ridged + torch.diag_embed(jitter[:, None].expand(ridged.shape[:2]))
        again, info = torch.linalg.cholesky_ex(ridged)
        lower = torch.where(failed[:, None, None], again, lower)
        failed = failed & (info != 0)
    return torch.where((failed | ~finite)[:, None, None], torch.nan, lower), jittered
