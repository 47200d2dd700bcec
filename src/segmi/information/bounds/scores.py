"""Estimates from a score matrix: what tells pairs that belong together from pairs that do not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information._checks import in_base, real
from segmi.information.bounds._pairs import log_mean_exp_apart, matrix_of_pairs, mean_apart, together


def donsker_varadhan(scores: Tensor, *, base: float | None = None) -> Tensor:
    """The Donsker–Varadhan lower bound, what MINE maximizes.

    ``I(X; Y) ≥ E f - log E_⊗ e^f``, with equality where ``f = log p(x, y)/(p(x) p(y)) + constant``

    Its failures: the logarithm of a mean over few pairs is too small on average, so the bound is too large; its
    variance grows like ``e^I / N``, for rare pairs of large score decide.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, of either sign.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Donsker and Varadhan, 1983; Belghazi et al., *Mutual Information Neural Estimation*, ICML 2018; not
    read at source.

    Example:
        >>> donsker_varadhan(torch.full((4, 4), 3.0))  # scores that tell nothing
        tensor(0.)
    """
    scores = matrix_of_pairs(scores, "scores")
    return in_base(together(scores).mean(-1) - log_mean_exp_apart(scores), base)


def nguyen_wainwright_jordan(scores: Tensor, *, base: float | None = None) -> Tensor:
    """The lower bound of Nguyen, Wainwright and Jordan, also called f-GAN-KL and MINE-f.

    ``I(X; Y) ≥ 1 + E[f - 1] - E_⊗ e^{f - 1}``, with equality where ``f = 1 + log p(x, y)/(p(x) p(y))``

    Unbiased, unlike `donsker_varadhan`, and below it for the same scores. Its failure: a variance that grows like
    ``e^I / N``; a critic that is off by a constant costs much.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, of either sign, without a lower limit.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Nguyen, Wainwright and Jordan, *Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk
    Minimization*, IEEE Trans. Inf. Theory 56(11), 2010; not read at source.

    Example:
        >>> nguyen_wainwright_jordan(torch.ones(4, 4))  # the optimal scores of independent variables
        tensor(0.)
    """
    scores = matrix_of_pairs(scores, "scores")
    return in_base(together(scores).mean(-1) - (log_mean_exp_apart(scores) - 1).exp(), base)


def unnormalized_barber_agakov(scores: Tensor, log_baseline: Tensor, *, base: float | None = None) -> Tensor:
    """The tractable unnormalized Barber–Agakov lower bound (TUBA), with a baseline of one's own for every y.

    ``I(X; Y) ≥ 1 + E[f - log a(y)] - E_⊗[e^f / a(y)]`` for every a > 0; the best is ``a(y) = E_x e^{f(x, y)}``

    With ``a = e`` it is `nguyen_wainwright_jordan`. A good baseline lowers the variance; the failure is the same.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….
        log_baseline: …×N, ``log a(y_j)``, or anything that broadcasts to it.

    Unit and sign: nats, of either sign, without a lower limit.

    Raises:
        TypeError: not floating-point tensors.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Poole, Ozair, van den Oord, Alemi and Tucker, *On Variational Bounds of Mutual Information*, ICML 2019, eq.
        7.

    Example:
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> unnormalized_barber_agakov(scores, torch.ones(2)) == nguyen_wainwright_jordan(scores)
        tensor(True)
    """
    scores = matrix_of_pairs(scores, "scores")
    baseline = real(log_baseline, "log_baseline", instead="pass log a(y)").to(scores.dtype)
    shifted = scores - torch.broadcast_to(baseline, scores.shape[:-1]).unsqueeze(-2) + 1
    return nguyen_wainwright_jordan(shifted, base=base)


def jensen_shannon_bound(scores: Tensor, *, base: float | None = None) -> Tensor:
    """A lower bound on the Jensen–Shannon divergence of ``p(x, y)`` and ``p(x) p(y)``: steady to train scores on.

    ``JSD ≥ log 2 - ½ (E log(1 + e^{-f}) + E_⊗ log(1 + e^f))``, with equality where ``f = log p(x, y)/(p(x) p(y))``

    It is not in the unit of mutual information, though it grows with it; the scores that maximize it are, plus 1, the
    optimal ones of `nguyen_wainwright_jordan`, which turns them into an estimate. Its failure: where I is large, it is
    close to log 2 for very different scores.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, at most log 2.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: Hjelm et al., *Learning deep representations by mutual information estimation and maximization*, ICLR 2019,
    eq. 4; Nowozin, Cseke and Tomioka, *f-GAN*, NIPS 2016.

    Example:
        >>> jensen_shannon_bound(torch.zeros(4, 4)).abs() < 1e-6
        tensor(True)
    """
    scores = matrix_of_pairs(scores, "scores")
    cost = F.softplus(-together(scores)).mean(-1) + mean_apart(F.softplus(scores))
    return in_base(math.log(2) - cost / 2, base)


def info_nce(scores: Tensor, *, base: float | None = None) -> Tensor:
    """The contrastive lower bound: how well each x picks its own y among N.

    ``I(X; Y) ≥ log N + 1/N Σ_i log [e^{f_ii} / Σ_j e^{f_ij}]``

    Steady. Its failure is its ceiling: it never exceeds ``log N``, whatever is true.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….

    Unit and sign: nats, at most ``log N``; negative where another y is picked.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, or an impossible ``base``.

    Source: van den Oord, Li and Vinyals, *Representation Learning with Contrastive Predictive Coding*, 2018, eq. 5.

    Example:
        >>> info_nce(100 * torch.eye(8), base=2)  # perfect scores: the ceiling
        tensor(3.)
    """
    scores = matrix_of_pairs(scores, "scores")
    picked = (together(scores) - scores.logsumexp(-1)).mean(-1)
    return in_base(picked + math.log(scores.shape[-1]), base)


def smile(scores: Tensor, *, clip: float = 5.0, base: float | None = None) -> Tensor:
    """`donsker_varadhan` with the scores clipped where their exponential is averaged: less variance, some bias.

    ``E f - log E_⊗ e^{min(max(f, -τ), τ)}``; scores are to be trained on `jensen_shannon_bound`

    Not a bound. Its failure: where scores beyond τ matter it is too large, for the clipped mean is too small. τ → ∞ is
    `donsker_varadhan`.

    Shapes:
        scores: …×N×N, see `segmi.information.bounds`; the result is ….
        clip: τ, above 0.

    Unit and sign: nats, of either sign.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not square, fewer than two pairs, a clip that is not above 0, or an impossible ``base``.

    Source: Song and Ermon, *Understanding the Limitations of Variational Mutual Information Estimators*, ICLR 2020,
    eq. 12.

    Example:
        >>> scores = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
        >>> smile(scores, clip=5.0) == donsker_varadhan(scores)  # nothing to clip
        tensor(True)
    """
    scores = matrix_of_pairs(scores, "scores")
    if not clip > 0:
        raise ValueError(f"clip: expected a number above 0, got {clip!r}; 1 to 10 are usual")
    return in_base(together(scores).mean(-1) - log_mean_exp_apart(scores.clamp(-clip, clip)), base)
