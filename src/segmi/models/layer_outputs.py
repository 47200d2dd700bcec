"""Outputs of inner layers by the layers' names, for any architecture and without changing its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segmi.errors import UsageError
from segmi.types import Images

Transform: TypeAlias = Callable[[str, Tensor], Tensor]
"""Called with a layer's name and output; returns the replacement for that output."""


def layer_names(network: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of a network's layers, as its library names them.

    Example:
        >>> layer_names(nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(nn.ReLU())))
        ('0', '1', '1.0')
    """
    return tuple(name for name, _ in unwrap(network).named_modules() if name)


def unwrap(network: nn.Module) -> nn.Module:
    """Return the module inside a `SegmentationNetwork`, whose layer names users see; other modules are unchanged."""
    wrapped = hasattr(network, "feature_names")
    return network.get_submodule("module") if wrapped else network


def block_names(network: nn.Module, images: Images) -> tuple[str, ...]:
    """Return the names of the outermost layers with weights that output one N×D×h×w map, in order of execution.

    Layers with other outputs, such as an encoder that returns all its stages, are replaced by their children.

    Args:
        network: run once in its current mode, without gradients.
        images: N×C×H×W.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU())
        >>> block_names(nn.Sequential(body, nn.MaxPool2d(2), nn.Conv2d(5, 2, 1)), torch.rand(1, 3, 4, 4))
        ('0', '2')
    """
    module, is_map = unwrap(network), dict[str, bool]()

    def record(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        is_map[name] = isinstance(output, Tensor) and output.ndim == 4  # N×D×h×w

    with ExitStack() as stack, torch.no_grad():
        for name, layer in module.named_modules():
            if name:
                stack.callback(layer.register_forward_hook(partial(record, name)).remove)
        network(images)

    def outermost(parent: nn.Module, prefix: str) -> Iterator[str]:
        for short, layer in parent.named_children():
            name = f"{prefix}{short}"
            if not is_map.get(name):
                yield from outermost(layer, f"{name}.")
            elif any(True for _ in layer.parameters()):
                yield name

    chosen = set(outermost(module, ""))
    # dicts keep insertion order: the hooks ran in the order of execution
    return tuple(name for name in is_map if name in chosen)


@contextmanager
def capture_outputs(
    module: nn.Module, names: Sequence[str], outputs: MutableMapping[str, Tensor], transform: Transform | None = None
) -> Iterator[None]:
    """Collect the outputs of layers while the context is open; the hooks are removed at its end.

    Args:
        module: the module that contains the layers.
        names: dotted names of the layers.
        outputs: receives copies, because the next layer may work in place.
        transform: replaces the outputs for the rest of the forward pass; ``outputs`` holds the originals.

    Raises:
        UsageError: in the forward pass, if a layer does not return one tensor.
    """

    def hook(name: str, layer: nn.Module, _: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            problem = f"feature {name!r} ({type(layer).__name__}) gives a {type(output).__name__}, not a tensor"
            raise UsageError(problem, "choose one of the modules inside it")
        outputs[name] = output.clone()  # an in-place ReLU after this layer would change the output itself
        return None if transform is None else transform(name, outputs[name])

    with ExitStack() as stack:
        for name in names:
            stack.callback(module.get_submodule(name).register_forward_hook(partial(hook, name)).remove)
        yield
