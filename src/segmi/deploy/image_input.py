"""Files, Pillow images, arrays and tensors as the channels that a network was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from segmi.datasets.bands import bands_of_image, decode_image, image_header, turn_upright
from segmi.datasets.image_format import DTYPES, MAX_BANDS, Bands, ImageArray, ImageFormat
from segmi.errors import UsageError

ImageInput: TypeAlias = str | Path | Image.Image | NDArray[Any] | Tensor


def read_channels(image: ImageInput, format: ImageFormat) -> ImageArray:
    """Return an image as H×W×C channels, uint8 or float32.

    Args:
        image: a file, a Pillow image, an array of H×W×C or a tensor of C×H×W, with the values of the files. It has the
            bands of the network in their order, or all bands of a file. Floats for a network trained on 8-bit images
            are in [0, 1].
        format: bands and value range of the network.

    Raises:
        DataError: a file or Pillow image cannot be read exactly, or does not have the format.
        UsageError: an array or tensor does not have the format.
    """
    if isinstance(image, str | Path):
        return decode_image(Path(image), format)
    if isinstance(image, Image.Image):
        return _of_pillow(image, format)
    if isinstance(image, Tensor):
        return _of_array(image.detach().cpu().movedim(0, -1).numpy() if image.ndim == 3 else image.numpy(), format)
    if (
        isinstance(image, list | tuple)
        and image
        and isinstance(image[0], str | Path | Image.Image | np.ndarray | Tensor)
    ):
        raise UsageError(
            f"expected one image, got a {type(image).__name__} of {len(image)}",
            "call it once per image, or write the masks of files with `segmi predict`",
        )
    return _of_array(np.asarray(image), format)


def _of_pillow(image: Image.Image, format: ImageFormat) -> ImageArray:
    file = str(getattr(image, "filename", ""))  # only of images that Pillow opened and did not copy
    if file and Path(file).is_file() and image.mode != "F" and not image.mode.startswith("I"):
        header = image_header(Path(file))
        if header.dtype != "uint8" and image.size in ((header.width, header.height), (header.height, header.width)):
            return decode_image(Path(file), format)  # Pillow reduces 16-bit color to 8 bits
    tiles = image.tile if isinstance(image, PngImageFile) else []  # empty once the pixels are loaded
    if len(image.getbands()) > 1 and any(";16" in str(tile.args) for tile in tiles):
        raise UsageError(
            "expected a Pillow image with all of its bits, got a 16-bit color PNG, which Pillow reduces to 8 bits",
            "pass the path of the file, or the array of another reader",
        )
    bands = bands_of_image(image, "the image")
    if format.orientation == "apply":
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        bands = bands._replace(pixels=turn_upright(bands.pixels, orientation))
    return np.ascontiguousarray(format.read(bands, "the image"))


def _of_array(pixels: NDArray[Any], format: ImageFormat) -> ImageArray:
    if pixels.ndim == 2 and format.bands is not None:
        pixels = pixels[..., None]
    floats = pixels.dtype.kind == "f"
    count = pixels.shape[-1] if pixels.ndim == 3 else 0
    whole = format.bands is not None and max(format.bands) <= count <= MAX_BANDS
    known = floats or pixels.dtype.name in (DTYPES if format.value_range is not None else ("uint8",))
    unit = floats and format.value_range is None
    if not known or not (count == format.channels or whole) or (unit and not 0 <= pixels.min() <= pixels.max() <= 1):
        types = "8-bit or 16-bit integers or floats" if format.value_range is not None else "uint8, or floats in [0, 1]"
        raise UsageError(
            f"expected an image of H×W×{format.channels} {types}, got {pixels.dtype} of "
            f"{'×'.join(map(str, pixels.shape))}",
            "pass the bands of the network with the values of the files, H×W×C as an array, C×H×W as a tensor, or pass "
            "a Pillow image or a path",
        )
    if count == format.channels:
        format = replace(format, bands=tuple(range(1, count + 1)), shown=())
    if unit:
        format = replace(format, value_range="type")
    return format.read(Bands(pixels.astype(np.float32) if floats else pixels), "the image")
