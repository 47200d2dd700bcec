"""Contrastive distillation: features that identify the pixel of a teacher's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation._network_objectives import FeatureTeacherObjective
from segmi.losses.features import (
    Layers,
    Sample,
    apply_head,
    feature_targets,
    head_of,
    heads_by_network,
    projection_head,
    resize_like,
    sample_positions,
)
from segmi.losses.option_checks import check_choice, check_positive
from segmi.losses.probabilities import inner_products
from segmi.losses.targets import Targets, class_count, upcast
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch

__all__ = ["ContrastiveDistillation", "info_nce_per_pair"]

Negatives = Literal["all", "other_classes"]


def info_nce_per_pair(
    ours: Tensor, theirs: Tensor, group: Tensor, classes: Tensor, *, temperature: float = 0.07,
    negatives: Negatives = "all"
) -> Tensor:  # fmt: skip
    """Return the cross-entropy of picking each vector's partner among the partners of the same group.

    ``ℓ_i = -log [ e^{a_i·b_i/τ} / (e^{a_i·b_i/τ} + Σ_{j∈N_i} e^{a_i·b_j/τ}) ]``

    ``log K - mean ℓ``, K = 1 + the number of negatives, is the InfoNCE estimate of the mutual information. It is at
    most log K, and a bound only for independent pairs, which the pixels of an image are not.

    Args:
        ours, theirs: unit vectors; row i of both is a pair.
        group: negatives are of the same group.
        classes: of the pairs.
        temperature: τ.
        negatives: ``all`` other pairs of the group, or pairs of ``other_classes`` only.
    Shapes: ours, theirs: …×K×D; group, classes: …×K; the result is …×K.
    Unit and sign: nats, at least 0; 0 for a pair without negatives.
    Source: van den Oord, Li and Vinyals, *Representation Learning with Contrastive Predictive Coding*, 2018, eq. 4.
    Example:
        >>> ours = torch.eye(4)
        >>> info_nce_per_pair(ours, ours, torch.zeros(4), torch.zeros(4)).max() < 1e-5
        tensor(True)
    """
    # …×K×K; the diagonal holds the pairs
    similarity = inner_products(ours, theirs) / temperature
    same = group.unsqueeze(-1) == group.unsqueeze(-2)
    if negatives == "other_classes":
        same = same & (classes.unsqueeze(-1) != classes.unsqueeze(-2))
    # the positive pair is always in the denominator
    same = same | torch.eye(group.shape[-1], dtype=torch.bool, device=group.device)
    return similarity.masked_fill(~same, -torch.inf).logsumexp(-1) - similarity.diagonal(dim1=-2, dim2=-1)


class ContrastiveDistillation(FeatureTeacherObjective):
    """Draws a sampled pixel's embedding to the teacher's of the same pixel and away from the teacher's of others.

    ``L = 1/|A| Σ_{i∈A} ℓ_i``, ℓ of `info_nce_per_pair`, A the sampled pixels; negatives are of the same image. With
    ``both_directions`` the loss of identifying the network's embedding from the teacher's is added, as in the published
    code.

    Both embeddings are unit vectors of ``dimensions`` channels from 1×1 convolutions that are trained with the network,
    at the positions of its map; a teacher's map of another size is resized by bilinear interpolation.

    Use: a teacher's features, compared between sampled pixels instead of channel by channel.
    Assumptions: what distinguishes a pixel in the teacher's features is useful. Invariances: at the optimum over heads,
    invertible linear maps of the features; the scale of the embeddings. Degenerate solutions: ``negatives: all``
    separates pixels of one class; pairs can be identified by position alone, through padding. Cost: O(P² d) per image
    for P sampled pixels, the forward pass of the teacher. On a GPU the number of sampled pixels is not read, so that P
    is ``per_class`` times the number of classes, or the number of positions if that is less.

    Args:
        layers: one layer of a trained network and one of the teacher, by network.
        dimensions: channels of the embeddings.
        temperature: τ.
        per_class: largest number of sampled pixels of each class and image.
        negatives: ``all`` others, or pairs of ``other_classes`` only.
        both_directions: add the loss with the roles of network and teacher exchanged.
        name, weight, frozen, ignore_index: see `TeacherObjective`; the published weight is 0.8.
    Unit and sign: nats per sampled pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Raises: ValueError for an option out of range, no layer of a teacher or of a trained network, or features that are
        not maps.
    Source: Tian, Krishnan and Isola, *Contrastive Representation Distillation*, ICLR 2020 (τ 0.07, 128 dimensions),
        which uses noise contrast with 16,384 negatives from a memory, in the paper as in the code; here the negatives
        are pixels of the same image.
    Example:
        >>> from segmi.types import Output
        >>> outputs = {m: Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 4, 4)}) for m in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = ContrastiveDistillation(layers={"a": "body", "t": "body"}, per_class=5, frozen=["t"])
        >>> loss.prepare(outputs, seed=0)
        >>> loss(outputs, batch)["contrastive_distillation/a"].denominator
        tensor(5.)
    """

    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self, *, layers: Layers, name: str = "contrastive_distillation", weight: float = 1.0, dimensions: int = 128,
        temperature: float = 0.07, per_class: int = 128, negatives: Negatives = "all", both_directions: bool = False,
        frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(layers=layers, name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_choice("negatives", negatives, get_args(Negatives))
        check_positive(dimensions=dimensions, per_class=per_class, temperature=temperature)
        self.dimensions, self.temperature = dimensions, temperature
        self.per_class, self.negatives, self.both_directions = per_class, negatives, both_directions
        self.heads, self.seed = nn.ModuleDict(), 0

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Create a head for every trained network, and one per teacher and trained network."""
        self.seed = seed
        heads: dict[str, nn.Module] = {}
        for student, teachers in self._pairs(outputs).items():
            for name, network in ((student, student), *((f"{one} for {student}", one) for one in teachers)):
                width = self._features(outputs, network).shape[1]
                heads[name] = projection_head([width, self.dimensions], key(seed, name))
        self.heads = heads_by_network(heads)

    def teacher_terms(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Term]:
        """Return the loss relative to one teacher."""
        features, truth = self._features(outputs, student), self._features(outputs, teacher).detach()
        targets, sample = self._sample(outputs, student, batch)
        theirs = resize_like(apply_head(head_of(self.heads, f"{teacher} for {student}"), truth), features)
        ours = apply_head(head_of(self.heads, student), features)
        a, b = F.normalize(sample.of(ours), dim=-1), F.normalize(sample.of(theirs), dim=-1)
        losses = torch.stack(
            [
                info_nce_per_pair(
                    *pair, sample.included, sample.classes, temperature=self.temperature, negatives=self.negatives
                )
                for pair in ([(a, b), (b, a)] if self.both_directions else [(a, b)])
            ]
        ).sum(0)
        # 0 · outputs keeps the heads and the logits in the graph without a sampled pixel
        attached = 0 * (ours.sum() + outputs[student].logits.sum())
        total = torch.where(sample.included, losses, 0).sum() + targets.invalid + attached
        return {"": Term(total, sample.included.sum().to(ours.dtype))}

    def teacher_denominators(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Tensor]:
        """Return the number of sampled pixels."""
        _, sample = self._sample(outputs, student, batch)
        return {"": sample.included.sum().to(upcast(outputs[student].logits).dtype)}

    def _sample(self, outputs: Outputs, student: str, batch: Batch) -> tuple[Targets, Sample]:
        features = self._features(outputs, student)
        logits = outputs[student].logits
        targets = feature_targets(logits, batch.labels, features, self.ignore_index)
        return targets, sample_positions(
            targets.classes, targets.valid, self.per_class * class_count(logits), per_class=self.per_class,
            seed=self.seed,
        )  # fmt: skip
