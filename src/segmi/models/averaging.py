"""Mean of the class probabilities over networks and over transformed copies of an image (test-time augmentation).

The result is returned as logits whose softmax (sigmoid) is the mean, so that it can replace the logits of one
network: argmax, threshold, confidence, diagnostics.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.models.inference import InferenceConfig, class_probabilities, forward_padded, mean_probability
from segmi.models.network import SegmentationNetwork
from segmi.models.sliding_window import Tile, blended_tiles, resized_pieces
from segmi.types import Images, Logits

SCALES: Final = (1.0, 0.75, 1.25)
"""Factors of the image size in the augmentation ``scales``."""

# Larger sums of probabilities are in a temporary file, mapped into memory; the largest images of 21 classes need 7 GB.
MAX_BYTES: Final = 2**30

Piece: TypeAlias = tuple[int, slice, slice, Logits]
"""Index of an image, rows, columns, and its 1×C×r×c logits there."""


class Member(NamedTuple):
    """A network with the images that it predicts."""

    network: SegmentationNetwork  # in evaluation mode
    images: Images  # N×B×h×w at the scale at which the network sees them, on its device; uint8 or float in [0, 1]
    config: InferenceConfig  # windows, batch size and test-time augmentation


class View(NamedTuple):
    """A transformed copy of an image: scaled, then flipped along dimensions of the tensor."""

    scale: float = 1.0
    flips: tuple[int, ...] = ()

    def apply(self, images: Images) -> Images:
        """Return transformed images, N×B×h×w; float if they are scaled."""
        if self.scale != 1:
            size = [max(1, round(side * self.scale)) for side in images.shape[-2:]]
            images = F.interpolate(to_unit(images), size, mode="bilinear", antialias=True)
        return images.flip(self.flips) if self.flips else images

    def undo(self, piece: Piece, size: Sequence[int]) -> Piece:
        """Return the place and the values of a piece in the image of this size."""
        index, rows, columns, logits = piece
        if -2 in self.flips:
            rows = slice(size[0] - rows.stop, size[0] - rows.start)
        if -1 in self.flips:
            columns = slice(size[1] - columns.stop, size[1] - columns.start)
        return index, rows, columns, logits.flip(self.flips) if self.flips else logits


def views_of(network: SegmentationNetwork, tta: Sequence[str]) -> list[View]:
    """Return the views of test-time augmentation; the image itself first.

    ``flips`` mirrors left and right, and top and bottom too if the network was trained with vertical flips;
    ``scales`` uses `SCALES`; both together give every combination.

    Example:
        >>> network = SegmentationNetwork(torch.nn.Conv2d(3, 2, 1), classes=2)
        >>> views_of(network, ["flips"])
        [View(scale=1.0, flips=()), View(scale=1.0, flips=(-1,))]
    """
    flips: list[tuple[int, ...]] = [()]
    if "flips" in tta:
        preprocessing = (network.card or {}).get("preprocessing", {})
        flips = [(), (-1,), (-2,), (-2, -1)] if preprocessing.get("vertical_flip") else [(), (-1,)]
    return [View(scale, flip) for scale in (SCALES if "scales" in tta else SCALES[:1]) for flip in flips]


def mean_logits(members: Sequence[Member], sizes: Sequence[Sequence[int]]) -> list[Logits]:
    """Return the logits of the mean probabilities over networks and views, per image at its own size.

    ``p̄ = 1/M Σ_m 1/V Σ_v p_{m,v}``; the result is ``log p̄``, and ``log p̄ - log(1 - p̄)`` if all networks have one logit

    Shapes: N logits of 1×C×H×W float32; the height and width of the images may differ between members.

    Args:
        members: networks with the same classes.
        sizes: height and width of the results, one per image.
    """
    one_logit = all(member.network.one_logit for member in members)
    channels = 1 if one_logit else members[0].network.classes
    device = members[0].images.device
    totals = [_zeros((1, channels, *size), device) for size in sizes]
    for member in members:
        views = views_of(member.network, member.config.tta)
        weight = 1 / (len(views) * len(members))
        for view in views:
            for piece in _pieces(member, view, sizes):
                index, rows, columns, logits = view.undo(piece, sizes[piece[0]])
                probabilities = class_probabilities(logits)[:, -channels:]
                totals[index][:, :, rows, columns].add_(probabilities.to(totals[index].device), alpha=weight)
    return [mean_probability(total, one_logit=one_logit) for total in totals]


def _pieces(member: Member, view: View, sizes: Sequence[Sequence[int]]) -> Iterator[Piece]:
    # Yield the logits of a view of the images piece by piece, every pixel once.
    network, config, images = member.network, member.config, view.apply(member.images)
    shape = images.shape[-2:]
    tiles: Iterable[tuple[int, Tile]]
    if config.window is not None and max(shape) > config.window:
        options = (config.window, config.overlap, network.stride, config.batch_size)
        tiles = (
            (index, tile)
            for index, image in enumerate(images)
            for tile in blended_tiles(lambda windows: network(windows).logits, image, *options)
        )
    else:
        tiles = ((i, Tile(0, 0, z)) for i, z in enumerate(forward_padded(network, to_unit(images)).float()))
    for index, tile in tiles:
        for rows, columns, logits in resized_pieces(tile, shape, sizes[index]):
            yield index, rows, columns, logits[None]


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as floats in [0, 1]; floats are returned unchanged."""
    return images if images.is_floating_point() else images.float().div(255)


def reserve_space(file: IO[bytes], size: int, folder: str | Path) -> None:
    """Reserve the bytes of a memory-mapped file: writing to the map kills the process if the disk is full.

    Raises:
        OSError: the file system of ``folder`` has fewer free bytes.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(folder).free < size:  # macOS, Windows
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _zeros(shape: tuple[int, ...], device: torch.device) -> Tensor:
    # Zeros in memory, or in a temporary file if they are large.
    size = 4 * math.prod(shape)
    if size <= MAX_BYTES:
        return torch.zeros(shape, device=device)
    with tempfile.TemporaryFile() as file:
        reserve_space(file, size, tempfile.gettempdir())
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
