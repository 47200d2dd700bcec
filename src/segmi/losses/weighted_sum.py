"""Several losses as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from torch import Tensor, nn

from segmi.losses.base import Objective, Outputs, Scope, Term
from segmi.randomness import key
from segmi.types import Batch

T = TypeVar("T")


class WeightedSum(Objective):
    """The terms of several losses together, each under its own name and with its own weight.

    ``L = Σ_o Σ_t w_t · numerator_t / denominator_t``

    Args:
        losses: at least one; no two of them may name a term alike.

    Raises:
        ValueError: no loss; when called, a name that two of them use.

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
            raise ValueError("losses: expected at least one, got none; name a loss such as cross_entropy")
        self.losses = nn.ModuleList(losses)
        self.transforms_features = any(objective.transforms_features for objective in losses)
        self.requires = tuple(dict.fromkeys(need for objective in losses for need in objective.requires))
        scopes: tuple[Scope, ...] = ("batch", "global", "image")
        self.scope = next(scope for scope in scopes if any(objective.scope == scope for objective in losses))

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The terms of all losses."""
        return self._merged(lambda objective: objective(outputs, batch))

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators of all losses."""
        return self._merged(lambda objective: objective.denominators(outputs, batch))

    def layers(self) -> dict[str, list[str]]:
        """Those that any of the losses wants."""
        wanted: dict[str, list[str]] = {}
        for objective in self._each():
            for network, names in objective.layers().items():
                known = wanted.setdefault(network, [])
                known += [name for name in names if name not in known]
        return wanted

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Each of the losses, with a seed of its own."""
        for number, objective in enumerate(self._each()):
            objective.prepare(outputs, key(seed, "objective", number))

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """One edit after the other."""
        for objective in self._each():
            if objective.transforms_features and layer in objective.layers().get(network, ()):
                output = objective.transform_features(network, layer, output)
        return output

    def _each(self) -> list[Objective]:
        return cast("list[Objective]", list(self.losses))

    def _merged(self, ask: Callable[[Objective], dict[str, T]]) -> dict[str, T]:
        merged: dict[str, T] = {}
        for objective in self._each():
            found = ask(objective)
            twice = sorted(merged.keys() & found.keys())
            if twice:
                raise ValueError(f"terms: expected different names, got {', '.join(twice)} twice; rename one loss")
            merged |= found
        return merged
