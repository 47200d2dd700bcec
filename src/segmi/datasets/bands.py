"""Read image files as arrays of bands, exactly; files that cannot be read exactly are refused.

=============================================  ==============================================================
bands, bits and value range                    set by `ImageFormat`, by default 8-bit RGB
gray, palette, black-and-white, CMYK           become RGB by default
EXIF orientation                               applied by default
32-bit integers, 64-bit floats, NaN            refused
animations, separate pages                     refused
=============================================  ==============================================================

Pillow reads 8-bit files, since other decoders have crashed on damaged ones. tifffile reads TIFF of more bits or bands.
imagecodecs decodes its LZW, Deflate, ZSTD and predictors, and 16-bit color PNG, which Pillow reduces to 8 bits; it is
half the size of OpenCV, and torchvision's decoders are deprecated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from segmi.datasets.decode import REDUCED_OR_MASK, check_is_file, check_size, explained, opened_by_pillow, printable
from segmi.datasets.image_format import MAX_BANDS, RGB, Bands, ImageArray, ImageFormat
from segmi.errors import DataError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"

_SAMPLES: Final = {"MINISWHITE": 1, "MINISBLACK": 1, "RGB": 3, "PALETTE": 1, "SEPARATED": 4, "YCBCR": 3}
_ORIENTATIONS: Final = {  # EXIF: rows, columns and axes as stored → upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


class Header(NamedTuple):
    """Header of an image file."""

    width: int
    height: int
    bands: int
    dtype: str
    alpha: int | None = None  # index of the band that the file marks as transparency
    orientation: int = 1  # EXIF orientation, 1 for upright


def decode_image(path: Path, format: ImageFormat = RGB) -> ImageArray:
    """Return an image file as H×W×C channels: uint8, or float32 if the format has a value range.

    Raises:
        DataError: the file is missing, damaged, not an image, animated, too large, or of another format.
        EnvironmentProblem: read permission is missing.
    """
    bands, orientation = read_bands(path)
    if format.orientation == "apply":
        bands = bands._replace(pixels=turn_upright(bands.pixels, orientation))
    return np.ascontiguousarray(format.read(bands, printable(path)))


def read_bands(path: Path) -> tuple[Bands, int]:
    """Return the bands of an image file as stored, and its EXIF orientation.

    Raises:
        DataError, EnvironmentProblem: as `decode_image`.
    """
    with explained(path):
        head = _head(path)
        if head.startswith(_TIFF_MAGIC):
            with _opened_tiff(path) as tiff:
                if tiff is not None:
                    check_size(path, tiff.header.width, tiff.header.height)
                    return tiff.bands(), tiff.header.orientation
        with opened_by_pillow(path) as image:
            orientation = _orientation(image)
            if _is_deep_png(head):
                return _read_deep_png(path), orientation
            image.load()
            return bands_of_image(image, printable(path)), orientation


def image_header(path: Path) -> Header:
    """Return size, bands, type and orientation of an image file without decoding its pixels.

    Raises:
        DataError, EnvironmentProblem: as `decode_image`.
    """
    with explained(path):
        head = _head(path)
        if head.startswith(_TIFF_MAGIC):
            with _opened_tiff(path) as tiff:
                if tiff is not None:
                    return tiff.header
        with opened_by_pillow(path) as image:
            mode = "LA" if _is_deep_png(head) and head[25] == 4 else image.mode
            count = {"P": 3, "PA": 4, "CMYK": 3}.get(mode, Image.getmodebands(mode))
            deep = _is_deep_png(head) or mode.startswith("I")
            dtype = "uint16" if deep else "float32" if mode == "F" else "uint8"
            alpha = count - 1 if mode.upper() in ("RGBA", "LA", "PA") else None
            return Header(*image.size, count, dtype, alpha, _orientation(image))


def _head(path: Path) -> bytes:
    check_is_file(path)
    with path.open("rb") as file:
        return file.read(26)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _is_deep_png(head: bytes) -> bool:
    """Return whether the first 26 bytes belong to a 16-bit PNG with more than one channel."""
    return head.startswith(_PNG_MAGIC) and head[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06")


def _read_deep_png(path: Path) -> Bands:
    """Return the bands of a 16-bit color PNG."""
    import imagecodecs

    pixels = imagecodecs.png_decode(path.read_bytes())
    return Bands(pixels, None if pixels.shape[-1] == 3 else pixels.shape[-1] - 1)


def bands_of_image(image: Image.Image, file: str) -> Bands:
    """Return the bands of a Pillow image; palettes, CMYK and YCbCr become RGB, black-and-white becomes 0 and 255.

    Raises:
        DataError: the mode cannot be converted exactly; names ``file``.
    """
    mode = image.mode
    if mode.startswith("I"):
        values = np.asarray(image)
        kind = np.int16 if values.min() < 0 else np.uint16  # Pillow reads 16-bit TIFF with a sign as 32-bit
        if values.min() < np.iinfo(kind).min or values.max() > np.iinfo(kind).max:
            raise DataError(
                f"{file}: expected 8- or 16-bit integers or 32-bit floats, got 32-bit integers from {values.min()} to "
                f"{values.max()}",
                "save it with a type that holds all values: uint16 or float32",
            )
        return Bands(values.astype(kind)[..., None])
    if mode in ("1", "L", "F"):
        return Bands(np.array(image.convert("L") if mode == "1" else image)[..., None])
    if mode in ("LA", "La"):
        return Bands(np.array(image.convert("LA")), 1)
    if mode in ("RGBA", "RGBa", "PA"):
        return Bands(np.array(image.convert("RGBA")), 3)
    if mode == "LAB":
        raise DataError(f"{file}: expected gray or RGB, got CIELAB", "convert it to RGB")
    return Bands(np.array(image.convert("RGB")))


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return H×W×B pixels turned by an EXIF orientation, 1 to 8."""
    return _ORIENTATIONS[orientation](pixels) if orientation in _ORIENTATIONS else pixels


