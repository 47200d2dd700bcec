"""Named array types and the two small containers that data, models, losses and training exchange.

Imports nothing of segmi, so that every room may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:  # readers of datasets and records need `IGNORE_INDEX` without importing PyTorch
    import torch
    from torch import Tensor

IGNORE_INDEX: Final = 255
"""The label of pixels that count nowhere. Datasets translate their own ignored value to this one when they are read."""

Images: TypeAlias = "Tensor"
"""N×3×H×W, float in [0, 1]; networks normalize for themselves."""

Logits: TypeAlias = "Tensor"
"""N×C×H×W, any float dtype. C = 1 stands for a binary problem: the logit of class 1 against class 0."""

Probabilities: TypeAlias = "Tensor"
"""N×C×H×W, in [0, 1]."""

Labels: TypeAlias = "Tensor"
"""N×H×W, any integer dtype: class indices, or the ignore value."""

Counts: TypeAlias = "Tensor"
"""C×C confusion counts, int64: rows are the truth, columns the prediction."""


class Output(NamedTuple):
    """What a network returns: its logits at the size of the images, and the features it was asked for, by name."""

    logits: Logits
    features: Mapping[str, Tensor] = {}


class Views(NamedTuple):
    """The images without labels that stand at the end of a batch, U of them, once or in two views.

    Args:
        seen: U×H×W bool, False where a crop reaches beyond its image.
        flipped: U bool, which of the second views are mirrored left to right; None where there is one view only. The
            second views stand behind the first ones, in the same order.
    """

    seen: Tensor
    flipped: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Views:
        """The same on another device."""
        flipped = None if self.flipped is None else self.flipped.to(device, non_blocking=non_blocking)
        return Views(self.seen.to(device, non_blocking=non_blocking), flipped)

    def pinned(self) -> Views:
        """The same in memory that CUDA copies from by itself."""
        return Views(self.seen.pin_memory(), None if self.flipped is None else self.flipped.pin_memory())


@dataclass(frozen=True)
class Batch:
    """Images with what is known about them.

    Args:
        images: N×3×H×W, float in [0, 1].
        labels: N×H×W, integer, ``IGNORE_INDEX`` where a pixel counts nowhere.
        names: one name per image, unique in its split.
        groups: what is not independent (city, video clip, patient), one per image.
        views: those of the images at the end that have no labels, all of whose labels are ``IGNORE_INDEX``.
    """

    images: Images
    labels: Labels
    names: tuple[str, ...] = field(default=())
    groups: tuple[str, ...] = field(default=())
    views: Views | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labeled(self) -> int:
        """How many images have labels; they come first."""
        if self.views is None:
            return len(self)
        return len(self) - len(self.views.seen) * (1 if self.views.flipped is None else 2)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            views=self.views and self.views.to(device, non_blocking=non_blocking),
        )

    def pinned(self) -> Batch:
        """The same in memory that CUDA copies from by itself: from any other a copy holds up the program."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            views=self.views and self.views.pinned(),
        )
