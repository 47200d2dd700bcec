"""The sums over the pixels of a batch that the objectives of this folder are read off."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segmi.arrays import Labels, Logits
from segmi.information import PredictionSums
from segmi.objectives.contract import Term
from segmi.objectives.coupling import coupled_term, gathered
from segmi.objectives.predictions import class_sums, log_probabilities, pixel_entropies, precise
from segmi.objectives.targets import class_count, read_targets, widened


def dependence_term(
    logits: Logits, labels: Labels, value: Callable[[PredictionSums], Tensor], *, ignore_index: int
) -> Term:
    """A quantity of the labelled predictions of a batch, of all processes together, over the number of valid pixels.

    The table is gathered in one piece, together with the count; ``value`` is 0 where nothing was counted.
    """
    targets = read_targets(logits, labels, ignore_index)
    log_p, classes = log_probabilities(logits), class_count(logits)
    maps = torch.cat([log_p.exp(), log_p, pixel_entropies(log_p).unsqueeze(1)], 1)
    own, counted = class_sums(maps, targets, classes), precise(targets.valid.sum())
    everywhere = gathered(torch.cat([own.flatten(), counted.view(1)]))
    mass, log_mass, surprise = everywhere[:-1].view_as(own).split([classes, classes, 1], 1)
    quantity = value(PredictionSums(mass, log_mass, surprise.squeeze(1)))
    term = coupled_term(quantity, counted, everywhere[-1].detach(), dtype=widened(logits).dtype)
    return term._replace(numerator=term.numerator + targets.poison)
