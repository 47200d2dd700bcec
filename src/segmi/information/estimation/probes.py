"""What features tell about labels, by a small classifier that is trained on them: a probe."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.information.discrete.predictions import barber_agakov_bound, prediction_sums
from segmi.information.estimation.critics import perceptron
from segmi.information.estimation.estimate import Estimate
from segmi.information.estimation.samples import batches, parts, standardized


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
    """A lower bound on what features tell about labels: how much a probe learns to read off them.

    ``I(F; Y) ≥ H(Y) - CE(probe)`` on samples that the probe has not seen

    A linear probe measures what is ready to be read, a non-linear one what little computation brings out; what is there
    in another form, neither sees. So a layer with less of it may hold as much information: a function of features never
    holds more than they do, however much better it is read. The samples are divided as in `estimate`.

    Shapes:
        features: n×D, any float type; every coordinate is brought to mean 0 and variance 1.
        labels: n class indices, int64.

    Args:
        features: samples.
        labels: of them.
        classes: C.
        probe: ``linear``, or ``nonlinear`` with one hidden layer.
        groups: n ids; samples of one id (an image) go to one part together.
        hidden: neurons of the hidden layer.
        steps: steps by Adam.
        batch_size: samples per step.
        learning_rate: of Adam.
        set_aside: the share that chooses the step; as large a one gives the bound.
        seed: of the division, the batches and the first weights.

    Unit and sign: nats, at most ``H(Y)``; negative where the probe does worse than the frequencies of the labels.

    Raises:
        TypeError: features that are not floating-point, labels that are not int64.
        ValueError: shapes that do not fit, labels that are no classes, an unknown probe, or too few samples.

    Source: Alain and Bengio, *Understanding intermediate layers using linear classifier probes*, 2016; the bound of
    Barber and Agakov, 2003; Pimentel et al., *Information-Theoretic Probing for Linguistic Structure*, ACL 2020.

    Example:
        >>> labels = torch.arange(900) % 3
        >>> features = F.one_hot(labels, 3) + torch.randn(900, 3, generator=torch.Generator().manual_seed(0)) / 10
        >>> found = label_information(features, labels, 3, steps=200)
        >>> 1.0 < found.nats <= math.log(3) + 0.01
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
    fit, choose, judge = (part.to(features.device) for part in parts(len(features), groups, set_aside, draw))
    values, _ = standardized(features.float(), fit)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = perceptron(values.shape[1], hidden, classes, 0 if probe == "linear" else 1).to(features.device)

    def told(part: Tensor) -> float:
        with torch.no_grad():
            return barber_agakov_bound(prediction_sums(network(values[part]).log_softmax(-1), labels[part])).item()

    step = _trained(network, values, labels, fit, lambda: told(choose), steps, batch_size, learning_rate, draw)
    return Estimate(told(judge), told(fit), step)


def _trained(
    network: nn.Module, values: Tensor, labels: Tensor, fit: Tensor, judged: Callable[[], float], steps: int,
    batch_size: int, learning_rate: float, draw: torch.Generator,
) -> int:  # fmt: skip
    """Train a probe and leave it with the weights that are judged best; which update those are of."""
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    order = batches(len(fit), batch_size, draw)
    best, best_step, weights = -math.inf, 0, copy.deepcopy(network.state_dict())
    for step in range(1, steps + 1):
        index = fit[next(order).to(fit.device)]
        optimizer.zero_grad()
        F.cross_entropy(network(values[index]), labels[index]).backward()
        optimizer.step()
        if step % max(1, steps // 20) == 0 or step == steps:
            value = judged()
            if value > best:
                best, best_step, weights = value, step, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return best_step
