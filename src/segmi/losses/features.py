"""Feature maps in losses: their labels, sampled positions and projection heads.

A *position* is one element of the h×w grid of a feature map; its label is the label of the pixel at its center.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Objective, Outputs, module_name
from segmi.losses.targets import Targets, is_readable, is_valid, read_targets, upcast
from segmi.types import Labels, Logits, Output

Layers: TypeAlias = dict[str, str]
"""One layer of each network, by the network's name."""

# multipliers of the SplitMix64 generator, as signed integers; products wrap around in int64
_GOLDEN = 0x1E3779B97F4A7C15
_MIX = 0x3F58476D1CE4E5B9
_IGNORED = 2**62  # sorts after all classes


def feature_map(features: Mapping[str, Tensor], network: str, layer: str) -> Tensor:
    """Return the N×D×h×w output of a layer, or raise ``ValueError`` if it is missing or no map."""
    if layer not in features:
        raise ValueError(
            f"features of {network}: expected the output of {layer!r}, got {', '.join(features) or 'none'}. Fix: "
            "train with segmi.training.fit, or hook the layer"
        )
    output = features[layer]
    if output.ndim != 4:
        raise ValueError(
            f"features of {network}, {layer!r}: expected maps of shape N×D×h×w, got {tuple(output.shape)}. Fix: name a "
            "layer that returns maps"
        )
    return output


def feature_targets(logits: Logits, labels: Labels, features: Tensor, ignore_index: int | None) -> Targets:
    """Return classes and validity of the positions of N×D×h×w features.

    NaN in logits or features makes `Targets.invalid` NaN. Invalid logits or labels are errors, see `read_targets`.
    """
    targets = read_targets(logits, labels, ignore_index)
    values = features.detach()
    invalid = torch.where(values.amax().isnan(), torch.nan, 0.0) if values.numel() else targets.invalid
    size = (features.shape[-2], features.shape[-1])
    return Targets(center_pixels(targets.classes, size), center_pixels(targets.valid, size), targets.invalid + invalid)


