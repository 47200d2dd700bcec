"""Jensen–Shannon divergence of the networks: the mutual information of network and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segmi.information import kl_divergence_of_logs
from segmi.losses.base import Outputs, Term
from segmi.losses.distillation._network_objectives import PeerObjective, check_peers
from segmi.losses.probabilities import log_probabilities
from segmi.losses.targets import read_targets
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits

__all__ = ["JensenShannon", "jensen_shannon"]


def jensen_shannon(logits: Sequence[Logits], labels: Labels, *, ignore_index: int | None = IGNORE_INDEX) -> Tensor:
    """Return the conditional mutual information of network index and prediction, given the pixel.

    ``I(K; Ŷ | u) = 1/|V| Σ_{u∈V} 1/K Σ_k KL(q_ku ‖ q̄_u)``, ``q̄ = 1/K Σ_k q_k``

    It equals ``H(q̄) - mean H(q_k)``, as information maximization does with pixels instead of networks. The mean
    divergence of mutual learning over all pairs is an upper bound. The gradient reaches all networks. A positive weight
    makes predictions independent of the network; a negative weight keeps networks different.

    Assumptions: networks of the same classes. Invariances: the order of networks, a permutation of the classes common
    to all, a constant added to all logits of a pixel. Degenerate solutions: any agreement; with a negative weight,
    certain predictions of different classes, where it is at most log min(K, C). Cost: a forward and backward pass per
    network.

    Args:
        logits: N×C×H×W of two or more networks, C = 1 for a binary problem.
        labels: N×H×W integers; only ``ignore_index`` is used.
    Unit and sign: nats per pixel, between 0 and log K, minimized; 0, attached to the graph, if no pixel is valid.
    Raises: TypeError, ValueError for fewer than two networks; otherwise as `mutual_learning`.
    Source: Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37(1), 1991.
    Example:
        >>> certain = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> jensen_shannon([certain, -certain], torch.zeros(1, 1, 1, dtype=torch.long))  # log 2
        tensor(0.6931)
    """
    return jensen_shannon_term(logits, labels, ignore_index).value


def jensen_shannon_term(logits: Sequence[Logits], labels: Labels, ignore_index: int | None) -> Term:
    """Return `jensen_shannon` as the sum over the valid pixels and their number."""
    if len(logits) < 2:
        raise ValueError(f"logits: expected the logits of two or more networks, got {len(logits)}. Fix: add a network")
    check_peers(logits[0], logits[1:])
    targets = [read_targets(one, labels, ignore_index) for one in logits]
    logs = [log_probabilities(one) for one in logits]
    # mean of probabilities in the log domain, without underflow
    log_mean = torch.stack(logs).logsumexp(0) - math.log(len(logs))
    # N×H×W; the sum of K divergences from the mixture is K (H(q̄) - mean H)
    divergence = torch.stack([kl_divergence_of_logs(one, log_mean, dim=1) for one in logs]).mean(0)
    total = torch.where(targets[0].valid, divergence, 0.0).sum()
    invalid = torch.stack([one.invalid for one in targets]).sum()
    return Term(total + invalid, targets[0].valid.sum().to(total.dtype))


class JensenShannon(PeerObjective):
    """`jensen_shannon` of all networks of a cohort, including frozen ones as constants: a single term.

    Use: networks that should agree, with a gradient in all of them; a negative weight keeps them different.
    Args: see `PeerObjective`; a negative ``weight`` keeps the networks different.
    Example:
        >>> from segmi.types import Output
        >>> outputs = {name: Output(torch.zeros(1, 2, 1, 1)) for name in "abc"}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> list(JensenShannon()(outputs, batch))
        ['jensen_shannon']
    """

    def peer_term(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """Return `jensen_shannon` of all networks."""
        return jensen_shannon_term([own, *others], labels, self.ignore_index)

    def forward(self, outputs: Any, batch: Any, labels: Labels | None = None) -> Any:
        """Return the single term of all networks; see `PeerObjective.forward`."""
        if not isinstance(batch, Batch):
            return self._of_logits(outputs, batch, labels)
        first, *others = (
            output.logits.detach() if network in self.frozen else output.logits for network, output in outputs.items()
        )
        return {self.name: self.peer_term(first, others, batch.labels)._replace(weight=self.weight)}

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid pixels."""
        return {self.name: self._valid_pixels(batch, next(iter(outputs.values())).logits)}
