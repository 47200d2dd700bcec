"""Label maps of images that are too large to be predicted whole, by every network of a cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from segmi.models.label_maps import decide_tile, logits_of_tile
from segmi.models.sliding_window import blended_tiles
from segmi.training.cohort import Cohort
from segmi.types import Images, Labels, Logits

Look: TypeAlias = Callable[[slice, slice, Mapping[str, Logits]], None]
"""Is shown a piece of an image: its rows, its columns, and the 1×C×h×w logits of all networks there."""


def windowed_labels(
    cohort: Cohort,
    image: Tensor,
    size: tuple[int, int],
    *,
    window: int | None,
    overlap: int | None,
    batch_size: int,
    confident: bool = False,
    look: Look | None = None,
) -> dict[str, tuple[Labels, Tensor | None]]:
    """The label map of one image by every network, window by window, from windows that overlap.

    Shapes: 3×h×w, uint8 or float in [0, 1], to 1×H×W class indices on the CPU, H×W = ``size``, and their probabilities
    where they are asked for.

    Args:
        cohort: the networks, in evaluation mode; windows lie on their common stride.
        image: at the working scale, on the cohort's device.
        size: height and width of the label maps.
        window: side of the windows; None is one window, the image.
        overlap: as in `segmi.models.sliding_window.blended_tiles`.
        batch_size: windows predicted together.
        confident: whether probabilities are asked for.
        look: is shown the logits of all networks, piece by piece, every pixel once.
    """
    shape = image.shape[-2:]
    streams = [
        blended_tiles(
            _logits_of(network),
            image,
            window=max(shape) if window is None else window,
            overlap=overlap,
            stride=cohort.stride,
            batch_size=batch_size,
        )
        for network in cohort.networks.values()
    ]
    labels = dict.fromkeys(cohort.networks, torch.empty(0))
    sure = {name: torch.empty(size) if confident else None for name in cohort.networks}
    for tiles in zip(*streams, strict=True):
        for name, tile in zip(labels, tiles, strict=True):
            labels[name] = decide_tile(tile, shape, size, labels[name], sure[name])
        if look is not None:
            for pieces in zip(*(logits_of_tile(tile, shape, size) for tile in tiles), strict=True):
                rows, columns, _ = pieces[0]
                look(rows, columns, {name: z[None] for name, (_, _, z) in zip(labels, pieces, strict=True)})
    return {name: (labels[name][None], None if known is None else known[None]) for name, known in sure.items()}


def fits(image: Tensor, window: int | None) -> bool:
    """Whether an image is predicted whole: no window was asked for, or it is no larger than the window."""
    return window is None or max(image.shape[-2:]) <= window


def _logits_of(network: Callable[..., object]) -> Callable[[Images], Logits]:
    return lambda images: network(images).logits  # type: ignore[attr-defined]
