"""Entropies of distributions, and divergences between distributions over the same outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.information._checks import distribution, in_base, real


def self_information(probabilities: Tensor, *, base: float | None = None, check: bool = True) -> Tensor:
    """Return the self-information of an event.

    ``i(x) = -log p(x)``

    Shapes: probabilities of any shape; the result has the same shape.
    Unit and sign: nats, at least 0; infinite at probability 0.
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
    """Return the entropy of a distribution.

    ``H(X) = -Σ_x p(x) log p(x)``  (Cover and Thomas, eq. 2.1)

    Shapes: p, probabilities along ``dim``; the result lacks that dimension.
    Unit and sign: nats, between 0 (one certain outcome) and ``log C`` (uniform over C outcomes).
    Example:
        >>> entropy(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]), base=2)
        tensor([1.0000, 1.5000])
    """
    p = distribution(p, "p", dims=dim, check=check)
    # 0 - x instead of -x gives +0 for a certain outcome
    return in_base(0 - (p * log_or_zero(p)).sum(dim), base)


def cross_entropy(p: Tensor, q: Tensor, *, dim: int = -1, base: float | None = None, check: bool = True) -> Tensor:
    """Return the cross-entropy of ``q`` relative to ``p``.

    ``H(p, q) = -Σ_x p(x) log q(x) = H(p) + KL(p ‖ q)``

    Shapes: p and q, probabilities along ``dim``; the other dimensions broadcast. The result lacks ``dim``.
    Unit and sign: nats, at least ``H(p)``; infinite if q is 0 and p is not. Not symmetric.
    Source: Good, *Some Terminology and Notation in Information Theory*, 1956; Cover and Thomas, Theorem 5.4.3.
    Example:
        >>> cross_entropy(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]), base=2)
        tensor(2.)
    """
    p = distribution(p, "p", dims=dim, check=check)
    q = distribution(q, "q", dims=dim, check=check)
    check_same_outcomes(p, q, dim)
    return in_base(0 - (p * torch.log(torch.where(p > 0, q, 1.0))).sum(dim), base)


def kl_divergence(p: Tensor, q: Tensor, *, dim: int = -1, base: float | None = None, check: bool = True) -> Tensor:
    """Return the Kullback–Leibler divergence of ``q`` from ``p``, also called relative entropy.

    ``KL(p ‖ q) = Σ_x p(x) log [p(x) / q(x)]``  (Cover and Thomas, eq. 2.26)

    Shapes: p and q, probabilities along ``dim``; the other dimensions broadcast. The result lacks ``dim``.
    Unit and sign: nats, at least 0 up to rounding; infinite if q is 0 and p is not. Not symmetric.
    Example:
        >>> kl_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]), base=2)
        tensor(2.)
    """
    p = distribution(p, "p", dims=dim, check=check)
    q = distribution(q, "q", dims=dim, check=check)
    check_same_outcomes(p, q, dim)
    return in_base((p * log_ratio(p, q)).sum(dim), base)


def kl_divergence_of_logs(log_p: Tensor, log_q: Tensor, *, dim: int = -1, base: float | None = None) -> Tensor:
    """Return the Kullback–Leibler divergence from log-probabilities, which do not underflow; used in training.

    ``KL(p ‖ q) = Σ_x p(x) [log p(x) - log q(x)]``  (Cover and Thomas, eq. 2.26)

    Shapes: log_p and log_q, natural log-probabilities along ``dim``, as from log_softmax; their sum is not checked. The
        other dimensions broadcast. The result lacks ``dim``.
    Unit and sign: nats, at least 0 up to rounding.
    Example:
        >>> log_p = torch.tensor([200.0, 0.0]).log_softmax(-1)
        >>> kl_divergence_of_logs(log_p, log_p.flip(-1))
        tensor(200.)
    """
    log_p = real(log_p, "log_p", instead="pass log-probabilities")
    log_q = real(log_q, "log_q", instead="pass log-probabilities")
    check_same_outcomes(log_p, log_q, dim)
    # an underflowed p contributes 0, also if log q is -∞
    p = log_p.exp()
    return in_base((p * torch.where(p > 0, log_p - log_q, 0.0)).sum(dim), base)


