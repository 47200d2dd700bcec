"""Deep mutual learning: every network imitates what the others predict at the same pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypedDict, Unpack, get_args

import torch
from torch import Tensor

from segmi.losses import probabilities
from segmi.losses.base import Term
from segmi.losses.distillation.among_peers import AmongPeers
from segmi.losses.distillation.divergence import summed_divergence
from segmi.losses.options import check_choice
from segmi.losses.targets import poison_of, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

PeerReduction = Literal["mean", "sum"]
Target = Literal["probabilities", "logits"]
MutualIgnored = Literal["drop", "include"]
MutualClasses = Literal["sum", "mean"]

_CHOICES: Final[dict[str, Any]] = {
    "peer_reduction": PeerReduction,
    "target": Target,
    "ignored": MutualIgnored,
    "class_reduction": MutualClasses,
}

AS_RUN: Final[Mapping[str, Any]] = MappingProxyType(
    {"target": "logits", "ignored": "include", "class_reduction": "mean"}
)
"""What the study's code ran."""


class MutualOptions(TypedDict, total=False):
    """The options of `mutual_learning`, for those who pass them on."""

    temperature: float
    peer_reduction: PeerReduction
    target: Target
    ignored: MutualIgnored
    class_reduction: MutualClasses


def mutual_learning(
    logits: Logits,
    peers: Sequence[Logits],
    labels: Labels,
    *,
    temperature: float = 1.0,
    peer_reduction: PeerReduction = "mean",
    target: Target = "probabilities",
    ignored: MutualIgnored = "drop",
    class_reduction: MutualClasses = "sum",
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How far one network is from its peers, pixel by pixel.

    ``L_k = T² / (K-1) Σ_{l≠k} 1/|V| Σ_{u∈V} KL(q_lu ‖ q_ku)`` with ``q = softmax(z / T)``, V the valid pixels

    The divergence is summed over classes. The peers are constants: no gradient reaches them. T² keeps the size of the
    gradient as T grows. Averaged over peers it has the gradient of KL(mean of the peers ‖ q_k); over all networks it is
    an upper bound on ``I(K; Ŷ | u)``, what the predicted class tells of the network that predicted it.

    Args:
        logits: N×C×H×W, of the network that learns, any float type; C = 1 for a binary problem.
        peers: the logits of the others, at least one, of the same shape.
        labels: N×H×W, any integer type; they only tell which pixels are ignored.
        temperature: T, above 0.
        peer_reduction: ``mean`` over the peers, or their ``sum`` as in the code released with the paper.
        target: what a peer teaches: its ``probabilities``, or its ``logits`` in their place, as the study's code did.
            Those that are not positive are then left out, as PyTorch did before it made the loss NaN.
        ignored: whether ignored pixels are left out (``drop``), or imitated and counted like the others (``include``).
        class_reduction: ``sum`` of the divergence over classes, or their ``mean``, which is 1/C of it.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits and peers: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: no peer, shapes that do not match, a temperature that is not above 0, an unknown choice; on the CPU,
            ids that are neither class nor ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Zhang, Xiang, Hospedales and Lu, *Deep Mutual Learning*, CVPR 2018. For two peers the formula is that of
    the paper as others quote it; the mean over more of them was not read at source, and the released code sums.

    Example:
        >>> ours, theirs = torch.zeros(1, 2, 1, 1), torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> mutual_learning(ours, [theirs], torch.zeros(1, 1, 1, dtype=torch.long))  # log 2
        tensor(0.6931)
    """
    return mutual_learning_term(
        logits, peers, labels, temperature=temperature, peer_reduction=peer_reduction, target=target, ignored=ignored,
        class_reduction=class_reduction, ignore_index=ignore_index,
    ).value  # fmt: skip


def mutual_learning_term(
    logits: Logits,
    peers: Sequence[Logits],
    labels: Labels,
    *,
    ignore_index: int = IGNORE_INDEX,
    **options: Unpack[MutualOptions],
) -> Term:
    """`mutual_learning` as the sum over the pixels that count and their number."""
    checked = _checked(options)
    temperature = checked["temperature"]
    check_peers(logits, peers)
    targets = read_targets(logits, labels, ignore_index)
    log_q = log_probabilities(logits, temperature)
    total = log_q.new_zeros(())
    invalid = targets.invalid
    counted = targets.valid if checked["ignored"] == "drop" else torch.ones_like(targets.valid)
    for peer in peers:
        if checked["target"] == "probabilities":
            log_p = log_probabilities(peer.detach(), temperature).to(log_q.dtype)
            total = total + summed_divergence(log_p, log_q, counted)
        else:
            divergence = _divergence_to_logits(peer.detach(), log_q, temperature)
            total = total + torch.where(counted, divergence, 0.0).sum()
        invalid = invalid + poison_of(peer)
    factor = temperature**2 / (len(peers) if checked["peer_reduction"] == "mean" else 1)
    if checked["class_reduction"] == "mean":
        factor /= log_q.shape[1]
    return Term(factor * total + invalid, counted.sum().to(log_q.dtype))


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """The logarithms of ``softmax(z / T)``; of both classes for a single channel."""
    z = upcast(logits)
    return probabilities.log_probabilities(z if temperature == 1 else z / temperature)


def _divergence_to_logits(peer: Tensor, log_q: Tensor, temperature: float) -> Tensor:
    """``Σ_c z_c (log z_c - log q_c)`` over the logits above 0: the divergence if z were a probability."""
    z = (upcast(peer) / temperature).to(log_q.dtype)
    z = torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z
    positive = z.clamp_min(0)
    return (torch.xlogy(positive, positive) - positive * log_q).sum(1)


def check_peers(logits: Tensor, peers: Sequence[Tensor]) -> None:
    """Refuse no peers, and peers of another shape or kind."""
    if not len(peers):
        raise ValueError("peers: expected the logits of at least one other network, got none; add a network")
    for number, peer in enumerate(peers):
        if not peer.is_floating_point():
            raise TypeError(
                f"peers[{number}]: expected a floating-point tensor, got {peer.dtype}; pass what the network returns"
            )
        if peer.shape != logits.shape:
            raise ValueError(
                f"peers[{number}]: expected the shape of logits, {tuple(logits.shape)}, got {tuple(peer.shape)}; "
                "give all networks the same classes, and resize their logits to the labels"
            )


def _checked(options: MutualOptions) -> MutualOptions:
    """The options with their defaults, refused where they are out of range."""
    checked: MutualOptions = {
        "temperature": 1.0, "peer_reduction": "mean", "target": "probabilities", "ignored": "drop",
        "class_reduction": "sum", **options,
    }  # fmt: skip
    if not checked["temperature"] > 0:
        raise ValueError(
            f"temperature: expected a number above 0, got {checked['temperature']!r}; 1 leaves the logits alone"
        )
    for name, kind in _CHOICES.items():
        check_choice(name, checked.get(name), get_args(kind))
    return checked


class MutualLearning(AmongPeers):
    """`mutual_learning` of every network that is trained, from all the others: one term ``name/network`` each.

    Since the peers are constants, one optimizer that works element by element does to the sum of these terms what one
    optimizer per network does when all step together. Clipping by the norm of all gradients is the exception.

    Assumes: peers of the same classes that see the same pixels; that what one of them is unsure of is worth
        imitating.
    Invariances: a constant added to all logits of a pixel; other names for the classes, in all networks alike; the
        order of pixels.
    Degenerate solutions: all agree on anything: the value is 0 whatever it is that they agree on, so a loss beside
        it must say on what.
    Cost: a forward and backward pass per network, and one divergence per pair.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        temperature: T, above 0.
        peer_reduction: ``mean`` over the peers, or ``sum``.
        target: what peers teach, ``probabilities`` or, as the study's code did, ``logits``.
        ignored: whether ignored pixels are left out (``drop``) or imitated (``include``).
        class_reduction: ``sum`` over classes, or ``mean``.
        frozen: networks that teach and do not learn; with one of them and one other, this is distillation.
        ignore_index: the label of ignored pixels.

    Example:
        >>> from segmi.types import Batch, Output
        >>> outputs = {"a": Output(torch.zeros(1, 2, 1, 1)), "b": Output(torch.ones(1, 2, 1, 1))}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> {name: term.value.item() for name, term in MutualLearning()(outputs, batch).items()}
        {'mutual_learning/a': 0.0, 'mutual_learning/b': 0.0}
    """

    def __init__(
        self,
        *,
        name: str = "mutual_learning",
        weight: float = 1.0,
        temperature: float = 1.0,
        peer_reduction: PeerReduction = "mean",
        target: Target = "probabilities",
        ignored: MutualIgnored = "drop",
        class_reduction: MutualClasses = "sum",
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
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
        """As the code of *Deep Image Segmentation based on Mutual Information: A Study* ran it.

        In a study file: ``mutual_learning: {target: logits, ignored: include, class_reduction: mean}``.
        """
        return cls(**{**AS_RUN, **overrides})

    def learned(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """`mutual_learning` from the others."""
        return mutual_learning_term(own, others, labels, ignore_index=self.ignore_index, **self.options)

    def counted(self, labels: Labels) -> Tensor:
        """The pixels that are not ignored, or all of them."""
        if self.options.get("ignored") == "include":
            return torch.ones_like(labels).sum()
        return super().counted(labels)
