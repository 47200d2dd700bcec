"""Contrastive distillation: a network's features tell at which pixel the teacher's were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation.taught import Taught
from segmi.losses.feature_grid import Chosen, cells, choose_cells
from segmi.losses.heads import Layers, applied, feature, head_of, heads_by_network, products, projection
from segmi.losses.options import check_choice
from segmi.losses.targets import Targets
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch, Output

Negatives = Literal["all", "other_classes"]


def info_nce_per_pair(
    ours: Tensor,
    theirs: Tensor,
    group: Tensor,
    classes: Tensor,
    *,
    temperature: float = 0.07,
    negatives: Negatives = "all",
) -> Tensor:
    """For every pair, how hard it is to pick its partner out of the pairs of the same group.

    ``ℓ_i = -log [ e^{a_i·b_i/τ} / (e^{a_i·b_i/τ} + Σ_{j∈N_i} e^{a_i·b_j/τ}) ]``

    ``log K - mean ℓ`` is the InfoNCE estimate of the mutual information of the two, with K = 1 + the number of
    negatives. It never exceeds log K, and bounds the mutual information only of pairs drawn independently, which pixels
    of an image are not.

    Args:
        ours, theirs: vectors of length 1, the i-th of both from one place.
        group: pairs of different groups are not set against each other.
        classes: of the places.
        temperature: τ.
        negatives: ``all`` other pairs of the group, or those of ``other_classes`` only.

    Shapes:
        ours, theirs: K×D; group, classes: K; the result is K.

    Unit and sign: nats, at least 0; 0 for a pair that is alone.

    Source: van den Oord, Li and Vinyals, *Representation Learning with Contrastive Predictive Coding*, 2018, eq. 4.

    Example:
        >>> ours = torch.eye(4)
        >>> info_nce_per_pair(ours, ours, torch.zeros(4), torch.zeros(4)).max() < 1e-5
        tensor(True)
    """
    likeness = products(ours, theirs) / temperature
    same = group[:, None] == group
    if negatives == "other_classes":
        same = same & (classes[:, None] != classes)
    same = same | torch.eye(len(group), dtype=torch.bool, device=group.device)
    return likeness.masked_fill(~same, -torch.inf).logsumexp(1) - likeness.diagonal()


class ContrastiveDistillation(Taught):
    """A sampled pixel's embedding is drawn to the teacher's of the same pixel, away from the teacher's of others.

    ``L = 1/|A| Σ_{i∈A} ℓ_i``, ℓ of `info_nce_per_pair`, A the sampled pixels; the others are those of the same image

    Both embeddings come from heads that are optimized along with the network: a 1×1 convolution to ``dimensions``
    channels, brought to length 1. It is taken at the cells of the network's map; a teacher's map of another size is
    brought to it by bilinear interpolation.

    Assumptions: what distinguishes a pixel in the teacher's features is worth having. Invariances: of the best value
    over heads, invertible linear maps of either's features; the scale of the embeddings. Degenerate solutions: with
    ``negatives: all``, pixels of one class are driven apart although they mean the same; the position alone, which
    padding betrays, can tell pairs. Cost: O(P² d) per image for its P sampled pixels (at most ``per_class`` of each
    class, drawn by the seed and the labels), the teacher's forward pass; on a GPU their number is waited for.

    Args:
        layers: a layer of the network that learns and one of the teacher, by network.
        name: the name of the terms.
        weight: their factor in the sum that is minimized; 0.8 as published.
        dimensions: of the embeddings.
        temperature: τ.
        per_class: sampled pixels of each class and image, at most.
        negatives: ``all`` others, or those of ``other_classes`` only.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Unit and sign: nats per sampled pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        ValueError: an option out of range, layers of no teacher or of nobody who learns, features that are no maps.

    Source: Tian, Krishnan and Isola, *Contrastive Representation Distillation*, ICLR 2020 (τ 0.07, 128 dimensions),
        there by noise contrast against 16,384 others from a memory, as in the released code; here among the pixels of
        an image.

    Example:
        >>> outputs = {m: Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 4, 4)}) for m in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = ContrastiveDistillation(layers={"a": "body", "t": "body"}, per_class=5, frozen=["t"])
        >>> loss.prepare(outputs, seed=0)
        >>> loss(outputs, batch)["contrastive_distillation/a"].denominator
        tensor(5.)
    """

    family = "distillation"
    requires = ("teacher", "features")
    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self,
        *,
        layers: Layers,
        name: str = "contrastive_distillation",
        weight: float = 1.0,
        dimensions: int = 128,
        temperature: float = 0.07,
        per_class: int = 128,
        negatives: Negatives = "all",
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_choice("negatives", negatives, get_args(Negatives))
        for option, value in (("dimensions", dimensions), ("per_class", per_class), ("temperature", temperature)):
            if not value > 0:
                raise ValueError(f"{option}: expected more than 0, got {value!r}; leave it out for the default")
        self.named, self.dimensions, self.temperature = dict(layers), dimensions, temperature
        self.per_class, self.negatives = per_class, negatives
        self.heads, self.seed = nn.ModuleDict(), 0

    def layers(self) -> dict[str, list[str]]:
        """The layer of each network."""
        return {network: [layer] for network, layer in self.named.items()}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """A head for every network that has a layer here, and for teachers one per network that learns from them."""
        self.seed = seed
        heads: dict[str, nn.Module] = {}
        for student, teachers in self._pairs(outputs).items():
            for name, network in ((student, student), *((f"{one} for {student}", one) for one in teachers)):
                width = feature(outputs[network].features, network, self.named[network]).shape[1]
                heads[name] = projection([width, self.dimensions], key(seed, name))
        self.heads = heads_by_network(heads)

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """How hard it is to tell one teacher's pixels."""
        seen = feature(learned.features, student, self.named[student])
        truth = feature(taught.features, teacher, self.named[teacher]).detach()
        found, chosen = self._chosen(learned, seen, batch)
        told = applied(head_of(self.heads, f"{teacher} for {student}"), truth)
        if told.shape[-2:] != seen.shape[-2:]:
            told = F.interpolate(told, seen.shape[-2:], mode="bilinear", align_corners=False)
        own = applied(head_of(self.heads, student), seen)
        hardness = info_nce_per_pair(
            F.normalize(chosen.of(own)), F.normalize(chosen.of(told)), chosen.image, chosen.classes,
            temperature=self.temperature, negatives=self.negatives,
        )  # fmt: skip
        attached = 0 * (own.sum() + learned.logits.sum())
        count = torch.tensor(len(hardness), dtype=own.dtype, device=own.device)
        return {"": Term(hardness.sum() + found.invalid + attached, count)}

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The sampled pixels."""
        layer = next(layer for network, layer in self.named.items() if network not in self.frozen)
        _, chosen = self._chosen(student, student.features[layer], batch)
        kind = torch.promote_types(student.logits.dtype, torch.float32)
        return {"": torch.tensor(len(chosen.image), dtype=kind, device=student.logits.device)}

    def _chosen(self, learned: Output, seen: Tensor, batch: Batch) -> tuple[Targets, Chosen]:
        found = cells(learned.logits, batch.labels, seen, self.ignore_index)
        return found, choose_cells(found.classes, found.valid, per_class=self.per_class, seed=self.seed)

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        return super()._pairs({network: output for network, output in outputs.items() if network in self.named})
