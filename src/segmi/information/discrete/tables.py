"""Of joint tables."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segmi.information._checks import distribution, in_base
from segmi.information.discrete._logs import log_or_zero, log_ratio
from segmi.information.discrete.distributions import entropy


def joint_entropy(table: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """The entropy of the pair (X, Y).

    ``H(X, Y) = -Σ_xy p(x, y) log p(x, y)``  (2.8)

    Shapes:
        table: …×X×Y joint probabilities; the result is ….

    Unit and sign: nats, between ``max(H(X), H(Y))`` and ``H(X) + H(Y)``.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, fewer than two dimensions, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.8.

    Example:
        >>> joint_entropy(torch.full((2, 2), 1 / 4), base=2)
        tensor(2.)
    """
    table = distribution(table, "table", dims=(-2, -1), check=check)
    return entropy(table.flatten(-2), base=base, check=False)


def conditional_entropy(
    table: Tensor, *, given: Literal["rows", "columns"] = "rows", base: float | None = None, check: bool = True
) -> Tensor:
    """The entropy that is left of one variable when the other is known.

    ``H(Y|X) = -Σ_xy p(x, y) log p(y|x)``  (2.10–2.13), with ``given="columns"`` the same of X when Y is known

    Shapes:
        table: …×X×Y joint probabilities; the result is ….

    Unit and sign: nats, between 0 (Y is a function of X) and ``H(Y)`` (independent).

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, fewer than two dimensions, an unknown ``given``, or an
            impossible ``base``.

    Source: Cover and Thomas, eq. 2.10–2.13.

    Example:
        >>> table = torch.tensor([[0.25, 0.25], [0.0, 0.5]])
        >>> conditional_entropy(table, base=2)  # half of the time X says nothing, half of the time everything
        tensor(0.5000)
    """
    if given not in ("rows", "columns"):
        raise ValueError(f"given: expected 'rows' (X) or 'columns' (Y), got {given!r}")
    table = distribution(table, "table", dims=(-2, -1), check=check)
    known = table.sum(-1 if given == "rows" else -2, keepdim=True)
    return in_base(0 - (table * log_ratio(table, known)).sum((-2, -1)), base)


def mutual_information(table: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """How much two variables tell about each other.

    ``I(X; Y) = Σ_xy p(x, y) log [p(x, y) / (p(x) p(y))]``  (2.28)

    Shapes:
        table: …×X×Y joint probabilities; the result is ….

    Unit and sign: nats, between 0 (independent) and ``min(H(X), H(Y))``, up to rounding.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, fewer than two dimensions, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.28.

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
    """How much two variables tell about each other when a third is known.

    ``I(X; Y|Z) = Σ_zxy p(z, x, y) log [p(z, x, y) p(z) / (p(z, x) p(z, y))]``  (2.60–2.61)

    Shapes:
        table: …×Z×X×Y joint probabilities, what is known first; the result is ….

    Unit and sign: nats, at least 0 up to rounding; 0 where X and Y are independent at every z. It may be smaller than
    ``I(X; Y)``, and larger.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, fewer than three dimensions, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.60–2.61.

    Example:
        >>> table = torch.tensor([[[0.25, 0.0], [0.0, 0.25]], [[0.0, 0.25], [0.25, 0.0]]])  # Z tells whether Y = X
        >>> conditional_mutual_information(table, base=2), mutual_information(table.sum(0), base=2)
        (tensor(1.), tensor(0.))
    """
    table = distribution(table, "table", dims=(-3, -2, -1), check=check)
    rows, columns = table.sum(-1, keepdim=True), table.sum(-2, keepdim=True)
    known = table.sum((-2, -1), keepdim=True)
    expected = log_or_zero(rows) + log_or_zero(columns) - log_or_zero(known)
    ratio = log_or_zero(table) - torch.where(table > 0, expected, 0.0)
    return in_base((table * ratio).sum((-3, -2, -1)), base)


def log_determinant_mutual_information(table: Tensor, *, check: bool = True) -> Tensor:
    """The logarithm of determinant-based mutual information: how much volume is left of the simplex of labels.

    ``log DMI(X; Y) = log |det Q|`` for a square table; ``½ log det(Q_r Q_rᵀ)`` over the rows r that are present

    Rows of probability 0 are left out; where none is and the table is square, both formulas are one. A channel T on X,
    ``Q̃ = Tᵀ Q``, shifts the value by the constant ``log |det T|`` and so changes no gradient: the reason for its use
    under label noise that depends on the label alone.

    Shapes:
        table: …×X×Y joint probabilities, X ≤ Y; the result is ….

    Unit and sign: none; at most 0; -∞ where the present rows are linearly dependent (Y independent of X, for one), and
    its gradient is infinite there; 0 where no row is present. Smaller by orders for more classes: values for different
    numbers of classes do not compare. Permuting the columns leaves it.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, fewer than two dimensions, or more rows than columns.

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
    # normalized rows keep the triangle away from underflow; an absent row gets a direction of its own, of length 1
    mass = table.sum(-1, keepdim=True).where(present[..., None], 1.0)
    extra = torch.diag_embed((~present).to(table.dtype))
    triangle = torch.linalg.qr(torch.cat([table / mass, extra], -1).mT).R
    return (triangle.diagonal(dim1=-2, dim2=-1).abs().log() + mass[..., 0].log()).sum(-1)
