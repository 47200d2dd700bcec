"""Of counts: relative frequencies, and what is known of the law behind them."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from segmi.information._checks import in_base
from segmi.information.discrete.distributions import entropy

Correction = Literal["none", "miller_madow", "grassberger"]


def empirical_distribution(counts: Tensor, *, dims: int | tuple[int, ...] = -1) -> Tensor:
    """Relative frequencies of counts.

    ``p = n / Σ n``

    Shapes:
        counts: any shape, integer or float; the result has the same.
        dims: what is summed over: ``-1`` for distributions, ``(-2, -1)`` for tables.

    Unit: probabilities, in float64 (float32 on devices without it) for integer counts.

    Raises:
        ValueError: a negative or non-finite count, or nothing counted.

    Example:
        >>> empirical_distribution(torch.tensor([[4, 0], [1, 3]]), dims=(-2, -1))
        tensor([[0.5000, 0.0000],
                [0.1250, 0.3750]], dtype=torch.float64)
    """
    if not counts.is_floating_point():
        counts = counts.to(torch.float32 if counts.device.type == "mps" else torch.float64)
    if not bool(((counts >= 0) & counts.isfinite()).all()):
        raise ValueError("counts: expected finite counts, all at least 0; negative or non-finite ones came")
    totals = counts.sum(dims, keepdim=True)
    if not bool((totals > 0).all()):
        raise ValueError(f"counts: expected something to be counted over dimension(s) {dims}, got a sum of 0")
    return counts / totals


def entropy_of_counts(
    counts: Tensor, *, correction: Correction = "miller_madow", dim: int = -1, base: float | None = None
) -> Tensor:
    """The entropy of the distribution that counts were drawn from.

    ``Ĥ = -Σ_x (n_x/n) log (n_x/n)`` (``none``, the plug-in), ``Ĥ + (K - 1) / 2n`` with K outcomes seen
    (``miller_madow``), or ``ψ(n) - 1/n Σ_x n_x G(n_x)`` (``grassberger``) with
    ``G(k) = ψ(k) + ½ (-1)^k [ψ((k+1)/2) - ψ(k/2)]``

    Assumes n independent draws. The plug-in is too small by ``(C - 1) / 2n`` to first order, C the outcomes that are
    possible; both corrections remove that where all were seen often, and Grassberger's most of the rest. Neighboring
    pixels are not independent draws: their bias is that of fewer.

    Shapes:
        counts: counts along ``dim``, integer or float; the result lacks that dimension.

    Unit and sign: nats, at least 0; a corrected value may exceed ``log C``.

    Raises:
        ValueError: a negative or non-finite count, nothing counted, an unknown correction, or an impossible ``base``.

    Source: Miller, *Note on the bias of information estimates*, 1955; Grassberger, *Entropy Estimates from Insufficient
    Samplings*, 2003, as Schürmann, *Bias analysis in entropy estimation*, J. Phys. A 37, 2004, has it for a fixed n.

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
    plug_in = entropy(p, dim=dim, check=False)
    return in_base(plug_in if correction == "none" else plug_in + ((counts > 0).sum(dim) - 1) / (2 * n), base)


def mutual_information_of_counts(
    counts: Tensor, *, correction: Correction = "miller_madow", base: float | None = None
) -> Tensor:
    """The mutual information of the law that a table of counts was drawn from.

    ``Î = Ĥ(X) + Ĥ(Y) - Ĥ(X, Y)`` with the entropies of `entropy_of_counts`; for ``miller_madow``
    ``Î_plug-in + (K_x + K_y - K_xy - 1) / 2n``, K the rows, columns and cells that were seen

    Assumes n independent draws. The plug-in of independent variables is too large by ``(X - 1)(Y - 1) / 2n`` to first
    order. For maps of pixels it is too large by more.

    Shapes:
        counts: …×X×Y, integer or float; the result is ….

    Unit and sign: nats; the plug-in at least 0 up to rounding, a corrected value of either sign.

    Raises:
        ValueError: a negative or non-finite count, nothing counted, an unknown correction, or an impossible ``base``.

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
    """``G(k)`` of whole numbers k, and 0 at 0."""
    seen = k.where(k > 0, 1.0)
    sign = 1 - 2 * (seen % 2)
    step = torch.digamma((seen + 1) / 2) - torch.digamma(seen / 2)
    return torch.where(k > 0, torch.digamma(seen) + sign * step / 2, 0.0)
