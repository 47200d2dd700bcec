"""Bounds from a score matrix of pairs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information._checks import in_base, real


def donsker_varadhan(scores: Tensor, *, base: float | None = None) -> Tensor:
    """Return the Donsker–Varadhan lower bound, the objective of MINE.

    ``I(X; Y) ≥ E f - log E_⊗ e^f``, with equality for ``f = log p(x, y)/(p(x) p(y)) + constant``

    The logarithm of a mean over few pairs is too small on average, so the bound is too large. Its variance grows like
    ``e^I / N``, because rare pairs of large score dominate.

    Shapes: scores …×N×N; the result is ….
    Unit and sign: nats, of either sign.
    Source: Donsker and Varadhan, 1983; Belghazi et al., *Mutual Information Neural Estimation*, ICML 2018; not read at
        source.
    Example:
        >>> donsker_varadhan(torch.full((4, 4), 3.0))  # constant scores
        tensor(0.)
    """
    scores = check_pair_matrix(scores, "scores")
    return in_base(diagonal(scores).mean(-1) - log_mean_exp_off_diagonal(scores), base)


def nguyen_wainwright_jordan(scores: Tensor, *, base: float | None = None) -> Tensor:
    """Return the lower bound of Nguyen, Wainwright and Jordan, also called f-GAN-KL and MINE-f.

    ``I(X; Y) ≥ 1 + E[f - 1] - E_⊗ e^{f - 1}``, with equality for ``f = 1 + log p(x, y)/(p(x) p(y))``

    Unbiased, and at most `donsker_varadhan` for the same scores. Its variance grows like ``e^I / N``, and it is
    sensitive to a constant error of the critic.

    Shapes: scores …×N×N; the result is ….
    Unit and sign: nats, of either sign, unbounded below.
    Source: Nguyen, Wainwright and Jordan, *Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk
        Minimization*, IEEE Trans. Inf. Theory 56(11), 2010; not read at source.
    Example:
        >>> nguyen_wainwright_jordan(torch.ones(4, 4))  # the optimal scores of independent variables
        tensor(0.)
    """
    scores = check_pair_matrix(scores, "scores")
    return in_base(diagonal(scores).mean(-1) - (log_mean_exp_off_diagonal(scores) - 1).exp(), base)


def unnormalized_barber_agakov(scores: Tensor, log_baseline: Tensor, *, base: float | None = None) -> Tensor:
    """Return the tractable unnormalized Barber–Agakov lower bound (TUBA), with a baseline for every y.

    ``I(X; Y) ≥ 1 + E[f - log a(y)] - E_⊗[e^f / a(y)]`` for every a > 0; optimal for ``a(y) = E_x e^{f(x, y)}``

    For ``a = e`` it is `nguyen_wainwright_jordan`. A good baseline reduces the variance.

    Shapes:
        scores: …×N×N; the result is ….
        log_baseline: …×N, ``log a(y_j)``, or broadcastable to it.
    Unit and sign: nats, of either sign, unbounded below.
    Source: Poole, Ozair, van den Oord, Alemi and Tucker, *On Variational Bounds of Mutual Information*, ICML 2019, eq.
        7.
    Example:
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> unnormalized_barber_agakov(scores, torch.ones(2)) == nguyen_wainwright_jordan(scores)
        tensor(True)
    """
    scores = check_pair_matrix(scores, "scores")
    baseline = real(log_baseline, "log_baseline", instead="pass log a(y)").to(scores.dtype)
    # NWJ with f - log a + 1
    shifted = scores - torch.broadcast_to(baseline, scores.shape[:-1]).unsqueeze(-2) + 1
    return nguyen_wainwright_jordan(shifted, base=base)


def jensen_shannon_bound(scores: Tensor, *, base: float | None = None) -> Tensor:
    """Return a lower bound on the Jensen–Shannon divergence of ``p(x, y)`` and ``p(x) p(y)``, to train scores.

    ``JSD ≥ log 2 - ½ (E log(1 + e^{-f}) + E_⊗ log(1 + e^f))``, with equality for ``f = log p(x, y)/(p(x) p(y))``

    It increases with mutual information but is not an estimate of it. Its optimal scores, plus 1, are optimal for
    `nguyen_wainwright_jordan`, which turns them into an estimate. For large I it is close to log 2 for very different
    scores.

    Shapes: scores …×N×N; the result is ….
    Unit and sign: nats, at most log 2.
    Source: Hjelm et al., *Learning deep representations by mutual information estimation and maximization*, ICLR 2019,
        eq. 4; Nowozin, Cseke and Tomioka, *f-GAN*, NIPS 2016.
    Example:
        >>> jensen_shannon_bound(torch.zeros(4, 4)).abs() < 1e-6
        tensor(True)
    """
    scores = check_pair_matrix(scores, "scores")
    # binary cross-entropy of a classifier of pairs
    cost = F.softplus(-diagonal(scores)).mean(-1) + mean_off_diagonal(F.softplus(scores))
    return in_base(math.log(2) - cost / 2, base)


def info_nce(scores: Tensor, *, base: float | None = None) -> Tensor:
    """Return the contrastive lower bound: how well each x identifies its y among N.

    ``I(X; Y) ≥ log N + 1/N Σ_i log [e^{f_ii} / Σ_j e^{f_ij}]``

    Low variance, but it never exceeds ``log N``.

    Shapes: scores …×N×N; the result is ….
    Unit and sign: nats, at most ``log N``; negative if other y are identified.
    Source: van den Oord, Li and Vinyals, *Representation Learning with Contrastive Predictive Coding*, 2018, eq. 5.
    Example:
        >>> info_nce(100 * torch.eye(8), base=2)  # perfect scores: the ceiling
        tensor(3.)
    """
    scores = check_pair_matrix(scores, "scores")
    # log-softmax of each row at its own pair
    picked = (diagonal(scores) - scores.logsumexp(-1)).mean(-1)
    return in_base(picked + math.log(scores.shape[-1]), base)


def smile(scores: Tensor, *, clip: float = 5.0, base: float | None = None) -> Tensor:
    """Return `donsker_varadhan` with clipped scores in the exponential: less variance, some bias.

    ``E f - log E_⊗ e^{min(max(f, -τ), τ)}``; scores should be trained with `jensen_shannon_bound`

    Not a bound: it is too large if scores beyond τ matter. τ → ∞ gives `donsker_varadhan`.

    Shapes:
        scores: …×N×N; the result is ….
        clip: τ, above 0.
    Unit and sign: nats, of either sign.
    Source: Song and Ermon, *Understanding the Limitations of Variational Mutual Information Estimators*, ICLR 2020, eq.
        12.
    Example:
        >>> scores = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
        >>> smile(scores, clip=5.0) == donsker_varadhan(scores)  # nothing to clip
        tensor(True)
    """
    scores = check_pair_matrix(scores, "scores")
    if not clip > 0:
        raise ValueError(f"clip: expected a number above 0, got {clip!r}; 1 to 10 are usual")
    return in_base(diagonal(scores).mean(-1) - log_mean_exp_off_diagonal(scores.clamp(-clip, clip)), base)


def check_pair_matrix(values: Tensor, name: str) -> Tensor:
    """Return ``values`` upcast by `real` after checking that they are square matrices of at least two pairs."""
    values = real(values, name, instead="convert it with .float()")
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 2:
        raise ValueError(
            f"{name}: expected square matrices …×N×N of N ≥ 2 pairs, got shape {tuple(values.shape)}; row i is x_i, "
            "column j is y_j"
        )
    return values


def diagonal(values: Tensor) -> Tensor:
    """Return the diagonal, …×N."""
    return values.diagonal(dim1=-2, dim2=-1)


def mean_off_diagonal(values: Tensor) -> Tensor:
    """Return the mean off the diagonal."""
    n = values.shape[-1]
    return (values.sum((-2, -1)) - diagonal(values).sum(-1)) / (n * (n - 1))


def log_mean_exp_off_diagonal(values: Tensor, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Return ``log E_⊗ e^f`` over both dimensions, or over the given one."""
    n = values.shape[-1]
    count = n * (n - 1) if len(dims) == 2 else n - 1
    # -inf on the diagonal leaves the pairs out of the mean
    own = torch.eye(n, dtype=torch.bool, device=values.device)
    return values.masked_fill(own, -math.inf).logsumexp(dims) - math.log(count)
