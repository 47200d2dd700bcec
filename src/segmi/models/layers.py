"""What layers inside a network put out, by the layers' names, in any architecture and without touching its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segmi.errors import UsageError
from segmi.types import Images

Edit: TypeAlias = Callable[[str, Tensor], Tensor]
"""What takes the place of a layer's output, from the layer's name and that output."""


def layer_names(network: nn.Module) -> tuple[str, ...]:
    """The dotted names of the layers of a network; of one that wraps another, those inside, as its library names them.

    Example:
        >>> layer_names(nn.Sequential(nn.Conv2d(3, 5, 1), nn.Sequential(nn.ReLU())))
        ('0', '1', '1.0')
    """
    return tuple(name for name, _ in inside(network).named_modules() if name)


def inside(network: nn.Module) -> nn.Module:
    """The module whose layers have the names that are told to users: that of a `SegmentationNetwork`, or all of it."""
    wrapped = hasattr(network, "feature_names")
    return network.get_submodule("module") if wrapped else network


def blocks(network: nn.Module, images: Images) -> tuple[str, ...]:
    """The outermost layers with weights that put out one map, in the order in which they are run.

    What puts out something else, such as an encoder that returns all its stages, is opened, and so is the whole.

    Args:
        network: run once, in the mode that it is in, without gradients.
        images: N×3×H×W, what it is run on.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU())
        >>> blocks(nn.Sequential(body, nn.MaxPool2d(2), nn.Conv2d(5, 2, 1)), torch.rand(1, 3, 4, 4))
        ('0', '2')
    """
    module, is_map = inside(network), dict[str, bool]()

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, given, output: is_map.update({name: isinstance(output, Tensor) and output.ndim == 4})

    with ExitStack() as stack, torch.no_grad():
        for name, layer in module.named_modules():
            if name:
                stack.callback(layer.register_forward_hook(note(name)).remove)
        network(images)

    def outermost(parent: nn.Module, prefix: str) -> Iterator[str]:
        for short, layer in parent.named_children():
            name = f"{prefix}{short}"
            if not is_map.get(name):
                yield from outermost(layer, f"{name}.")
            elif any(True for _ in layer.parameters()):
                yield name

    chosen = set(outermost(module, ""))
    return tuple(name for name in is_map if name in chosen)


@contextmanager
def kept_outputs(
    module: nn.Module, names: Sequence[str], kept: MutableMapping[str, Tensor], edit: Edit | None = None
) -> Iterator[None]:
    """Collect the outputs of layers; no hook outlives the block, so copies of the network stay apart.

    Args:
        module: that has the layers.
        names: of the layers.
        kept: takes copies of their outputs, for what comes next may work in place.
        edit: what the network goes on with instead, if anything.

    Raises:
        UsageError: in the forward pass, for a layer that puts out something else than one tensor.
    """
    with ExitStack() as stack:
        for name in names:
            handle = module.get_submodule(name).register_forward_hook(_keep(name, kept, edit))
            stack.callback(handle.remove)
        yield


def _keep(
    name: str, kept: MutableMapping[str, Tensor], edit: Edit | None
) -> Callable[[nn.Module, Any, Any], Tensor | None]:
    def hook(module: nn.Module, _: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            raise UsageError(
                f"feature {name!r} ({type(module).__name__}) gives a {type(output).__name__}, not a tensor",
                "name one of the modules inside it",
            )
        kept[name] = output.clone()
        return None if edit is None else edit(name, kept[name])

    return hook
