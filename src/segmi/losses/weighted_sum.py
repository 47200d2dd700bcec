"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from torch import Tensor, nn

from segmi.losses.base import Objective, Outputs, Scope, Term
from segmi.randomness import key
from segmi.types import Batch

__all__ = ["WeightedSum"]

T = TypeVar("T")


class WeightedSum(Objective):
    """The terms of several losses together, each with its own name and weight.

    ``L = Σ_l Σ_t w_lt · numerator_lt / denominator_lt``

    Args:
        losses: at least one, with different names of terms.
    Raises: ValueError for no loss; when called, a name that two losses use.
    Example:
        >>> import torch
        >>> from segmi.types import Output
        >>> from segmi.losses import CrossEntropy, PerNetwork
        >>> halves = [PerNetwork(CrossEntropy(), name, weight=0.5) for name in ("left", "right")]
        >>> outputs = {"unet": Output(torch.zeros(1, 2, 1, 1))}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> {name: term.weight for name, term in WeightedSum(halves)(outputs, batch).items()}
        {'left/unet': 0.5, 'right/unet': 0.5}
    """

    def __init__(self, losses: Sequence[Objective]) -> None:
        super().__init__()
        if not losses:
            raise ValueError("losses: expected at least one, got none. Fix: name a loss such as cross_entropy")
        self.losses = nn.ModuleList(losses)
        self.transforms_features = any(loss.transforms_features for loss in losses)
        self.requires = tuple(dict.fromkeys(requirement for loss in losses for requirement in loss.requires))
        scopes: tuple[Scope, ...] = ("batch", "global", "image")  # the strictest first
        self.scope = next(scope for scope in scopes if any(loss.scope == scope for loss in losses))

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms of all losses."""
        return self._merged(lambda loss: loss(outputs, batch))

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of all losses."""
        return self._merged(lambda loss: loss.denominators(outputs, batch))

    def layers(self) -> dict[str, list[str]]:
        """Return the layers of all losses, each once."""
        # losses that name the same layer share one hook
        layers: dict[str, list[str]] = {}
        for loss in self._losses():
            for network, names in loss.layers().items():
                known = layers.setdefault(network, [])
                known += [name for name in names if name not in known]
        return layers

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Prepare every loss with its own seed."""
        for number, loss in enumerate(self._losses()):
            loss.prepare(outputs, key(seed, "objective", number))

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """Apply the transforms of all losses in order."""
        for loss in self._losses():
            if loss.transforms_features and layer in loss.layers().get(network, ()):
                output = loss.transform_features(network, layer, output)
        return output

    def _losses(self) -> list[Objective]:
        return cast("list[Objective]", list(self.losses))

    def _merged(self, results_of: Callable[[Objective], dict[str, T]]) -> dict[str, T]:
        merged: dict[str, T] = {}
        for loss in self._losses():
            results = results_of(loss)
            # a repeated name would silently drop a term
            repeated = sorted(merged.keys() & results.keys())
            if repeated:
                raise ValueError(
                    f"terms: expected different names, got {', '.join(repeated)} twice. Fix: rename one loss"
                )
            merged |= results
        return merged
