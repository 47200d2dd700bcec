"""Images kept for the figures: the image, its ground truth and each network's prediction, side by side in a folder."""

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
    """Where one image of a run lies: its image, its truth, and its predictions by network."""

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
    """Write one image's image, truth and predictions as PNG files, the masks with the dataset's colors.

    Shapes: image H×W×3; truth and predictions H×W train ids, 255 ignored; palette up to 256 RGB triples; confidences H×W,
    the probabilities of what is predicted, 255 for 1.

    Example:
        >>> import tempfile
        >>> image, mask = np.zeros((2, 3, 3), np.uint8), np.ones((2, 3), np.uint8)
        >>> paths = write_sample(tempfile.mkdtemp(), "berlin/01", image, mask, {"unet": mask}, [(0, 0, 0), (9, 9, 9)])
        >>> [path.name for path in paths]
        ['berlin-01.image.png', 'berlin-01.truth.png', 'berlin-01.unet.png']
    """
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "image"
    colors = bytes(channel for color in palette for channel in color)
    layers = {"image": Image.fromarray(image), "truth": Image.fromarray(truth)}
    layers.update({network: Image.fromarray(mask) for network, mask in predictions.items()})
    paths = []
    for layer, rendered in layers.items():
        if layer != "image":
            rendered.putpalette(colors)  # turns L into P
        data = io.BytesIO()
        rendered.save(data, format="PNG", optimize=layer != "image")
        paths.append(atomic_write(Path(folder) / f"{stem}.{layer}.png", data.getvalue()))
    for network, levels in (confidences or {}).items():
        data = io.BytesIO()
        Image.fromarray(levels).save(data, format="PNG", optimize=True)
        paths.append(atomic_write(Path(folder) / f"{stem}.{network}.confidence.png", data.getvalue()))
    return paths


def find_samples(folder: str | Path, networks: Sequence[str]) -> list[SamplePaths]:
    """The images of a samples folder that have an image and a truth, by name."""
    found = []
    for image in sorted(Path(folder).glob("*.image.png")):
        name = image.name.removesuffix(".image.png")
        layers = {network: image.with_name(f"{name}.{network}.png") for network in networks}
        truth = image.with_name(f"{name}.truth.png")
        if truth.is_file():
            found.append(
                SamplePaths(name, image, truth, {network: path for network, path in layers.items() if path.is_file()})
            )
    return found


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """The image of a sample, H×W×3."""
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


def read_labels(path: str | Path) -> npt.NDArray[np.uint8]:
    """The mask of a sample as train ids, H×W."""
    with _opened(path) as image:
        if image.mode not in ("P", "L"):
            raise DataError(f"{path} is an image of mode {image.mode}, expected a palette PNG", "run the study again")
        return np.asarray(image)


def _opened(path: str | Path) -> Image.Image:
    try:
        image = Image.open(path, formats=("PNG",))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read: {error}", "delete it and run the study again") from error
    return image
