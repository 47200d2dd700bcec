"""Joint tables of two views: how often a pixel of one is in class a and its partner in the other in class b."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.information import entropy, joint_entropy
from segmi.losses.base import Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.probabilities import log_probabilities, precise
from segmi.losses.targets import read_targets, upcast
from segmi.types import Labels, Logits


def two_view_term(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    displacement: int,
    window: int | None,
    entropy_weight: float,
    ignore_index: int,
) -> Term:
    """Minus the mean information of pixels and their partners in the other view, times the valid pixels.

    The tables of all displacements and windows are gathered over the processes, and weighted by their pairs.

    Raises:
        ValueError: views of different shapes, or a displacement that reaches across the image.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"second: expected the shape of first, {tuple(first.shape)}, got {tuple(second.shape)}; undo the "
            "transformation of the second view before"
        )
    targets, other = (read_targets(one, labels, ignore_index) for one in (first, second))
    if displacement and displacement >= min(labels.shape[-2:]):
        raise ValueError(
            f"displacement: expected less than the side of the images, {min(labels.shape[-2:])}, got {displacement}"
        )
    valid = targets.valid.unsqueeze(1)
    own = torch.stack(list(_tables(first, second, valid, displacement, window)))
    counted = precise(targets.valid.sum())
    everywhere = gathered(torch.cat([own.flatten(), counted.view(1)]))
    value = 0 - _mean_information(everywhere[:-1].view_as(own), entropy_weight)
    term = coupled_term(value, counted, everywhere[-1].detach(), dtype=upcast(first).dtype)
    return term._replace(numerator=term.numerator + targets.invalid + other.invalid)


def _tables(first: Tensor, second: Tensor, valid: Tensor, displacement: int, window: int | None) -> Iterator[Tensor]:
    """Sums of products of probabilities, G×C×C in float64, for every displacement."""
    p, q = (torch.where(valid, log_probabilities(one).exp(), 0.0) for one in (first, second))
    there = valid.to(p.dtype)
    for rows, columns in product(range(-displacement, displacement + 1), repeat=2):
        pads = (-columns, columns, -rows, rows)
        partner, partner_there = F.pad(q, pads), F.pad(there, pads)
        sums: Tensor = _PairSums.apply(_windows(p * partner_there, window), _windows(partner, window))
        yield sums


def _windows(maps: Tensor, window: int | None) -> Tensor:
    """N×C×H×W as G×C×M: the pixels of each window of all images together; one window for None."""
    n, classes, height, width = maps.shape
    if window is None:
        return maps.movedim(1, 0).reshape(1, classes, -1)
    maps = F.pad(maps, (0, -width % window, 0, -height % window))
    down, across = maps.shape[2] // window, maps.shape[3] // window
    parts = maps.view(n, classes, down, window, across, window).permute(2, 4, 1, 0, 3, 5)
    return parts.reshape(down * across, classes, -1)


def _mean_information(sums: Tensor, entropy_weight: float) -> Tensor:
    """``λ (H(P_a) + H(P_b)) - H(P)`` of the symmetric joint P, averaged over all tables by their pairs."""
    pairs = sums.detach().sum((-2, -1), keepdim=True)
    joint = (sums + sums.mT) / 2 / pairs.clamp(min=1e-12)
    marginal = joint.sum(-1)
    information = 2 * entropy_weight * entropy(marginal, check=False) - joint_entropy(joint, check=False)
    weights = pairs[..., 0, 0]
    return (weights * information).sum() / weights.sum().clamp(min=1e-12)


class _PairSums(torch.autograd.Function):
    """A product of matrices in the precision of its factors, also under autocast: G×C×M and G×C×M to G×C×C."""

    @staticmethod
    def forward(context: Any, p: Tensor, q: Tensor) -> Tensor:
        context.save_for_backward(p, q)
        with torch.autocast(p.device.type, enabled=False):
            return precise(torch.bmm(p, q.mT))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        p, q = context.saved_tensors
        gradient = gradient.to(p.dtype)
        with torch.autocast(p.device.type, enabled=False):
            return torch.bmm(gradient, q), torch.bmm(gradient.mT, p)
