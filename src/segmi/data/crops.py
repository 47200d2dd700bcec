"""Random crops of a whole batch: what is drawn for each picture, then one copy per picture into the batch's arrays.

The choices and the pixels are those of `Processing.augmented`, bit for bit; it is the readable twin of this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.arrays import VOID
from segmi.data.base import Pixels
from segmi.data.processing import Processing, as_tensor


class Window(NamedTuple):
    """What is drawn for one picture.

    Args:
        height: of the picture after the random scale.
        width: likewise.
        top: first row of the crop in the scaled picture; negative where the crop begins in the padding.
        left: first column, likewise.
        flipped: whether the crop is mirrored.
    """

    height: int
    width: int
    top: int
    left: int
    flipped: bool


def windows(processing: Processing, sizes: Sequence[tuple[int, int]], seeds: Sequence[int]) -> list[Window]:
    """The windows of pictures, each a pure function of its size and seed.

    Args:
        processing: without random colours, which are no matter of place.
        sizes: height and width of each picture.
        seeds: one per picture.

    Example:
        >>> windows(Processing(resize=None, crop=8), [(8, 8), (10, 4)], [1, 2])[0]
        Window(height=8, width=8, top=0, left=0, flipped=False)
    """
    generator = torch.Generator()
    found = []
    for (height, width), seed in zip(sizes, seeds, strict=True):
        generator.manual_seed(seed)
        if processing.scale != (1.0, 1.0):
            height, width = _scaled(processing.scale, height, width, generator)
        top = _first(height, processing.crop, generator)
        left = _first(width, processing.crop, generator)
        flipped = bool(processing.flip) and float(torch.rand(1, generator=generator)) < processing.flip
        found.append(Window(height, width, top, left, flipped))
    return found


def _scaled(scale: tuple[float, float], height: int, width: int, generator: torch.Generator) -> tuple[int, int]:
    """The size after the random scale, in the arithmetic of torchvision's ScaleJitter towards the own size."""
    factor = scale[0] + torch.rand(1, generator=generator) * (scale[1] - scale[0])
    ratio = min(width / height, height / width) * factor
    return int(height * ratio), int(width * ratio)


def _first(length: int, crop: int, generator: torch.Generator) -> int:
    """The first row or column of a crop; a side that is too short is padded on both ends by what it lacks."""
    padding = max(crop - length, 0)
    room = length + 2 * padding - crop
    return (int(torch.randint(0, room + 1, (), generator=generator)) if room else 0) - padding


def take(
    images: Sequence[Pixels], masks: Sequence[Pixels], drawn: Sequence[Window], crop: int
) -> tuple[Tensor, Tensor]:
    """The crops of pictures and of their labels; what lies outside a picture is black and void.

    Shapes: 3×H×W and H×W uint8 each → N×3×crop×crop and N×crop×crop uint8.
    """
    count = len(drawn)
    inside = all(_is_inside(one, crop) for one in drawn)
    batch = np.empty((count, 3, crop, crop), np.uint8) if inside else np.zeros((count, 3, crop, crop), np.uint8)
    labels = np.empty((count, crop, crop), np.uint8) if inside else np.full((count, crop, crop), VOID, np.uint8)
    for number, (image, mask, window) in enumerate(zip(images, masks, drawn, strict=True)):
        if mask.shape != (window.height, window.width):
            image, mask = _resized(image, mask, window.height, window.width)
        here, there = _overlap(window, crop)
        batch[number, :, here[0], here[1]] = image[:, there[0], there[1]]
        labels[number, here[0], here[1]] = mask[there]
    pictures, maps = torch.from_numpy(batch), torch.from_numpy(labels)
    flipped = [number for number, window in enumerate(drawn) if window.flipped]
    if flipped:
        pictures[flipped] = pictures[flipped].flip(-1)
        maps[flipped] = maps[flipped].flip(-1)
    return pictures, maps


def _is_inside(window: Window, crop: int) -> bool:
    return min(window.top, window.left) >= 0 and (
        window.top + crop <= window.height and window.left + crop <= window.width
    )


def _overlap(window: Window, crop: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where crop and picture overlap, in the crop and in the picture."""
    here, there = [], []
    for first, length in ((window.top, window.height), (window.left, window.width)):
        begin, end = max(first, 0), min(first + crop, length)
        there.append(slice(begin, end))
        here.append(slice(begin - first, end - first))
    return (here[0], here[1]), (there[0], there[1])


def _resized(image: Pixels, mask: Pixels, height: int, width: int) -> tuple[Pixels, Pixels]:
    pair = tv_tensors.Image(as_tensor(image)), tv_tensors.Mask(as_tensor(mask))
    picture, labels = (v2.functional.resize(one, [height, width], antialias=True) for one in pair)
    return picture.numpy(), labels.numpy()
