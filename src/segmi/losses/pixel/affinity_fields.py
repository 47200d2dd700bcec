"""Adaptive affinity fields: neighbors agree within a class and differ across its border."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.option_checks import check_positive
from segmi.losses.probabilities import log_probabilities, one_hot
from segmi.losses.targets import class_count, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["AffinityFields", "affinity_fields"]

# half of the eight neighbors (rows, columns); the other half are the same pairs in reverse order
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def affinity_fields(
    logits: Logits, labels: Labels, *, sizes: Sequence[int] = (3,), margin: float = 3.0,
    ignore_index: int = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return how much neighbors differ if their labels agree, and how little they differ if the labels differ.

    ``L = mean_{n,c} max_k mean_{(u,v) alike} D_c(u, v) + mean_{n,c} max_k mean_{(u,v) unlike} max(0, m - D_c(u, v))``,
    ``D_c(u, v)`` the Kullback–Leibler divergence of the probabilities ``(p_c, 1 - p_c)`` of two pixels, v one of the
    eight neighbors of u at distance (k - 1)/2, alike if both or neither are of class c

    With several sizes k the field is adaptive: the size of largest loss is used for every image and class. This is the
    maximum over the learned weights of the paper, which sum to 1.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pairs with ``ignore_index`` are left out.
        sizes: side lengths of the neighborhoods, odd, at least 3.
        margin: m, above 0, the divergence across a border beyond which the loss is 0.
    Unit and sign: nats per pair, at least 0, minimized; 0, attached to the graph, without any pair.
    Source: Ke, Hwang, Liu and Yu, *Adaptive Affinity Fields for Semantic Segmentation*, ECCV 2018 (abstract, and the
        re-implementation in the code of region mutual information, whose margin and clamping these are; its decay of
        the weight and its reduced resolution are left to the user).
    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> sharp = 30.0 * torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> affinity_fields(sharp, labels), affinity_fields(0 * sharp, labels)  # a missed border costs the margin
        (tensor(0.), tensor(3.))
    """
    parts = affinity_fields_terms(logits, labels, sizes, margin, ignore_index)
    return parts["grouping"].value + parts["separation"].value


def affinity_fields_terms(
    logits: Logits, labels: Labels, sizes: Sequence[int], margin: float, ignore_index: int
) -> dict[str, Term]:
    """Return the two parts of `affinity_fields` as sums over pairs of image and class and the number of these pairs."""
    _check(sizes, margin)
    targets = read_targets(logits, labels, ignore_index)
    p = log_probabilities(logits).exp()
    truth = one_hot(targets, class_count(logits))
    # four N×C tensors per size; the largest loss counts
    fields = [_field(p, truth, targets.valid, (size - 1) // 2, margin) for size in sizes]
    alike, unlike, has_alike, has_unlike = (torch.stack(one).amax(0) for one in zip(*fields, strict=True))
    dtype = upcast(logits).dtype
    return {
        "grouping": Term(alike.sum() + targets.invalid, has_alike.sum().to(dtype)),
        "separation": Term(unlike.sum() + targets.invalid, has_unlike.sum().to(dtype)),
    }


def _field(p: Tensor, truth: Tensor, valid: Tensor, distance: int, margin: float) -> tuple[Tensor, ...]:
    # both means at one distance, 0 without such a pair, and whether there is a pair: four N×C tensors
    sums = [p.new_zeros(p.shape[:2]) for _ in range(2)]
    counts = [torch.zeros(p.shape[:2], dtype=torch.long, device=p.device) for _ in range(2)]
    for rows, columns in _DIRECTIONS:
        (p_u, p_v), (y_u, y_v), (valid_u, valid_v) = (
            _neighbors(one, rows * distance, columns * distance) for one in (p, truth, valid.unsqueeze(1))
        )
        # both directions, since the divergence is not symmetric
        divergences = [_divergence(a, b) for a, b in ((p_u, p_v), (p_v, p_u))]
        both = valid_u & valid_v
        for index, pairs in enumerate((both & (y_u == y_v), both & (y_u != y_v))):
            costs = sum((one if index == 0 else (margin - one).clamp(min=0)) for one in divergences)
            sums[index] = sums[index] + torch.where(pairs, costs, 0.0).sum((2, 3))
            counts[index] = counts[index] + 2 * pairs.sum((2, 3))
    means = [total / count.clamp(min=1) for total, count in zip(sums, counts, strict=True)]
    return (*means, *(count > 0 for count in counts))


def _neighbors(maps: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    # the pixels with a neighbor ``rows`` below and ``columns`` to the right, and these neighbors
    height, width = max(maps.shape[2] - rows, 0), max(maps.shape[3] - abs(columns), 0)
    left, right = max(-columns, 0), max(columns, 0)
    return maps[:, :, :height, left : left + width], maps[:, :, maps.shape[2] - height :, right : right + width]


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    # clamped as in the re-implementation, so that logarithms are finite
    p, q, not_p, not_q = (one.clamp(min=1e-4) for one in (p, q, 1 - p, 1 - q))
    return p * (p / q).log() + not_p * (not_p / not_q).log()


def _check(sizes: Sequence[int], margin: float) -> None:
    odd = [isinstance(size, int) and not isinstance(size, bool) and size >= 3 and size % 2 == 1 for size in sizes]
    if not odd or not all(odd):
        raise ValueError(
            f"sizes: expected odd integers from 3, at least one, got {list(sizes)}. Fix: use [3] or [3, 5]"
        )
    check_positive(margin=margin)


class AffinityFields(Loss):
    """`affinity_fields` as a module, added to a pixel loss.

    Assumes: borders in the label are accurate to the pixel.
    Invariances: a shift of a pixel's logits; a permutation of the classes.
    Degenerate solutions: a map that is high outside its class and low inside has the same value as the right one, since
        only differences of neighbors matter.
    Cost: four pairs of maps per size, several times cross-entropy in time and memory.
    Args: see `affinity_fields`.
    """

    family = "pixel"
    invariances = ("logit shift", "class permutation")

    def __init__(self, *, sizes: Sequence[int] = (3,), margin: float = 3.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check(sizes, margin)
        self.sizes, self.margin, self.ignore_index = tuple(sizes), margin, ignore_index

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Return both parts, each over its own pairs of image and class."""
        return affinity_fields_terms(logits, labels, self.sizes, self.margin, self.ignore_index)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return both parts as one ratio over images; `terms` is exact over several batches."""
        # the two parts have different denominators, so only their sum per batch can be one ratio
        count = upcast(logits).new_full((), float(len(logits)))
        return Term(self(logits, labels) * count, count)
