"""The networks that are trained together, as one module, and the hooks on their layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from segmi.errors import UsageError, unknown_name
from segmi.losses.base import Objective
from segmi.models.layer_outputs import capture_outputs, layer_names, unwrap
from segmi.models.network import evaluation_mode
from segmi.randomness import key
from segmi.types import Images, Output


class Average(NamedTuple):
    """Network whose weights are the moving average of the weights of another network.

    ``w̄ ← a w̄ + (1 - a) w`` after each step t = 0, 1, …, with ``a = min(decay, 1 - 1/(t + 1))``: at first the mean of
    all weights so far, which a decay of 1 keeps. Batch statistics are averaged in the same way.
    """

    of: str  # network that is averaged
    decay: float = 0.999  # largest weight of the previous average


FeatureTransform: TypeAlias = Callable[[str, str, Tensor], Tensor]
"""Replacement of the output of a hooked layer during training, from network name, layer name and output."""


class Cohort(nn.Module):
    """One or more networks whose forward pass returns the outputs of all of them.

    A single network is a cohort of one, mutual learning is a cohort of several, distillation is a cohort with a frozen
    network, which stays in evaluation mode and has no gradient.

    Args:
        networks: networks that return an `Output`, by name.
        frozen: names of the networks that are not trained.
        averages: networks that are averages of others, by name; they are frozen too.
        ensembles: names of networks whose probabilities are averaged in the evaluation, by name of the ensemble.

    Raises:
        UsageError: if the networks are empty or all frozen, a name is unknown, an average is of a frozen network
            or of another architecture, or an ensemble has fewer than two networks or the name of a network.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        frozen: Sequence[str] = (),
        averages: Mapping[str, Average] = MappingProxyType({}),
        ensembles: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        if not networks:
            raise UsageError("a cohort needs at least one network, got none")
        for name in frozen:
            if name not in networks:
                raise unknown_name("frozen network", name, networks)
        frozen = tuple(dict.fromkeys((*frozen, *averages)))
        for name, average in averages.items():
            _check_average(name, average, networks, frozen)
        for name, members in ensembles.items():
            check_ensemble(name, members, networks)
        if len(set(frozen)) == len(networks):
            raise UsageError("every network of the cohort is frozen", "leave at least one network to be trained")
        self.networks = nn.ModuleDict(networks)
        self.frozen, self.averages, self.ensembles = frozen, dict(averages), dict(ensembles)
        for name in self.frozen:
            self.networks[name].requires_grad_(False)
        self._hooked: dict[str, tuple[str, ...]] = {}
        self._transform: FeatureTransform | None = None
        self._turn: str | None = None  # the only network that is trained at present; None: all of them
        self.train()

    def train(self, mode: bool = True) -> Cohort:
        """Set training or evaluation mode; frozen networks stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.networks[name].eval()
        return self

    def forward(self, images: Images) -> dict[str, Output]:
        """Return the `Output` of each network for N×C×H×W images in [0, 1]."""
        outputs = {}
        for name, network in self.networks.items():
            trained = name not in self.frozen and self._turn in (None, name)
            with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
                outputs[name] = self._output(name, network, images)
        return outputs

    def put(self, name: str, network: nn.Module) -> None:
        """Replace the network ``name``."""
        self.networks[name] = network.requires_grad_(name not in self.frozen)
        self.train(self.training)

    @property
    def evaluated(self) -> tuple[str, ...]:
        """Names of all networks and ensembles."""
        return (*self.networks, *self.ensembles)

    @property
    def in_channels(self) -> int:
        """Number of channels of the images; 3 for modules that were not built by segmi."""
        return next((int(getattr(one, "in_channels", 3)) for one in self.networks.values()), 3)

    @property
    def learning(self) -> tuple[str, ...]:
        """Names of the networks that are trained."""
        return tuple(name for name in self.networks if name not in self.frozen)

    @contextmanager
    def turn_of(self, learner: str) -> Iterator[None]:
        """Train one network only; the others stay in training mode, but neither weights nor batch statistics change."""
        # In training mode, a forward pass would update the running statistics of the other networks.
        norms = [
            layer
            for name in self.learning
            if name != learner
            for layer in self.networks[name].modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
        ]
        self._turn = learner
        for layer in norms:
            layer.track_running_stats = False
        try:
            yield
        finally:
            self._turn = None
            for layer in norms:
                layer.track_running_stats = True

    @torch.no_grad()
    def average(self, steps: int | None) -> None:
        """Update the averages.

        Args:
            steps: optimizer steps before the last one; None before the first step, which copies the weights.
        """
        for name, average in self.averages.items():
            decay = 0.0 if steps is None else min(average.decay, 1 - 1 / (steps + 1))
            source = self.networks[average.of].state_dict()
            for entry, value in self.networks[name].state_dict().items():
                # Integer entries, such as the number of batches, cannot be averaged.
                if value.is_floating_point():
                    value.lerp_(source[entry], 1 - decay)
                else:
                    value.copy_(source[entry])

    def hook_layers(self, layers: Mapping[str, Sequence[str]], transform: FeatureTransform | None = None) -> None:
        """Return the outputs of these layers as features in each forward pass.

        Args:
            layers: dotted names of layers by network, see `segmi.models.layer_names`; empty to remove all hooks.
            transform: replaces the outputs during training. The features are the outputs before.

        Raises:
            UsageError: for an unknown network or layer.
        """
        for network, names in layers.items():
            if network not in self.networks:
                raise unknown_name("network", network, self.networks)
            known = layer_names(self.networks[network])
            for name in names:
                if name not in known:
                    raise unknown_name(f"layer of {network}:", name, known)
        self._hooked = {network: tuple(dict.fromkeys(names)) for network, names in layers.items()}
        self._transform = transform

    def _output(self, name: str, network: nn.Module, images: Images) -> Output:
        layers = self._hooked.get(name, ())
        if not layers:
            output: Output = network(images)
            return output
        features: dict[str, Tensor] = {}
        transform = partial(self._transform, name) if self._transform is not None and self.training else None
        with capture_outputs(unwrap(network), layers, features, transform):
            output = network(images)
        return output._replace(features={**output.features, **features})

    @property
    def stride(self) -> int:
        """Common multiple of the strides: height and width of the images have to be divisible by it."""
        strides: list[Any] = [getattr(network, "stride", 1) for network in self.networks.values()]
        return math.lcm(*strides)


def register_feature_hooks(cohort: Cohort, objective: Objective, *, device: torch.device, side: int, seed: int) -> None:
    """Hook the layers that an objective uses, and create its parameters that depend on the sizes of their outputs.

    The cohort moves to ``device`` if the objective uses any layers.

    Args:
        side: height and width of the crops.
        seed: seed of the new parameters.

    Raises:
        UsageError: for an unknown network or layer, or a layer that is not run or does not return a tensor.
    """
    layers = objective.layers()
    cohort.hook_layers(layers, objective.transform_features if objective.transforms_features else None)
    if not layers:
        return
    # The sizes are measured on a gray image in evaluation mode, so that the networks do not change.
    with evaluation_mode(cohort.to(device)), torch.no_grad():
        outputs = cohort(torch.full((1, cohort.in_channels, side, side), 0.5, device=device))
    for network, names in layers.items():
        for name in names:
            if name not in outputs[network].features:
                problem = f"layer {name!r} of {network} is not run in the forward pass, so it has no output"
                raise UsageError(problem, "use one of the layers around it")
    objective.prepare(outputs, key(seed, "objective"))
    objective.to(device)


def check_ensemble(name: str, members: Sequence[str], networks: Collection[str]) -> None:
    """Check the name of an ensemble and the names of its networks.

    Raises:
        UsageError: for the name of a network, an unknown network, or fewer than two different networks.
    """
    if name in networks:
        raise UsageError(f"{name!r} is the name of a network and of an ensemble", "rename the ensemble")
    for member in members:
        if member not in networks:
            raise unknown_name(f"network of the ensemble {name!r}:", member, networks)
    if len(members) < 2 or len(set(members)) < len(members):
        given = ", ".join(members) or "none"
        raise UsageError(
            f"expected at least two different networks for the ensemble {name!r}, got {given}",
            "list each of its networks once",
        )


def _check_average(name: str, average: Average, networks: Mapping[str, nn.Module], frozen: Sequence[str]) -> None:
    for network in (name, average.of):
        if network not in networks:
            raise unknown_name("averaged network", network, networks)
    if average.of in frozen:
        raise UsageError(f"{name} averages {average.of}, which is not trained", "average a network that is not frozen")
    if not 0 < average.decay <= 1:
        raise UsageError(f"decay of {name}: expected more than 0 and at most 1, got {average.decay}", "0.999 is usual")
    own, other = ({k: v.shape for k, v in networks[network].state_dict().items()} for network in (name, average.of))
    if own != other:
        problem = f"{name} averages {average.of}, which has another architecture"
        raise UsageError(problem, "give both the same architecture")