@contextmanager
def _opened_tiff(path: Path) -> Iterator[_Tiff | None]:
    """Yield a TIFF file, None if Pillow reads it exactly."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # tifffile logs an error before raising it
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        extra = [_name(sample) for sample in page.extrasamples]
        samples = _SAMPLES.get(_name(page.photometric))
        plain = page.sampleformat == 1 and page.bitspersample in (1, 2, 4, 8) and samples is not None
        expected = (samples or 0) + len(extra)
        if plain and page.samplesperpixel == expected and extra in ([], ["UNASSALPHA"], ["ASSOCALPHA"]):
            pages = _whole_pages(file)
            yield None if len(pages) == 1 or _pages_as_bands(file, len(pages)) is None else _Tiff(path, file)
        else:
            yield _Tiff(path, file)


class _Tiff:
    """An open TIFF file of 1 to 16 bands.

    Raises:
        DataError: the file holds several images, more bands, or other colors than gray and RGB.
    """

    def __init__(self, path: Path, file: TiffFile) -> None:
        self._file: Final = file
        self._page: Final[TiffPage] = file.pages.first
        pages = _whole_pages(file)
        axes = self._page.axes if len(pages) == 1 else _pages_as_bands(file, len(pages))
        if axes is None:
            raise DataError(
                f"{printable(path)}: expected one image, got {len(pages)} pages",
                "save the page to use as a separate image, or the bands as one image: "
                'tifffile.imwrite(path, array, photometric="minisblack", planarconfig="separate")',
            )
        name = _name(self._page.photometric)
        if name not in ("MINISBLACK", "RGB") or not set(axes) <= set("YXSCQ"):
            raise DataError(
                f"{printable(path)}: expected gray, RGB or bands, got a TIFF of {name} with axes {axes}",
                "convert it to RGB or to one band per value",
            )
        shape = self._page.shape if len(pages) == 1 else _series_shape(file)
        sizes = dict(zip(axes, shape, strict=True))
        bands = next((sizes[axis] for axis in "SCQ" if axis in sizes), 1)
        if bands > MAX_BANDS:
            raise DataError(
                f"{printable(path)}: expected at most {MAX_BANDS} bands, got {bands}",
                "save the bands to use as a new file",
            )
        self._axes: Final = axes
        self._whole: Final = len(pages) == 1
        # tifffile marks a fourth band as alpha by default
        extra = [_name(sample).endswith("ALPHA") for sample in self._page.extrasamples]
        alpha = bands - len(extra) + extra.index(True) if True in extra else None
        tag = self._page.tags.get("Orientation")
        orientation = int(tag.value) if tag is not None else 1
        self.header: Final = Header(sizes["X"], sizes["Y"], bands, str(self._page.dtype), alpha, orientation)

    def bands(self) -> Bands:
        """Decode the bands."""
        pixels = self._page.asarray() if self._whole else self._file.series[0].asarray().squeeze()
        band_axis = next((self._axes.index(axis) for axis in "SCQ" if axis in self._axes), None)
        pixels = pixels[..., None] if band_axis is None else np.moveaxis(pixels, band_axis, -1)
        tag = self._page.tags.get("GDAL_NODATA")
        return Bands(pixels, self.header.alpha, None if tag is None else _number(tag.value))


def _number(text: str) -> float | None:
    try:
        return float(text.strip(" \0"))
    except ValueError:
        return None


def _name(tag: Any) -> str:
    return str(getattr(tag, "name", tag))  # an unknown value is a plain integer


def _whole_pages(file: TiffFile) -> list[Any]:
    """Return the pages besides overviews and masks."""
    pages: list[Any] = [file.pages.first]
    pages += [page for page in list(file.pages)[1:] if not int(getattr(page, "subfiletype", 0)) & REDUCED_OR_MASK]
    return pages


def _series_shape(file: TiffFile) -> tuple[int, ...]:
    return tuple(side for side in file.series[0].shape if side > 1)


def _pages_as_bands(file: TiffFile, pages: int) -> str | None:
    """Return the axes of a file whose pages form one array of bands; None for separate pages.

    By default, tifffile writes bands as pages instead of planes: B×H×W as B pages of H×W, but H×W×B as H pages of W×B.
    """
    series = file.series[0]
    shape = _series_shape(file)
    if len(file.series) > 1 or len(shape) != 3:
        return None
    if series.axes.endswith("CYX") and shape[0] <= MAX_BANDS:
        return "CYX"
    if series.kind == "shaped" and series.axes.endswith("QYX"):
        return "QYX" if shape[0] <= MAX_BANDS else "YXQ" if shape[-1] <= MAX_BANDS else None
    return None
