"""Mutual learning from the average of the peers, DML_e in the paper on deep mutual learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.distillation._network_objectives import (
    PeerObjective,
    check_peers,
    softened_log_probabilities,
    summed_divergence,
)
from segmi.losses.option_checks import check_choice, check_positive
from segmi.losses.targets import nan_marker, read_targets
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["EnsembleTeacher", "ensemble_teacher"]

Average = Literal["probabilities", "logits"]


def ensemble_teacher(
    logits: Logits, peers: Sequence[Logits], labels: Labels, *, temperature: float = 1.0,
    average: Average = "probabilities", ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return the divergence of a network from the average of its peers, pixel by pixel.

    ``L_k = T² 1/|V| Σ_{u∈V} KL(q̄_u ‖ q_ku)``, ``q̄ = 1/(K-1) Σ_{l≠k} q_l``, ``q = softmax(z / T)``

    By the compensation identity ``mean_l KL(q_l ‖ q_k) = KL(q̄ ‖ q_k) + JSD(q_l)``, it has the gradient of
    `mutual_learning` with ``peer_reduction="mean"`` at any T, and only the value differs: results of the two differ by
    weights or by chance. With ``average="logits"`` the normalized geometric mean is the teacher, which is another loss.

    Assumptions: peers of the same classes. Invariances: a shift of a pixel's logits, the order of peers.
    Degenerate solutions: any agreement has value 0; add a cross-entropy. Cost: a forward and backward pass per network.

    Args:
        logits, peers: N×C×H×W (C = 1 if binary), of the network that learns and of one or more others.
        labels: N×H×W integers; only ``ignore_index`` is used.
        temperature: T, above 0.
        average: of ``probabilities`` (arithmetic) or ``logits`` (geometric).
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Zhang, Xiang, Hospedales and Lu, *Deep Mutual Learning*, CVPR 2018, section on DML_e (from the literature;
        the identity is verified in the tests).
    Example:
        >>> ours, theirs = torch.zeros(1, 2, 1, 1), torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> labels = torch.zeros(1, 1, 1, dtype=torch.long)
        >>> ensemble_teacher(ours, [theirs, -theirs], labels)  # the average of opposite peers is uniform
        tensor(0.)
    """
    return ensemble_teacher_term(logits, peers, labels, temperature, average, ignore_index).value


def ensemble_teacher_term(
    logits: Logits,
    peers: Sequence[Logits],
    labels: Labels,
    temperature: float,
    average: Average,
    ignore_index: int | None,
) -> Term:
    """Return `ensemble_teacher` as the sum over the valid pixels and their number."""
    _check(temperature, average)
    check_peers(logits, peers)
    targets = read_targets(logits, labels, ignore_index)
    invalid = torch.stack([targets.invalid, *(nan_marker(peer) for peer in peers)]).sum()
    log_q = softened_log_probabilities(logits, temperature)
    log_p = torch.stack([softened_log_probabilities(peer.detach(), temperature).to(log_q.dtype) for peer in peers])
    # mean of probabilities in the log domain, without underflow
    log_mean = log_p.logsumexp(0) - math.log(len(peers)) if average == "probabilities" else log_p.mean(0).log_softmax(1)
    total = summed_divergence(log_mean, log_q, targets.valid)
    return Term(temperature**2 * total + invalid, targets.valid.sum().to(log_q.dtype))


def _check(temperature: float, average: Average) -> None:
    check_choice("average", average, get_args(Average))
    check_positive(temperature=temperature)


class EnsembleTeacher(PeerObjective):
    """`ensemble_teacher` of every trained network, relative to all others: one term ``name/network`` each.

    Use: three or more networks with the average of their logits as teacher; the average of probabilities has the
        gradient of `mutual_learning`.
    Args: see `ensemble_teacher` and `PeerObjective`.
    """

    def __init__(
        self, *, name: str = "ensemble_teacher", weight: float = 1.0, temperature: float = 1.0,
        average: Average = "probabilities", frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        _check(temperature, average)
        self.temperature, self.average = temperature, average

    def peer_term(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """Return `ensemble_teacher` relative to the others."""
        return ensemble_teacher_term(own, others, labels, self.temperature, self.average, self.ignore_index)
