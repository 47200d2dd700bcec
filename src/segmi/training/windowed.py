"""Label maps of pictures that are too large to be predicted whole, by every member of a cohort."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segmi.arrays import Images, Labels, Logits
from segmi.models.label_maps import decided_tiles
from segmi.models.windows import blended_tiles
from segmi.training.cohort import Cohort


def windowed_labels(
    cohort: Cohort,
    picture: Tensor,
    size: tuple[int, int],
    *,
    window: int | None,
    overlap: int | None,
    batch_size: int,
    confident: bool = False,
) -> dict[str, tuple[Labels, Tensor | None]]:
    """The label map of one picture by every member, one member after the other, from windows that overlap.

    Shapes: 3×h×w, uint8 or float in [0, 1], to 1×H×W class indices on the CPU, H×W = ``size``, and their probabilities
    where they are asked for.

    Args:
        cohort: the networks, in evaluation mode; windows lie on their common stride.
        picture: at the working scale, on the cohort's device.
        size: height and width of the label maps.
        window: side of the windows; None is one window, the picture.
        overlap: as in `segmi.models.windows.blended_tiles`.
        batch_size: windows predicted together.
        confident: whether probabilities are asked for.
    """
    found = {}
    for name, member in cohort.members.items():
        tiles = blended_tiles(
            _logits_of(member),
            picture,
            window=max(picture.shape[-2:]) if window is None else window,
            overlap=overlap,
            stride=cohort.stride,
            batch_size=batch_size,
        )
        sure = torch.empty(size) if confident else None
        labels = decided_tiles(tiles, picture.shape[-2:], size, sure)
        found[name] = labels[None], None if sure is None else sure[None]
    return found


def fits(picture: Tensor, window: int | None) -> bool:
    """Whether a picture is predicted whole: no window was asked for, or it is no larger than the window."""
    return window is None or max(picture.shape[-2:]) <= window


def _logits_of(member: Callable[..., object]) -> Callable[[Images], Logits]:
    return lambda images: member(images).logits  # type: ignore[attr-defined]
