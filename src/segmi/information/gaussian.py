"""Information quantities of Gaussian vectors, computed from their covariance matrices.

A *joint* covariance is of (X, Y) stacked: the first ``split`` variables are X, the others Y. The upper left block of
its Cholesky factor is the factor of the covariance of X, the lower right block the factor of the conditional covariance
of Y given X, so nothing is inverted or subtracted. Leading dimensions are a batch. Results are in nats unless ``base``
is given. Use float64 if the device has it: the conditional covariance of a good predictor is below the resolution of
float32.

``check=False`` skips the checks of values, which synchronize a GPU; a matrix that is not positive definite then gives
NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmi.information._checks import covariance, in_base, split_of


def conditional_cholesky(joint: Tensor, split: int, *, check: bool = True) -> Tensor:
    """Return the Cholesky factor of the covariance of Y given X.

    ``L Lᵀ = Σ_yy - Σ_yx Σ_xx⁻¹ Σ_xy``, the lower right block of the factor of the joint matrix

    Shapes: joint …×D×D, symmetric, positive definite; the result is …×(D-split)×(D-split), lower triangular.
    Unit: the unit of Y; ``2 Σ log`` of its diagonal is the log-determinant of the conditional covariance.
    Source: Golub and Van Loan, *Matrix Computations*, block Cholesky factorization and the Schur complement.
    Example:
        >>> conditional_cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]), split=1)  # 5 - 2·2/4 = 4
        tensor([[2.]])
    """
    joint = covariance(joint, "joint", check=check)
    split = split_of(joint.shape[-1], split)
    return _cholesky(joint, "joint", check)[..., split:, split:]


def gaussian_entropy(matrix: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the differential entropy of a Gaussian vector.

    ``h(X) = ½ log det(2πe Σ)``  (Cover and Thomas, Theorem 8.4.1)

    Shapes: matrix …×D×D covariance, symmetric, positive definite; the result is ….
    Unit and sign: nats, of either sign; the maximum over all distributions with this covariance.
    Example:
        >>> gaussian_entropy(torch.eye(2) / (2 * torch.pi * torch.e))
        tensor(0.)
    """
    factor = _cholesky(covariance(matrix, "matrix", check=check), "matrix", check)
    return in_base(_entropy_of_factor(factor), base)


def gaussian_conditional_entropy(joint: Tensor, split: int, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the differential entropy of Y given X, for jointly Gaussian (X, Y).

    ``h(Y|X) = ½ log det[2πe (Σ_yy - Σ_yx Σ_xx⁻¹ Σ_xy)]``

    Shapes: joint …×D×D covariance of (X, Y), X the first ``split`` variables; the result is ….
    Unit and sign: nats, of either sign, at most ``h(Y)``.
    Source: Cover and Thomas, *Elements of Information Theory*, 2nd edition, chapter 8.
    Example:
        >>> joint = torch.tensor([[1.0, 0.6], [0.6, 1.0]]) / (2 * torch.pi * torch.e)
        >>> gaussian_conditional_entropy(joint, split=1)  # log √(1 - 0.6²)
        tensor(-0.2231)
    """
    return in_base(_entropy_of_factor(conditional_cholesky(joint, split, check=check)), base)


def gaussian_mutual_information(joint: Tensor, split: int, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the mutual information of two jointly Gaussian vectors.

    ``I(X; Y) = h(Y) - h(Y|X) = ½ log [det Σ_xx det Σ_yy / det Σ] = -½ Σ_i log(1 - ρ_i²)``, ρ the canonical correlations

    Shapes: joint …×D×D covariance of (X, Y), X the first ``split`` variables; the result is ….
    Unit and sign: nats, at least 0 up to rounding; invariant to invertible linear maps of X and Y. For other
        distributions it measures linear dependence only.
    Source: Gelfand and Yaglom, *Calculation of the amount of information about a random function*, 1957; Cover and
        Thomas, *Elements of Information Theory*, 2nd edition, chapter 8.
    Example:
        >>> gaussian_mutual_information(torch.tensor([[1.0, 0.6], [0.6, 1.0]]), split=1)  # -log √(1 - 0.6²)
        tensor(0.2231)
    """
    conditional = conditional_cholesky(joint, split, check=check)
    joint = covariance(joint, "joint", check=False)
    # h(Y) - h(Y|X) as a difference of log-diagonals
    marginal = _cholesky(joint[..., split:, split:], "joint", check)
    return in_base((_log_diagonal(marginal) - _log_diagonal(conditional)).sum(-1), base)


def canonical_correlations(joint: Tensor, split: int, *, check: bool = True) -> Tensor:
    """Return the canonical correlations of X and Y.

    ``ρ_i = σ_i(L_x⁻¹ Σ_xy L_y⁻ᵀ)``, ``Σ_xx = L_x L_xᵀ``, ``Σ_yy = L_y L_yᵀ``

    Shapes: joint …×D×D covariance of (X, Y), X the first ``split`` variables; the result is …×min(split, D-split).
    Unit and sign: none; between 0 and 1, in descending order.
    Source: Hotelling, *Relations between two sets of variates*, Biometrika 28, 1936.
    Example:
        >>> canonical_correlations(torch.tensor([[4.0, -0.6], [-0.6, 0.25]]), split=1)
        tensor([0.6000])
    """
    joint = covariance(joint, "joint", check=check)
    split = split_of(joint.shape[-1], split)
    # the joint matrix is factored, not X's block alone, for its check: positive definite means ρ < 1
    factor = _cholesky(joint, "joint", check)[..., :split, :split]
    other = _cholesky(joint[..., split:, split:], "joint", check)
    # whitened cross-covariance L_x⁻¹ Σ_xy L_y⁻ᵀ by two triangular solves
    half = torch.linalg.solve_triangular(factor, joint[..., :split, split:], upper=False)
    whitened = torch.linalg.solve_triangular(other, half.mT, upper=False)
    return torch.linalg.svdvals(whitened).clamp(max=1)


def _cholesky(matrix: Tensor, name: str, check: bool) -> Tensor:
    factor, failed_at = torch.linalg.cholesky_ex(matrix)
    if check and bool(failed_at.any()):
        count = int((failed_at != 0).sum())
        raise ValueError(
            f"{name}: expected positive definite matrices, got {count} of {failed_at.numel()} that are not, to the "
            f"precision of {matrix.dtype}; compute in float64, add a ridge, or drop dependent variables"
        )
    # NaN for matrices that are not positive definite, without a synchronization
    return torch.where((failed_at == 0)[..., None, None], factor, math.nan)


def _log_diagonal(factor: Tensor) -> Tensor:
    return torch.log(factor.diagonal(dim1=-2, dim2=-1))


def _entropy_of_factor(factor: Tensor) -> Tensor:
    return (_log_diagonal(factor) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
