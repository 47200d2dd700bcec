"""Entropies and mutual information of joint tables, and their estimates from counts."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from segmi.information._checks import distribution, in_base
from segmi.information.discrete.distributions import entropy, log_or_zero, log_ratio

Correction = Literal["none", "miller_madow", "grassberger"]


def joint_entropy(table: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the entropy of the pair (X, Y).

    ``H(X, Y) = -Σ_xy p(x, y) log p(x, y)``  (Cover and Thomas, eq. 2.8)

    Shapes: table …×X×Y joint probabilities; the result is ….
    Unit and sign: nats, between ``max(H(X), H(Y))`` and ``H(X) + H(Y)``.
    Example:
        >>> joint_entropy(torch.full((2, 2), 1 / 4), base=2)
        tensor(2.)
    """
    table = distribution(table, "table", dims=(-2, -1), check=check)
    return entropy(table.flatten(-2), base=base, check=False)


def conditional_entropy(
    table: Tensor, *, given: Literal["rows", "columns"] = "rows", base: float | None = None, check: bool = True
) -> Tensor:
    """Return the entropy of one variable given the other.

    ``H(Y|X) = -Σ_xy p(x, y) log p(y|x)``  (Cover and Thomas, eq. 2.10–2.13), or ``H(X|Y)`` for ``given="columns"``

    Shapes: table …×X×Y joint probabilities; the result is ….
    Unit and sign: nats, between 0 (Y is a function of X) and ``H(Y)`` (independent).
    Example:
        >>> table = torch.tensor([[0.25, 0.25], [0.0, 0.5]])
        >>> conditional_entropy(table, base=2)  # half of the time X says nothing, half of the time everything
        tensor(0.5000)
    """
    if given not in ("rows", "columns"):
        raise ValueError(f"given: expected 'rows' (X) or 'columns' (Y), got {given!r}")
    table = distribution(table, "table", dims=(-2, -1), check=check)
    # marginal of the condition, broadcast over the other variable
    known = table.sum(-1 if given == "rows" else -2, keepdim=True)
    return in_base(0 - (table * log_ratio(table, known)).sum((-2, -1)), base)


