"""Deep mutual learning: every network imitates the predictions of the others at the same pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypedDict, Unpack, get_args

import torch
from torch import Tensor

from segmi.losses.base import Outputs, Term
from segmi.losses.distillation._network_objectives import (
    PeerObjective,
    check_peers,
    softened_log_probabilities,
    summed_divergence,
)
from segmi.losses.option_checks import check_choice, check_positive
from segmi.losses.targets import nan_marker, read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits

__all__ = ["MutualLearning", "mutual_learning"]

PeerReduction = Literal["mean", "sum"]
Target = Literal["probabilities", "logits"]
MutualIgnored = Literal["drop", "include"]
MutualClasses = Literal["sum", "mean"]

_CHOICES: Final[dict[str, Any]] = {
    "peer_reduction": PeerReduction, "target": Target, "ignored": MutualIgnored, "class_reduction": MutualClasses,
}  # fmt: skip

AS_RUN: Final[Mapping[str, Any]] = MappingProxyType(
    {"target": "logits", "ignored": "include", "class_reduction": "mean"}
)
"""The options of the code of *Deep Image Segmentation based on Mutual Information: A Study*."""


class MutualOptions(TypedDict, total=False):
    """The options of `mutual_learning`."""

    temperature: float
    peer_reduction: PeerReduction
    target: Target
    ignored: MutualIgnored
    class_reduction: MutualClasses


def mutual_learning(
    logits: Logits, peers: Sequence[Logits], labels: Labels, *, temperature: float = 1.0,
    peer_reduction: PeerReduction = "mean", target: Target = "probabilities", ignored: MutualIgnored = "drop",
    class_reduction: MutualClasses = "sum", ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return the mean divergence of a network from its peers, pixel by pixel.

    ``L_k = T² / (K-1) Σ_{l≠k} 1/|V| Σ_{u∈V} KL(q_lu ‖ q_ku)``, ``q = softmax(z / T)``, V the valid pixels

    The peers are constants: no gradient reaches them. T² keeps the size of the gradient as T grows. The mean over peers
    has the gradient of KL(mean of the peers ‖ q_k). Summed over all networks, the loss is an upper bound on
    ``I(K; Ŷ | u)``, the mutual information of the network and its predicted class.

    Args:
        logits, peers: N×C×H×W (C = 1 if binary), of the network that learns and of one or more others.
        labels: N×H×W integers; only ``ignore_index`` is used.
        temperature: T, above 0.
        peer_reduction: ``mean`` over the peers, or their ``sum`` as in the code released with the paper.
        target: the ``probabilities`` of the peers, or their ``logits`` instead, as in the study's code. Logits that are
            not positive are then left out, as PyTorch did before it made the loss NaN.
        ignored: leave ignored pixels out (``drop``), or imitate and count them like the others (``include``).
        class_reduction: ``sum`` of the divergence over classes, or their ``mean``, which is 1/C of it.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Zhang, Xiang, Hospedales and Lu, *Deep Mutual Learning*, CVPR 2018 (the formula for two networks as cited
        elsewhere; the released code sums over more peers). The released code computes
        ``Σ_c q_l log(10⁻⁸ + q_l / (q_k + 10⁻⁸))``; here the logarithms are exact, so probabilities below 10⁻⁸ keep
        their gradient.
    Example:
        >>> ours, theirs = torch.zeros(1, 2, 1, 1), torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> mutual_learning(ours, [theirs], torch.zeros(1, 1, 1, dtype=torch.long))  # log 2
        tensor(0.6931)
    """
    return mutual_learning_term(
        logits, peers, labels, ignore_index, temperature=temperature, peer_reduction=peer_reduction, target=target,
        ignored=ignored, class_reduction=class_reduction,
    ).value  # fmt: skip


