"""Pixel-wise supervised contrast: embeddings of a class close to each other, of different classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.features import (
    FeatureObjective,
    Layers,
    Sample,
    apply_head,
    feature_targets,
    head_of,
    heads_by_network,
    projection_head,
    sample_positions,
)
from segmi.losses.option_checks import check_choice, check_positive
from segmi.losses.probabilities import image_counts, inner_products
from segmi.losses.targets import Targets, class_count, upcast
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch, Output

__all__ = ["PixelContrast", "supervised_contrastive"]

Across = Literal["batch", "image"]


def supervised_contrastive(
    vectors: Tensor, classes: Tensor, group: Tensor, *, temperature: float = 0.1, base_temperature: float = 0.07
) -> tuple[Tensor, Tensor]:
    """Return the supervised contrastive loss of every anchor, and whether it has a positive.

    ``ℓ_i = -(τ/τ_b) 1/|P_i| Σ_{j∈P_i} [s_ij/τ - log(e^{s_ij/τ} + Σ_{k∈N_i} e^{s_ik/τ})]``, ``s_ij = v_i · v_j``, P_i
    the other anchors of i's class, N_i the anchors of other classes

    It is InfoNCE between an embedding and its class, so its estimate of their mutual information is at most the
    logarithm of the number of contrasted anchors.

    Args:
        vectors: unit vectors.
        classes: of the anchors.
        group: anchors are compared within their group.
        temperature: τ.
        base_temperature: τ_b, a scale only.
    Shapes: vectors: …×K×D; classes, group: …×K; the results are …×K: ℓ, 0 for anchors without a positive, and bool.
    Unit and sign: nats times τ/τ_b, at least 0.
    Source: Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020; in this form Wang et al., *Exploring
        Cross-Image Pixel Contrast for Semantic Segmentation*, ICCV 2021, eq. 3 (τ 0.1, τ_b 0.07).
    Example:
        >>> vectors, classes = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> losses, has_positive = supervised_contrastive(vectors, classes, torch.zeros(4))
        >>> (losses < 1e-3).all(), has_positive.sum()
        (tensor(True), tensor(4))
    """
    similarity = inner_products(vectors, vectors) / temperature
    same_group = group.unsqueeze(-1) == group.unsqueeze(-2)
    same_class = classes.unsqueeze(-1) == classes.unsqueeze(-2)
    identity = torch.eye(classes.shape[-1], dtype=torch.bool, device=classes.device)
    positive, negative = same_group & same_class & ~identity, same_group & ~same_class
    # …×K×1, the log of the sum over negatives
    against = similarity.masked_fill(~negative, -torch.inf).logsumexp(-1, keepdim=True)
    # a finite minimum instead of -inf keeps the gradient finite without negatives
    against = torch.where(negative.any(-1, keepdim=True), against, torch.finfo(similarity.dtype).min)
    # log(e^s + e^a) - s = softplus(a - s)
    losses = torch.where(positive, F.softplus(against - similarity), 0.0)
    number = positive.sum(-1)
    scale = temperature / base_temperature
    return scale * losses.sum(-1) / number.clamp(min=1), number > 0


class PixelContrast(FeatureObjective):
    """`supervised_contrastive` of the embeddings of sampled pixels, for every trained network with a layer here.

    A head of two 1×1 convolutions maps the layer's output to unit vectors of ``dimensions`` channels. The anchors are
    at most ``per_class`` positions of every class and image, a function of the seed and the labels.

    Use: rare classes and images from several sources, added to cross-entropy.
    Assumptions: a class looks alike everywhere. Invariances: rotations of the embeddings, a permutation of the classes.
    Degenerate solutions: each class collapses to a point. Cost: O(K² d) for the K anchors of a batch; nothing at
    inference. On a GPU the number of anchors is not read, so that K is the largest number that ``per_class`` and
    ``max_anchors`` allow with all classes in all images. The published sampler takes half of the anchors from wrong
    predictions and skips classes of at most 100 pixels; here all positions of a class are equally likely. The published
    head has batch normalization (``batch_norm``), and a batch at most 1,024 anchors (``max_anchors``).

    Args:
        layers: one layer of each network, by network.
        dimensions: channels of the embeddings.
        temperature, base_temperature: τ and τ_b.
        per_class: largest number of anchors of each class and image.
        max_anchors: largest number of anchors of a batch: ``per_class`` is at most this divided by the number of pairs
            of an image and a class in it, rounded down, and at least 1; None: unlimited.
        batch_norm: normalize the hidden layer of the head over all positions of the batch, ignored ones too; the batch
            then must not be divided.
        across: compare the anchors of the ``batch``, as published, which must then not be divided, or of an ``image``.
        name, weight, frozen, ignore_index: see `FeatureObjective`; the published weight is 0.1.
    Unit and sign: nats times τ/τ_b per anchor, at least 0, minimized; 0, attached to the graph, if no anchor has a
        positive.
    Raises: ValueError for an option out of range, no layer of a trained network, or features that are not maps.
    Source: see `supervised_contrastive`.
    Example:
        >>> outputs = {"a": Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 4, 4)})}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = PixelContrast(layers={"a": "body"}, per_class=5)
        >>> loss.prepare(outputs, seed=0)
        >>> loss(outputs, batch)["pixel_contrast/a"].denominator
        tensor(5.)
    """

    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self, *, layers: Layers, name: str = "pixel_contrast", weight: float = 1.0, dimensions: int = 256,
        temperature: float = 0.1, base_temperature: float = 0.07, per_class: int = 100, max_anchors: int | None = None,
        batch_norm: bool = False, across: Across = "batch", frozen: Sequence[str] = (),
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(layers=layers, name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_choice("across", across, get_args(Across))
        check_positive(
            dimensions=dimensions, per_class=per_class, temperature=temperature, base_temperature=base_temperature,
            max_anchors=1 if max_anchors is None else max_anchors,
        )  # fmt: skip
        self.dimensions, self.per_class = dimensions, per_class
        self.max_anchors, self.batch_norm = max_anchors, batch_norm
        self.temperature, self.base_temperature, self.across = temperature, base_temperature, across
        self.scope = "batch" if batch_norm or max_anchors is not None else across
        self.seed = 0

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Create a head for every trained network."""
        self.seed = seed
        widths = {m: self._map(m, output).shape[1] for m, output in self._trained(outputs).items()}
        self.heads = heads_by_network(
            {
                m: projection_head([width, width, self.dimensions], key(seed, m), batch_norm=self.batch_norm)
                for m, width in widths.items()
            }
        )

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return one term per trained network."""
        return {
            f"{self.name}/{network}": self._term(network, output, batch)
            for network, output in self._trained(outputs).items()
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of anchors with a positive, from the labels only."""
        counts = {}
        for network, output in self._trained(outputs).items():
            sample = self._sample(network, output, batch)[1]
            # embeddings do not matter for the count
            blank = torch.ones(*sample.classes.shape, 1, device=sample.classes.device)
            anchors = self._contrast(blank, sample, self._most(output.logits))[1]
            counts[f"{self.name}/{network}"] = anchors.to(upcast(output.logits).dtype)
        return counts

    def _term(self, network: str, output: Output, batch: Batch) -> Term:
        targets, sample = self._sample(network, output, batch)
        embedded = apply_head(head_of(self.heads, network), self._map(network, output))
        vectors = F.normalize(sample.of(embedded), dim=-1)
        total, anchors = self._contrast(vectors, sample, self._most(output.logits))
        attached = 0 * (embedded.sum() + output.logits.sum())
        return Term(total + targets.invalid + attached, anchors.to(vectors.dtype), self.weight)

    def _most(self, logits: Tensor) -> int:
        """Return an upper bound of the number of anchors of a batch."""
        pairs = len(logits) * class_count(logits)
        most = pairs * self.per_class
        return most if self.max_anchors is None else min(most, max(self.max_anchors, pairs))  # one or more per pair

    def _contrast(self, vectors: Tensor, sample: Sample, most: int) -> tuple[Tensor, Tensor]:
        """Return the sum over the anchors with a positive, and their number."""
        classes, included = sample.classes, sample.included
        if self.across == "batch":
            classes, included, vectors = classes.flatten(), included.flatten(), vectors.flatten(0, 1)
            if most < len(classes):
                first = (~included).byte().argsort(stable=True)[:most]
                classes, included, vectors = classes[first], included[first], vectors[first]
        losses, has_positive = supervised_contrastive(
            vectors, classes, included, temperature=self.temperature, base_temperature=self.base_temperature
        )
        counted = included & has_positive
        return torch.where(counted, losses, 0).sum(), counted.sum()

    def _map(self, network: str, output: Output) -> Tensor:
        return self._features(network, self.layers_of[network][0], output)

    def _sample(self, network: str, output: Output, batch: Batch) -> tuple[Targets, Sample]:
        targets = feature_targets(output.logits, batch.labels, self._map(network, output), self.ignore_index)
        classes, per_class = class_count(output.logits), self.per_class
        limit: int | Tensor = per_class
        if self.max_anchors is not None:
            pairs = (image_counts(targets, classes) > 0).sum().clamp(min=1)
            limit = (self.max_anchors // pairs).clamp(1, per_class)
        return targets, sample_positions(
            targets.classes, targets.valid, min(classes * per_class, self._most(output.logits)), per_class=limit,
            seed=self.seed,
        )  # fmt: skip
