"""What the predicted class tells of the network that predicted it: the mutual information of mutual learning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.information import kl_divergence_of_logs
from segmi.losses.base import Invariance, Objective, Outputs, Term
from segmi.losses.distillation.mutual_learning import check_peers, log_probabilities
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits


def jensen_shannon(logits: Sequence[Logits], labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The conditional mutual information of network index and prediction, given the pixel.

    ``I(K; Ŷ | u) = 1/|V| Σ_{u∈V} 1/K Σ_k KL(q_ku ‖ q̄_u)``, ``q̄ = 1/K Σ_k q_k``

    It is the Jensen–Shannon divergence of the networks' predictions; with the network in the place of the pixel it is
    the same identity as that of information maximization, ``H(q̄) - mean H(q_k)``. The divergences of mutual learning,
    averaged over all pairs, bound it from above. The gradient reaches all networks. Minimized, it makes the prediction
    independent of who made it; with a negative weight it keeps networks apart.

    Assumptions: networks of the same classes. Invariances: the order of networks, a permutation of classes common to
    all, a constant added to all logits of a pixel. Degenerate solutions: all agree on anything, or, with a negative
    weight, all are sure of different classes, where it is at most log min(K, C). Cost: a forward and backward pass per
    network.

    Args:
        logits: of two or more networks, C = 1 for a binary problem.
        labels: only tell which pixels are ignored.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits: each N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per pixel, between 0 and log K, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError, ValueError: fewer than two networks; otherwise as `segmi.losses.mutual_learning`.

    Source: Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37(1), 1991.

    Example:
        >>> sure = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> jensen_shannon([sure, -sure], torch.zeros(1, 1, 1, dtype=torch.long))  # log 2: they give themselves away
        tensor(0.6931)
    """
    return jensen_shannon_term(logits, labels, ignore_index=ignore_index).value


def jensen_shannon_term(logits: Sequence[Logits], labels: Labels, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`jensen_shannon` as the sum over the valid pixels and their number."""
    if len(logits) < 2:
        raise ValueError(f"logits: expected those of two or more networks, got {len(logits)}; add a network")
    check_peers(logits[0], logits[1:])
    found = [read_targets(one, labels, ignore_index) for one in logits]
    logs = [log_probabilities(one, 1.0) for one in logits]
    log_mean = torch.stack(logs).logsumexp(0) - math.log(len(logs))
    divergence = torch.stack([kl_divergence_of_logs(one, log_mean, dim=1) for one in logs]).mean(0)
    total = torch.where(found[0].valid, divergence, 0.0).sum()
    invalid = torch.stack([targets.invalid for targets in found]).sum()
    return Term(total + invalid, found[0].valid.sum().to(total.dtype))


class JensenShannon(Objective):
    """`jensen_shannon` of all networks of a cohort, frozen ones included as they are: one term for all.

    Args:
        name: the name of the term.
        weight: its factor in the sum that is minimized; below 0 to keep the networks apart.
        frozen: networks that do not learn.
        ignore_index: the label of ignored pixels.

    Example:
        >>> from segmi.types import Output
        >>> outputs = {name: Output(torch.zeros(1, 2, 1, 1)) for name in "abc"}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> list(JensenShannon()(outputs, batch))
        ['jensen_shannon']
    """

    family = "distillation"
    requires = ("peers",)
    invariances: tuple[Invariance, ...] = (
        "logit shift",
        "prediction permutation",
        "class permutation",
        "pixel permutation",
    )

    def __init__(
        self,
        *,
        name: str = "jensen_shannon",
        weight: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The one term."""
        logits = [
            output.logits.detach() if network in self.frozen else output.logits for network, output in outputs.items()
        ]
        term = jensen_shannon_term(logits, batch.labels, ignore_index=self.ignore_index)
        return {self.name: term._replace(weight=self.weight)}

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The valid pixels."""
        first = next(iter(outputs.values())).logits
        return {self.name: (batch.labels != self.ignore_index).sum().to(upcast(first).dtype)}
