"""The variational information bottleneck: noise after a layer, and a price on what gets through it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Objective, Outputs, Term
from segmi.losses.feature_grid import cells, valid_cells
from segmi.losses.heads import applied, feature, head_of, heads_by_network
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch, Output

FLOOR = 1e-5
"""The least variance of the noise."""


def bottleneck_rate(mean: Tensor, variance: Tensor) -> Tensor:
    """How much a noisy code tells, at most: its divergence from a standard normal law, summed over channels.

    ``R = Σ_c ½ (μ_c² + σ_c² - log σ_c² - 1) = KL(N(μ, σ²) ‖ N(0, I))``

    On average over images it is an upper bound on the mutual information of image and code.

    Shapes:
        mean, variance: N×D×h×w, variances above 0; the result is N×h×w.

    Unit and sign: nats per position, at least 0.

    Source: Alemi, Fischer, Dillon and Murphy, *Deep Variational Information Bottleneck*, ICLR 2017 (its abstract read).

    Example:
        >>> bottleneck_rate(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
        tensor([[[0.]]])
    """
    if mean.shape != variance.shape:
        raise ValueError(
            f"variance: expected the shape of mean, {tuple(mean.shape)}, got {tuple(variance.shape)}; "
            "give one per value"
        )
    return (mean.square() + variance - variance.log() - 1).sum(1) / 2


class InformationBottleneck(Objective):
    """In training, the outputs of layers get noise; the network pays for what they tell in spite of it.

    ``L = Σ_layers 1/|V| Σ_{u∈V} KL(N(h_u, σ²(h_u)) ‖ N(0, I))``, and the network goes on with ``z = h + σ(h) ε``

    for ε ~ N(0, I).

    A layer's output h is the mean of its code, and a 1×1 convolution that is optimized along gives its variance. So
    nothing is added to the network that is exported: it predicts with the mean. V are the cells whose middle pixel is
    not ignored; ε is drawn from PyTorch's generators, which training keys by seed and update.

    Assumptions: what is to be forgotten passes through the layers that are named. A U-Net's shortcuts go around its
    bottleneck, which then bounds nothing: name the encoder blocks as well. Invariances: rotations and reflections of
    the channels. Degenerate solutions: h = 0, all noise, where the weight is too large. Cost: a 1×1 convolution of D
    to D channels per layer, twice; nothing at prediction.

    Args:
        layers: one layer or several of each network, by network.
        name: the name of the terms.
        weight: β, their factor in the sum that is minimized. The sum over an image's positions is published, with 1e-3
            or so as others quote it; the mean over cells that is minimized here is smaller by their number.
        initial_variance: σ² at the beginning.
        frozen: networks that do not learn, and get no noise.
        ignore_index: the label of ignored pixels.

    Unit and sign: nats per cell, at least 0, minimized; 0, attached to the graph, where no cell is valid.

    Raises:
        ValueError: no layer of a network that learns, an option out of range, features that are no maps.

    Source: see `bottleneck_rate`. The mean as the layer's own output is of this library; published is a layer of its own for both.

    Example:
        >>> outputs = {"a": Output(torch.zeros(1, 2, 4, 4), {"body": torch.rand(1, 8, 2, 2)})}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = InformationBottleneck(layers={"a": "body"})
        >>> loss.prepare(outputs, seed=0)
        >>> list(loss(outputs, batch))
        ['information_bottleneck.body/a']
    """

    transforms_features = True
    family = "representation"
    requires = ("features",)
    invariances: tuple[Invariance, ...] = (
        "logit shift",
        "prediction permutation",
        "class permutation",
        "pixel permutation",
    )

    def __init__(
        self,
        *,
        layers: dict[str, str | list[str]],
        name: str = "information_bottleneck",
        weight: float = 1.0,
        initial_variance: float = 0.1,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        if not initial_variance > FLOOR:
            raise ValueError(
                f"initial_variance: expected more than {FLOOR}, the least there can be, got {initial_variance!r}"
            )
        self.name, self.weight = name, float(weight)
        self.named = {network: [given] if isinstance(given, str) else list(given) for network, given in layers.items()}
        self.initial_variance = float(initial_variance)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index
        self.heads = nn.ModuleDict()

    def layers(self) -> dict[str, list[str]]:
        """The layers of each network."""
        return self.named

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """The convolutions that give the variances."""
        heads: dict[str, nn.Module] = {}
        for network, output in self._learners(outputs).items():
            for layer in self.named[network]:
                width = feature(output.features, network, layer).shape[1]
                heads[f"{network}/{layer}"] = self._head(width)
        self.heads = heads_by_network(heads)

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """The layer's output with noise, in the type that it came in."""
        if network in self.frozen:
            return output
        deviation = self._variance(network, layer, output).sqrt().to(output.dtype)
        return output + deviation * torch.randn_like(output)

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term ``name.layer/network`` for every layer of a network that learns."""
        found = {}
        for network, output in self._learners(outputs).items():
            for layer in self.named[network]:
                mean = feature(output.features, network, layer)
                counted = cells(output.logits, batch.labels, mean, self.ignore_index)
                told = bottleneck_rate(upcast(mean), self._variance(network, layer, mean))
                total = torch.where(counted.valid, told, 0.0).sum()
                found[self._name(layer, network)] = Term(
                    total + counted.invalid + 0 * output.logits.sum(), counted.valid.sum().to(total.dtype), self.weight
                )
        return found

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The valid cells of every layer."""
        return {
            self._name(layer, network): valid_cells(batch.labels, output.features[layer], self.ignore_index)
            for network, output in self._learners(outputs).items()
            for layer in self.named[network]
        }

    def _head(self, width: int) -> nn.Module:
        head = nn.utils.skip_init(nn.Conv2d, width, width, kernel_size=1)  # which would draw weights for nothing
        nn.init.zeros_(head.weight)
        # softplus undone, so that the variance begins as it was asked to
        nn.init.constant_(head.bias, math.log(math.expm1(self.initial_variance - FLOOR)))
        return head

    def _variance(self, network: str, layer: str, mean: Tensor) -> Tensor:
        return F.softplus(applied(head_of(self.heads, f"{network}/{layer}"), mean)) + FLOOR

    def _name(self, layer: str, network: str) -> str:
        return f"{self.name}.{layer}/{network}"

    def _learners(self, outputs: Outputs) -> Mapping[str, Output]:
        found = {m: output for m, output in outputs.items() if m in self.named and m not in self.frozen}
        if not found:
            raise ValueError(
                f"{self.name}: expected a layer of a network that learns, got those of {list(self.named)} with "
                f"{list(self.frozen)} frozen; name a layer of one of {list(outputs)}"
            )
        return found
