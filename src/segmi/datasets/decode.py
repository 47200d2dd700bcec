"""Files opened with Pillow, and mask files to arrays; `segmi.datasets.bands` reads images.

==========================================  ==========================================
1-, 2- and 4-bit masks                      keep their stored values
16- and 32-bit masks, whole floats          kept up to the value 255, otherwise refused
gray TIFF with white as 0                   stored values; black and white (1 bit) as shown, with white as 1
alpha                                       dropped; `segmi data init` reports transparency
EXIF orientation                            applied, or ignored as for the images
animations, fractions, JPEG and WebP        refused; lossy files change values along edges
==========================================  ==========================================

Empty, truncated and non-image files and those larger than `MAX_PIXELS` are refused. Every refusal is a `DataError`
that names the file and the fix.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segmi.datasets.image_format import Orientation
from segmi.errors import DataError, EnvironmentProblem

MAX_PIXELS: Final = 89_478_485
"""The largest image that is decoded (a quarter of a GiB as RGB); larger files are treated as decompression bombs."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""The formats that are opened; Pillow's other readers stay disabled, since EPS runs Ghostscript."""

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
"""The suffixes of image and mask files, in lower case."""

NEW_SUBFILE_TYPE: Final = 254  # TIFF tag
PHOTOMETRIC: Final = 262  # TIFF tag; its value 0 means that white is stored as 0
GDAL_NODATA: Final = 42113  # TIFF tag of the value of pixels without data
REDUCED_OR_MASK: Final = 0b101  # its bits for overviews and transparency masks

_LOSSY: Final = frozenset({"JPEG", "MPO", "WEBP"})
_GRAY_STEP: Final = {2: 85, 4: 17}  # Pillow scales 2- and 4-bit gray to 0..255; masks need the stored values
_REPLACE: Final = "download or copy the file again"


