"""Label maps of images of any size, at their own resolution, with a bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.decode import decode_image, printable
from segmi.deploy.bundle import load
from segmi.deploy.image import card_of, predict_images
from segmi.deploy.image_files import ImageFile, found_images
from segmi.errors import DataError, EnvironmentProblem, UsageError, together
from segmi.models import SegmentationNetwork
from segmi.models.sliding_window import check_windows
from segmi.records.atomic import atomic_path

ROWS: Final = 64
"""Rows of an image that are mixed with their colors together."""


class Prediction(NamedTuple):
    """What became of one image.

    Args:
        image: its file.
        mask: the file of its label map.
        size: width and height.
        shares: of each class in its pixels, by name.
    """

    image: Path
    mask: Path
    size: tuple[int, int]
    shares: dict[str, float]


def predict_files(
    network: str | Path | SegmentationNetwork,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = 1,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the predicted label map of every image as ``<name>.png`` in the dataset's palette.

    Args:
        network: a bundle's folder, or a network that `segmi.load` returned.
        images: image files; folders stand for all images below them, patterns for the files that match.
        out: the folder of the results; made if it is missing.
        overlay: also write ``<name>.overlay.png``, the image under its label map.
        probabilities: also write ``<name>.npy``, the probabilities of all classes as float16, C×H×W.
        window: side of the windows in which larger images are predicted, as in `predict_image`.
        overlap: pixels that neighboring windows share.
        batch_size: images of one size that are predicted together, and windows of a larger one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        progress: called with (images done, images in all).

    Returns: the label maps, in the order of the images.

    Raises:
        UsageError: no images, two of the same name, a result that would overwrite an image, or impossible windows.
        DataError: the bundle is refused, or images are; those that can be read are predicted all the same.
        EnvironmentProblem: no such device, or ``out`` cannot be written.
    """
    found = predictions(
        network, images, out, overlay=overlay, probabilities=probabilities, window=window, overlap=overlap,
        batch_size=batch_size, device=device, progress=progress,
    )  # fmt: skip
    return [prediction.mask for prediction in found]


def predictions(
    network: str | Path | SegmentationNetwork,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = 1,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Prediction]:
    """What `predict_files` does, image after image, with the share of every class."""
    ready = network if isinstance(network, SegmentationNetwork) else load(network)
    card = card_of(ready)
    check_windows(window, overlap)
    files = found_images(images)
    masks = _targets(files, Path(out), overlay)
    ready = ready.eval().to(device_of(device))
    refused: list[str] = []
    for first in range(0, len(files), batch_size):
        pixels: dict[Path, NDArray[np.uint8]] = {}
        for image, mask in zip(files[first : first + batch_size], masks[first : first + batch_size], strict=True):
            try:
                pixels[mask] = decode_image(image.path)
            except DataError as error:
                refused.append(str(error).replace("\n ", " –"))
        for alike in _of_one_size(pixels):
            stores = [mask.with_suffix(".npy") if probabilities else None for mask in alike]
            try:
                label_maps = predict_images(
                    ready, [pixels[mask] for mask in alike], window=window, overlap=overlap, batch_size=batch_size,
                    probabilities=stores,
                )  # fmt: skip
            except ValueError as error:
                refused += [f"{printable(files[masks.index(mask)].path)}: {error}" for mask in alike]
                continue
            for mask, labels in zip(alike, label_maps, strict=True):
                _save(Image.fromarray(labels), mask, card["palette"])
                if overlay:
                    _save(Image.fromarray(overlaid(pixels[mask], labels, card["palette"])), _overlay_name(mask))
                size = (labels.shape[1], labels.shape[0])
                yield Prediction(files[masks.index(mask)].path, mask, size, shares_of(labels, card["classes"]))
        if progress is not None:
            progress(min(first + batch_size, len(files)), len(files))
    if refused:
        raise DataError(
            f"{len(refused)} of {len(files)} files were refused, the label maps of the others are in {out}:\n"
            f"{together(refused)}"
        )


def shares_of(labels: NDArray[np.uint8], classes: Sequence[str]) -> dict[str, float]:
    """The share of each class in the pixels of a label map.

    Example:
        >>> shares_of(np.array([[0, 1, 1, 1]], np.uint8), ["sky", "road", "car"])
        {'sky': 0.25, 'road': 0.75, 'car': 0.0}
    """
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    return {name: float(count) / labels.size for name, count in zip(classes, counts, strict=False)}


def overlaid(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Sequence[Sequence[int]], *, strength: float = 0.5
) -> NDArray[np.uint8]:
    """An image mixed with the colors of its labels.

    Shapes: H×W×3 and H×W, uint8, to H×W×3 uint8.

    Example:
        >>> overlaid(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.uint8), [(0, 0, 0), (200, 100, 0)]).tolist()
        [[[100, 50, 0]]]
    """
    colors = np.asarray(palette, dtype=np.float32)
    mixed = np.empty_like(image)
    for first in range(0, len(image), ROWS):  # as floats, a large image would be larger by far
        rows = slice(first, first + ROWS)
        np.rint(
            image[rows] * np.float32(1 - strength) + colors[labels[rows]] * np.float32(strength),
            out=mixed[rows],
            casting="unsafe",
        )
    return mixed


def _of_one_size(pixels: Mapping[Path, NDArray[np.uint8]]) -> list[list[Path]]:
    """The images of a batch by their size, in the order in which the sizes come."""
    by_size: dict[tuple[int, ...], list[Path]] = defaultdict(list)
    for mask, image in pixels.items():
        by_size[image.shape].append(mask)
    return list(by_size.values())


def _targets(images: Sequence[ImageFile], out: Path, overlay: bool) -> list[Path]:
    """The names of the results, refused before anything is written if one would fall on another or on an image."""
    masks = [out / f"{image.target}.png" for image in images]
    sources = defaultdict(list)
    for image, mask in zip(images, masks, strict=True):
        for target in (mask, _overlay_name(mask)) if overlay else (mask,):
            sources[target].append(image.path)
    clashes = [
        f"{printable(target)} from {' and '.join(printable(p) for p in from_)}"
        for target, from_ in sources.items()
        if from_[1:]
    ]
    if clashes:
        raise UsageError(
            f"images of the same name would overwrite each other's label maps:\n{together(clashes)}",
            "predict them into different folders",
        )
    originals = {image.path.resolve() for image in images}
    if any(target.resolve() in originals for target in sources):
        raise UsageError(f"the label maps would overwrite the images in {printable(out)}", "choose another output folder")
    return masks


def _overlay_name(mask: Path) -> Path:
    return mask.with_name(f"{mask.stem}.overlay.png")


def _save(image: Image.Image, path: Path, palette: Sequence[Sequence[int]] | None = None) -> None:
    if palette is not None:
        image.putpalette([channel for color in palette for channel in color])
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def device_of(name: str) -> torch.device:
    """The device of a name; ``auto`` is the machine's accelerator, the CPU without one.

    Raises:
        EnvironmentProblem: this machine has no such device.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found if found is not None else torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EnvironmentProblem(f"this machine has no device {name!r}: {reason}", "use auto or cpu") from error
