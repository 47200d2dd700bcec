"""Bounds from a model of Y given X."""

from __future__ import annotations

from torch import Tensor

from segmi.information._checks import in_base, real
from segmi.information.bounds.critic_bounds import (
    check_pair_matrix,
    diagonal,
    log_mean_exp_off_diagonal,
    mean_off_diagonal,
)


def barber_agakov(log_conditional: Tensor, entropy: Tensor | float, *, base: float | None = None) -> Tensor:
    """Return the Barber–Agakov lower bound from a model of Y given X.

    ``I(X; Y) = H(Y) - H(Y|X) ≥ H(Y) + 1/N Σ_i log q(y_i|x_i)``, with equality if q is the true conditional distribution

    ``H(Y)`` must be known; with an estimate from a model it is `difference_of_entropies`, which is not a bound. It is
    too large on pairs that q was fitted to.

    Shapes:
        log_conditional: …×N, ``log q(y_i|x_i)``; the result is ….
        entropy: ``H(Y)`` in nats, a number or ….
    Unit and sign: nats, at most ``H(Y)`` for a discrete Y; of either sign.
    Source: Barber and Agakov, *The IM Algorithm: A Variational Approach to Information Maximization*, NIPS 2003, eq. 3.
    Example:
        >>> import torch
        >>> barber_agakov(torch.tensor([0.5, 0.5]).log(), entropy=torch.tensor(4.0).log(), base=2)
        tensor(1.)
    """
    log_conditional = real(log_conditional, "log_conditional", instead="pass log q(y|x)")
    return in_base(entropy + log_conditional.mean(-1), base)


def difference_of_entropies(log_marginal: Tensor, log_conditional: Tensor, *, base: float | None = None) -> Tensor:
    """Return the difference of two cross-entropies, of Y and of Y given X (DoE).

    ``I(X; Y) ≈ -1/N Σ_i log q(y_i) + 1/N Σ_i log q(y_i|x_i)``

    Each mean converges like ``1/√N`` to an upper bound on its entropy, so the difference has no ceiling and no variance
    of ``e^I``. It is not a bound: its error is the difference of two divergences.

    Shapes: log_marginal and log_conditional …×N; the result is ….
    Unit and sign: nats, of either sign.
    Source: McAllester and Stratos, *Formal Limitations on the Measurement of Mutual Information*, AISTATS 2020, eq. 9.
    Example:
        >>> import torch
        >>> difference_of_entropies(torch.full((5,), -3.0), torch.full((5,), -1.0))
        tensor(2.)
    """
    log_marginal = real(log_marginal, "log_marginal", instead="pass log q(y)")
    log_conditional = real(log_conditional, "log_conditional", instead="pass log q(y|x)")
    return in_base(log_conditional.mean(-1) - log_marginal.mean(-1), base)


def contrastive_log_ratio_upper_bound(likelihoods: Tensor, *, base: float | None = None) -> Tensor:
    """Return the contrastive log-ratio upper bound (CLUB).

    ``I(X; Y) ≤ E log q(y|x) - E_⊗ log q(y|x)`` if q is the true conditional distribution

    For another q, including a fitted one, it may be far below I. It is loose: for Gaussians ``ρ²/(1 - ρ²)`` per
    dimension instead of ``-½ log(1 - ρ²)``. The paper averages over all N² pairs, which gives (N - 1)/N of this.

    Shapes: likelihoods …×N×N, ``log q(y_j|x_i)``; the result is ….
    Unit and sign: nats, of either sign.
    Source: Cheng, Hao, Dai, Liu, Gan and Carin, *CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information*, ICML
        2020; not read at source.
    Example:
        >>> import torch
        >>> contrastive_log_ratio_upper_bound(torch.tensor([[-1.0, -3.0], [-3.0, -1.0]]))
        tensor(2.)
    """
    likelihoods = check_pair_matrix(likelihoods, "likelihoods")
    return in_base(diagonal(likelihoods).mean(-1) - mean_off_diagonal(likelihoods), base)


def leave_one_out_upper_bound(likelihoods: Tensor, *, base: float | None = None) -> Tensor:
    """Return an upper bound whose marginal of Y is the mixture of the conditionals of the other pairs.

    ``I(X; Y) ≤ 1/N Σ_i [log q(y_i|x_i) - log 1/(N-1) Σ_{j≠i} q(y_i|x_j)]`` on average, if q is the true conditional

    For another q it bounds nothing; with few pairs it is far above I.

    Shapes: likelihoods …×N×N, ``log q(y_j|x_i)``; the result is ….
    Unit and sign: nats, of either sign.
    Source: Poole, Ozair, van den Oord, Alemi and Tucker, *On Variational Bounds of Mutual Information*, ICML 2019, eq.
        13.
    Example:
        >>> import torch
        >>> leave_one_out_upper_bound(torch.tensor([[-1.0, -3.0], [-3.0, -1.0]]))
        tensor(2.)
    """
    likelihoods = check_pair_matrix(likelihoods, "likelihoods")
    return in_base((diagonal(likelihoods) - log_mean_exp_off_diagonal(likelihoods, (-2,))).mean(-1), base)
