"""The label map of one image of any size, and its probabilities if they are wanted."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from segmi.datasets.decode import decode_image
from segmi.datasets.processing import Processing
from segmi.errors import UsageError
from segmi.models import SegmentationNetwork, Tile, blended_tiles, forward_padded, predict_label_tiles, predict_labels
from segmi.models.label_maps import probabilities_of_tile
from segmi.models.sliding_window import check_windows
from segmi.records.atomic import atomic_path

WHOLE: Final = 2048 * 1024
"""Pixels, as the network sees them, up to which an image is predicted whole where no window is given.

A number, not a question to the machine: the same image has the same label map everywhere."""

WINDOW: Final = 512
"""The side of the windows of larger images: that of usual training crops, and small enough for wide networks."""


def predict(
    network: SegmentationNetwork,
    image: str | Path | Image.Image | NDArray[np.uint8],
    *,
    window: int | None = None,
    overlap: int | None = None,
) -> NDArray[np.uint8]:
    """The class indices of an image, at its own size, prepared as the network was trained.

    Shapes: H×W uint8, for an image of H×W.

    Args:
        network: as `segmi.load` returns it.
        image: a file, a Pillow image, or H×W×3 RGB, uint8.
        window: as in `predict_image`.
        overlap: likewise.

    Raises:
        DataError: the file cannot be read.
        UsageError: the network does not come from a bundle, or the array is no image.
    """
    if isinstance(image, str | Path):
        pixels = decode_image(Path(image))
    elif isinstance(image, Image.Image):
        pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    else:
        pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UsageError(
            f"expected an image of H×W×3 uint8, got {pixels.dtype} of {'×'.join(map(str, pixels.shape))}",
            "give RGB values from 0 to 255; PIL.Image.open(file) and a path will do as well",
        )
    return predict_image(network, pixels, window=window, overlap=overlap)


def predict_image(
    network: SegmentationNetwork,
    image: NDArray[np.uint8],
    *,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = 1,
    probabilities: str | Path | None = None,
) -> NDArray[np.uint8]:
    """The label map of one image: prepared as in training, predicted, predict_labels at its own resolution.

    Images larger than the window are predicted in windows that overlap and fade into each other, in memory that the
    window bounds; see `segmi.models.sliding_window`. Smaller ones are predicted whole.

    Shapes: H×W×3 uint8 to H×W uint8 class indices.

    Args:
        network: as `segmi.load` returns it.
        image: the image, RGB.
        window: side of the windows in pixels of the prepared image. By default images of more than 2048 × 1024
            pixels are predicted in windows of 512.
        overlap: pixels that neighboring windows share; a quarter of the window by default.
        batch_size: windows predicted together.
        probabilities: a file that gets the probabilities as a NumPy array of C×H×W, float16, written piece by piece;
            ``numpy.load(file, mmap_mode="r")`` opens it without reading it. C = 2 for a network with one logit.

    Raises:
        UsageError: the network does not come from a bundle, or the windows do not overlap or are none.
        ValueError: if the image is too small for the network.
        EnvironmentProblem: if the probabilities cannot be written.
    """
    (labels,) = predict_images(
        network, [image], window=window, overlap=overlap, batch_size=batch_size, probabilities=[probabilities]
    )
    return labels


@torch.inference_mode()
def predict_images(
    network: SegmentationNetwork,
    images: Sequence[NDArray[np.uint8]],
    *,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = 1,
    probabilities: Sequence[str | Path | None] = (),
) -> list[NDArray[np.uint8]]:
    """The label maps of images of one size, as `predict_image` makes them; small ones go through together.

    Shapes: H×W×3 uint8 each to H×W uint8 each.

    Args:
        network: as `segmi.load` returns it.
        images: the images, RGB, all of one size.
        window: as there.
        overlap: as there.
        batch_size: windows predicted together; images that need none are one batch, however many they are.
        probabilities: for each image a file of probabilities, or None; none for no files at all.

    Raises:
        ValueError: images of several sizes, or too small for the network.
    """
    check_windows(window, overlap)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) != 1:
        raise ValueError(f"expected images of one size, got {sorted(sizes)}")
    (size,) = sizes
    paths = [*probabilities, *[None] * (len(images) - len(probabilities))]
    prepared = torch.stack([prepared_image(network, image) for image in images]).to(next(network.parameters()).device)
    working = prepared.shape[-2:]
    side = _side(working, window)
    if max(working) > side:
        return [
            _in_windows(network, one, size, side, overlap, batch_size, path)
            for one, path in zip(prepared, paths, strict=True)
        ]
    logits = forward_padded(network, prepared.float().div(255)).float()
    for one, path in zip(logits, paths, strict=True):
        with _store(path, (network.classes, *size)) as store:
            for _ in _written([Tile(0, 0, one)], store, working):
                pass
    return list(predict_labels(logits, size).cpu().numpy())


def _in_windows(
    network: SegmentationNetwork,
    prepared: Tensor,
    size: Sequence[int],
    window: int,
    overlap: int | None,
    batch_size: int,
    probabilities: str | Path | None,
) -> NDArray[np.uint8]:
    with _store(probabilities, (network.classes, *size)) as store:
        tiles = blended_tiles(
            lambda images: network(images).logits,
            prepared,
            window=window,
            overlap=overlap,
            stride=network.stride,
            batch_size=batch_size,
        )
        return predict_label_tiles(_written(tiles, store, prepared.shape[-2:]), prepared.shape[-2:], size).numpy()


def prepared_image(network: SegmentationNetwork, image: NDArray[np.uint8]) -> Tensor:
    """3×h×w uint8 at the working scale."""
    preprocessing = card_of(network)["preprocessing"]
    given = {key: preprocessing[key] for key in ("resize", "resize_mode") if key in preprocessing}
    # The crop is training's; 1 so that it fits any size.
    pair = Processing(**given, crop=1).resized(image, np.zeros(image.shape[:2], np.uint8))
    return pair.image.as_subclass(Tensor)


def _side(working: Sequence[int], window: int | None) -> int:
    if window is not None:
        return window
    return max(working) if math.prod(working) <= WHOLE else WINDOW


@contextmanager
def _store(path: str | Path | None, shape: tuple[int, ...]) -> Iterator[NDArray[np.float16] | None]:
    """A memory-mapped array that becomes the file at ``path``, or None."""
    if path is None:
        yield None
        return
    needed = math.prod(shape) * np.dtype(np.float16).itemsize
    with atomic_path(path, needed=needed) as temporary:
        store = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error now, where later it would end the process
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        yield store
        store.flush()


def _written(tiles: Iterable[Tile], store: NDArray[np.float16] | None, working: Sequence[int]) -> Iterator[Tile]:
    """The tiles as they come; their probabilities are written on the way where there is a store for them."""
    for tile in tiles:
        if store is not None:
            for rows, columns, piece in probabilities_of_tile(tile, working, store.shape[1:]):
                store[:, rows, columns] = piece.cpu().numpy()
            _let_go(store)
        yield tile


def _let_go(store: NDArray[np.float16]) -> None:
    """Take what is written out of this process's memory; the file keeps it, and the disk gets it in time."""
    if isinstance(store.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        store.base.madvise(mmap.MADV_DONTNEED)


def card_of(network: SegmentationNetwork) -> dict[str, Any]:
    """What a bundle says of its network.

    Raises:
        UsageError: if the network does not come from a bundle.
    """
    if network.card is None:
        raise UsageError(
            "this network has no description of its images and classes", "save it with save_bundle and load it again"
        )
    return network.card
