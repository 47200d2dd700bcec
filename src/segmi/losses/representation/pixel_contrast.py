"""Pixel-wise supervised contrast: embeddings of a class together, those of different classes apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Objective, Outputs, Term
from segmi.losses.feature_grid import Chosen, cells, choose_cells
from segmi.losses.heads import Layers, applied, feature, head_of, heads_by_network, products, projection
from segmi.losses.options import check_choice
from segmi.losses.targets import Targets
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch, Output

Across = Literal["batch", "image"]


def supervised_contrastive(
    vectors: Tensor, classes: Tensor, group: Tensor, *, temperature: float = 0.1, base_temperature: float = 0.07
) -> tuple[Tensor, Tensor]:
    """For every anchor, how hard it is to tell those of its class from those of others.

    ``ℓ_i = -(τ/τ_b) 1/|P_i| Σ_{j∈P_i} [s_ij/τ - log(e^{s_ij/τ} + Σ_{k∈N_i} e^{s_ik/τ})]``, ``s_ij = v_i · v_j``

    P_i are the other anchors of i's class, N_i those of other classes. It is InfoNCE between an embedding and its
    class, so what it can say of their mutual information ends at log of the number of anchors that are set against
    each other.

    Args:
        vectors: of length 1.
        classes: of the anchors.
        group: anchors of different groups do not meet.
        temperature: τ.
        base_temperature: τ_b, which only scales.

    Shapes:
        vectors: K×D; classes, group: K; the results are K.

    Returns: ℓ, 0 for anchors without a positive, and which anchors have one.

    Unit and sign: nats times τ/τ_b, at least 0.

    Source: Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020; in this form Wang et al., *Exploring
        Cross-Image Pixel Contrast for Semantic Segmentation*, ICCV 2021, eq. 3 (τ 0.1, τ_b 0.07).

    Example:
        >>> vectors, classes = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> hardness, counts = supervised_contrastive(vectors, classes, torch.zeros(4))
        >>> (hardness < 1e-3).all(), counts.sum()
        (tensor(True), tensor(4))
    """
    likeness = products(vectors, vectors) / temperature
    meet = group[:, None] == group
    same = classes[:, None] == classes
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    positive, negative = meet & same & ~itself, meet & ~same
    against = likeness.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    against = torch.where(negative.any(1, keepdim=True), against, torch.finfo(likeness.dtype).min)
    # log(e^s + e^a) - s, which is softplus(a - s)
    hardness = torch.where(positive, F.softplus(against - likeness), 0.0)
    number = positive.sum(1)
    scale = temperature / base_temperature
    return scale * hardness.sum(1) / number.clamp(min=1), number > 0


class PixelContrast(Objective):
    """`supervised_contrastive` of sampled pixels' embeddings of every network that has a layer here.

    A head of two 1×1 convolutions embeds the cells of the layer's map in ``dimensions`` channels, brought to length 1;
    of every class in an image at most ``per_class`` cells are anchors, drawn by the seed and the labels.

    Assumptions: a class looks alike wherever it is. Invariances: rotations of the embedding space, a relabeling of the
    classes. Degenerate solutions: all of a class collapses to a point, which tells nothing but the class. Cost: O(K² d)
    for the K anchors of a batch, which on a GPU are waited for; nothing at prediction. The published sampler takes half
    of the anchors where the prediction is wrong and passes over classes of 100 pixels or fewer; here all cells of a
    class are equally likely and every class counts.

    Args:
        layers: a layer of each network, by network.
        name: the name of the terms.
        weight: their factor in the sum that is minimized; 0.1 as published.
        dimensions: of the embeddings.
        temperature: τ.
        base_temperature: τ_b.
        per_class: anchors of each class and image, at most.
        across: whether anchors of the whole ``batch`` meet, as published, which must then not be divided, or those of
            an ``image``.
        frozen: networks that do not learn.
        ignore_index: the label of ignored pixels.

    Unit and sign: nats times τ/τ_b per anchor, at least 0, minimized; 0, attached to the graph, where no anchor has a
        positive.

    Raises:
        ValueError: an option out of range, no layer of a network that learns, features that are no maps.

    Source: see `supervised_contrastive`.

    Example:
        >>> outputs = {"a": Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 4, 4)})}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = PixelContrast(layers={"a": "body"}, per_class=5)
        >>> loss.prepare(outputs, seed=0)
        >>> loss(outputs, batch)["pixel_contrast/a"].denominator
        tensor(5.)
    """

    family = "representation"
    requires = ("features",)
    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self,
        *,
        layers: Layers,
        name: str = "pixel_contrast",
        weight: float = 1.0,
        dimensions: int = 256,
        temperature: float = 0.1,
        base_temperature: float = 0.07,
        per_class: int = 100,
        across: Across = "batch",
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        check_choice("across", across, get_args(Across))
        options = {"dimensions": dimensions, "per_class": per_class, "temperature": temperature}
        for option, value in (*options.items(), ("base_temperature", base_temperature)):
            if not value > 0:
                raise ValueError(f"{option}: expected more than 0, got {value!r}; leave it out for the default")
        self.name, self.weight = name, float(weight)
        self.named, self.dimensions, self.per_class = dict(layers), dimensions, per_class
        self.temperature, self.base_temperature, self.across = temperature, base_temperature, across
        self.scope = across
        self.frozen, self.ignore_index = tuple(frozen), ignore_index
        self.heads, self.seed = nn.ModuleDict(), 0

    def layers(self) -> dict[str, list[str]]:
        """The layer of each network."""
        return {network: [layer] for network, layer in self.named.items()}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """A head for every network that learns."""
        self.seed = seed
        widths = {
            network: feature(output.features, network, self.named[network]).shape[1]
            for network, output in self._learners(outputs).items()
        }
        self.heads = heads_by_network(
            {m: projection([width, width, self.dimensions], key(seed, m)) for m, width in widths.items()}
        )

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term per network that learns."""
        return {
            f"{self.name}/{network}": self._term(network, output, batch)
            for network, output in self._learners(outputs).items()
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The anchors with a positive, from the labels alone."""
        counts = {}
        for network, output in self._learners(outputs).items():
            chosen = self._chosen(network, output, batch)[1]
            blank = torch.ones(len(chosen.classes), 1, device=chosen.classes.device)
            anchors = supervised_contrastive(blank, chosen.classes, self._groups(chosen))[1].sum()
            counts[f"{self.name}/{network}"] = anchors.to(torch.promote_types(output.logits.dtype, torch.float32))
        return counts

    def _term(self, network: str, output: Output, batch: Batch) -> Term:
        found, chosen = self._chosen(network, output, batch)
        embedded = applied(head_of(self.heads, network), output.features[self.named[network]])
        vectors = F.normalize(chosen.of(embedded))
        hardness, counts = supervised_contrastive(
            vectors, chosen.classes, self._groups(chosen), temperature=self.temperature,
            base_temperature=self.base_temperature,
        )  # fmt: skip
        attached = 0 * (embedded.sum() + output.logits.sum())
        return Term(hardness.sum() + found.invalid + attached, counts.sum().to(vectors.dtype), self.weight)

    def _groups(self, chosen: Chosen) -> Tensor:
        return torch.zeros_like(chosen.image) if self.across == "batch" else chosen.image

    def _chosen(self, network: str, output: Output, batch: Batch) -> tuple[Targets, Chosen]:
        seen = feature(output.features, network, self.named[network])
        found = cells(output.logits, batch.labels, seen, self.ignore_index)
        return found, choose_cells(found.classes, found.valid, per_class=self.per_class, seed=self.seed)

    def _learners(self, outputs: Outputs) -> Mapping[str, Output]:
        found = {m: output for m, output in outputs.items() if m in self.named and m not in self.frozen}
        if not found:
            raise ValueError(
                f"{self.name}: expected a layer of a network that learns, got those of {list(self.named)} with "
                f"{list(self.frozen)} frozen; name a layer of one of {list(outputs)}"
            )
        return found
