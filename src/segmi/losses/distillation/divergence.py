"""The divergence from what a peer predicts, summed over pixels: what imitating losses spend their time on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def summed_divergence(log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
    """``Σ_{u counted} KL(p_u ‖ q_u)`` in nats, with p a constant.

    The same as `segmi.information.kl_divergence_of_logs`, masked and summed, but for the gradient only ``log_p`` is
    kept, and on a CPU nothing as large as the maps is made on the way.

    Args:
        log_p: N×C×H×W log-probabilities of who is imitated; no gradient reaches them.
        log_q: those of who imitates, in the same type.
        counted: N×H×W bool.
    """
    total: Tensor = _SummedDivergence.apply(log_p, log_q, counted)
    return total


class _SummedDivergence(torch.autograd.Function):
    """Its gradient, -p where it counts, is written down instead of recorded; it can be differentiated again."""

    @staticmethod
    def forward(context: Any, log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
        context.save_for_backward(log_p, counted)
        total = log_q.new_zeros(())
        # ImageFile by image on a CPU, whose caches hold one; a GPU has more to do at once.
        size = 1 if log_p.device.type == "cpu" else max(1, len(log_p))
        for told, own, valid in zip(log_p.split(size), log_q.split(size), counted.split(size), strict=True):
            p, ratio = told.exp(), told - own
            ratio.masked_fill_(p == 0, 0.0)  # where both logarithms may be endless
            total += ratio.mul_(p).sum(1).masked_fill_(~valid, 0.0).sum()
        return total

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        log_p, counted = context.saved_tensors
        scale = counted.unsqueeze(1) * -upstream[0]
        return None, log_p.exp() * scale if torch.is_grad_enabled() else log_p.exp().mul_(scale), None
