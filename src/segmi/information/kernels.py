"""Dependence from kernel matrices of the samples of X and of Y.

A *kernel matrix* is n×n, symmetric and positive semi-definite: entry (i, j) is the similarity of samples i and j.
Leading dimensions are a batch. It has ``O(n²)`` memory: sample about a thousand pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.information._checks import in_base, real


def gaussian_kernel(x: Tensor, *, width: float | None = None) -> Tensor:
    """Return the Gaussian kernel matrix of samples.

    ``K_ij = exp(-‖x_i - x_j‖² / 2σ²)``

    Shapes:
        x: …×n×D; the result is …×n×n.
        width: σ, above 0; default: the median distance of different samples.
    Unit and sign: none, in (0, 1], 1 on the diagonal.
    Source: Gretton et al., *A Kernel Two-Sample Test*, JMLR 13, 2012, section 8, for the median.
    Example:
        >>> gaussian_kernel(torch.tensor([[0.0], [1.0]]), width=1.0)
        tensor([[1.0000, 0.6065],
                [0.6065, 1.0000]])
    """
    x = real(x, "x", instead="convert it with .float()")
    if x.ndim < 2 or x.shape[-2] < 2:
        raise ValueError(f"x: expected samples …×n×D with n ≥ 2, got shape {tuple(x.shape)}")
    if width is not None and not width > 0:
        raise ValueError(f"width: expected a number above 0, or None for the median distance, got {width!r}")
    # from differences: expanding the square cancels for close samples
    squared = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    if width is not None:
        variance = squared.new_tensor(width**2)
    else:
        upper = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)
        variance = squared.detach()[..., upper].median(-1).values[..., None, None]
        variance = variance.where(variance > 0, 1.0)  # half of the samples are equal
    return torch.exp(-squared / (2 * variance))


def hilbert_schmidt_independence(kernel_x: Tensor, kernel_y: Tensor, *, unbiased: bool = False) -> Tensor:
    """Return the Hilbert–Schmidt independence criterion (HSIC), the squared norm of the covariance of all features.

    ``tr(K H L H) / (n - 1)²``, ``H = I - 1/n``; unbiased:
    ``[tr(K̃ L̃) + 1ᵀK̃1 1ᵀL̃1 / ((n-1)(n-2)) - 2/(n-2) 1ᵀK̃L̃1] / (n (n-3))``, K̃ and L̃ with zeros on the diagonal

    Assumes independent samples. With Gaussian kernels it is 0 only for independent variables. It has no unit, so values
    of different kernels cannot be compared. The biased form is above 0 for independent variables, by ``O(1/n)``.

    Shapes: kernel_x, kernel_y …×n×n, see `gaussian_kernel`; the result is ….
    Unit and sign: the unit of both kernels; at least 0, unless unbiased.
    Raises: TypeError, ValueError for invalid tensors, or fewer than two samples, four for the unbiased form.
    Source: Gretton, Bousquet, Smola and Schölkopf, *Measuring Statistical Dependence with Hilbert-Schmidt Norms*, ALT
        2005; Song, Smola, Gretton, Bedo and Borgwardt, *Feature Selection via Dependence Maximization*, JMLR 13, 2012,
        eq. 5.
    Example:
        >>> kernel = gaussian_kernel(torch.tensor([[0.0], [1.0], [2.0]]), width=1.0)
        >>> hilbert_schmidt_independence(kernel, torch.ones(3, 3)).abs() < 1e-7  # Y constant
        tensor(True)
    """
    k, m = _kernels(kernel_x, kernel_y, least=4 if unbiased else 2)
    n = k.shape[-1]
    if not unbiased:
        return (_centered(k) * m).sum((-2, -1)) / (n - 1) ** 2
    k, m = (kernel - torch.diag_embed(kernel.diagonal(dim1=-2, dim2=-1)) for kernel in (k, m))
    sums = k.sum((-2, -1)) * m.sum((-2, -1)) / ((n - 1) * (n - 2))
    # 1ᵀK̃L̃1 as a product of row sums
    crossed = 2 / (n - 2) * (k.sum(-1) * m.sum(-1)).sum(-1)
    return ((k * m).sum((-2, -1)) + sums - crossed) / (n * (n - 3))


def renyi_matrix_entropy(kernel: Tensor, *, order: float = 2.0, base: float | None = None) -> Tensor:
    """Return the Rényi entropy of the eigenvalues of a kernel matrix, scaled to trace 1.

    ``S_α(A) = log tr(A^α) / (1 - α)``, ``A = K / tr K``; ``-log ‖A‖_F²`` for α = 2, the limit for α = 1

    An analog of entropy, not an estimate of it: the width of the kernel determines the value, from 0 (all samples
    similar) to ``log n`` (all dissimilar).

    Shapes:
        kernel: …×n×n; the result is ….
        order: α, above 0.
    Unit and sign: nats, between 0 and ``log n``.
    Source: Sánchez Giraldo, Rao and Príncipe, *Measures of Entropy from Data Using Infinitely Divisible Kernels*, IEEE
        Trans. Inf. Theory 61(1), 2015.
    Example:
        >>> renyi_matrix_entropy(torch.eye(8), base=2)
        tensor(3.)
    """
    (k,) = _kernels(kernel, least=1)
    if not order > 0:
        raise ValueError(f"order: expected a number above 0, got {order!r}; 2 needs no eigenvalues")
    a = k / k.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    if order == 2:
        return in_base(-a.square().sum((-2, -1)).log(), base)
    # rounding can make small eigenvalues negative
    eigenvalues = torch.linalg.eigvalsh(a).clamp_min(0)
    if order == 1:
        return in_base(-torch.xlogy(eigenvalues, eigenvalues).sum(-1), base)
    return in_base(eigenvalues.pow(order).sum(-1).log() / (1 - order), base)


def renyi_matrix_mutual_information(
    kernel_x: Tensor, kernel_y: Tensor, *, order: float = 2.0, base: float | None = None
) -> Tensor:
    """Return the mutual information of two kernel matrices by `renyi_matrix_entropy`.

    ``I_α(A; B) = S_α(A) + S_α(B) - S_α(A ∘ B / tr(A ∘ B))``, ∘ elementwise

    An analog of mutual information, not an estimate of it, see `renyi_matrix_entropy`.

    Shapes:
        kernel_x, kernel_y: …×n×n with equal diagonals, as Gaussian kernels; the result is ….
        order: α, above 0.
    Unit and sign: nats, at least 0 and at most the smaller of the two entropies for such kernels.
    Source: Yu, Sánchez Giraldo, Jenssen and Príncipe, *Multivariate Extension of Matrix-Based Rényi's α-Order Entropy
        Functional*, IEEE TPAMI 42(11), 2020.
    Example:
        >>> renyi_matrix_mutual_information(torch.eye(8), torch.ones(8, 8))  # Y constant
        tensor(0.)
    """
    a, b = _kernels(kernel_x, kernel_y, least=1)
    # the product of kernels is the kernel of pairs
    entropies = [renyi_matrix_entropy(kernel, order=order, base=base) for kernel in (a, b, a * b)]
    return entropies[0] + entropies[1] - entropies[2]


def _centered(kernel: Tensor) -> Tensor:
    # ``H K H``
    rows = kernel - kernel.mean(-1, keepdim=True)
    return rows - rows.mean(-2, keepdim=True)


def _kernels(*kernels: Tensor, least: int) -> list[Tensor]:
    checked = [real(kernel, "kernel", instead="convert it with .float()") for kernel in kernels]
    for kernel in checked:
        fits = kernel.ndim >= 2 and kernel.shape[-2:] == (checked[0].shape[-1],) * 2
        if not fits or kernel.shape[-1] < least:
            raise ValueError(
                f"expected kernel matrices …×n×n of the same n ≥ {least}, got {[tuple(k.shape) for k in checked]}; "
                "gaussian_kernel makes them from samples"
            )
    return checked