def decode_mask(path: Path, orientation: Orientation = "apply", *, lossy: bool = False) -> Image.Image:
    """Return a mask file as a loaded Pillow image of mode ``L`` or ``P`` (values), or ``RGB`` (colors).

    ``lossy``: JPEG and WebP are read too, and ``info["lossy"]`` is set. ``info["transparent"]`` is the share of
    transparent pixels, ``info["missing"]`` the text of a GeoTIFF that declares a value as missing, and
    ``info["white_is_zero"]`` whether a black and white TIFF stores white as 0.

    Raises:
        DataError: as for `segmi.datasets.bands.decode_image`, and for values above 255 and lossy formats.
        EnvironmentProblem: read permission is missing.
    """
    turned = ImageOps.exif_transpose if orientation == "apply" else Image.Image.copy
    with _opened(path) as image:
        if image.format in _LOSSY and not lossy:
            raise DataError(
                f"{printable(path)}: expected a lossless mask, got {image.format}, which changes values along edges",
                "export the mask again from its source as PNG; converting this file does not restore the values",
            )
        step, is_lossy = _gray_step(path, image), image.format in _LOSSY
        transparent = float((np.array(image.getchannel("A")) == 0).mean()) if "A" in image.getbands() else 0.0
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        missing, white_is_zero = tags.get(GDAL_NODATA), tags.get(PHOTOMETRIC) == 0
        image = turned(image)
        if image.mode.startswith(("I", "F")):
            mask = _to_8_bits(path, image)
        elif image.mode == "1":
            mask = Image.fromarray(np.array(image).astype(np.uint8))  # 0 and 1; convert("L") gives 0 and 255
        else:
            if image.mode in ("LA", "La"):
                image = image.getchannel("L")
            elif image.mode not in ("L", "P"):
                image = image.convert("RGB")
            mask = Image.fromarray(np.array(image) // step) if step > 1 else image.copy()
            if white_is_zero and mask.mode == "L":  # Pillow inverts them
                mask = Image.fromarray(~np.array(mask))
        white_is_zero = white_is_zero and image.mode == "1"
        mask.info.update(lossy=is_lossy, transparent=transparent, missing=missing, white_is_zero=white_is_zero)
        return mask


def decode_levels(path: Path, orientation: Orientation = "apply") -> NDArray[Any]:
    """Return the gray levels of a mask as stored, H×W, whatever its format and depth; colors become their brightness.

    Raises:
        DataError: as for `segmi.datasets.bands.decode_image`.
        EnvironmentProblem: read permission is missing.
    """
    with _opened(path) as image:
        image = ImageOps.exif_transpose(image) if orientation == "apply" else image
        return np.array(image if image.mode.startswith(("I", "F")) else image.convert("L"))


def _to_8_bits(path: Path, image: Image.Image) -> Image.Image:
    """Return a mask of more bits as 8-bit if its values allow it; annotation tools often save 16 bits."""
    values = np.asarray(image)
    whole = image.mode != "F" or bool((values == np.floor(values)).all())  # geographic programs save whole floats
    if whole and values.min() >= 0 and values.max() <= 255:
        return Image.fromarray(values.astype(np.uint8))
    negative = np.unique(values[values < 0])
    probabilities = not whole and values.min() >= 0 and values.max() <= 1
    remedy = "save `mask > 0.5` as" if probabilities else "give every class one value below 256 and save the mask as"
    missing = f", with 255 instead of {negative[0]:g} for pixels without a class" if len(negative) == 1 else ""
    raise DataError(
        f"{printable(path)}: expected a mask of values from 0 to 255, got {_depth(image)}"
        f"{'' if whole else ' fractions,'} values from {values.min():g} to {values.max():g}",
        f"{remedy} an 8-bit grayscale PNG{missing}",
    )


def indices_of(mask: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Return the stored values of a mask, H×W uint8: gray values, also of three equal channels, or palette indices.

    Raises:
        DataError: the mask holds colors.
    """
    if mask.mode == "RGB" and has_equal_channels(pixels := np.array(mask)):
        return np.ascontiguousarray(pixels[..., 0])
    if mask.mode not in ("L", "P"):
        raise DataError(
            f"{printable(path)}: expected one channel of values, got colors (mode {mask.mode})",
            "use the index or palette version of the mask, or the dataset `folder`, which reads color masks with "
            "`name r g b` lines in classes.txt",
        )
    return np.array(mask)


def has_equal_channels(pixels: NDArray[np.uint8]) -> bool:
    """Return whether the channels of H×W×3 pixels are equal, so that they are gray values."""
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())


def printable(path: Path | str) -> str:
    r"""Return a path with non-UTF-8 bytes and control characters escaped.

    Example:
        >>> printable("caf\udce9\n.png")
        'caf\\xe9\\n.png'
    """
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open and decode a file with Pillow; every failure becomes an error that names it."""
    with explained(path), opened_by_pillow(path) as image:
        tiles = image.tile if isinstance(image, ImageFile) and image.format in ("PNG", "TIFF") else []
        deep = any(";16" in str(tile.args) for tile in tiles)
        if deep and len(image.getbands()) > 1:
            raise DataError(
                f"{printable(path)}: expected a mask of 8-bit values or colors, got 16-bit colors, which Pillow cuts",
                "save the mask with 8 bits per channel",
            )
        image.load()
        yield image


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn every failure of reading into a `DataError` or `EnvironmentProblem` that names the file."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise unreadable_path(path) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from error
    except Exception as error:  # Pillow raises a dozen types for damaged files
        raise _unreadable(path, error) from error


@contextmanager
def opened_by_pillow(path: Path) -> Iterator[Image.Image]:
    """Open a file with Pillow without decoding it, and check that it is one image.

    Raises:
        DataError: the file is too large, an animation, or one that Pillow does not read exactly.
    """
    check_is_file(path)
    # No warning filters are set around the size check: that is not safe between threads.
    with Image.open(path, formats=FORMATS) as image:
        check_size(path, *image.size)
        frames = getattr(image, "n_frames", 1)
        if isinstance(image, TiffImageFile) and frames > 1:
            frames = _whole_pages(image)
        if image.format != "MPO" and frames > 1:  # MPO: a JPEG photograph with previews
            raise DataError(
                f"{printable(path)}: expected one image, got {frames} frames",
                "save the frame that is meant as a separate image",
            )
        args = image.tile[0].args if image.format == "PPM" and image.tile else None
        if isinstance(args, tuple) and args[1] > 255 and args != ("L", 65535):
            raise DataError(
                f"{printable(path)}: expected a PPM or PGM of 8 bits, got more, which Pillow would scale",
                "save it as 16-bit PNG or TIFF",
            )
        yield image


def _whole_pages(image: TiffImageFile) -> int:
    """Return the number of pages of a TIFF besides the overviews and masks of a GeoTIFF."""
    whole = 0
    for number in range(image.n_frames):
        image.seek(number)
        whole += not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & REDUCED_OR_MASK
    image.seek(0)
    return whole


def pages_of(path: Path) -> int:
    """Return the number of pages of the TIFF file of this stem; 0 for other files."""
    for suffix in (".tif", ".tiff"):
        if (file := path.with_name(path.name + suffix)).is_file():
            with explained(file), Image.open(file, formats=FORMATS) as image:
                return int(getattr(image, "n_frames", 1))
    return 0


def check_is_file(path: Path) -> None:
    """Raise a DataError for a folder, pipe or device."""
    if path.exists() and not path.is_file():  # opening a pipe would block forever
        raise DataError(
            f"{printable(path)}: expected a file, got a {'folder' if path.is_dir() else 'pipe or device'}",
            "put the image there, or remove it from the split's list",
        )


def check_size(path: Path, width: int, height: int) -> None:
    """Raise a DataError for an image of more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width}×{height}")


def unreadable_path(path: Path | str) -> EnvironmentProblem:
    """Return the error for a file or folder without read permission."""
    return EnvironmentProblem(f"{printable(path)}: read permission is missing", "give this user read permission")


def _too_large(path: Path, given: str) -> DataError:
    return DataError(
        f"{printable(path)}: expected at most {MAX_PIXELS / 1e6:.0f} megapixels, got {given}",
        "cut the image and its mask into tiles, or remove the file if its origin is unknown",
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    """Return why a file could not be decoded, judged by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
            empty = file.tell() == 0
    except FileNotFoundError:
        given, remedy = "a file, got none", "put the file there, or remove it from the split's list"
    except OSError as second:
        given, remedy = f"a file, got {second.strerror}", _REPLACE
    else:
        if empty:
            given, remedy = "an image, got an empty file", _REPLACE
        elif head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
            given = "an image, got a web page"
            remedy = "download it again; most likely the server asked for a login or the link has moved"
        elif head.startswith(b"version https://git-lfs"):
            given, remedy = "an image, got a Git LFS pointer", "fetch the files with git lfs pull"
        elif isinstance(error, Image.UnidentifiedImageError):
            given, remedy = f"an image ({', '.join(FORMATS)}), got something else", _REPLACE
        else:
            given, remedy = f"a whole image, got a truncated or damaged one ({error})", _REPLACE
    return DataError(f"{printable(path)}: expected {given}", remedy)


def _depth(image: Image.Image) -> str:
    return "16-bit" if image.mode.startswith("I;16") else "float" if image.mode == "F" else "32-bit or 16-bit"


def _gray_step(path: Path, image: Image.Image) -> int:
    """Return Pillow's scale factor for the stored values of a grayscale PNG."""
    if image.format != "PNG" or image.mode != "L":
        return 1
    with path.open("rb") as file:
        header = file.read(26)  # signature, IHDR: width, height, bit depth (byte 24), color type (byte 25)
    return _GRAY_STEP.get(header[24], 1)
