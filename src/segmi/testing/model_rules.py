"""The contract of models."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from segmi.models import MODELS, Architecture, SegmentationNetwork, build_network
from segmi.models.network import BuiltModule
from segmi.testing.contract import Rule, check, rules_of
from segmi.types import Output

__all__ = ["MODEL_RULES", "check_model"]

CLASSES: Final = 3


def check_model(
    model: str | Callable[..., BuiltModule | nn.Module],
    options: Mapping[str, Any] | None = None,
    *,
    side: int = 64,
    unused: Sequence[str] = (),
    rules: Iterable[str] | None = None,
) -> None:
    """Check that an architecture keeps the contract that training and bundles rely on.

    Args:
        model: the function ``build(outputs, in_channels=3, **options)`` of an entry point, which returns a module from
            images to logits; or the name of a known architecture.
        options: of the architecture, such as a small width that makes the check fast.
        side: height of the images, and their width or less; a multiple of the stride of the module.
        unused: names of modules whose parameters have no effect on the logits.
        rules: keys of `MODEL_RULES`; None: all.
    Raises: AssertionError with every violated rule, the value, the expected value and the fix.
    Example:
        >>> check_model("unet", {"width": 4})
    """
    with _registered(model) as name, torch.random.fork_rng(devices=[]):
        check(_Subject(name, dict(options or {}), side, tuple(unused)), name, MODEL_RULES, rules)


@dataclass
class _Subject:
    name: str
    options: dict[str, Any]
    side: int
    unused: tuple[str, ...]

    def network(self, **arguments: Any) -> SegmentationNetwork:
        torch.manual_seed(0)
        return build_network(self.name, **{"classes": CLASSES, **self.options, **arguments})

    def trained(self) -> SegmentationNetwork:
        """Return a network in evaluation mode whose batch statistics have moved."""
        network = self.network().train()
        with torch.no_grad():
            network(torch.rand(2, 3, self.side, self.side))
        return network.eval()

    @cached_property
    def stride(self) -> int:
        return self.network().stride

    @property
    def images(self) -> Tensor:
        # not square, and of a width that the stride divides
        width = self.side + (2 * self.stride if self.stride > 1 else 5)
        return torch.rand(2, 3, self.side, width, generator=torch.Generator().manual_seed(1))


@contextmanager
def _registered(model: str | Callable[..., BuiltModule | nn.Module]) -> Iterator[str]:
    # a network is rebuilt from its specification by the name of its architecture
    if isinstance(model, str):
        yield model
        return
    name = f"{getattr(model, '__name__', 'model')} under test"
    MODELS[name] = Architecture(getattr(model, "__module__", ""), name, model)
    try:
        yield name
    finally:
        del MODELS[name]


def output(subject: _Subject) -> Iterator[str]:
    """In training, finite float32 logits of the size of the images, with one channel per output."""
    given = subject.network().train()(torch.rand(2, 3, subject.side, subject.side))
    if not isinstance(given, Output):
        yield f"expected segmi.types.Output, got {type(given).__name__}. Fix: return logits from the module"
        return
    logits, expected = given.logits, (2, CLASSES, subject.side, subject.side)
    if logits.shape != expected or logits.dtype != torch.float32:
        fix = "Fix: return one channel per output, and logits that are not rounded"
        yield f"expected float32 logits of shape {expected}, got {logits.dtype} of {tuple(logits.shape)}. {fix}"
    elif not torch.isfinite(logits).all():
        yield "expected finite logits, got NaN or infinity. Fix: scale the initial weights"


def gradients(subject: _Subject) -> Iterator[str]:
    """The logits depend on the images and on all parameters."""
    network = subject.network().train()
    images = torch.rand(2, 3, subject.side, subject.side, requires_grad=True)
    network(images).logits.square().mean().backward()
    if images.grad is None or images.grad.abs().sum() == 0:
        yield "expected a gradient at the images, got none. Fix: do not detach inside of the module"
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    if others := [name for name in idle if not name.startswith(subject.unused or "-")]:
        fix = "Fix: remove these parameters, or name them with unused="
        yield f"expected a gradient for all parameters, got none for {others[:4]}. {fix}"


def evaluation(subject: _Subject) -> Iterator[str]:
    """In evaluation mode, each image has the same logits alone and in a batch, at any multiple of the stride."""
    network, images = subject.trained(), subject.images
    with torch.no_grad():
        both, first = network(images).logits, network(images[:1]).logits
    if both.shape[-2:] != images.shape[-2:]:
        given, expected = tuple(both.shape[-2:]), tuple(images.shape[-2:])
        yield f"expected logits of size {expected}, got {given}. Fix: return logits of the size of the images"
        return
    try:
        torch.testing.assert_close(both[:1], first, rtol=1e-3, atol=1e-4)
    except AssertionError:
        difference = (both[:1] - first).abs().max().item()
        fix = "Fix: use no statistics of the batch, and no random numbers, in evaluation mode"
        yield f"expected equal logits of an image alone and in a batch, got a difference of {difference:.2g}. {fix}"


def features(subject: _Subject) -> Iterator[str]:
    """Outputs of inner modules are returned by name."""
    network = subject.network()
    name = next((n for n, m in network.module.named_modules() if n and not list(m.children())), None)
    if name is None:
        return
    given = subject.network(features=[name]).train()(torch.rand(2, 3, subject.side, subject.side)).features
    if set(given) != {name}:
        yield f"expected the feature {name!r}, got {sorted(given)}. Fix: call submodules instead of their functions"


def binary(subject: _Subject) -> Iterator[str]:
    """Two classes can have one logit, and images can have other numbers of channels."""
    network = subject.network(classes=2, one_logit=True, in_channels=4).eval()
    with torch.no_grad():
        shape = tuple(network(torch.rand(1, 4, subject.side, subject.side)).logits.shape)
    if shape != (1, 1, subject.side, subject.side):
        fix = "Fix: use the arguments `outputs` and `in_channels`"
        yield f"expected one channel for outputs=1 and in_channels=4, got logits of shape {shape}. {fix}"


def bundles(subject: _Subject) -> Iterator[str]:
    """The specification is plain data that rebuilds a network, which gives the same logits with the same weights."""
    network, images = subject.trained(), subject.images
    if json.loads(json.dumps(network.specification)) != network.specification:
        yield "expected a specification of plain data, got other objects. Fix: use options that JSON can represent"
        return
    twin = build_network(**network.specification).eval()
    try:
        twin.load_state_dict(network.state_dict(), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        yield f"expected a rebuilt network that accepts the weights, got: {reason}. Fix: store all sizes as options"
        return
    with torch.no_grad():
        expected = network(images).logits
        for title, other in (("a rebuilt network", twin), ("a deep copy", copy.deepcopy(network))):
            if not torch.equal(other(images).logits, expected):
                fix = "Fix: register all state as parameters or buffers"
                yield f"expected equal logits of {title} with the same weights, got others. {fix}"


MODEL_RULES: Final[dict[str, Rule[_Subject]]] = rules_of(output, gradients, evaluation, features, binary, bundles)
"""The rules by name; the first line of the docstring of each states it."""
