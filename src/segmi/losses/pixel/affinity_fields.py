"""Adaptive affinity fields: neighbors agree within a class and differ across its border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import Loss, Scope, Term
from segmi.losses.option_checks import check_choice, check_positive
from segmi.losses.probabilities import log_probabilities, one_hot
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["AffinityFields", "affinity_fields"]

Over: TypeAlias = Literal["batch", "image"]
Opposite: TypeAlias = Literal["required", "free"]

# half of the eight neighbors (rows, columns); the other half are the same pairs in reverse order
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def affinity_fields(
    logits: Logits, labels: Labels, *, sizes: Sequence[int] = (3,), margin: float = 3.0, over: Over = "batch",
    opposite: Opposite = "required", ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return how much neighbors differ if their labels agree, and how little they differ if the labels differ.

    ``L = Σ_a max_k 1/|A_k| Σ_{(u,v,c)∈A_k: y_u=a} D_c(u, v) + Σ_a max_k 1/|B_k| Σ_{(u,v,c)∈B_k: y_u=a} max(0, m -
    D_c(u, v))``, ``D_c(u, v)`` the Kullback–Leibler divergence of the probabilities ``(p_c, 1 - p_c)`` of pixel v from
    u, v one of the eight neighbors of u at distance (k - 1)/2, A_k the pairs and classes c of the batch where
    both or neither are of class c, B_k the others

    With several sizes k the field is adaptive: the size of largest loss is used for every true class a. This is the
    maximum over the learned weights of the paper, which sum to 1; with one size the sums over a are means over all
    pairs. ``over="image"`` takes the mean in each image and class c first, with the size of largest loss for each:
    ``L = mean_{n,c} max_k mean_{A_knc} D_c(u, v) + mean_{n,c} max_k mean_{B_knc} max(0, m - D_c(u, v))``

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pairs with ``ignore_index`` are left out.
        sizes: side lengths of the neighborhoods, odd, at least 3.
        margin: m, above 0, the divergence across a border beyond which the loss is 0.
        over: mean over all pairs of the ``batch``, as published, or of each ``image`` and class.
        opposite: whether the neighbor of u opposite to v must be valid too, as published (``required``), so that pixels
            at the border of the image and beside ignored ones have fewer pairs, or not (``free``).
    Unit and sign: nats per pair, at least 0, minimized; 0, attached to the graph, without any pair.
    Source: Ke, Hwang, Liu and Yu, *Adaptive Affinity Fields for Semantic Segmentation*, ECCV 2018, and the released
        code, whose margin and clamping these are; its decay of the weight is left to the user.
    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> sharp = 30.0 * torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> [affinity_fields(z, labels, opposite="free").item() for z in (sharp, 0 * sharp)]  # a missed border: m
        [0.0, 3.0]
    """
    parts = affinity_fields_terms(logits, labels, sizes, margin, over, opposite, ignore_index)
    return parts["grouping"].value + parts["separation"].value


