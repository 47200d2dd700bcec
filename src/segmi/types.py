"""Named array types, and the containers that datasets, models, losses and training exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:  # datasets, records and commands need the constants without importing PyTorch
    import torch
    from torch import Tensor

IGNORE_INDEX: Final = 255
"""Label of ignored pixels. Dataset readers map their own ignored value to this one."""

THRESHOLD: Final = 0.5
"""Default probability of class 1 above which a network with one logit predicts class 1."""

Images: TypeAlias = "Tensor"
"""N×C×H×W, float in [0, 1]; networks normalize them."""

Logits: TypeAlias = "Tensor"
"""N×C×H×W, floating point. C = 1 is a binary problem: the logit of class 1 against class 0."""

Probabilities: TypeAlias = "Tensor"
"""N×C×H×W, in [0, 1]."""

Labels: TypeAlias = "Tensor"
"""N×H×W, integer: class indices, or the ignore value."""

Counts: TypeAlias = "Tensor"
"""C×C confusion counts, int64: rows are the truth, columns the prediction."""


class Output(NamedTuple):
    """Output of a network: logits at the size of the images, and the requested features by layer name."""

    logits: Logits
    features: Mapping[str, Tensor] = {}


class Views(NamedTuple):
    """The U unlabeled images at the end of a batch, in one or two views.

    Args:
        seen: U×H×W bool, False where a crop extends beyond its image.
        flipped: U bool, True for second views that are mirrored horizontally; None for a single view. The second views
            follow the first ones in the same order.
    """

    seen: Tensor
    flipped: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Views:
        """Return the views on another device."""
        flipped = None if self.flipped is None else self.flipped.to(device, non_blocking=non_blocking)
        return Views(self.seen.to(device, non_blocking=non_blocking), flipped)

    def pinned(self) -> Views:
        """Return the views in pinned memory, for asynchronous copies to a GPU."""
        return Views(self.seen.pin_memory(), None if self.flipped is None else self.flipped.pin_memory())


@dataclass(frozen=True)
class Batch:
    """Images and labels.

    Args:
        images: N×C×H×W, float in [0, 1].
        labels: N×H×W, integer, ``IGNORE_INDEX`` at ignored pixels.
        names: one name per image, unique in its split.
        groups: group of dependent images (city, video clip, patient), one per image.
        views: the views of the unlabeled images at the end, whose labels are all ``IGNORE_INDEX``.
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
        """Number of labeled images; they come first."""
        if self.views is None:
            return len(self)
        return len(self) - len(self.views.seen) * (1 if self.views.flipped is None else 2)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on another device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            views=self.views and self.views.to(device, non_blocking=non_blocking),
        )

    def pinned(self) -> Batch:
        """Return the batch in pinned memory, for asynchronous copies to a GPU."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            views=self.views and self.views.pinned(),
        )
