"""Estimates of mutual information from samples by trained critics or models."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from segmi.information import bounds
from segmi.information.bounds.critic_bounds import diagonal, log_mean_exp_off_diagonal
from segmi.information.estimation import pair_models
from segmi.information.estimation.pair_models import Critic, perceptron
from segmi.information.estimation.splits import batches, parts, standardized, train
from segmi.information.neighbors import paired_samples

CriticName = Literal["inner_product", "bilinear", "separable", "concatenated"]
OfPairs = Callable[[Tensor, Tensor], Tensor]


class Estimate(NamedTuple):
    """Result of `estimate`."""

    nats: float  # the estimate on held-out pairs
    fitted: float  # the same on the training pairs; the difference is overfitting
    step: int  # the step whose weights were selected on the pairs set aside


@dataclass(frozen=True)
class Estimator:
    """Training objective and value of an estimator; both take the matrix of pairs and, if any, a vector over y."""

    # content of the matrix: ``scores`` of a critic, or ``likelihoods`` of a conditional model
    of: Literal["scores", "likelihoods"]
    value: OfPairs  # the estimate, nats
    trained_on: OfPairs | None = None  # the quantity to maximize; default: the value
    # content of the vector: a ``baseline``, the ``marginal`` likelihood of y, or ``nothing``
    beside: Literal["nothing", "baseline", "marginal"] = "nothing"


def _likelihood(log_q: Tensor, log_marginal: Tensor) -> Tensor:
    return diagonal(log_q).mean() + log_marginal.mean()


def _of(bound: Callable[[Tensor], Tensor]) -> OfPairs:
    # a bound of the matrix alone
    return lambda matrix, _: bound(matrix)


def _difference_of_entropies(log_q: Tensor, log_marginal: Tensor) -> Tensor:
    return bounds.difference_of_entropies(log_marginal, diagonal(log_q))


ESTIMATORS: Final = MappingProxyType(
    {
        "donsker_varadhan": Estimator("scores", _of(bounds.donsker_varadhan)),
        "mine": Estimator("scores", _of(bounds.donsker_varadhan)),
        "nguyen_wainwright_jordan": Estimator("scores", _of(bounds.nguyen_wainwright_jordan)),
        "unnormalized_barber_agakov": Estimator("scores", bounds.unnormalized_barber_agakov, beside="baseline"),
        "jensen_shannon": Estimator(
            "scores", lambda f, _: bounds.nguyen_wainwright_jordan(f + 1), _of(bounds.jensen_shannon_bound)
        ),
        "info_nce": Estimator("scores", _of(bounds.info_nce)),
        "smile": Estimator("scores", _of(bounds.smile), _of(bounds.jensen_shannon_bound)),
        "barber_agakov": Estimator("likelihoods", lambda log_q, _: diagonal(log_q).mean(-1), _likelihood),
        "difference_of_entropies": Estimator("likelihoods", _difference_of_entropies, _likelihood, beside="marginal"),
        "contrastive_log_ratio_upper_bound": Estimator(
            "likelihoods", _of(bounds.contrastive_log_ratio_upper_bound), _likelihood
        ),
        "leave_one_out_upper_bound": Estimator("likelihoods", _of(bounds.leave_one_out_upper_bound), _likelihood),
    }
)
"""The trained estimators by name."""


def estimate(
    x: Tensor,
    y: Tensor,
    estimator: str = "info_nce",
    *,
    critic: CriticName | Critic = "separable",
    entropy: float | None = None,
    groups: Tensor | None = None,
    hidden: int = 128,
    layers: int = 2,
    embedding: int = 32,
    steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    set_aside: float = 0.2,
    seed: int = 0,
) -> Estimate:
    """Estimate the mutual information of samples by an estimator that is trained on some of them.

    The samples are split into three parts: to train on, to select the step, and to evaluate on, in batches of
    ``batch_size`` whose values are averaged. So the result has no overfitting, and a lower bound is one on average, if
    the samples are independent.

    For the limits see the bound in `segmi.information.bounds`. With few samples the critic learns little, so
    lower bounds are low. Overlapping samples, such as windows of one image, are in all parts, so estimates are too
    large unless ``groups`` keeps them together.

    Shapes: x n×D and the paired samples y n×E; every coordinate is standardized.
    Args:
        estimator: a name in `ESTIMATORS`.
        critic: name or module, for estimators of scores.
        entropy: ``H(Y)`` in nats, required by ``barber_agakov``.
        groups: n ids; samples of one id (an image, a patient) are in one part.
        hidden, layers: width and number of the hidden layers.
        embedding: size of the embedding of the separable critic.
        steps, learning_rate: of Adam.
        batch_size: pairs per step; ``info_nce`` is at most its logarithm.
        set_aside: share of the samples or groups to select the step by; an equal share is evaluated on.
        seed: of the split, the batches and the initial weights.
    Unit and sign: nats, of either sign; see the bound.
    Raises: TypeError, ValueError for invalid samples, too few samples or groups for three parts, an unknown estimator
        or critic, or a missing ``entropy``.
    Source: see the bound; the three parts are introduced here.
    Example:
        >>> from segmi.information.laws import GaussianLaw
        >>> x, y = GaussianLaw.of(nats=1.0, dimensions=2).sample(2000)
        >>> abs(estimate(x, y, "difference_of_entropies", steps=300).nats - 1) < 0.25
        True
    """
    x, y = paired_samples(x, y)
    kind = _expect(estimator)
    if estimator == "barber_agakov" and entropy is None:
        raise ValueError(
            "entropy: expected H(Y) in nats for barber_agakov, got None; difference_of_entropies models it"
        )
    if critic == "inner_product" and x.shape[1] != y.shape[1]:
        raise ValueError(f"critic: an inner product needs x and y of one size, got {x.shape[1]} and {y.shape[1]}")
    draw = torch.Generator().manual_seed(seed)
    fit, choose, held_out = (part.to(x.device) for part in parts(len(x), groups, set_aside, draw))
    x, _ = standardized(x, fit)
    y, log_scale = standardized(y, fit)
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = _Model(kind, critic, x.shape[1], y.shape[1], hidden, layers, embedding).to(x.device, x.dtype)
    objective = _MovingAverage() if estimator == "mine" else kind.trained_on or kind.value
    # the entropy of standardized samples is smaller by the sum of the log-scales
    shift = entropy - log_scale if entropy is not None else 0.0
    x_fit, y_fit = x[fit], y[fit]

    def loss(index: Tensor) -> Tensor:
        # drawn on the CPU, so that devices see the same batches
        index = index.to(x.device)
        return -objective(*model(x_fit[index], y_fit[index]))

    def validate() -> float:
        return _mean_value(model, kind.trained_on or kind.value, x[choose], y[choose], batch_size)

    step = train(model, loss, validate, batches(len(fit), batch_size, draw), steps=steps, learning_rate=learning_rate)
    nats, fitted = (_mean_value(model, kind.value, x[part], y[part], batch_size) for part in (held_out, fit))
    return Estimate(nats + shift, fitted + shift, step)


class _Model(nn.Module):
    # Model of the matrix of a batch of pairs and of the vector over y
    def __init__(
        self, kind: Estimator, critic: CriticName | Critic, x_size: int, y_size: int, hidden: int, layers: int,
        embedding: int,
    ) -> None:  # fmt: skip
        super().__init__()
        if kind.of == "likelihoods":
            self.pairs: nn.Module = pair_models.ConditionalGaussian(x_size, y_size, hidden=hidden, layers=layers)
        else:
            self.pairs = _critic(critic, x_size, y_size, hidden, layers, embedding)
        self.beside: nn.Module | None = None
        if kind.beside == "baseline":
            self.beside = nn.Sequential(perceptron(y_size, hidden, 1, layers), nn.Flatten(0))
        elif kind.beside == "marginal":
            self.beside = pair_models.MarginalGaussian(y_size)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.pairs(x, y), self.beside(y) if self.beside is not None else y.new_zeros(())


class _MovingAverage:
    # `donsker_varadhan` with the gradient of MINE: of ``E_⊗ e^f`` divided by its moving average over steps. The mean of
    # a single batch in the denominator would bias the gradient. The value is not an estimate
    def __init__(self, momentum: float = 0.9) -> None:
        self.momentum, self.log_average = momentum, None

    log_average: Tensor | None

    def __call__(self, scores: Tensor, _: Tensor) -> Tensor:
        log_mean = log_mean_exp_off_diagonal(scores)
        if self.log_average is None:
            self.log_average = log_mean.detach()
        else:
            # moving average in the log domain, without overflow
            self.log_average = torch.logaddexp(
                self.log_average + math.log(self.momentum), log_mean.detach() + math.log(1 - self.momentum)
            )
        return diagonal(scores).mean() - (log_mean - self.log_average).exp()


def _expect(estimator: str) -> Estimator:
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator: expected one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    return ESTIMATORS[estimator]


def _critic(
    critic: CriticName | Critic, x_size: int, y_size: int, hidden: int, layers: int, embedding: int
) -> nn.Module:
    if isinstance(critic, nn.Module):
        return copy.deepcopy(critic)
    if critic == "inner_product":
        return pair_models.InnerProductCritic()
    if critic == "bilinear":
        return pair_models.BilinearCritic(x_size, y_size)
    if critic == "separable":
        return pair_models.SeparableCritic(x_size, y_size, hidden=hidden, embedding=embedding, layers=layers)
    if critic == "concatenated":
        return pair_models.ConcatenatedCritic(x_size, y_size, hidden=hidden, layers=layers)
    names = "inner_product, bilinear, separable, concatenated"
    raise ValueError(f"critic: expected one of {names}, or a Critic, got {critic!r}")


@torch.no_grad()
def _mean_value(model: _Model, value: OfPairs, x: Tensor, y: Tensor, batch_size: int) -> float:
    # the mean over full batches, or over all pairs if there are fewer
    size = min(batch_size, len(x))
    starts = range(0, len(x) - size + 1, size)
    values = [value(*model(x[start : start + size], y[start : start + size])) for start in starts]
    return torch.stack(values).mean().item()
