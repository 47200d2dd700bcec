"""The sums over the pixels of a batch that the losses of this folder are read off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segmi.information import PredictionSums
from segmi.losses.base import Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.probabilities import class_sums, log_probabilities, pixel_entropies, precise
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import Labels, Logits


class Memory(nn.Module):
    """A moving average of what the batches of training add up to, for batches too small to stand for the whole.

    ``S̄ ← m S̄ + (1 - m) S``, S the sums over a batch, counts included; at first there is nothing in S̄, so that the first
    batch counts alone. It moves in training only; in evaluation mode, and without a gradient, it is left alone.

    Args:
        momentum: m, the share of what was there that stays; below 1.

    Raises:
        ValueError: an impossible momentum; when called, sums of another size than before.
    """

    sums: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: expected at least 0 and less than 1, got {momentum!r}; 0.9 is usual")
        self.momentum = float(momentum)
        self.register_buffer("sums", torch.zeros(0))

    def forward(self, sums: Tensor) -> Tensor:
        """The average with a batch in it, which then is part of it; in evaluation mode the batch alone."""
        if not self.training:
            return sums
        past = self.sums.to(sums.device, sums.dtype) if self.sums.numel() else torch.zeros_like(sums)
        if past.shape != sums.shape:
            raise ValueError(
                f"the average holds {len(past)} sums and the batch {len(sums)}: expected the classes of the batches "
                "before; make a new loss for other classes"
            )
        mixed = self.momentum * past + (1 - self.momentum) * sums
        if sums.requires_grad:
            new = mixed.detach()
            self.sums = torch.where(new.isfinite().all(), new, past)  # a step that is skipped is forgotten
        return mixed

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # how many sums there are is known with the first batch, which a resumed run has behind it
        self.sums = torch.zeros_like(state.get(prefix + "sums", self.sums), device=self.sums.device)
        super()._load_from_state_dict(state, prefix, *arguments)


def dependence_term(
    logits: Logits,
    labels: Labels,
    value: Callable[[PredictionSums], Tensor],
    *,
    ignore_index: int,
    memory: Memory | None = None,
) -> Term:
    """A quantity of the labeled predictions of a batch, of all processes together, over the number of valid pixels.

    The table is gathered in one piece, together with the count; ``value`` is 0 where nothing was counted. With a memory
    it is the quantity of the average, with the gradient that it has where the whole average moves with the batch: so
    the weight of a term means the same with and without.
    """
    targets = read_targets(logits, labels, ignore_index)
    log_p, classes = log_probabilities(logits), class_count(logits)
    maps = torch.cat([log_p.exp(), log_p, pixel_entropies(log_p).unsqueeze(1)], 1)
    own, counted = class_sums(maps, targets, classes), precise(targets.valid.sum())
    batch = gathered(torch.cat([own.flatten(), counted.view(1)]))
    everywhere = batch if memory is None else memory(batch)
    mass, log_mass, surprise = everywhere[:-1].view_as(own).split([classes, classes, 1], 1)
    quantity = value(PredictionSums(mass, log_mass, surprise.squeeze(1)))
    count = batch[-1].detach()
    if memory is not None and memory.training:
        share = (1 - memory.momentum) * count / everywhere[-1].detach().clamp(min=1e-12)
        quantity = quantity.detach() + (quantity - quantity.detach()) / torch.where(share > 0, share, 1.0)
    term = coupled_term(quantity, counted, count, dtype=upcast(logits).dtype)
    return term._replace(numerator=term.numerator + targets.invalid)