def mutual_learning_term(
    logits: Logits, peers: Sequence[Logits], labels: Labels, ignore_index: int | None, **options: Unpack[MutualOptions]
) -> Term:
    """Return `mutual_learning` as the sum over the counted pixels and their number."""
    checked = _checked(options)
    temperature = checked["temperature"]
    check_peers(logits, peers)
    targets = read_targets(logits, labels, ignore_index)
    log_q = softened_log_probabilities(logits, temperature)
    total = log_q.new_zeros(())
    invalid = targets.invalid
    counted = targets.valid if checked["ignored"] == "drop" else torch.ones_like(targets.valid)
    # one divergence per peer, each as large as the logits
    for peer in peers:
        if checked["target"] == "probabilities":
            log_p = softened_log_probabilities(peer.detach(), temperature).to(log_q.dtype)
            total = total + summed_divergence(log_p, log_q, counted)
        else:
            divergence = _divergence_from_logits(peer.detach(), log_q, temperature)
            total = total + torch.where(counted, divergence, 0.0).sum()
        invalid = invalid + nan_marker(peer)
    # T² compensates the 1/T² of the gradient
    factor = temperature**2 / (len(peers) if checked["peer_reduction"] == "mean" else 1)
    if checked["class_reduction"] == "mean":
        factor /= log_q.shape[1]
    return Term(factor * total + invalid, counted.sum().to(log_q.dtype))


def _divergence_from_logits(peer: Tensor, log_q: Tensor, temperature: float) -> Tensor:
    # ``Σ_c z_c (log z_c - log q_c)`` over the positive logits: the divergence if z were a probability
    z = (upcast(peer) / temperature).to(log_q.dtype)
    z = torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z
    # z log z is 0 at z = 0; PyTorch's old kl_div left out targets that are not positive
    positive = z.clamp_min(0)
    return (torch.xlogy(positive, positive) - positive * log_q).sum(1)


def _checked(options: MutualOptions) -> MutualOptions:
    # the options with their defaults after checking them
    checked: MutualOptions = {
        "temperature": 1.0, "peer_reduction": "mean", "target": "probabilities", "ignored": "drop",
        "class_reduction": "sum", **options,
    }  # fmt: skip
    check_positive(temperature=checked["temperature"])
    for name, kind in _CHOICES.items():
        check_choice(name, checked.get(name), get_args(kind))
    return checked


class MutualLearning(PeerObjective):
    """`mutual_learning` of every trained network, relative to all others: one term ``name/network`` each.

    In a custom training loop, ``MutualLearning()(logits, peers, labels)`` is the loss of one network, a scalar.

    Since the peers are constants, one elementwise optimizer for the sum of these terms is equivalent to one optimizer
    per network with simultaneous steps, except for clipping by the norm of all gradients.

    Use: two or more networks that are trained together, each with a cross-entropy.
    Assumes: peers have the same classes and see the same pixels, and their uncertainty is worth imitating.
    Invariances: a shift of a pixel's logits; a permutation of the classes in all networks; a permutation of the pixels.
    Degenerate solutions: any agreement has value 0, so another loss must define the correct prediction.
    Cost: a forward and backward pass per network, and one divergence per pair.
    Args: see `mutual_learning` and `PeerObjective`; a frozen and a trained network are distillation.
    Example:
        >>> from segmi.types import Batch, Output
        >>> outputs = {"a": Output(torch.zeros(1, 2, 1, 1)), "b": Output(torch.ones(1, 2, 1, 1))}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> {name: term.value.item() for name, term in MutualLearning()(outputs, batch).items()}
        {'mutual_learning/a': 0.0, 'mutual_learning/b': 0.0}
    """

    def __init__(
        self, *, name: str = "mutual_learning", weight: float = 1.0, temperature: float = 1.0,
        peer_reduction: PeerReduction = "mean", target: Target = "probabilities", ignored: MutualIgnored = "drop",
        class_reduction: MutualClasses = "sum", frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.options: MutualOptions = {
            "temperature": temperature, "peer_reduction": peer_reduction, "target": target, "ignored": ignored,
            "class_reduction": class_reduction,
        }  # fmt: skip
        _checked(self.options)
        if target == "logits":
            self.invariances = ("prediction permutation", "class permutation", "pixel permutation")

    @classmethod
    def as_run(cls, **overrides: Any) -> Self:
        """Return the loss with the options of the code of the study, see `AS_RUN`.

        In a study file: ``mutual_learning: {target: logits, ignored: include, class_reduction: mean}``.
        """
        return cls(**{**AS_RUN, **overrides})

    def peer_term(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """Return `mutual_learning` relative to the others."""
        return mutual_learning_term(own, others, labels, self.ignore_index, **self.options)

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid pixels, or of all pixels if ignored pixels are included."""
        if self.options.get("ignored") != "include":
            return super().denominators(outputs, batch)
        count = torch.ones_like(batch.labels).sum()
        return {
            f"{self.name}/{network}": count.to(upcast(outputs[network].logits).dtype)
            for network in self._trained(outputs)
        }
