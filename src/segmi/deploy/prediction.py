"""Label maps of images of any size, prepared as the network was trained, and their probabilities on request."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmi.datasets.crops import to_unit
from segmi.datasets.image_format import ImageArray, ImageFormat
from segmi.datasets.processing import Processing
from segmi.deploy.bundle import load
from segmi.deploy.ensemble import BundlePath, Ensemble, Predictor, get_card, members_of
from segmi.deploy.image_input import ImageInput, read_channels
from segmi.deploy.mask_values import Values, value_converter
from segmi.models import InferenceConfig, SegmentationNetwork, forward_padded, predict_labels
from segmi.models.averaging import Member, mean_logits, reserve_space
from segmi.models.inference import check_threshold, class_probabilities, parse_tta, predict_windows
from segmi.models.sliding_window import ROWS, Tile, resized_pieces
from segmi.records.atomic import atomic_path
from segmi.types import THRESHOLD, Logits

# Largest image, in pixels after preprocessing, that is predicted whole by default. A constant and not the free memory,
# so that an image has the same label map on every machine.
MAX_WHOLE_PIXELS: Final = 2048 * 1024

# Side of the windows for larger images: a usual training crop, and small enough for wide networks.
DEFAULT_WINDOW: Final = 512

DEFAULTS: Final = InferenceConfig()

Visitor: TypeAlias = Callable[[int, slice, slice, Logits], None]
"""Called with the index of an image, rows, columns, and the 1×C×h×w logits there; every pixel comes once."""


def predict(
    network: Predictor | BundlePath | Sequence[SegmentationNetwork | BundlePath],
    image: ImageInput,
    *,
    threshold: float = THRESHOLD,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = 1,
    tta: str | Sequence[str] = (),
    values: Values = "index",
    probabilities: str | Path | None = None,
) -> NDArray[Any]:
    """Return the label map of an image at its own size, prepared as in training.

    Shapes: H×W uint8 class indices, for an image of H×W; see ``values``.

    Args:
        network: as `segmi.load` returns it, or a bundle; of several, the probabilities are averaged.
        image: a file, a Pillow image, an array of H×W×C or a tensor of C×H×W, see
            `segmi.deploy.image_input.read_channels`; RGB, uint8, unless the network was trained on other images.
        threshold, overlap, batch_size: as in `segmi.models.InferenceConfig`.
        window: as there, but images of more than 2048 × 1024 pixels have windows of 512 by default.
        tta: test-time augmentation, ``flips``, ``scales`` or both: the probabilities are averaged over transformed
            copies of the image, see `segmi.models.averaging.views_of`.
        values: ``index`` returns class indices; ``original`` the values of the masks that the network was trained on,
            such as Cityscapes' label ids or 0 and 255, and H×W×3 colors for masks of colors.
        probabilities: file for the probabilities as a NumPy array of C×H×W, float16, C = 2 for a network with one
            logit. It is written piece by piece; ``numpy.load(file, mmap_mode="r")`` opens it without reading it.

    Raises:
        DataError: if the file cannot be read, or networks with different classes are given.
        UsageError: for a network that was not loaded from a bundle, an invalid array, invalid windows, or a threshold
            that does not fit the network.
        ValueError: if the image is too small for the network.
        EnvironmentProblem: if the probabilities cannot be written.
    """
    loaded = open_predictor(network)
    config = InferenceConfig(window, overlap, batch_size, threshold, parse_tta(tta))
    convert = value_converter(get_card(loaded), values)
    members = [(one, [read_channels(image, format_of(one))]) for one in members_of(loaded)]
    (labels,) = predict_members(members, config, probabilities=[probabilities])
    return convert(labels)


def open_predictor(network: Predictor | BundlePath | Sequence[SegmentationNetwork | BundlePath]) -> Predictor:
    """Return networks and ensembles unchanged, and load bundles.

    Raises:
        DataError: if a bundle cannot be loaded, or networks have different classes.
        UsageError: for no networks.
    """
    if isinstance(network, SegmentationNetwork | Ensemble):
        return network
    if isinstance(network, str | Path):
        return load(network)
    members = [
        (member, f"network {number}" if isinstance(one, SegmentationNetwork) else one)
        for number, one in enumerate(network, 1)
        for member in members_of(open_predictor(one))
    ]
    return Ensemble([member for member, _ in members], [name for _, name in members])


def predict_images(
    network: SegmentationNetwork,
    images: Sequence[ImageArray],
    config: InferenceConfig = DEFAULTS,
    *,
    probabilities: Sequence[str | Path | None] = (),
    visit: Visitor | None = None,
) -> list[NDArray[np.uint8]]:
    """Return the label maps of images of one size, as `predict` does.

    Shapes: H×W×C each, uint8 or float32, to H×W uint8 each.

    Args:
        network: as `segmi.load` returns it.
        images: images of one size, as `segmi.deploy.image_input.read_channels` returns them.
        config: as in `predict`; images without windows form one batch.
        probabilities: one file or None per image; empty for none.
        visit: called with the resized logits piece by piece.

    Raises:
        ValueError: for images of several sizes, or too small for the network.
    """
    return predict_members([(network, images)], config, probabilities=probabilities, visit=visit)


@torch.inference_mode()
def predict_members(
    members: Sequence[tuple[SegmentationNetwork, Sequence[ImageArray]]],
    config: InferenceConfig = DEFAULTS,
    *,
    probabilities: Sequence[str | Path | None] = (),
    visit: Visitor | None = None,
) -> list[NDArray[np.uint8]]:
    """Return the label maps by the mean probabilities of networks, each with its own channels of the same images.

    See `predict_images` for the arguments. The probabilities of several networks, or with test-time augmentation,
    are summed in C×H×W floats, in a temporary file if they are large.
    """
    network, images = members[0]
    check_threshold(config.threshold, max(one.channels for one, _ in members))
    sizes = {image.shape[:2] for image in images}
    if len(sizes) != 1:
        raise ValueError(f"expected images of one size, got {sorted(sizes)}")
    (size,) = sizes
    batches = [_prepared(one, some, config) for one, some in members]
    _, prepared, config = batches[0]
    shape = prepared.shape[-2:]
    with ExitStack() as stack:
        stores = [
            None if path is None else stack.enter_context(_probability_file(path, (network.classes, *size)))
            for path in probabilities
        ]

        def handle(index: int, rows: slice, columns: slice, logits: Mapping[str, Logits]) -> None:
            if index < len(stores) and (store := stores[index]) is not None:
                store.write(rows, columns, logits[""])
            if visit is not None:
                visit(index, rows, columns, logits[""])

        if config.tta or members[1:]:
            means = mean_logits(batches, [size] * len(images))
            return [_label_map(mean, config.threshold, partial(handle, index)) for index, mean in enumerate(means)]
        needs_pieces = visit is not None or any(store is not None for store in stores)
        if config.window is not None and max(shape) > config.window:
            results = []
            for index, image in enumerate(prepared):
                piece_visitor = partial(handle, index) if needs_pieces else None
                maps = predict_windows({"": network}, image, size, config, stride=network.stride, visit=piece_visitor)
                results.append(maps[""].labels[0].numpy())
            return results
        logits = forward_padded(network, to_unit(prepared)).float()  # N×C×h×w
        # One tile that covers the image: resized in pieces, so that C×H×W probabilities never exist at once.
        for index, one in enumerate(logits if needs_pieces else ()):
            for rows, columns, piece in resized_pieces(Tile(0, 0, one), shape, size):
                handle(index, rows, columns, {"": piece[None]})
        return list(predict_labels(logits, size, config.threshold).cpu().numpy())


def _prepared(network: SegmentationNetwork, images: Sequence[ImageArray], config: InferenceConfig) -> Member:
    # N×C×h×w; one forward pass at a time is converted to float
    prepared = torch.stack([prepare_image(network, image) for image in images]).to(next(network.parameters()).device)
    if config.window is None and math.prod(prepared.shape[-2:]) > MAX_WHOLE_PIXELS:
        config = replace(config, window=DEFAULT_WINDOW)
    return Member(network, prepared, config)


def _label_map(mean: Logits, threshold: float, handle: Callable[..., None]) -> NDArray[np.uint8]:
    # Return the label map of 1×C×H×W logits, some rows at a time, which are handled as pieces.
    rows = [slice(first, min(first + ROWS, mean.shape[2])) for first in range(0, mean.shape[2], ROWS)]
    for some in rows:
        handle(some, slice(0, mean.shape[3]), {"": mean[:, :, some]})
    return np.concatenate([predict_labels(mean[:, :, some], threshold=threshold)[0].cpu().numpy() for some in rows])


def prepare_image(network: SegmentationNetwork, image: ImageArray) -> Tensor:
    """Return an H×W×C image resized as in training, C×h×w."""
    preprocessing = get_card(network)["preprocessing"]
    options = {key: preprocessing[key] for key in ("resize", "resize_mode") if key in preprocessing}
    # The crop applies to training only; 1 fits every image size.
    pair = Processing(**options, crop=1).resized(image, np.zeros(image.shape[:2], np.uint8))
    return pair.image.as_subclass(Tensor)


def format_of(network: SegmentationNetwork) -> ImageFormat:
    """Return the format of the images that a network was trained on, from its card.

    Raises:
        UsageError: if the network was not loaded from a bundle.
    """
    given = get_card(network)["preprocessing"].get("image_format")
    if given is None and network.in_channels != 3:
        return ImageFormat(tuple(range(1, network.in_channels + 1)))
    return ImageFormat.from_plain(given or {})


class _Probabilities:
    """Probabilities that are written to a memory-mapped file."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._map: NDArray[np.float16] | None = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        with path.open("r+b") as file:
            reserve_space(file, path.stat().st_size, path.parent)

    def write(self, rows: slice, columns: slice, logits: Logits) -> None:
        assert self._map is not None
        self._map[:, rows, columns] = class_probabilities(logits)[0].cpu().numpy()
        if isinstance(self._map.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.base.madvise(mmap.MADV_DONTNEED)  # releases written pages from this process's memory

    def close(self) -> None:
        """Unmap the file, which Windows cannot rename before."""
        self._map = None


@contextmanager
def _probability_file(path: str | Path, shape: tuple[int, ...]) -> Iterator[_Probabilities]:
    needed = math.prod(shape) * np.dtype(np.float16).itemsize
    with atomic_path(path, needed=needed) as temporary:
        file = _Probabilities(temporary, shape)
        try:
            yield file
        finally:
            file.close()
