"""The common part of losses on features of single networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segmi.losses.base import Objective, Outputs
from segmi.losses.features import feature_map
from segmi.types import Output


class FeatureObjective(Objective):
    """A loss on one or more layers of every trained network that has a layer here; abstract.

    Args:
        layers: one or more layers of each network, by network.
        name: name of the terms.
        weight: factor in the sum that is minimized.
        frozen: networks that are not trained.
        ignore_index: label of ignored pixels.
    """

    family = "representation"
    requires = ("features",)

    def __init__(
        self, *, layers: Mapping[str, str | Sequence[str]], name: str, weight: float, frozen: Sequence[str],
        ignore_index: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.layers_of = {
            network: [given] if isinstance(given, str) else list(given) for network, given in layers.items()
        }
        self.frozen, self.ignore_index = tuple(frozen), ignore_index
        self.heads = nn.ModuleDict()

    def layers(self) -> dict[str, list[str]]:
        """Return the layers of each network."""
        return self.layers_of

    def _trained(self, outputs: Outputs) -> Mapping[str, Output]:
        """Return the outputs of the trained networks that have a layer here."""
        trained = {m: output for m, output in outputs.items() if m in self.layers_of and m not in self.frozen}
        if not trained:
            raise ValueError(
                f"{self.name}: expected a layer of a trained network, got layers of {list(self.layers_of)} with "
                f"{list(self.frozen)} frozen. Fix: name a layer of one of {list(outputs)}"
            )
        return trained

    def _features(self, network: str, layer: str, output: Output) -> Tensor:
        return feature_map(output.features, network, layer)
