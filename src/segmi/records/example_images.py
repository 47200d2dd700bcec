"""Example images of a run: for each image the photograph, its ground truth and the prediction of every network."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from segmi.errors import DataError
from segmi.records.atomic import atomic_write


@dataclass(frozen=True)
class SamplePaths:
    """Paths of one example: image, ground truth, and predictions by network."""

    name: str
    image: Path
    truth: Path
    predictions: Mapping[str, Path]


def write_sample(
    folder: str | Path,
    name: str,
    image: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8],
    predictions: Mapping[str, npt.NDArray[np.uint8]],
    palette: Sequence[Sequence[int]],
    *,
    confidences: Mapping[str, npt.NDArray[np.uint8]] | None = None,
) -> list[Path]:
    """Write one example as PNG files, the masks in the colors of the dataset.

    Shapes: image H×W×3; truth and predictions H×W train ids, 255 ignored; palette up to 256 RGB triples; confidences
    H×W, the probability of the predicted class times 255.

    Example:
        >>> import tempfile
        >>> image, mask = np.zeros((2, 3, 3), np.uint8), np.ones((2, 3), np.uint8)
        >>> paths = write_sample(tempfile.mkdtemp(), "berlin/01", image, mask, {"unet": mask}, [(0, 0, 0), (9, 9, 9)])
        >>> [path.name for path in paths]
        ['berlin-01.image.png', 'berlin-01.truth.png', 'berlin-01.unet.png']
    """
    # Names may contain slashes and other characters that are not allowed in file names.
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "image"
    colors = bytes(channel for color in palette for channel in color)
    layers = {"image": Image.fromarray(image)}
    for layer, mask in {"truth": truth, **predictions}.items():
        layers[layer] = Image.fromarray(mask)
        layers[layer].putpalette(colors)  # converts mode L to P
    layers |= {f"{name}.confidence": Image.fromarray(levels) for name, levels in (confidences or {}).items()}
    paths = []
    for layer, rendered in layers.items():
        data = io.BytesIO()
        rendered.save(data, format="PNG", optimize=layer != "image")
        paths.append(atomic_write(Path(folder) / f"{stem}.{layer}.png", data.getvalue()))
    return paths


def find_samples(folder: str | Path, networks: Sequence[str]) -> list[SamplePaths]:
    """Return the examples in a folder that have an image and a ground truth, by name."""
    examples = []
    for image in sorted(Path(folder).glob("*.image.png")):
        name = image.name.removesuffix(".image.png")
        layers = {network: image.with_name(f"{name}.{network}.png") for network in networks}
        truth = image.with_name(f"{name}.truth.png")
        if truth.is_file():
            existing = {network: path for network, path in layers.items() if path.is_file()}
            examples.append(SamplePaths(name, image, truth, existing))
    return examples


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return the image of an example, H×W×3."""
    with _open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_labels(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return a mask of an example as train ids, H×W."""
    with _open(path) as image:
        if image.mode not in ("P", "L"):
            raise DataError(f"{path} is an image of mode {image.mode}, expected a palette PNG", "run the study again")
        return np.asarray(image)


def _open(path: str | Path) -> Image.Image:
    try:
        image = Image.open(path, formats=("PNG",))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read: {error}", "delete it and run the study again") from error
    return image
