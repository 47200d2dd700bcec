"""The maps whose windows are compared: the probability and the label of every class, on one grid."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segmi.arrays import Logits
from segmi.objectives.targets import Targets, widened


class RegionMaps(NamedTuple):
    """What the statistics of regions are taken from.

    Args:
        p: N×C×h×w, the probability of every class, attached to the graph of the logits, 0 in void pixels.
        y: N×C×h×w, the share of the class in the label, of the type of ``p``, 0 in void pixels.
        valid: N×h×w bool, False where the cell holds a void pixel.
    """

    p: Tensor
    y: Tensor
    valid: Tensor


def region_maps(logits: Logits, targets: Targets) -> RegionMaps:
    """The maps of ``logits`` and ``targets``, void pixels set to 0 in both."""
    z = widened(logits)
    index = torch.arange(z.shape[1], device=z.device) if z.shape[1] > 1 else torch.ones(1, dtype=torch.long, device=z.device)
    valid = targets.valid.unsqueeze(1)
    y = (targets.classes.unsqueeze(1) == index.view(1, -1, 1, 1)) & valid
    return RegionMaps(z.sigmoid() * valid, y.to(z.dtype), targets.valid)
