"""Random crops of a whole batch: what is drawn for each image, then one copy per image into the batch's arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.datasets.reader import Pixels
from segmi.types import IGNORE_INDEX

_FRACTION: Final = 1 << 24
"""A float32 holds every multiple of 1 / 2²⁴ between 0 and 1."""


class Window(NamedTuple):
    """What is drawn for one image.

    Args:
        height: of the image after the random scale.
        width: likewise.
        top: first row of the crop in the scaled image; negative where the crop begins in the padding.
        left: first column, likewise.
        flipped: whether the crop is mirrored.
    """

    height: int
    width: int
    top: int
    left: int
    flipped: bool


def draw_window(
    size: Sequence[int], seed: int, *, crop: int, flip: float = 0.0, scale: tuple[float, float] = (1.0, 1.0)
) -> Window:
    """The window of an image, a pure function of its size and the seed.

    The seed is hashed to a number of 128 digits, and every choice takes some of them away. No generator is set up,
    which would cost as much as the copy of the pixels.

    Args:
        size: height and width of the image.
        seed: not negative, below 2⁶⁴.
        crop: side of the crop. A side of the image that is shorter is padded on both ends by what it lacks.
        flip: probability that the crop is mirrored.
        scale: range of the factor by which both sides are multiplied first.

    Example:
        >>> draw_window((8, 10), 1, crop=8)
        Window(height=8, width=10, top=0, left=2, flipped=False)
    """
    digits = int.from_bytes(hashlib.blake2b(seed.to_bytes(8, "big"), digest_size=16).digest(), "big")
    height, width = size
    if scale != (1.0, 1.0):
        digits, part = divmod(digits, _FRACTION)
        factor = scale[0] + part / _FRACTION * (scale[1] - scale[0])
        height, width = max(1, int(height * factor)), max(1, int(width * factor))
    missing_rows = crop - height if crop > height else 0  # max() would take longer than the division
    missing_columns = crop - width if crop > width else 0
    digits, top = divmod(digits, height + 2 * missing_rows - crop + 1)
    digits, left = divmod(digits, width + 2 * missing_columns - crop + 1)
    flipped = digits % _FRACTION < flip * _FRACTION
    return Window(height, width, top - missing_rows, left - missing_columns, flipped)


def take(pairs: Sequence[tuple[Pixels, Pixels]], drawn: Sequence[Window], crop: int) -> tuple[Tensor, Tensor]:
    """The crops of images and of their labels; what lies outside an image is black and ignored.

    Shapes: 3×H×W and H×W uint8 each → N×3×crop×crop and N×crop×crop uint8.
    """
    count = len(drawn)
    batch, labels = np.empty((count, 3, crop, crop), np.uint8), np.empty((count, crop, crop), np.uint8)
    for number, ((image, mask), window) in enumerate(zip(pairs, drawn, strict=True)):
        height, width, top, left, flipped = window
        if mask.shape != (height, width):
            image, mask = _resized(image, mask, height, width)
        if top >= 0 and left >= 0 and top + crop <= height and left + crop <= width:
            batch[number] = image[:, top : top + crop, left : left + crop]
            labels[number] = mask[top : top + crop, left : left + crop]
        else:
            batch[number], labels[number] = 0, IGNORE_INDEX
            here, there = overlap(window, crop)
            batch[number][:, *here], labels[number][here] = image[:, *there], mask[there]
        if flipped:
            batch[number], labels[number] = batch[number, :, :, ::-1].copy(), labels[number, :, ::-1].copy()
    return torch.from_numpy(batch), torch.from_numpy(labels)


def overlap(window: Window, crop: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns where crop and image overlap, in the crop and in the image."""
    here, there = [], []
    for first, length in ((window.top, window.height), (window.left, window.width)):
        begin, end = max(first, 0), min(first + crop, length)
        there.append(slice(begin, end))
        here.append(slice(begin - first, end - first))
    return (here[0], here[1]), (there[0], there[1])


def _resized(image: Pixels, mask: Pixels, height: int, width: int) -> tuple[Pixels, Pixels]:
    # A mask is resized with the nearest neighbor whatever the interpolation says: torchvision knows the type.
    pair = tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask))
    resized, labels = (v2.functional.resize(one, [height, width], antialias=True) for one in pair)
    return resized.numpy(), labels.numpy()


def as_tensor(pixels: Pixels) -> Tensor:
    """A uint8 array as a tensor, without a copy where its memory allows."""
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
