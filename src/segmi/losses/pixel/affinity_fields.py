"""Adaptive affinity fields: neighbors shall agree within a class and differ across its border."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.probabilities import log_probabilities, memberships
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Half of the eight neighbors; the other half are the same pairs, seen from the other side."""


def affinity_fields(
    logits: Logits,
    labels: Labels,
    *,
    sizes: Sequence[int] = (3,),
    margin: float = 3.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How much the probabilities of neighbors differ where their labels agree, and agree where those differ.

    ``L = mean_{n,c} max_k mean_{(u,v) alike} D_c(u, v) + mean_{n,c} max_k mean_{(u,v) unlike} max(0, m - D_c(u, v))``
    with ``D_c(u, v)`` the Kullback–Leibler divergence between the probabilities ``(p_c, 1 - p_c)`` of two pixels, v one
    of the eight neighbors of u at distance (k - 1)/2, alike if both or neither of them are of class c

    With several sizes k the field adapts: the hardest size counts, for every image and class. The paper lets learned
    weights on the sizes ascend the loss; over weights that sum to 1 the highest value is that of the hardest size,
    which is taken here at once.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        sizes: sides of the neighborhoods, odd, from 3.
        margin: m, above 0, how far the two sides of a border shall be apart.
        ignore_index: the label of ignored pixels; pairs with one are left out.

    Shapes:
        the result is a scalar.

    Unit and sign: nats per pair, at least 0, minimized; 0, attached to the graph, where there is no pair.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: sizes or a margin that cannot be meant, shapes that do not match; on the CPU, ids that are neither
            class nor ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Ke, Hwang, Liu and Yu, *Adaptive Affinity Fields for Semantic Segmentation*, ECCV 2018. Read in its abstract
    and in the re-implementation beside the code of region mutual information, whose margin and clamping these are; its
    decay of the weight over the run and its reduced resolution are left to the schedule and to the user.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> sharp = 30.0 * torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> affinity_fields(sharp, labels), affinity_fields(0 * sharp, labels)  # a border unseen costs the margin
        (tensor(0.), tensor(3.))
    """
    parts = affinity_fields_terms(logits, labels, sizes=sizes, margin=margin, ignore_index=ignore_index)
    return parts["grouping"].value + parts["separation"].value


def affinity_fields_terms(
    logits: Logits,
    labels: Labels,
    *,
    sizes: Sequence[int] = (3,),
    margin: float = 3.0,
    ignore_index: int = IGNORE_INDEX,
) -> dict[str, Term]:
    """The two parts of `affinity_fields` as sums over pairs of image and class and the number of those."""
    _check(sizes, margin)
    targets = read_targets(logits, labels, ignore_index)
    p = log_probabilities(logits).exp()
    networks = memberships(targets, class_count(logits))
    fields = [_field(p, networks, targets.valid, (size - 1) // 2, margin) for size in sizes]
    alike, unlike, alike_there, unlike_there = (torch.stack(one).amax(0) for one in zip(*fields, strict=True))
    dtype = upcast(logits).dtype
    return {
        "grouping": Term(alike.sum() + targets.invalid, alike_there.sum().to(dtype)),
        "separation": Term(unlike.sum() + targets.invalid, unlike_there.sum().to(dtype)),
    }


def _field(p: Tensor, networks: Tensor, valid: Tensor, reach: int, margin: float) -> tuple[Tensor, ...]:
    """The two means per image and class at one distance, 0 where there is no such pair, and where there is: N×C."""
    sums = [p.new_zeros(p.shape[:2]) for _ in range(2)]
    counts = [torch.zeros(p.shape[:2], dtype=torch.long, device=p.device) for _ in range(2)]
    for rows, columns in _DIRECTIONS:
        (p_u, p_v), (y_u, y_v), (there_u, there_v) = (
            _shifted(one, rows * reach, columns * reach) for one in (p, networks, valid.unsqueeze(1))
        )
        apart = [_divergence(a, b) for a, b in ((p_u, p_v), (p_v, p_u))]
        here = there_u & there_v
        for index, chosen in enumerate((here & (y_u == y_v), here & (y_u != y_v))):
            costs = sum((one if index == 0 else (margin - one).clamp(min=0)) for one in apart)
            sums[index] = sums[index] + torch.where(chosen, costs, 0.0).sum((2, 3))
            counts[index] = counts[index] + 2 * chosen.sum((2, 3))
    means = [total / count.clamp(min=1) for total, count in zip(sums, counts, strict=True)]
    return (*means, *(count > 0 for count in counts))


def _shifted(maps: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """The pixels that have a neighbor so many rows down and columns right, and those neighbors."""
    height, width = max(maps.shape[2] - rows, 0), max(maps.shape[3] - abs(columns), 0)
    left, right = max(-columns, 0), max(columns, 0)
    return (
        maps[:, :, :height, left : left + width],
        maps[:, :, maps.shape[2] - height :, right : right + width],
    )


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    p, q, not_p, not_q = (one.clamp(min=1e-4) for one in (p, q, 1 - p, 1 - q))
    return p * (p / q).log() + not_p * (not_p / not_q).log()


def _check(sizes: Sequence[int], margin: float) -> None:
    odd = [isinstance(size, int) and not isinstance(size, bool) and size >= 3 and size % 2 == 1 for size in sizes]
    if not odd or not all(odd):
        raise ValueError(f"sizes: expected odd integers from 3, at least one, got {list(sizes)}; [3] or [3, 5, 7]")
    if not margin > 0:
        raise ValueError(f"margin: expected a number above 0, got {margin!r}; 3 is published")


class AffinityFields(Loss):
    """`affinity_fields` as a module, to be added to a pixel-wise loss.

    Assumes: that borders in the label are where they are drawn, to the pixel.
    Invariances: a constant added to the logits of a pixel; the names of the classes.
    Degenerate solutions: a map that is high outside its class and low inside is worth as much as a right one, since
        only differences between neighbors count.
    Cost: four pairs of maps per size, each visited a dozen times: several times cross-entropy in time and memory.

    Args:
        sizes: sides of the neighborhoods, odd, from 3; several make the field adaptive.
        margin: m, above 0.
        ignore_index: the label of ignored pixels.

    Example:
        >>> AffinityFields(sizes=[3, 5])(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 1, 1]]]))
        tensor(3.)
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation")

    def __init__(self, *, sizes: Sequence[int] = (3,), margin: float = 3.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check(sizes, margin)
        self.sizes, self.margin, self.ignore_index = tuple(sizes), margin, ignore_index

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Both parts, each over its own pairs of image and class."""
        return affinity_fields_terms(
            logits, labels, sizes=self.sizes, margin=self.margin, ignore_index=self.ignore_index
        )

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Both parts counted by images, for those who need one ratio; `terms` is exact over several batches."""
        count = upcast(logits).new_full((), float(len(logits)))
        return Term(self(logits, labels) * count, count)
