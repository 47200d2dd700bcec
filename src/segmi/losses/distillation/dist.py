"""DIST: distillation by correlation, the linear sibling of Gaussian mutual information."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Term
from segmi.losses.distillation.mutual_learning import check_peers, log_probabilities
from segmi.losses.distillation.taught import Taught, valid_pixels
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

RIDGE = 1e-8
"""Added to variances: a constant map correlates with nothing, and its gradient stays finite."""


def dist(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    temperature: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How little the predictions correlate with the teacher's, over the classes of a pixel and the pixels of a class.

    ``L = β T² mean_{u∈V} [1 - ρ_c(q_u, t_u)] + γ T² mean_{n,c} [1 - ρ_{u∈V_n}(q_nc, t_nc)]``, ``q, t = softmax(z / T)``

    ρ is Pearson's correlation. Of a Gaussian pair it gives the mutual information as -½ log(1 - ρ²), so this control
    has the same statistic without the logarithm: what it does as well as an information term is no merit of
    information.

    Args:
        logits: of the network that learns.
        teacher: of the one that teaches; no gradient reaches it.
        labels: only tell which pixels are ignored.
        inter: β, the weight of the correlation over classes.
        intra: γ, of that over the pixels of an image; published over all those of a batch.
        temperature: T, above 0.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits, teacher: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: none; each part between 0 and 2 T², minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError, ValueError: as `segmi.losses.distillation`.

    Source: Huang, You, Wang, Qian and Xu, *Knowledge Distillation from A Stronger Teacher*, NeurIPS 2022; the formula
        is given here from knowledge of the literature.

    Example:
        >>> seen = torch.randn(1, 3, 4, 4)
        >>> dist(seen, seen, torch.zeros(1, 4, 4, dtype=torch.long)) < 1e-4
        tensor(True)
    """
    parts = dist_terms(
        logits, teacher, labels, inter=inter, intra=intra, temperature=temperature, ignore_index=ignore_index
    )
    return torch.stack([term.weight * term.value for term in parts.values()]).sum()


def dist_terms(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    temperature: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> dict[str, Term]:
    """The two parts of `dist`: over the valid pixels, and over the channels of images that have one."""
    check_peers(logits, [teacher])
    targets = read_targets(logits, labels, ignore_index)
    invalid = targets.invalid + read_targets(teacher, labels, ignore_index).invalid
    q = log_probabilities(logits, temperature).exp().flatten(2)
    t = log_probabilities(teacher.detach(), temperature).exp().flatten(2).to(q.dtype)
    valid = targets.valid.flatten(1)
    some = valid.any(1)
    over_classes = _uncorrelated(q, t, torch.ones_like(q), dim=1)
    over_pixels = _uncorrelated(q, t, valid[:, None].to(q.dtype), dim=2)
    factor = temperature**2
    return {
        "inter": Term(factor * torch.where(valid, over_classes, 0.0).sum() + invalid, valid.sum().to(q.dtype), inter),
        "intra": Term(
            factor * torch.where(some[:, None], over_pixels, 0.0).sum() + invalid,
            (q.shape[1] * some.sum()).to(q.dtype),
            intra,
        ),
    }


def _uncorrelated(x: Tensor, y: Tensor, weights: Tensor, *, dim: int) -> Tensor:
    """``1 - ρ`` along one dimension, over what has weight 1 there."""
    count = weights.sum(dim, keepdim=True).clamp(min=1)
    seen = weights > 0
    x, y = (torch.where(seen, one, 0.0) for one in (x, y))
    x, y = (torch.where(seen, one - one.sum(dim, keepdim=True) / count, 0.0) for one in (x, y))
    covariance, x_variance, y_variance = ((a * b).sum(dim) / count.squeeze(dim) for a, b in ((x, y), (x, x), (y, y)))
    return 1 - covariance / ((x_variance + RIDGE) * (y_variance + RIDGE)).sqrt()


class DIST(Taught):
    """`dist` of every network that learns from those that are frozen: the terms ``name.inter`` and ``name.intra``.

    Assumes: the teacher's order of preferences matters, its confidence does not.
    Invariances: shift and positive scale of a pixel's probabilities over classes (inter) and of a class's map over
        pixels (intra).
    Degenerate solutions: with two classes a pixel's correlation is ±1 whatever the confidence, so inter then has no
        gradient.
    Cost: the teacher's forward pass.

    Args:
        name: the name of the terms.
        weight: their common factor in the sum that is minimized.
        inter: β, of the correlation over classes.
        intra: γ, of that over pixels.
        temperature: T, above 0.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Example:
        >>> outputs = {name: Output(torch.zeros(1, 2, 4, 4)) for name in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> list(DIST(frozen=["t"])(outputs, batch))
        ['dist.inter/a', 'dist.intra/a']
    """

    family = "distillation"
    requires = ("teacher",)
    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation", "class permutation")

    def __init__(
        self,
        *,
        name: str = "dist",
        weight: float = 1.0,
        inter: float = 1.0,
        intra: float = 1.0,
        temperature: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 1 leaves the logits alone")
        self.inter, self.intra, self.temperature = inter, intra, temperature

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """What does not correlate with one teacher."""
        return dist_terms(
            learned.logits, taught.logits, batch.labels, inter=self.inter, intra=self.intra,
            temperature=self.temperature, ignore_index=self.ignore_index,
        )  # fmt: skip

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The valid pixels, and the channels of images that have one."""
        some = (batch.labels != self.ignore_index).flatten(1).any(1).sum()
        channels = max(student.logits.shape[1], 2) * some
        return {
            "inter": valid_pixels(student, batch, self.ignore_index),
            "intra": channels.to(upcast(student.logits).dtype),
        }
