"""What stands in for region mutual information: other functions of the same covariances of the same windows.

Each takes away one thing that makes the original what it is. With P and Y the centered windows of prediction and label
and a ridge r, all of them ask how far Y lies from BP; they differ in the matrix B and in how a size is made of what is
left:

- B is free in the original, diagonal in ``own_pixel``, the identity in ``error_determinant`` and ``log_mse``;
- the size is the volume of the residuals, that of a box around them (``diagonal``), or their mean square (``log_mse``).

The others do away with the logarithm (``cca_trace``), with whitening (``cka``), or with regression
(``covariance_matching``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from segmi.information import gaussian_entropy
from segmi.losses.rmi.config import RMIConfig

FELT_BY_ABSENT_CLASSES: Final = frozenset({"error_determinant", "log_mse", "covariance_matching"})
"""Those that pull at the map of a class whose label does not vary; all others are constant there."""


class Moments(NamedTuple):
    """The covariances of m pairs of maps, or the sums of products that they are made from.

    Args:
        pp, yp, yy: m×d×d.
        ridge: m.
        left: m×d×d, what the regression of Y on P leaves, its ridge and that of Y included: M + rI.
        windows: how many windows the sums are over; 1 for covariances, which are means already.
    """

    pp: Tensor
    yp: Tensor
    yy: Tensor
    ridge: Tensor
    left: Tensor
    windows: int

    @classmethod
    def of(cls, covariance: Tensor, ridge: Tensor, factor: Tensor, windows: int) -> Moments:
        """Read off the m×2d×2d covariance of (P, Y) and the Cholesky factor of ``left``."""
        d = covariance.shape[-1] // 2
        p, y = slice(0, d), slice(d, 2 * d)
        blocks = covariance[:, p, p], covariance[:, y, p], covariance[:, y, y]
        return cls(*blocks, ridge, factor @ factor.mT, windows)

    def of_constant(self) -> Moments:
        """What they were if the prediction did not vary."""
        nothing = torch.zeros_like(self.pp)
        return self._replace(pp=nothing, yp=nothing, left=self.ridged(self.yy))

    def ridged(self, matrix: Tensor, times: int = 1) -> Tensor:
        """The matrix with so many ridges on its diagonal."""
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return matrix + times * self.ridge[:, None, None] * eye

    @property
    def error(self) -> Tensor:
        """m×d×d, that of Y - P."""
        return self.yy - self.yp - self.yp.mT + self.pp


def surrogate_terms(moments: Moments, config: RMIConfig) -> Tensor:
    """The m terms of `RMIConfig.quantity`, times d; in the mode ``corrected`` less the value of a constant prediction."""
    quantity = _QUANTITIES[config.quantity]
    return quantity(moments) if config.variant == "published" else quantity(moments) - quantity(moments.of_constant())


def half_log_determinant(covariance: Tensor) -> Tensor:
    """½ log det of m×d×d; NaN where it is not positive definite."""
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
    norms = (torch.linalg.matrix_norm(moments.ridged(matrix)) for matrix in (moments.yy, moments.pp))
    return -moments.yp.shape[-1] * moments.yp.square().sum((-2, -1)) / math.prod(norms)


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
