"""The variational information bottleneck: noise after a layer, and a penalty on the information that passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Outputs, Term, term_name
from segmi.losses.features import (
    MIN_VARIANCE,
    FeatureObjective,
    apply_head,
    count_valid_positions,
    feature_targets,
    head_of,
    heads_by_network,
    start_of_variance,
)
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch

__all__ = ["InformationBottleneck", "bottleneck_rate"]


def bottleneck_rate(mean: Tensor, variance: Tensor) -> Tensor:
    """Return the divergence of a noisy code from a standard normal distribution, summed over channels.

    ``R = Σ_c ½ (μ_c² + σ_c² - log σ_c² - 1) = KL(N(μ, σ²) ‖ N(0, I))``

    Its mean over images is an upper bound on the mutual information of image and code.

    Shapes: mean, variance N×D×h×w, variances above 0; the result is N×h×w.
    Unit and sign: nats per position, at least 0.
    Source: Alemi, Fischer, Dillon and Murphy, *Deep Variational Information Bottleneck*, ICLR 2017 (abstract).
    Example:
        >>> bottleneck_rate(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
        tensor([[[0.]]])
    """
    if mean.shape != variance.shape:
        raise ValueError(
            f"variance: expected the shape of mean, {tuple(mean.shape)}, got {tuple(variance.shape)}. Fix: give one "
            "per value"
        )
    return (mean.square() + variance - variance.log() - 1).sum(1) / 2


class InformationBottleneck(FeatureObjective):
    """Adds noise to the outputs of layers in training and penalizes the information that passes.

    ``L = Σ_layers 1/|V| Σ_{u∈V} KL(N(h_u, σ²(h_u)) ‖ N(0, I))``; the network continues with ``z = h + σ(h) ε``,
    ε ~ N(0, I)

    A layer's output h is the mean of its code, and a 1×1 convolution that is trained with the network gives its
    variance. The exported network has no noise. V are the valid positions of the layer's map; ε is drawn from PyTorch's
    generators, which training seeds at every step.

    Use: few images and overfitting, added to cross-entropy with a small weight.
    Assumptions: the information to discard passes through the named layers. The skip connections of a U-Net bypass its
    bottleneck: name the encoder blocks too. Invariances: rotations and reflections of the channels. Degenerate
    solutions: h = 0, all noise, if the weight is too large. Cost: two 1×1 convolutions from D to D channels per layer;
    nothing at inference.

    Args:
        weight: β, factor in the sum that is minimized. Published is a sum over positions with about 1e-3; the mean
            over positions here is smaller by their number.
        initial_variance: initial σ².
        layers, name, frozen, ignore_index: see `FeatureObjective`; frozen networks get no noise.
    Unit and sign: nats per position, at least 0, minimized; 0, attached to the graph, if no position is valid.
    Raises: ValueError for an option out of range, no layer of a trained network, or features that are not maps.
    Source: see `bottleneck_rate`; there a separate layer gives the mean.
    Example:
        >>> from segmi.types import Output
        >>> outputs = {"a": Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 2, 2)})}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = InformationBottleneck(layers={"a": "body"})
        >>> loss.prepare(outputs, seed=0)
        >>> list(loss(outputs, batch))
        ['information_bottleneck.body/a']
    """

    transforms_features = True
    invariances: tuple[Invariance, ...] = (
        "logit shift", "prediction permutation", "class permutation", "pixel permutation",
    )  # fmt: skip

    def __init__(
        self, *, layers: dict[str, str | list[str]], name: str = "information_bottleneck", weight: float = 1.0,
        initial_variance: float = 0.1, frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(layers=layers, name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.start = start_of_variance(initial_variance)

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Create the convolutions that give the variances."""
        heads: dict[str, nn.Module] = {}
        for network, output in self._trained(outputs).items():
            for layer in self.layers_of[network]:
                heads[f"{network}/{layer}"] = self._head(self._features(network, layer, output).shape[1])
        self.heads = heads_by_network(heads)

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """Return the layer's output with noise, in its dtype."""
        if network in self.frozen:
            return output
        # standard deviation in the dtype of the layer, which may be half precision
        deviation = self._variance(network, layer, output).sqrt().to(output.dtype)
        return output + deviation * torch.randn_like(output)

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return one term ``name.layer/network`` for every layer of a trained network."""
        terms = {}
        for network, output in self._trained(outputs).items():
            for layer in self.layers_of[network]:
                mean = self._features(network, layer, output)
                targets = feature_targets(output.logits, batch.labels, mean, self.ignore_index)
                rate = bottleneck_rate(upcast(mean), self._variance(network, layer, mean))
                total = torch.where(targets.valid, rate, 0.0).sum()
                # 0 · logits attaches the term to the graph of the logits
                attached = total + targets.invalid + 0 * output.logits.sum()
                terms[term_name(self.name, layer, network)] = Term(
                    attached, targets.valid.sum().to(total.dtype), self.weight
                )
        return terms

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid positions of every layer."""
        return {
            term_name(self.name, layer, network): count_valid_positions(
                batch.labels, output.features[layer], self.ignore_index
            )
            for network, output in self._trained(outputs).items()
            for layer in self.layers_of[network]
        }

    def _head(self, width: int) -> nn.Module:
        head = nn.utils.skip_init(nn.Conv2d, width, width, kernel_size=1)  # draws no random weights
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, self.start)
        return head

    def _variance(self, network: str, layer: str, mean: Tensor) -> Tensor:
        # N×D×h×w, above the least variance
        return F.softplus(apply_head(head_of(self.heads, f"{network}/{layer}"), mean)) + MIN_VARIANCE
