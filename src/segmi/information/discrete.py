"""Information quantities of discrete distributions and of joint tables, on plain tensors.

A *distribution* holds probabilities along one dimension, ``dim``; a *table* holds the joint probabilities of (X, Y) in
its last two dimensions, X along the rows, Y along the columns. All other dimensions are a batch. Results are in nats
unless ``base`` is given, in float32 for half-precision input. ``0 log 0 = 0``, and a cell of probability 0 contributes
no gradient of its own, where the true one-sided derivative is infinite. ``check=False`` leaves out the checks of the
values, each of which makes a GPU wait.

Source of the definitions: Cover and Thomas, *Elements of Information Theory*, 2nd edition, chapter 2 (the equation
numbers below are theirs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segmi.information._checks import distribution, in_base, real


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


def self_information(probabilities: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """The surprise at an event of known probability.

    ``i(x) = -log p(x)``

    Shapes:
        probabilities: any shape; the result has the same.

    Unit and sign: nats, at least 0; infinite at probability 0.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: a value outside [0, 1], or an impossible ``base``.

    Source: Shannon, *A Mathematical Theory of Communication*, 1948.

    Example:
        >>> self_information(torch.tensor([1.0, 0.5, 0.125]), base=2)
        tensor([0., 1., 3.])
    """
    p = real(probabilities, "probabilities", instead="pass probabilities, not counts")
    if check and not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError(
            f"probabilities: expected values in [0, 1], got {p.min().item():g} to {p.max().item():g}; "
            "apply softmax or sigmoid to logits"
        )
    return in_base(0 - torch.log(p), base)


def entropy(p: Tensor, *, dim: int = -1, base: float | None = None, check: bool = True) -> Tensor:
    """The mean self-information of a distribution.

    ``H(X) = -Σ_x p(x) log p(x)``  (2.1)

    Shapes:
        p: probabilities along ``dim``; the result lacks that dimension.

    Unit and sign: nats, between 0 (one certain outcome) and ``log C`` (uniform over C outcomes).

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: negative entries, sums other than 1, no outcome, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.1.

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]), base=2)
        tensor([1.0000, 1.5000])
    """
    p = distribution(p, "p", dims=dim, check=check)
    return in_base(0 - (p * _log_or_zero(p)).sum(dim), base)


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
    return in_base(0 - (table * _log_ratio(table, known)).sum((-2, -1)), base)


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
    independent = _log_or_zero(table.sum(-1, keepdim=True)) + _log_or_zero(table.sum(-2, keepdim=True))
    ratio = _log_or_zero(table) - torch.where(table > 0, independent, 0.0)
    return in_base((table * ratio).sum((-2, -1)), base)


def kl_divergence(p: Tensor, q: Tensor, *, dim: int = -1, base: float | None = None, check: bool = True) -> Tensor:
    """The Kullback–Leibler divergence of ``q`` from ``p``, also called relative entropy.

    ``KL(p ‖ q) = Σ_x p(x) log [p(x) / q(x)]``  (2.26)

    Shapes:
        p, q: probabilities along ``dim``, equally many; the other dimensions broadcast. The result lacks ``dim``.

    Unit and sign: nats, at least 0 up to rounding; 0 where p = q; infinite where q is 0 and p is not. Not symmetric.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: negative entries, sums other than 1, shapes that do not fit, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.26.

    Example:
        >>> kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]), base=2)
        tensor(2.)
    """
    p = distribution(p, "p", dims=dim, check=check)
    q = distribution(q, "q", dims=dim, check=check)
    _same_outcomes(p, q, dim)
    return in_base((p * _log_ratio(p, q)).sum(dim), base)


def kl_divergence_of_logs(log_p: Tensor, log_q: Tensor, *, dim: int = -1, base: float | None = None) -> Tensor:
    """The Kullback–Leibler divergence from log-probabilities, which does not underflow: what training uses.

    ``KL(p ‖ q) = Σ_x p(x) [log p(x) - log q(x)]``  (2.26)

    Shapes:
        log_p, log_q: natural log-probabilities along ``dim`` (as log_softmax gives them), equally many; the other
            dimensions broadcast. The result lacks ``dim``. That they are normalised is not checked.

    Unit and sign: nats, at least 0 up to rounding; 0 where p = q.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: shapes that do not fit, or an impossible ``base``.

    Source: Cover and Thomas, eq. 2.26.

    Example:
        >>> log_p = torch.tensor([200.0, 0.0]).log_softmax(-1)
        >>> kl_divergence_of_logs(log_p, log_p.flip(-1))
        tensor(200.)
    """
    log_p = real(log_p, "log_p", instead="pass log-probabilities")
    log_q = real(log_q, "log_q", instead="pass log-probabilities")
    _same_outcomes(log_p, log_q, dim)
    p = log_p.exp()
    return in_base((p * torch.where(p > 0, log_p - log_q, 0.0)).sum(dim), base)


def jensen_shannon_divergence(
    *distributions: Tensor,
    weights: Sequence[float] | None = None,
    dim: int = -1,
    base: float | None = None,
    check: bool = True,
) -> Tensor:
    """How far two or more distributions stand from their mixture.

    ``JSD_w(p_1, …, p_K) = Σ_k w_k KL(p_k ‖ p̄)`` with ``p̄ = Σ_k w_k p_k``, which is ``I(K; Y)`` for Y ~ p_K, K ~ w

    Shapes:
        distributions: two or more, probabilities along ``dim``, equally many; the other dimensions broadcast. The
            result lacks ``dim``.
        weights: one per distribution, at least 0, with sum 1; equal where None.

    Unit and sign: nats, between 0 (all equal) and ``H(w)`` (disjoint supports), so at most ``log K``; symmetric for
    equal weights.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: fewer than two distributions, weights or shapes that do not fit, negative entries, sums other than
            1, or an impossible ``base``.

    Source: Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37(1), 1991.

    Example:
        >>> jensen_shannon_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), base=2)
        tensor(1.)
    """
    if len(distributions) < 2:
        raise ValueError(f"distributions: expected two or more, got {len(distributions)}")
    w = [1 / len(distributions)] * len(distributions) if weights is None else [float(weight) for weight in weights]
    if len(w) != len(distributions) or not min(w) >= 0 or not math.isclose(sum(w), 1, abs_tol=1e-6):
        raise ValueError(f"weights: expected {len(distributions)} weights, all at least 0, with sum 1, got {w}")
    members = [distribution(p, f"distribution {k}", dims=dim, check=check) for k, p in enumerate(distributions)]
    for member in members[1:]:
        _same_outcomes(members[0], member, dim)
    mixture = sum((w_k * p for w_k, p in zip(w[1:], members[1:], strict=True)), w[0] * members[0])
    divergence = torch.zeros_like(mixture).sum(dim)
    for w_k, p in zip(w, members, strict=True):
        # a weight of 0, or one that underflows, leaves the mixture 0 where the member is not: that counts nothing
        seen = torch.where(mixture > 0, p, 0.0)
        divergence = divergence + w_k * (seen * _log_ratio(seen, mixture)).sum(dim)
    return in_base(divergence, base)


def _log_or_zero(p: Tensor) -> Tensor:
    """``log p``, and 0 with gradient 0 where p is 0."""
    return torch.log(p.masked_fill(p <= 0, 1))


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """``log(p / q)``, and 0 with gradient 0 where p is 0, whatever q is there."""
    return _log_or_zero(p) - torch.log(torch.where(p > 0, q, 1.0))


def _same_outcomes(p: Tensor, q: Tensor, dim: int) -> None:
    try:
        torch.broadcast_shapes(p.shape, q.shape)
        fits = p.shape[dim] == q.shape[dim] and (p.ndim == q.ndim or dim < 0)
    except (RuntimeError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"expected distributions over the same outcomes (dimension {dim}) with batch dimensions that broadcast, "
            f"got shapes {tuple(p.shape)} and {tuple(q.shape)}"
        )
