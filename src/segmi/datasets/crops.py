"""Random crops: a window drawn per image, then one copy per image into the arrays of the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.datasets.image_format import ImageArray
from segmi.datasets.reader import Pixels
from segmi.types import IGNORE_INDEX

_WHOLE: Final = 16  # an image of at most this many crops is scaled whole, larger ones only where the crop is
_FRACTION: Final = 1 << 24  # float32 represents every multiple of 2⁻²⁴ in [0, 1]


class Window(NamedTuple):
    """A random crop of one image."""

    height: int  # height of the image after the random scale
    width: int  # width of the image after the random scale
    top: int  # first row of the crop in the scaled image; negative if the crop begins in the padding
    left: int  # first column of the crop in the scaled image; negative if the crop begins in the padding
    flipped: bool  # whether the crop is mirrored horizontally
    inverted: bool = False  # whether the crop is mirrored vertically


def draw_window(
    size: Sequence[int], seed: int, *, crop: int, flip: float = 0.0, vertical_flip: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Window:  # fmt: skip
    """Draw the window of an image, a function of its size and ``seed``.

    The seed is hashed to a 128-bit number, and every choice takes the remainder of a division. Creating a random
    generator instead would cost as much as copying the pixels.

    Args:
        size: height and width of the image.
        seed: nonnegative, below 2⁶⁴.
        crop: side of the crop; a shorter side of the image is padded on both ends by the difference.
        flip: probability that the crop is mirrored horizontally.
        vertical_flip: probability that it is mirrored vertically.
        scale: range of the random factor for both sides.

    Example:
        >>> draw_window((8, 10), 1, crop=8)
        Window(height=8, width=10, top=0, left=2, flipped=False, inverted=False)
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
    digits, part = divmod(digits, _FRACTION)
    flipped, inverted = part < flip * _FRACTION, digits % _FRACTION < vertical_flip * _FRACTION
    return Window(height, width, top - missing_rows, left - missing_columns, flipped, inverted)


def crop_batch(
    pairs: Sequence[tuple[ImageArray, Pixels]], windows: Sequence[Window], crop: int
) -> tuple[Tensor, Tensor]:
    """Return the crops of images and labels; the area outside an image is black and ignored.

    Shapes: C×H×W, uint8 or float32, and H×W uint8 each → N×C×crop×crop and N×crop×crop.
    """
    count = len(windows)
    first = pairs[0][0] if pairs else np.empty((3, 0, 0), np.uint8)
    batch = np.empty((count, len(first), crop, crop), first.dtype)
    labels = np.empty((count, crop, crop), np.uint8)
    for number, ((image, mask), window) in enumerate(zip(pairs, windows, strict=True)):
        height, width, top, left, flipped, inverted = window
        part = mask.shape != (height, width) and height * width > _WHOLE * crop**2
        if mask.shape != (height, width) and not part:
            image, mask = _resized(image, mask, height, width)
        if not part and top >= 0 and left >= 0 and top + crop <= height and left + crop <= width:
            batch[number] = image[:, top : top + crop, left : left + crop]
            labels[number] = mask[top : top + crop, left : left + crop]
        else:
            batch[number], labels[number] = 0, IGNORE_INDEX
            inside, source = overlap(window, crop)
            cut = _resized_part(image, mask, window, source) if part else (image[:, *source], mask[source])
            batch[number][:, *inside], labels[number][inside] = cut
        if flipped:
            batch[number], labels[number] = batch[number, :, :, ::-1].copy(), labels[number, :, ::-1].copy()
        if inverted:
            batch[number], labels[number] = batch[number, :, ::-1].copy(), labels[number, ::-1].copy()
    return torch.from_numpy(batch), torch.from_numpy(labels)


def overlap(window: Window, crop: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the rows and columns of the overlap of crop and image: in the crop, and in the image."""
    inside, source = [], []
    for first, length in ((window.top, window.height), (window.left, window.width)):
        begin, end = max(first, 0), min(first + crop, length)
        source.append(slice(begin, end))
        inside.append(slice(begin - first, end - first))
    return (inside[0], inside[1]), (source[0], source[1])


def _resized(image: ImageArray, mask: Pixels, height: int, width: int) -> tuple[ImageArray, Pixels]:
    # torchvision resizes a `Mask` by nearest neighbor in every interpolation mode.
    pair = tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask))
    resized, labels = (v2.functional.resize(one, [height, width], antialias=True) for one in pair)
    return resized.numpy(), labels.numpy()


def _resized_part(
    image: ImageArray, mask: Pixels, window: Window, source: tuple[slice, slice]
) -> tuple[ImageArray, Pixels]:
    """Return rows and columns of a resized image, which are resized alone, to whole pixels of the original."""
    factors = (mask.shape[0] / window.height, mask.shape[1] / window.width)
    rows, columns = (
        slice(int(part.start * factor), -int(-part.stop * factor // 1))
        for part, factor in zip(source, factors, strict=True)
    )
    height, width = (part.stop - part.start for part in source)
    return _resized(image[:, rows, columns], mask[rows, columns], height, width)


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; floats, already scaled by the reader, are returned unchanged."""
    return images if images.is_floating_point() else images.float().div_(255)


def as_tensor(pixels: ImageArray) -> Tensor:
    """Return an array as a tensor, without a copy if its memory layout allows it."""
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
