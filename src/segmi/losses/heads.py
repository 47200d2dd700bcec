"""Small networks of 1×1 convolutions that losses put on features, with initial weights that a seed decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segmi.losses.targets import upcast

Layers: TypeAlias = dict[str, str]
"""One layer of each network, by the network's name."""


def projection(widths: Sequence[int], seed: int) -> nn.Sequential:
    """1×1 convolutions with ReLU between them.

    Args:
        widths: channels of the input, of what lies between, and of the output.
        seed: decides the initial weights; whatever else the process draws stays as it was.

    Example:
        >>> [tuple(p.shape) for p in projection([8, 16, 4], seed=0).parameters()]
        [(16, 8, 1, 1), (16,), (4, 16, 1, 1), (4,)]
    """
    parts: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for before, after in pairwise(widths):
            parts += [nn.Conv2d(before, after, kernel_size=1), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def applied(head: nn.Module, features: Tensor) -> Tensor:
    """The head's output in at least float32, whatever a surrounding autocast says."""
    with torch.autocast(features.device.type, enabled=False):
        found: Tensor = head(upcast(features))
    return found


def feature(features: Mapping[str, Tensor], network: str, layer: str) -> Tensor:
    """The N×D×h×w features of a layer.

    Raises:
        ValueError: they are not there, or are no maps.
    """
    if layer not in features:
        raise ValueError(
            f"features of {network}: expected those of {layer!r}, got {', '.join(features) or 'none'}; train through "
            "segmi.training.fit, or let the cohort watch the layer"
        )
    found = features[layer]
    if found.ndim != 4:
        raise ValueError(
            f"features of {network}, {layer!r}: expected maps of shape N×D×h×w, got {tuple(found.shape)}; name a layer "
            "that puts out maps"
        )
    return found


def heads_by_network(heads: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Heads under names that `torch.nn` accepts, which a dot in a network's name would not be."""
    return nn.ModuleDict({name.replace(".", "·"): head for name, head in heads.items()})


def head_of(heads: nn.ModuleDict, network: str) -> nn.Module:
    """The head of a network.

    Raises:
        ValueError: there is none, for the loss was not prepared.
    """
    name = network.replace(".", "·")
    if name not in heads:
        raise ValueError(
            f"heads: expected one for {network}, got none; call prepare(outputs, seed) first, as segmi.training.fit does"
        )
    return heads[name]


def products(a: Tensor, b: Tensor) -> Tensor:
    """``a bᵀ`` of K×D and L×D vectors, by no surrounding autocast in half precision, forward or backward."""
    found: Tensor = _Products.apply(a, b)
    return found


class _Products(torch.autograd.Function):
    """A matrix product whose backward pass an autocast around it leaves alone too."""

    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor) -> Tensor:
        context.save_for_backward(a, b)
        with torch.autocast(a.device.type, enabled=False):
            return a @ b.mT

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        a, b = context.saved_tensors
        with torch.autocast(a.device.type, enabled=False):
            return gradient @ b, gradient.mT @ a
