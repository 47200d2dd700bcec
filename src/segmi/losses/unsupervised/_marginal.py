"""The mean prediction of a batch, and the mean entropy of its pixels: all that this folder's batch statistics are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.probabilities import class_sums, log_probabilities, pixel_entropies, precise
from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import Labels, Logits


def marginal_term(
    logits: Logits, labels: Labels, value: Callable[[Tensor, Tensor], Tensor], *, ignore_index: int
) -> Term:
    """A function of mean prediction (C) and mean entropy over the valid pixels of all processes, times their number.

    Where no pixel is valid the result is 0, attached to the graph.
    """
    targets = read_targets(logits, labels, ignore_index)
    log_p = log_probabilities(logits)
    maps = torch.cat([log_p.exp(), pixel_entropies(log_p).unsqueeze(1)], 1)
    one = Targets(torch.zeros_like(targets.classes), targets.valid, targets.invalid)
    own, counted = class_sums(maps, one, 1)[0], precise(targets.valid.sum())
    everywhere = gathered(torch.cat([own, counted.view(1)]))
    total = everywhere[-1].detach()
    means = everywhere[:-1] / total.clamp(min=1)
    quantity = torch.where(total > 0, value(means[:-1], means[-1]), means.sum())
    term = coupled_term(quantity, counted, total, dtype=upcast(logits).dtype)
    return term._replace(numerator=term.numerator + targets.invalid)
