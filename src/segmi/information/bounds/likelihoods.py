"""Estimates from a law of one's own of Y given X."""

from __future__ import annotations

from torch import Tensor

from segmi.information._checks import in_base, real
from segmi.information.bounds._pairs import log_mean_exp_apart, matrix_of_pairs, mean_apart, together


def barber_agakov(log_conditional: Tensor, entropy: Tensor | float, *, base: float | None = None) -> Tensor:
    """The Barber–Agakov lower bound: what is known of Y, less what a law of one's own leaves open.

    ``I(X; Y) = H(Y) - H(Y|X) ≥ H(Y) + 1/N Σ_i log q(y_i|x_i)``, with equality where q is the true conditional law

    Its failure: ``H(Y)`` must be known. An estimate of it from a model q_Y gives `difference_of_entropies`, no bound.
    On pairs that q was fitted to it is too large.

    Shapes:
        log_conditional: …×N, ``log q(y_i|x_i)``; the result is ….
        entropy: ``H(Y)`` in nats, a number or ….

    Unit and sign: nats, at most ``H(Y)`` for a discrete Y; of either sign.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: an impossible ``base``.

    Source: Barber and Agakov, *The IM Algorithm: A Variational Approach to Information Maximization*, NIPS 2003, eq. 3.

    Example:
        >>> import torch
        >>> barber_agakov(torch.tensor([0.5, 0.5]).log(), entropy=torch.tensor(4.0).log(), base=2)
        tensor(1.)
    """
    log_conditional = real(log_conditional, "log_conditional", instead="pass log q(y|x)")
    return in_base(entropy + log_conditional.mean(-1), base)


def difference_of_entropies(log_marginal: Tensor, log_conditional: Tensor, *, base: float | None = None) -> Tensor:
    """Two cross-entropies, of Y alone and of Y given X, and what lies between them (DoE).

    ``I(X; Y) ≈ -1/N Σ_i log q(y_i) + 1/N Σ_i log q(y_i|x_i)``

    Each mean converges like ``1/√N`` to an upper bound on its entropy, so the difference has no ceiling and no variance
    of ``e^I``. Its failure: it is no bound, and errs with the difference of two divergences; two models of the same
    kind err alike.

    Shapes:
        log_marginal, log_conditional: …×N; the result is ….

    Unit and sign: nats, of either sign.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: an impossible ``base``.

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
    """The contrastive log-ratio upper bound (CLUB).

    ``I(X; Y) ≤ E log q(y|x) - E_⊗ log q(y|x)`` if q is the true conditional law

    Its failure: with another q, fitted ones included, it bounds nothing unless q is closer to the truth on what belongs
    together than on what does not, and may lie far below I. Where it is a bound it is a loose one: for Gaussians
    ``ρ²/(1 - ρ²)`` per dimension instead of ``-½ log(1 - ρ²)``. The paper averages over all N² pairs, those that belong
    together included, which gives (N - 1)/N of this.

    Shapes:
        likelihoods: …×N×N, ``log q(y_j|x_i)``, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, of either sign.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Cheng, Hao, Dai, Liu, Gan and Carin, *CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information*, ICML
    2020; not read at source.

    Example:
        >>> import torch
        >>> contrastive_log_ratio_upper_bound(torch.tensor([[-1.0, -3.0], [-3.0, -1.0]]))
        tensor(2.)
    """
    likelihoods = matrix_of_pairs(likelihoods, "likelihoods")
    return in_base(together(likelihoods).mean(-1) - mean_apart(likelihoods), base)


def leave_one_out_upper_bound(likelihoods: Tensor, *, base: float | None = None) -> Tensor:
    """An upper bound with the law of Y replaced by the mixture of the conditional laws of the other pairs.

    ``I(X; Y) ≤ 1/N Σ_i [log q(y_i|x_i) - log 1/(N-1) Σ_{j≠i} q(y_i|x_j)]`` on average, if q is the true conditional law

    Its failures: another q bounds nothing; with few pairs it is far above I, for no other conditional law covers y_i.

    Shapes:
        likelihoods: …×N×N, ``log q(y_j|x_i)``, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, of either sign.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Poole, Ozair, van den Oord, Alemi and Tucker, *On Variational Bounds of Mutual Information*, ICML 2019,
    eq. 13.

    Example:
        >>> import torch
        >>> leave_one_out_upper_bound(torch.tensor([[-1.0, -3.0], [-3.0, -1.0]]))
        tensor(2.)
    """
    likelihoods = matrix_of_pairs(likelihoods, "likelihoods")
    return in_base((together(likelihoods) - log_mean_exp_apart(likelihoods, (-2,))).mean(-1), base)
