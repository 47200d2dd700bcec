"""The cells of a feature map: the labels that they stand for, and a fair choice among them that a seed decides."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segmi.losses.targets import Targets, read_targets, upcast
from segmi.types import Labels, Logits

_GOLDEN = 0x1E3779B97F4A7C15
_MIX = 0x3F58476D1CE4E5B9
_IGNORED_LAST = 2**62


def cells(logits: Logits, labels: Labels, features: Tensor, ignore_index: int) -> Targets:
    """Classes and validity of the cells of N×D×h×w features: those of the pixel in the middle of each cell.

    NaN among logits or features makes `Targets.invalid` NaN.

    Raises:
        TypeError, ValueError: logits and labels that do not go together.
    """
    targets = read_targets(logits, labels, ignore_index)
    seen = features.detach()
    broken = torch.where(seen.amax().isnan(), torch.nan, 0.0) if seen.numel() else targets.invalid
    size = (features.shape[-2], features.shape[-1])
    return Targets(at_cells(targets.classes, size), at_cells(targets.valid, size), targets.invalid + broken)


def at_cells(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """N×H×W maps at N×h×w: the pixel in the middle of each cell.

    Example:
        >>> at_cells(torch.arange(16).view(1, 4, 4), (2, 2))
        tensor([[[ 5,  7],
                 [13, 15]]])
    """
    rows, columns = (
        ((torch.arange(small, device=maps.device) + 0.5) * (large / small)).long()
        for small, large in zip(size, maps.shape[-2:], strict=True)
    )
    return maps[:, rows[:, None], columns]


def valid_cells(labels: Labels, features: Tensor, ignore_index: int) -> Tensor:
    """How many cells of the features count; from labels and shapes alone."""
    size = (features.shape[-2], features.shape[-1])
    return at_cells(labels.long() != ignore_index, size).sum().to(upcast(features).dtype)


class Chosen(NamedTuple):
    """K cells: the image of each, its flat position there, and its class; by image, then by class."""

    image: Tensor
    position: Tensor
    classes: Tensor

    def of(self, maps: Tensor) -> Tensor:
        """The K×D vectors of N×D×h×w maps at these cells."""
        return maps.flatten(2)[self.image, :, self.position]


def choose_cells(classes: Tensor, valid: Tensor, *, per_class: int, seed: int) -> Chosen:
    """At most ``per_class`` valid cells of every class of every image, all equally likely.

    The choice is predict_labels by the seed and the image's own labels: it is the same wherever the image stands in a
    batch, in every process, and after a resume, while another crop brings another choice. On a GPU their number is
    waited for.

    Shapes:
        classes: N×h×w int64; valid: N×h×w bool.
    """
    kinds, order = _by_class(classes, valid, _priorities(classes, valid, seed))
    new = torch.ones_like(kinds, dtype=torch.bool)
    new[:, 1:] = kinds[:, 1:] != kinds[:, :-1]
    place = torch.arange(kinds.shape[1], device=kinds.device).expand_as(kinds)
    first = torch.where(new, place, 0).cummax(1).values if kinds.numel() else place
    taken = (place - first < per_class) & (kinds != _IGNORED_LAST)
    image, index = taken.nonzero(as_tuple=True)
    return Chosen(image, order[image, index], kinds[image, index])


def shuffled_cells(classes: Tensor, valid: Tensor, *, within_class: bool, seed: int) -> Tensor:
    """N×(h·w): for every cell the flat position of the one of the same image that takes its place.

    Valid cells change places with those of their class, or with all others that are valid; ignored ones among themselves.
    As for `choose_cells`, seed and labels decide.
    """
    groups = classes if within_class else torch.zeros_like(classes)
    _, takes = _by_class(groups, valid, _priorities(classes, valid, seed))
    place = torch.arange(takes.shape[1], device=takes.device).expand_as(takes)
    _, given = _by_class(groups, valid, place)
    return torch.empty_like(takes).scatter(1, given, takes)


def _by_class(classes: Tensor, valid: Tensor, priorities: Tensor) -> tuple[Tensor, Tensor]:
    """Classes and positions of all cells of an image, sorted by class, then by priority; ignored ones last."""
    by_priority = priorities.argsort(dim=1, stable=True)
    kinds = torch.where(valid, classes, _IGNORED_LAST).flatten(1).gather(1, by_priority)
    kinds, by_class = kinds.sort(dim=1, stable=True)
    return kinds, by_priority.gather(1, by_class)


def _priorities(classes: Tensor, valid: Tensor, seed: int) -> Tensor:
    """N×(h·w) numbers without pattern: of the seed, the cell's position, and all labels of its image."""
    place = torch.arange(classes.shape[1] * classes.shape[2], device=classes.device)
    known = torch.where(valid, classes, -1).flatten(1)
    image = _mixed(known * _GOLDEN + _mixed(place + seed)).sum(1, keepdim=True)
    return _mixed(image + _mixed(place + 1) + seed)


def _mixed(numbers: Tensor) -> Tensor:
    """Whole numbers scattered over all of int64, which wraps around."""
    for shift in (30, 27):
        numbers = (numbers ^ (numbers >> shift)) * _MIX
    return numbers ^ (numbers >> 31)
