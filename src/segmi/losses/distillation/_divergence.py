"""Divergence from the predictions of other networks, summed over pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segmi.losses.probabilities import log_probabilities
from segmi.losses.targets import upcast


def softened_log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the logarithm of ``softmax(z / T)``, of both classes for a single channel."""
    z = upcast(logits)
    return log_probabilities(z if temperature == 1 else z / temperature)


def check_peers(logits: Tensor, peers: Sequence[Tensor]) -> None:
    """Check that there is a peer, and that all have the shape of the logits and are floating point.

    Raises:
        TypeError: peers that are not floating point.
        ValueError: no peer, or another shape.
    """
    if not len(peers):
        raise ValueError("peers: expected the logits of at least one other network, got none. Fix: add a network")
    for number, peer in enumerate(peers):
        if not peer.is_floating_point():
            raise TypeError(
                f"peers[{number}]: expected a floating-point tensor, got {peer.dtype}. Fix: pass the output of the "
                "network"
            )
        if peer.shape != logits.shape:
            raise ValueError(
                f"peers[{number}]: expected the shape of logits, {tuple(logits.shape)}, got {tuple(peer.shape)}. Fix: "
                "give all networks the same classes, and resize their logits to the labels"
            )


def summed_divergence(log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
    """Return ``Σ_{u counted} KL(p_u ‖ q_u)`` in nats, with p a constant.

    Equal to `segmi.information.kl_divergence_of_logs`, masked and summed, but it only keeps ``log_p`` for the gradient,
    and on the CPU it allocates nothing as large as a batch.

    Args:
        log_p: N×C×H×W log-probabilities of the target; no gradient reaches them.
        log_q: log-probabilities of the network that learns, in the same dtype.
        counted: N×H×W bool.
    """
    total: Tensor = _SummedDivergence.apply(log_p, log_q, counted)
    return total


class _SummedDivergence(torch.autograd.Function):
    """The gradient is -p at counted pixels; backward is differentiable."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
        ctx.save_for_backward(log_p, counted)
        total = log_q.new_zeros(())
        # one image at a time on the CPU, where an image fits into the caches
        size = 1 if log_p.device.type == "cpu" else max(1, len(log_p))
        for target, own, valid in zip(log_p.split(size), log_q.split(size), counted.split(size), strict=True):
            p, ratio = target.exp(), target - own
            ratio.masked_fill_(p == 0, 0.0)  # both logarithms may be infinite there
            total += ratio.mul_(p).sum(1).masked_fill_(~valid, 0.0).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        log_p, counted = ctx.saved_tensors
        scale = counted.unsqueeze(1) * -upstream[0]
        return None, log_p.exp() * scale if torch.is_grad_enabled() else log_p.exp().mul_(scale), None
