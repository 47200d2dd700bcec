"""DIST: distillation by correlation, the linear counterpart of Gaussian mutual information."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation._network_objectives import TeacherObjective, check_peers, softened_log_probabilities
from segmi.losses.option_checks import check_positive
from segmi.losses.targets import is_valid, read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits

__all__ = ["DIST", "dist"]

# added to the product of the norms, as published: a constant map has correlation 0 and a finite gradient
_EPSILON = 1e-8


def dist(
    logits: Logits, teacher: Logits, labels: Labels, *, inter: float = 1.0, intra: float = 1.0,
    temperature: float = 1.0, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return one minus the correlation with the teacher, over the classes of a pixel and over the pixels of a class.

    ``L = β T² mean_{u∈V} [1 - ρ_c(q_u, t_u)] + γ T² mean_{n,c} [1 - ρ_{u∈V_n}(q_nc, t_nc)]``,
    ``q, t = softmax(z / T)``, ``ρ(x, y) = x̃·ỹ / (|x̃| |ỹ| + 10⁻⁸)`` Pearson's correlation of the centered x̃ and ỹ

    A control: for a Gaussian pair the mutual information is -½ log(1 - ρ²), the same statistic with a logarithm.

    Args:
        logits, teacher: N×C×H×W, of the network that learns and of its teacher, which gets no gradient.
        labels: N×H×W integers; only ``ignore_index`` is used.
        inter: β, the weight of the correlation over classes.
        intra: γ, the weight of the correlation over the pixels of an image; the paper uses all pixels of a batch.
        temperature: T, above 0.
    Unit and sign: none; each part between 0 and 2 T², minimized; 0, attached to the graph, if no pixel is valid.
    Source: Huang, You, Wang, Qian and Xu, *Knowledge Distillation from A Stronger Teacher*, NeurIPS 2022; the 10⁻⁸ as
        in the released code.
    Example:
        >>> z = torch.randn(1, 3, 4, 4)
        >>> dist(z, z, torch.zeros(1, 4, 4, dtype=torch.long)) < 1e-4
        tensor(True)
    """
    parts = dist_terms(logits, teacher, labels, inter, intra, temperature, ignore_index)
    return torch.stack([term.weight * term.value for term in parts.values()]).sum()


def dist_terms(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    inter: float,
    intra: float,
    temperature: float,
    ignore_index: int | None,
) -> dict[str, Term]:
    """Return the two parts of `dist`: over the valid pixels, and over the channels of images with a valid pixel."""
    check_peers(logits, [teacher])
    targets = read_targets(logits, labels, ignore_index)
    invalid = targets.invalid + read_targets(teacher, labels, ignore_index).invalid
    q = softened_log_probabilities(logits, temperature).exp().flatten(2)
    t = softened_log_probabilities(teacher.detach(), temperature).exp().flatten(2).to(q.dtype)
    valid = targets.valid.flatten(1)
    has_valid = valid.any(1)
    # N×(H·W)
    over_classes = _uncorrelated(q, t, torch.ones_like(q), dim=1)
    # N×C
    over_pixels = _uncorrelated(q, t, valid[:, None].to(q.dtype), dim=2)
    factor = temperature**2
    return {
        "inter": Term(factor * torch.where(valid, over_classes, 0.0).sum() + invalid, valid.sum().to(q.dtype), inter),
        "intra": Term(
            factor * torch.where(has_valid[:, None], over_pixels, 0.0).sum() + invalid,
            (q.shape[1] * has_valid.sum()).to(q.dtype),
            intra,
        ),
    }


def _uncorrelated(x: Tensor, y: Tensor, weights: Tensor, *, dim: int) -> Tensor:
    # ``1 - ρ`` along a dimension, over the entries of weight 1
    count = weights.sum(dim, keepdim=True).clamp(min=1)
    used = weights > 0
    x, y = (torch.where(used, one, 0.0) for one in (x, y))
    # centered over the used entries
    x, y = (torch.where(used, one - one.sum(dim, keepdim=True) / count, 0.0) for one in (x, y))
    # the gradient of a norm is 0 at 0
    x_norm, y_norm = (torch.linalg.vector_norm(one, dim=dim) for one in (x, y))
    return 1 - (x * y).sum(dim) / (x_norm * y_norm + _EPSILON)


class DIST(TeacherObjective):
    """`dist` of every trained network, averaged over the frozen networks: the terms ``name.inter`` and ``name.intra``.

    Use: a teacher of another scale or confidence, since only the correlation is imitated; a control of
        `distillation`.
    Assumes: the teacher's ranking of classes matters, its confidence does not.
    Invariances: shift and positive scale of a pixel's probabilities over classes (inter) and of a class's map over
        pixels (intra), as long as the product of the norms is far above 10⁻⁸.
    Degenerate solutions: with two classes a pixel's correlation is ±1 at any confidence, so inter has no gradient.
    Cost: the forward pass of the teacher.
    Args: see `dist` and `TeacherObjective`; ``weight`` is a factor of both terms.
    Example:
        >>> from segmi.types import Output
        >>> outputs = {name: Output(torch.zeros(1, 2, 4, 4)) for name in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> list(DIST(frozen=["t"])(outputs, batch))
        ['dist.inter/a', 'dist.intra/a']
    """

    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation", "class permutation")

    def __init__(
        self, *, name: str = "dist", weight: float = 1.0, inter: float = 1.0, intra: float = 1.0,
        temperature: float = 1.0, frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_positive(temperature=temperature)
        self.inter, self.intra, self.temperature = inter, intra, temperature

    def teacher_terms(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Term]:
        """Return both parts relative to one teacher."""
        return dist_terms(
            outputs[student].logits, outputs[teacher].logits, batch.labels, self.inter, self.intra, self.temperature,
            self.ignore_index,
        )  # fmt: skip

    def teacher_denominators(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid pixels, and of channels of images with a valid pixel."""
        logits = outputs[student].logits
        # a single channel has two classes
        channels = max(logits.shape[1], 2) * is_valid(batch.labels, self.ignore_index).flatten(1).any(1).sum()
        return {"inter": self._valid_pixels(batch, logits), "intra": channels.to(upcast(logits).dtype)}
