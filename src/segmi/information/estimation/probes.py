"""Information of features about labels, from a classifier trained on them: a probe."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information.discrete.predictions import barber_agakov_bound, prediction_sums
from segmi.information.estimation.estimate import Estimate
from segmi.information.estimation.pair_models import perceptron
from segmi.information.estimation.splits import batches, parts, standardized, train


def label_information(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    probe: Literal["linear", "nonlinear"] = "linear",
    groups: Tensor | None = None,
    hidden: int = 64,
    steps: int = 500,
    batch_size: int = 512,
    learning_rate: float = 1e-2,
    set_aside: float = 0.2,
    seed: int = 0,
) -> Estimate:
    """Return a lower bound on the mutual information of features and labels, from a trained classifier (a probe).

    ``I(F; Y) ≥ H(Y) - CE(probe)`` on held-out samples

    A linear probe measures linearly available information, a non-linear one a little more. So a layer with a lower
    bound may have as much information; a function of features never has more. Samples are split as in `estimate`.

    Shapes:
        features: n×D, floating point; every coordinate is standardized.
        labels: n class indices, int64.
    Args:
        classes: C.
        probe: ``linear``, or ``nonlinear`` with one hidden layer.
        groups: n ids; samples of one id (an image) are in one part.
        hidden: width of the hidden layer.
        steps, batch_size, learning_rate: of Adam.
        set_aside: share of the samples to select the step by; an equal share gives the bound.
        seed: of the split, the batches and the initial weights.
    Unit and sign: nats, at most ``H(Y)``; negative if the probe is worse than the label frequencies.
    Raises: TypeError, ValueError for invalid features or labels, an unknown probe, or too few samples.
    Source: Alain and Bengio, *Understanding intermediate layers using linear classifier probes*, 2016; the bound of
        Barber and Agakov, 2003; Pimentel et al., *Information-Theoretic Probing for Linguistic Structure*, ACL 2020.
    Example:
        >>> labels = torch.arange(900) % 3
        >>> features = F.one_hot(labels, 3) + torch.randn(900, 3, generator=torch.Generator().manual_seed(0)) / 10
        >>> result = label_information(features, labels, 3, steps=200)
        >>> 1.0 < result.nats <= 1.11  # log 3 = 1.0986
        True
    """
    if probe not in ("linear", "nonlinear"):
        raise ValueError(f"probe: expected linear or nonlinear, got {probe!r}")
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(labels) < 6:
        raise ValueError(
            f"expected features n×D and labels n with n ≥ 6, got {tuple(features.shape)} and {tuple(labels.shape)}; "
            "flatten pixels into samples"
        )
    if not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(f"labels: expected class indices 0 to {classes - 1}; leave ignored samples out")
    draw = torch.Generator().manual_seed(seed)
    fit, choose, held_out = (part.to(features.device) for part in parts(len(features), groups, set_aside, draw))
    values, _ = standardized(features.float(), fit)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = perceptron(values.shape[1], hidden, classes, 0 if probe == "linear" else 1).to(features.device)

    def bound(part: Tensor) -> float:
        with torch.no_grad():
            return barber_agakov_bound(prediction_sums(network(values[part]).log_softmax(-1), labels[part])).item()

    def loss(index: Tensor) -> Tensor:
        rows = fit[index.to(fit.device)]
        return F.cross_entropy(network(values[rows]), labels[rows])

    order = batches(len(fit), batch_size, draw)
    step = train(network, loss, lambda: bound(choose), order, steps=steps, learning_rate=learning_rate)
    return Estimate(bound(held_out), bound(fit), step)
