"""Mutual learning from the average of the peers: what the paper on deep mutual learning calls DML_e."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.distillation.among_peers import AmongPeers
from segmi.losses.distillation.divergence import summed_divergence
from segmi.losses.distillation.mutual_learning import check_peers, log_probabilities
from segmi.losses.options import check_choice
from segmi.losses.targets import poison_of, read_targets
from segmi.types import IGNORE_INDEX, Labels, Logits

Average = Literal["probabilities", "logits"]


def ensemble_teacher(
    logits: Logits,
    peers: Sequence[Logits],
    labels: Labels,
    *,
    temperature: float = 1.0,
    average: Average = "probabilities",
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How far one network is from the average of its peers, pixel by pixel.

    ``L_k = T² 1/|V| Σ_{u∈V} KL(q̄_u ‖ q_ku)`` with ``q̄ = 1/(K-1) Σ_{l≠k} q_l`` and ``q = softmax(z / T)``

    By the compensation identity ``mean_l KL(q_l ‖ q_k) = KL(q̄ ‖ q_k) + JSD(q_l)``, it has the gradient of
    `mutual_learning` with ``peer_reduction="mean"``, at any T, and differs from it in value alone: a difference between
    the two in a table is one of weights or of chance. With ``average="logits"`` the peers' normalized geometric mean
    teaches instead; that is another loss.

    Assumptions: peers of the same classes. Invariances: a constant added to all logits of a pixel, the order of peers.
    Degenerate solutions: all agree on anything; a cross-entropy beside it says on what. Cost: a forward and backward
    pass per network.

    Args:
        logits: of the network that learns, C = 1 for a binary problem.
        peers: of the others, at least one; no gradient reaches them.
        labels: only tell which pixels are ignored.
        temperature: T, above 0.
        average: of ``probabilities`` (arithmetic) or ``logits`` (geometric).
        ignore_index: the label of ignored pixels.

    Shapes:
        logits and peers: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError, ValueError: as `segmi.losses.mutual_learning`, and an unknown choice.

    Source: Zhang, Xiang, Hospedales and Lu, *Deep Mutual Learning*, CVPR 2018, section on DML_e (not read at
    source; the identity is proved in the tests).

    Example:
        >>> ours, theirs = torch.zeros(1, 2, 1, 1), torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> labels = torch.zeros(1, 1, 1, dtype=torch.long)
        >>> ensemble_teacher(ours, [theirs, -theirs], labels)  # who disagree: nothing to learn
        tensor(0.)
    """
    return ensemble_teacher_term(
        logits, peers, labels, temperature=temperature, average=average, ignore_index=ignore_index
    ).value


def ensemble_teacher_term(
    logits: Logits,
    peers: Sequence[Logits],
    labels: Labels,
    *,
    temperature: float = 1.0,
    average: Average = "probabilities",
    ignore_index: int = IGNORE_INDEX,
) -> Term:
    """`ensemble_teacher` as the sum over the valid pixels and their number."""
    _check(temperature, average)
    check_peers(logits, peers)
    targets = read_targets(logits, labels, ignore_index)
    invalid = torch.stack([targets.invalid, *(poison_of(peer) for peer in peers)]).sum()
    log_q = log_probabilities(logits, temperature)
    told = torch.stack([log_probabilities(peer.detach(), temperature).to(log_q.dtype) for peer in peers])
    log_mean = told.logsumexp(0) - math.log(len(peers)) if average == "probabilities" else told.mean(0).log_softmax(1)
    total = summed_divergence(log_mean, log_q, targets.valid)
    return Term(temperature**2 * total + invalid, targets.valid.sum().to(log_q.dtype))


def _check(temperature: float, average: Average) -> None:
    check_choice("average", average, get_args(Average))
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 1 leaves the logits alone")


class EnsembleTeacher(AmongPeers):
    """`ensemble_teacher` of every network that is trained, from all the others: one term ``name/network`` each.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        temperature: T, above 0.
        average: of ``probabilities`` or ``logits``.
        frozen: networks that teach and do not learn.
        ignore_index: the label of ignored pixels.

    Example:
        >>> from segmi.types import Batch, Output
        >>> outputs = {name: Output(torch.zeros(1, 2, 1, 1)) for name in "abc"}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> list(EnsembleTeacher()(outputs, batch))
        ['ensemble_teacher/a', 'ensemble_teacher/b', 'ensemble_teacher/c']
    """

    def __init__(
        self,
        *,
        name: str = "ensemble_teacher",
        weight: float = 1.0,
        temperature: float = 1.0,
        average: Average = "probabilities",
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        _check(temperature, average)
        self.temperature, self.average = temperature, average

    def learned(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """`ensemble_teacher` from the others."""
        return ensemble_teacher_term(
            own, others, labels, temperature=self.temperature, average=self.average, ignore_index=self.ignore_index
        )