def mutual_information(table: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the mutual information of two variables.

    ``I(X; Y) = Σ_xy p(x, y) log [p(x, y) / (p(x) p(y))]``  (Cover and Thomas, eq. 2.28)

    Shapes: table …×X×Y joint probabilities; the result is ….
    Unit and sign: nats, between 0 (independent) and ``min(H(X), H(Y))``, up to rounding.
    Example:
        >>> mutual_information(torch.eye(4) / 4, base=2)  # a bijection of four equally probable classes
        tensor(2.)
    """
    table = distribution(table, "table", dims=(-2, -1), check=check)
    # a sum of logs, since the product of two small marginals underflows
    independent = log_or_zero(table.sum(-1, keepdim=True)) + log_or_zero(table.sum(-2, keepdim=True))
    ratio = log_or_zero(table) - torch.where(table > 0, independent, 0.0)
    return in_base((table * ratio).sum((-2, -1)), base)


def conditional_mutual_information(table: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the mutual information of two variables given a third.

    ``I(X; Y|Z) = Σ_zxy p(z, x, y) log [p(z, x, y) p(z) / (p(z, x) p(z, y))]``  (Cover and Thomas, eq. 2.60–2.61)

    Shapes: table …×Z×X×Y joint probabilities, the condition first; the result is ….
    Unit and sign: nats, at least 0 up to rounding; 0 if X and Y are independent given Z. It may be smaller or larger
        than ``I(X; Y)``.
    Example:
        >>> table = torch.tensor([[[0.25, 0.0], [0.0, 0.25]], [[0.0, 0.25], [0.25, 0.0]]])  # Z is whether Y = X
        >>> conditional_mutual_information(table, base=2), mutual_information(table.sum(0), base=2)
        (tensor(1.), tensor(0.))
    """
    table = distribution(table, "table", dims=(-3, -2, -1), check=check)
    rows, columns = table.sum(-1, keepdim=True), table.sum(-2, keepdim=True)
    known = table.sum((-2, -1), keepdim=True)
    # log p(z,x) + log p(z,y) - log p(z)
    expected = log_or_zero(rows) + log_or_zero(columns) - log_or_zero(known)
    ratio = log_or_zero(table) - torch.where(table > 0, expected, 0.0)
    return in_base((table * ratio).sum((-3, -2, -1)), base)


def log_determinant_mutual_information(table: Tensor, *, check: bool = True) -> Tensor:
    """Return the logarithm of determinant-based mutual information.

    ``log DMI(X; Y) = log |det Q|`` for a square table; ``½ log det(Q_r Q_rᵀ)`` over the rows r that are present

    Rows of probability 0 are left out. A noise channel T on X, ``Q̃ = Tᵀ Q``, adds the constant ``log |det T|`` and
    leaves the gradient unchanged: the reason for its use under label noise that depends on the class only.

    Shapes: table …×X×Y joint probabilities, X ≤ Y; the result is ….
    Unit and sign: none; at most 0; -∞ with an infinite gradient if the present rows are linearly dependent (for example
        independent variables); 0 without any row. Values of different numbers of classes cannot be compared.
    Source: Xu, Cao, Kong and Wang, *L_DMI: A Novel Information-theoretic Loss Function for Training Deep Nets Robust to
        Label Noise*, NeurIPS 2019, with the absent classes left out.
    Example:
        >>> log_determinant_mutual_information(torch.tensor([[0.5, 0.0], [0.25, 0.25]]))  # log(1/8)
        tensor(-2.0794)
    """
    table = distribution(table, "table", dims=(-2, -1), check=check)
    if table.shape[-2] > table.shape[-1]:
        raise ValueError(f"table: expected no more rows than columns, got shape {tuple(table.shape)}; transpose it")
    present = table.sum(-1) > 0
    # normalized rows avoid underflow; an absent row gets a separate direction of length 1
    mass = table.sum(-1, keepdim=True).where(present[..., None], 1.0)
    extra = torch.diag_embed((~present).to(table.dtype))
    # |det| of a square matrix is the product of |diag R|
    triangle = torch.linalg.qr(torch.cat([table / mass, extra], -1).mT).R
    return (triangle.diagonal(dim1=-2, dim2=-1).abs().log() + mass[..., 0].log()).sum(-1)


def empirical_distribution(counts: Tensor, *, dims: int | tuple[int, ...] = -1) -> Tensor:
    """Return relative frequencies of counts.

    ``p = n / Σ n``

    Shapes:
        counts: any shape, integer or float; the result has the same shape.
        dims: the dimensions to sum over: ``-1`` for distributions, ``(-2, -1)`` for tables.
    Unit: probabilities, in float64 for integer counts (float32 on MPS).
    Example:
        >>> empirical_distribution(torch.tensor([[4, 0], [1, 3]]), dims=(-2, -1))
        tensor([[0.5000, 0.0000],
                [0.1250, 0.3750]], dtype=torch.float64)
    """
    if not counts.is_floating_point():
        counts = counts.to(torch.float32 if counts.device.type == "mps" else torch.float64)
    if not bool(((counts >= 0) & counts.isfinite()).all()):
        raise ValueError("counts: expected finite counts, all at least 0; negative or non-finite ones came")
    # n per distribution or table
    totals = counts.sum(dims, keepdim=True)
    if not bool((totals > 0).all()):
        raise ValueError(f"counts: expected something to be counted over dimension(s) {dims}, got a sum of 0")
    return counts / totals


def entropy_of_counts(
    counts: Tensor, *, correction: Correction = "miller_madow", dim: int = -1, base: float | None = None
) -> Tensor:
    """Return an estimate of the entropy of the distribution that counts were drawn from.

    ``none``, the plug-in: ``Ĥ = -Σ_x (n_x/n) log (n_x/n)``; ``miller_madow``: ``Ĥ + (K - 1) / 2n``, K observed
    outcomes; ``grassberger``: ``ψ(n) - 1/n Σ_x n_x G(n_x)``, ``G(k) = ψ(k) + ½ (-1)^k [ψ((k+1)/2) - ψ(k/2)]``

    Assumes n independent draws. The plug-in is too small by ``(C - 1) / 2n`` to first order for C possible outcomes;
    both corrections remove this if all were observed often. Neighboring pixels are dependent, so their bias is larger.

    Shapes: counts counts along ``dim``, integer or float; the result lacks that dimension.
    Unit and sign: nats, at least 0; a corrected value may exceed ``log C``.
    Source: Miller, *Note on the bias of information estimates*, 1955; Grassberger, *Entropy Estimates from Insufficient
        Samplings*, 2003, as Schürmann, *Bias analysis in entropy estimation*, J. Phys. A 37, 2004, has it for a fixed
        n.
    Example:
        >>> entropy_of_counts(torch.tensor([5, 5]), base=2, correction="none")
        tensor(1., dtype=torch.float64)
    """
    if correction not in get_args(Correction):
        raise ValueError(f"correction: expected one of {', '.join(get_args(Correction))}, got {correction!r}")
    p = empirical_distribution(counts, dims=dim)
    n = counts.sum(dim).to(p.dtype)
    if correction == "grassberger":
        k = counts.to(p.dtype)
        return in_base(torch.digamma(n) - (k * _grassberger(k)).sum(dim) / n, base)
    # Miller–Madow adds (observed outcomes - 1) / 2n
    plug_in = entropy(p, dim=dim, check=False)
    return in_base(plug_in if correction == "none" else plug_in + ((counts > 0).sum(dim) - 1) / (2 * n), base)


def mutual_information_of_counts(
    counts: Tensor, *, correction: Correction = "miller_madow", base: float | None = None
) -> Tensor:
    """Return an estimate of the mutual information of the distribution that a table of counts was drawn from.

    ``Î = Ĥ(X) + Ĥ(Y) - Ĥ(X, Y)`` with `entropy_of_counts`; for ``miller_madow``
    ``Î_plug-in + (K_x + K_y - K_xy - 1) / 2n``, K the observed rows, columns and cells

    Assumes n independent draws. The plug-in is too large by ``(X - 1)(Y - 1) / 2n`` to first order for independent
    variables, and by more for maps of pixels.

    Shapes: counts …×X×Y, integer or float; the result is ….
    Unit and sign: nats; the plug-in at least 0 up to rounding, a corrected value of either sign.
    Source: Miller, *Note on the bias of information estimates*, 1955; Panzeri and Treves, *Analytical estimates of
        limited sampling biases in different information measures*, 1996.
    Example:
        >>> mutual_information_of_counts(torch.tensor([[30, 10], [10, 30]]), base=2)
        tensor(0.1797, dtype=torch.float64)
    """
    if counts.ndim < 2:
        raise ValueError(f"counts: expected tables …×X×Y, got shape {tuple(counts.shape)}")
    rows, columns, cells = (
        entropy_of_counts(sums, correction=correction, base=base)
        for sums in (counts.sum(-1), counts.sum(-2), counts.flatten(-2))
    )
    return rows + columns - cells


def _grassberger(k: Tensor) -> Tensor:
    # ``G(k)`` of integers k, with ``G(0) = 0``
    seen = k.where(k > 0, 1.0)
    sign = 1 - 2 * (seen % 2)
    step = torch.digamma((seen + 1) / 2) - torch.digamma(seen / 2)
    return torch.where(k > 0, torch.digamma(seen) + sign * step / 2, 0.0)