def affinity_fields_terms(
    logits: Logits, labels: Labels, sizes: Sequence[int], margin: float, over: Over, opposite: Opposite,
    ignore_index: int | None
) -> dict[str, Term]:  # fmt: skip
    """Return the two parts of `affinity_fields`: of pairs whose labels agree, and of the others.

    For ``batch`` with one size the sums over pairs and their number, with several sizes the loss times the number of
    valid pixels; for ``image`` sums over pairs of image and class and the number of these pairs.
    """
    _check(sizes, margin, over, opposite)
    targets = read_targets(logits, labels, ignore_index)
    p = log_probabilities(logits).exp()
    truth = one_hot(targets, class_count(logits))
    dtype = upcast(logits).dtype
    fields = [
        _field(p, truth, targets.valid, (size - 1) // 2, margin, by_truth=over == "batch", free=opposite == "free")
        for size in sizes
    ]
    terms = {}
    for part, name in enumerate(("grouping", "separation")):
        # sizes×N×C: sums and numbers of pairs, by class c, or by the true class of u
        sums, counts = (torch.stack([field[kind][part] for field in fields]) for kind in (0, 1))
        if over == "image":
            value, number = (sums / counts.clamp(min=1)).amax(0).sum(), (counts > 0).any(0).sum()
        else:
            number = counts.sum((1, 2))  # by size
            if len(sizes) == 1:
                value, number = sums.sum(), number[0]
            else:
                pixels = targets.valid.sum()
                value = (sums.sum(1) / number.clamp(min=1).unsqueeze(1)).amax(0).sum() * pixels
                number = pixels
        terms[name] = Term(value + targets.invalid, number.to(dtype))
    return terms


def _field(
    p: Tensor, truth: Tensor, valid: Tensor, distance: int, margin: float, *, by_truth: bool, free: bool
) -> tuple[list[Tensor], list[Tensor]]:
    # at one distance, of pairs whose labels agree and of the others: sums and numbers, two N×C tensors each
    sums = [p.new_zeros(p.shape[:2]) for _ in range(2)]
    counts = [torch.zeros(p.shape[:2], dtype=torch.long, device=p.device) for _ in range(2)]
    inside = F.pad(valid.unsqueeze(1), (distance,) * 4)  # False outside of the image
    for rows, columns in _DIRECTIONS:
        down, right = rows * distance, columns * distance
        (p_u, p_v), (y_u, y_v), (valid_u, valid_v) = (
            _neighbors(one, down, right) for one in (p, truth, valid.unsqueeze(1))
        )
        # whether the pixel opposite to v is valid, seen from u, and opposite to u, seen from v
        before, after = (_shifted(inside, distance, sign * down, sign * right) for sign in (-1, 1))
        opposite = (_neighbors(before, down, right)[0], _neighbors(after, down, right)[1])
        # both orders, since the divergence is not symmetric: of the neighbor from the center
        for center, neighbor, own, beyond in ((p_u, p_v, y_u, opposite[0]), (p_v, p_u, y_v, opposite[1])):
            divergence = _divergence(neighbor, center)
            both = valid_u & valid_v if free else valid_u & valid_v & beyond
            for index, pairs in enumerate((both & (y_u == y_v), both & (y_u != y_v))):
                costs = torch.where(pairs, divergence if index == 0 else (margin - divergence).clamp(min=0), 0.0)
                if by_truth:  # summed over c, then by the class of the center
                    costs, pairs = (one.sum(1, keepdim=True) * own for one in (costs, pairs))
                sums[index] = sums[index] + costs.sum((2, 3))
                counts[index] = counts[index] + pairs.sum((2, 3))
    return sums, counts


def _shifted(inside: Tensor, distance: int, rows: int, columns: int) -> Tensor:
    # N×1×H×W: the value ``rows`` below and ``columns`` to the right, from a map padded by ``distance``
    height, width = inside.shape[2] - 2 * distance, inside.shape[3] - 2 * distance
    return inside.narrow(2, distance + rows, height).narrow(3, distance + columns, width)


def _neighbors(maps: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    # the pixels with a neighbor ``rows`` below and ``columns`` to the right, and these neighbors
    height, width = max(maps.shape[2] - rows, 0), max(maps.shape[3] - abs(columns), 0)
    left, right = max(-columns, 0), max(columns, 0)
    return maps[:, :, :height, left : left + width], maps[:, :, maps.shape[2] - height :, right : right + width]


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    # clamped as in the re-implementation, so that logarithms are finite
    p, q, not_p, not_q = (one.clamp(min=1e-4) for one in (p, q, 1 - p, 1 - q))
    return p * (p / q).log() + not_p * (not_p / not_q).log()


def _check(sizes: Sequence[int], margin: float, over: Over, opposite: Opposite) -> None:
    check_choice("over", over, get_args(Over))
    check_choice("opposite", opposite, get_args(Opposite))
    odd = [isinstance(size, int) and not isinstance(size, bool) and size >= 3 and size % 2 == 1 for size in sizes]
    if not odd or not all(odd):
        raise ValueError(
            f"sizes: expected odd integers from 3, at least one, got {list(sizes)}. Fix: use [3] or [3, 5]"
        )
    check_positive(margin=margin)


class AffinityFields(Loss):
    """`affinity_fields` as a module, added to a pixel loss.

    Use: accurate borders, added to a pixel loss, if its time and memory are affordable.
    Assumes: borders in the label are accurate to the pixel.
    Invariances: a shift of a pixel's logits; a permutation of the classes.
    Degenerate solutions: a map that is high outside its class and low inside has the same value as the right one, since
        only differences of neighbors matter.
    Cost: four pairs of maps per size, several times cross-entropy in time and memory.
    Args: see `affinity_fields`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation")
    scope: Scope = "image"

    def __init__(
        self, *, sizes: Sequence[int] = (3,), margin: float = 3.0, over: Over = "batch",
        opposite: Opposite = "required", ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__()
        _check(sizes, margin, over, opposite)
        self.sizes, self.margin, self.ignore_index = tuple(sizes), margin, ignore_index
        self.over: Over = over
        self.opposite: Opposite = opposite
        if over == "batch" and len(self.sizes) > 1:  # the size is chosen by the whole batch
            self.scope = "batch"

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Return both parts, each over its own pairs."""
        return affinity_fields_terms(
            logits, labels, self.sizes, self.margin, self.over, self.opposite, self.ignore_index
        )

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return both parts as one ratio over images; `terms` is exact over several batches."""
        # the two parts have different denominators, so only their sum per batch can be one ratio
        count = upcast(logits).new_full((), float(len(logits)))
        return Term(self(logits, labels) * count, count)