def center_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return N×H×W maps at the center pixels of an h×w grid: N×h×w.

    Example:
        >>> center_pixels(torch.arange(16).view(1, 4, 4), (2, 2))
        tensor([[[ 5,  7],
                 [13, 15]]])
    """
    rows, columns = (
        # centers of the grid cells in pixels, rounded down
        ((torch.arange(small, device=maps.device) + 0.5) * (large / small)).long()
        for small, large in zip(size, maps.shape[-2:], strict=True)
    )
    return maps[:, rows[:, None], columns]


def count_valid_positions(labels: Labels, features: Tensor, ignore_index: int | None) -> Tensor:
    """Return the number of valid positions of the features, from labels and shapes only."""
    size = (features.shape[-2], features.shape[-1])
    return center_pixels(is_valid(labels, ignore_index), size).sum().to(upcast(features).dtype)


class Sample(NamedTuple):
    """K positions of every image, by class: flat position, class, and whether the position is part of the sample.

    Shapes: N×K.
    """

    position: Tensor
    classes: Tensor
    included: Tensor

    def of(self, maps: Tensor) -> Tensor:
        """Return the N×K×D vectors of N×D×h×w maps at these positions."""
        index = self.position.unsqueeze(1).expand(-1, maps.shape[1], -1)
        return maps.flatten(2).gather(2, index).mT


def sample_positions(classes: Tensor, valid: Tensor, number: int, *, per_class: int | Tensor, seed: int) -> Sample:
    """Sample at most ``per_class`` valid positions of every class and image, all with equal probability.

    The sample is a function of the seed and the image's labels, so it is the same in any batch or process and after a
    resume, and it differs between crops. Its size K is the largest sample of an image on the CPU; elsewhere reading the
    sizes would synchronize with the device, so that K is at most the ``number`` of positions.

    Shapes: classes: N×h×w int64; valid: N×h×w bool; per_class: a tensor has the shape ().
    """
    priorities = random_priorities(classes, valid, math.prod(classes.shape[1:]), seed)
    sorted_classes, order = _sorted_by_class(classes, valid, priorities)
    # new: True at the first position of each class in a sorted row, N×(h·w)
    before = sorted_classes.roll(1, 1)
    index = torch.arange(sorted_classes.shape[1], device=sorted_classes.device).expand_as(sorted_classes)
    new = (sorted_classes != before) | (index == 0)
    # first: index of the first position of the same class
    first = torch.where(new, index, 0).cummax(1).values if sorted_classes.numel() else index
    # rank within the class: less than per_class for the first ones in random order
    taken = (index - first < per_class) & (sorted_classes != _IGNORED)
    size = min(number, taken.shape[1])
    if is_readable(taken) and taken.numel():
        size = int(taken.sum(1).max())
    columns = (~taken).byte().argsort(dim=1, stable=True)[:, :size]  # those taken first
    return Sample(*(values.gather(1, columns) for values in (order, sorted_classes, taken)))


def shuffled_positions(classes: Tensor, valid: Tensor, *, within_class: bool, seed: int) -> Tensor:
    """Return a random permutation of the positions of every image: N×(h·w) flat positions.

    Valid positions are permuted within their class, or among all valid positions; ignored ones among themselves. The
    permutation is a function of seed and labels, as in `sample_positions`.
    """
    groups = classes if within_class else torch.zeros_like(classes)
    _, source = _sorted_by_class(groups, valid, random_priorities(classes, valid, math.prod(classes.shape[1:]), seed))
    index = torch.arange(source.shape[1], device=source.device).expand_as(source)
    # positions of each group in their original order; source has them in random order
    _, target = _sorted_by_class(groups, valid, index)
    return torch.empty_like(source).scatter(1, target, source)


def _sorted_by_class(classes: Tensor, valid: Tensor, priorities: Tensor) -> tuple[Tensor, Tensor]:
    # classes and flat positions of every image, sorted by class, then by priority; ignored ones last
    # two stable sorts: by priority, then by class
    by_priority = priorities.argsort(dim=1, stable=True)
    flat = torch.where(valid, classes, _IGNORED).flatten(1).gather(1, by_priority)
    flat, by_class = flat.sort(dim=1, stable=True)
    return flat, by_priority.gather(1, by_class)


def random_priorities(classes: Tensor, valid: Tensor, positions: int, seed: int) -> Tensor:
    """Return N×positions pseudo-random integers: a hash of seed, position and all labels of the image.

    Shapes: classes: N×H×W int64; valid: N×H×W bool.
    """
    known = torch.where(valid, classes, -1).flatten(1).mul_(_GOLDEN)
    pixel, position = (torch.arange(size, device=classes.device) for size in (known.shape[1], positions))
    # a sum over pixels makes the hash of the image independent of their order of evaluation
    image = _hashed(known.add_(_hashed(pixel + seed))).sum(1, keepdim=True)
    return _hashed(image + _hashed(position + 1) + seed)


def _hashed(numbers: Tensor) -> Tensor:
    # int64 hashes, as in the finalizer of SplitMix64
    for shift in (30, 27):
        numbers = (numbers >> shift).bitwise_xor_(numbers).mul_(_MIX)
    return (numbers >> 31).bitwise_xor_(numbers)


def projection_head(widths: Sequence[int], seed: int, *, bias: bool = True, batch_norm: bool = False) -> nn.Sequential:
    """Return 1×1 convolutions with ReLU between them.

    Args:
        widths: channels of the input, the hidden layers and the output.
        seed: of the initial weights; the global generator of PyTorch is not changed.
        bias: whether convolutions have one.
        batch_norm: normalize before every ReLU.
    Example:
        >>> [tuple(p.shape) for p in projection_head([8, 16, 4], seed=0).parameters()]
        [(16, 8, 1, 1), (16,), (4, 16, 1, 1), (4,)]
    """
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for before, after in pairwise(widths):
            norm = [nn.BatchNorm2d(after)] if batch_norm else []
            layers += [nn.Conv2d(before, after, kernel_size=1, bias=bias), *norm, nn.ReLU()]
    return nn.Sequential(*layers[: -1 - len(norm)])


def resize_like(maps: Tensor, other: Tensor) -> Tensor:
    """Return N×D×h×w maps in the size of others, by bilinear interpolation."""
    size = other.shape[-2:]
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)


def apply_head(head: nn.Module, features: Tensor) -> Tensor:
    """Return the output of a head in at least float32, also under autocast."""
    with torch.autocast(features.device.type, enabled=False):
        output: Tensor = head(upcast(features))
    return output


MIN_VARIANCE: Final = 1e-5
"""Least variance of learned noise: it would tend to 0, and its logarithm to -∞, where features are predicted well."""


def start_of_variance(initial: float) -> float:
    """Return the parameter a of a learned variance ``softplus(a) + MIN_VARIANCE`` that is ``initial`` at first."""
    if not initial > MIN_VARIANCE:
        raise ValueError(f"initial_variance: expected more than {MIN_VARIANCE}, got {initial!r}")
    return math.log(math.expm1(float(initial) - MIN_VARIANCE))  # inverse softplus


def heads_by_network(heads: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Return heads under valid names of submodules."""
    return nn.ModuleDict({module_name(name): head for name, head in heads.items()})


def head_of(heads: nn.ModuleDict, network: str) -> nn.Module:
    """Return the head of a network, or raise ``ValueError`` if the loss was not prepared."""
    name = module_name(network)
    if name not in heads:
        raise ValueError(
            f"heads: expected one for {network}, got none. Fix: call prepare(outputs, seed), as segmi.training.fit does"
        )
    return heads[name]


class FeatureObjective(Objective):
    """A loss on one or more layers of every trained network that has a layer here; abstract.

    Args: one or more ``layers`` by network; for the others see `Objective`.
    """

    family = "representation"
    requires = ("features",)

    def __init__(
        self, *, layers: Mapping[str, str | Sequence[str]], name: str, weight: float, frozen: Sequence[str],
        ignore_index: int | None,
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.layers_of = {
            network: [given] if isinstance(given, str) else list(given) for network, given in layers.items()
        }
        self.heads = nn.ModuleDict()

    def layers(self) -> dict[str, list[str]]:
        """Return the layers of each network."""
        return self.layers_of

    def _trained(self, outputs: Outputs) -> Mapping[str, Output]:
        # the outputs of the trained networks that have a layer here
        trained = {m: output for m, output in outputs.items() if m in self.layers_of and m not in self.frozen}
        if not trained:
            raise ValueError(
                f"{self.name}: expected a layer of a trained network, got layers of {list(self.layers_of)} with "
                f"{list(self.frozen)} frozen. Fix: name a layer of one of {list(outputs)}"
            )
        return trained

    def _features(self, network: str, layer: str, output: Output) -> Tensor:
        return feature_map(output.features, network, layer)
