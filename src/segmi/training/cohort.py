"""The networks that are trained together, as one module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from segmi.errors import UsageError, unknown_name
from segmi.models.layer_outputs import capture_outputs, layer_names, unwrap
from segmi.types import Images, Output


class Average(NamedTuple):
    """A network whose weights are the moving average of another's, which it stands for as a teacher or in the end.

    ``w̄ ← a w̄ + (1 - a) w`` after every step t = 0, 1, …, with ``a = min(decay, 1 - 1/(t + 1))``: at first the mean of
    all weights so far, and for good with a decay of 1. Statistics of normalization are averaged likewise.

    Args:
        of: the network that learns.
        decay: the share of what was there that stays.
    """

    of: str
    decay: float = 0.999


FeatureTransform: TypeAlias = Callable[[str, str, Tensor], Tensor]
"""What takes the place of a layer's output in training: from the network, the layer and that output."""


class Cohort(nn.Module):
    """One or more networks whose forward returns the outputs of all of them.

    Model 1 of the study is a cohort of one; mutual learning is a cohort of several; distillation is a cohort with a
    frozen network, which stays in evaluation mode and gets no gradient.

    Args:
        networks: networks that return an `Output`, by name.
        frozen: the names of those that teach but do not learn.
        averages: those that are averages of others, by name; they are frozen as well.

    Raises:
        UsageError: if there is no network, if all are frozen, if a name is unknown, or if an average is of a network that
            does not learn or that is another network.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        frozen: Sequence[str] = (),
        averages: Mapping[str, Average] = MappingProxyType({}),
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
        if len(set(frozen)) == len(networks):
            raise UsageError("every network of the cohort is frozen", "leave at least one network to be trained")
        self.networks = nn.ModuleDict(networks)
        self.frozen, self.averages = frozen, dict(averages)
        for name in self.frozen:
            self.networks[name].requires_grad_(False)
        self._watched: dict[str, tuple[str, ...]] = {}
        self._edit: FeatureTransform | None = None
        self._turn: str | None = None
        self.train()

    def train(self, mode: bool = True) -> Cohort:
        """Training or evaluation mode for the networks that learn; frozen ones stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.networks[name].eval()
        return self

    def forward(self, images: Images) -> dict[str, Output]:
        """The `Output` of every network for N×3×H×W images in [0, 1]."""
        outputs = {}
        for name, network in self.networks.items():
            learns = name not in self.frozen and self._turn in (None, name)
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                outputs[name] = self._output(name, network, images)
        return outputs

    def put(self, name: str, network: nn.Module) -> None:
        """Take another network as the network ``name``, in its role."""
        self.networks[name] = network.requires_grad_(name not in self.frozen)
        self.train(self.training)

    @property
    def learning(self) -> tuple[str, ...]:
        """The names of the networks that learn."""
        return tuple(name for name in self.networks if name not in self.frozen)

    @contextmanager
    def turn_of(self, learner: str) -> Iterator[None]:
        """Inside, one network learns; the others say what they would say in training, and nothing of them changes."""
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
        """Bring the averages up to date.

        Args:
            steps: how many there were before the last one; None where there was none, and all begins alike.
        """
        for name, average in self.averages.items():
            kept = 0.0 if steps is None else min(average.decay, 1 - 1 / (steps + 1))
            own, other = self.networks[name].state_dict(), self.networks[average.of].state_dict()
            for key, value in own.items():
                if value.is_floating_point():
                    value.lerp_(other[key], 1 - kept)
                else:
                    value.copy_(other[key])

    def watch(self, layers: Mapping[str, Sequence[str]], edit: FeatureTransform | None = None) -> None:
        """From now on return the outputs of these layers as features.

        Args:
            layers: the dotted names of layers by network, as `segmi.models.layer_names` lists them; none to stop.
            edit: what the networks go on with in training instead of those outputs; the features are what came before.

        Raises:
            UsageError: for an unknown network or layer, with the nearest one.
        """
        for network, names in layers.items():
            if network not in self.networks:
                raise unknown_name("network", network, self.networks)
            known = layer_names(self.networks[network])
            for name in names:
                if name not in known:
                    raise unknown_name(f"layer of {network}:", name, known)
        self._watched = {network: tuple(dict.fromkeys(names)) for network, names in layers.items()}
        self._edit = edit

    def _output(self, name: str, network: nn.Module, images: Images) -> Output:
        watched = self._watched.get(name, ())
        if not watched:
            output: Output = network(images)
            return output
        kept: dict[str, Tensor] = {}
        edit = partial(self._edit, name) if self._edit is not None and self.training else None
        with capture_outputs(unwrap(network), watched, kept, edit):
            output = network(images)
        return output._replace(features={**output.features, **kept})

    @property
    def stride(self) -> int:
        """What the height and width of its images must be multiples of for all networks to accept them."""
        return math.lcm(*(self.stride_of(name) for name in self.networks))

    def stride_of(self, name: str) -> int:
        """The stride of one network; 1 for a network that declares none."""
        stride: Any = getattr(self.networks[name], "stride", 1)
        return int(stride)


def _check_average(name: str, average: Average, networks: Mapping[str, nn.Module], frozen: Sequence[str]) -> None:
    for one in (name, average.of):
        if one not in networks:
            raise unknown_name("averaged network", one, networks)
    if average.of in frozen:
        raise UsageError(f"{name} averages {average.of}, which does not learn", "average a network that is not frozen")
    if not 0 < average.decay <= 1:
        raise UsageError(f"decay of {name}: expected more than 0 and at most 1, got {average.decay}", "0.999 is usual")
    shapes = [{key: value.shape for key, value in networks[one].state_dict().items()} for one in (name, average.of)]
    if shapes[0] != shapes[1]:
        raise UsageError(f"{name} averages {average.of}, which is another network", "give both the same architecture")