def jensen_shannon_divergence(
    *distributions: Tensor,
    weights: Sequence[float] | None = None,
    dim: int = -1,
    base: float | None = None,
    check: bool = True,
) -> Tensor:
    """Return the Jensen–Shannon divergence of two or more distributions.

    ``JSD_w(p_1, …, p_K) = Σ_k w_k KL(p_k ‖ p̄)``, ``p̄ = Σ_k w_k p_k``; this is ``I(K; Y)`` for Y ~ p_K, K ~ w

    Shapes:
        distributions: two or more, probabilities along ``dim``; the other dimensions broadcast. The result lacks
            ``dim``.
        weights: one per distribution, at least 0, with sum 1; None: equal weights.
    Unit and sign: nats, between 0 (all equal) and ``H(w) ≤ log K`` (disjoint supports).
    Source: Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37(1), 1991.
    Example:
        >>> jensen_shannon_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), base=2)
        tensor(1.)
    """
    w = _weights(len(distributions), weights)
    checked = [distribution(p, f"distribution {k}", dims=dim, check=check) for k, p in enumerate(distributions)]
    for other in checked[1:]:
        check_same_outcomes(checked[0], other, dim)
    mixture = sum((w_k * p for w_k, p in zip(w[1:], checked[1:], strict=True)), w[0] * checked[0])
    # accumulated, so that no K×… stack is needed
    divergence = torch.zeros_like(mixture).sum(dim)
    for w_k, p in zip(w, checked, strict=True):
        # a weight of 0 or one that underflows leaves the mixture 0 where p is not: no contribution
        seen = torch.where(mixture > 0, p, 0.0)
        divergence = divergence + w_k * (seen * log_ratio(seen, mixture)).sum(dim)
    return in_base(divergence, base)


def jensen_shannon_divergence_of_logs(
    *log_distributions: Tensor, weights: Sequence[float] | None = None, dim: int = -1, base: float | None = None
) -> Tensor:
    """Return the Jensen–Shannon divergence from log-probabilities, which do not underflow.

    ``JSD_w(p_1, …, p_K) = Σ_k w_k KL(p_k ‖ p̄)``, ``p̄ = Σ_k w_k p_k``; this is ``I(K; Y)`` for Y ~ p_K, K ~ w

    Shapes:
        log_distributions: two or more, natural log-probabilities along ``dim``, as from log_softmax; their sum is not
            checked. The other dimensions broadcast. The result lacks ``dim``.
        weights: one per distribution, at least 0, with sum 1; None: equal weights.
    Unit and sign: nats, between 0 (all equal) and ``H(w) ≤ log K``.
    Source: Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37(1), 1991.
    Example:
        >>> log_p = torch.tensor([200.0, 0.0]).log_softmax(-1)
        >>> jensen_shannon_divergence_of_logs(log_p, log_p.flip(-1), base=2)
        tensor(1.)
    """
    w = _weights(len(log_distributions), weights)
    checked = [
        real(log_p, f"distribution {k}", instead="pass log-probabilities") for k, log_p in enumerate(log_distributions)
    ]
    for other in checked[1:]:
        check_same_outcomes(checked[0], other, dim)
    weighted = [(w_k, log_p) for w_k, log_p in zip(w, checked, strict=True) if w_k > 0]
    # log w_k + log p_k; weights of 0 are left out, their logarithm is -inf
    shifted = torch.broadcast_tensors(*(log_p + math.log(w_k) for w_k, log_p in weighted))
    mixture = torch.stack(shifted).logsumexp(0)
    divergence = sum(w_k * (log_p.exp() * (log_p - mixture)).sum(dim) for w_k, log_p in weighted)
    return in_base(torch.as_tensor(divergence), base)


def _weights(count: int, given: Sequence[float] | None) -> list[float]:
    # equal weights, or the given ones after checking them, for ``count`` distributions
    if count < 2:
        raise ValueError(f"distributions: expected two or more, got {count}")
    w = [1 / count] * count if given is None else [float(weight) for weight in given]
    if len(w) != count or not min(w) >= 0 or not math.isclose(sum(w), 1, abs_tol=1e-6):
        raise ValueError(f"weights: expected {count} weights, all at least 0, with sum 1, got {w}")
    return w


def log_or_zero(p: Tensor) -> Tensor:
    """Return ``log p``, and 0 with gradient 0 where p is 0."""
    return torch.log(p.masked_fill(p <= 0, 1))


def log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """Return ``log(p / q)``, and 0 with gradient 0 where p is 0, for any q."""
    return log_or_zero(p) - torch.log(torch.where(p > 0, q, 1.0))


def check_same_outcomes(p: Tensor, q: Tensor, dim: int) -> None:
    """Check that two distributions have the same outcomes and that their batch dimensions broadcast."""
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
