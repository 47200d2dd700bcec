"""Image files to arrays, with Pillow alone: other decoders have crashed on damaged files.

===========================================  ==============================================================
images                                       masks
===========================================  ==============================================================
gray, palette, black-and-white, CMYK → RGB   1-, 2- and 4-bit files keep their stored values
alpha is dropped                             alpha is dropped
the EXIF orientation is applied              the EXIF orientation is applied
animations are refused                       animations are refused
16-bit and float gray are refused            16- and 32-bit values up to 255 are kept, others and float refused
\\                                            JPEG and WebP are refused: they change values along edges
===========================================  ==============================================================

Empty, truncated and non-image files and those larger than `MAX_PIXELS` are refused. Every refusal is a `DataError`
that names the file and the fix.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segmi.errors import DataError, EnvironmentProblem

MAX_PIXELS: Final = 89_478_485
"""The largest image that is decoded (a quarter of a GiB as RGB); larger files are treated as decompression bombs."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""The formats that are opened; Pillow's other readers stay disabled, since EPS runs Ghostscript."""

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
"""The suffixes of image and mask files, in lower case."""

_LOSSY: Final = frozenset({"JPEG", "MPO", "WEBP"})
_GRAY_STEP: Final = {2: 85, 4: 17}  # Pillow scales 2- and 4-bit gray to 0..255; masks need the stored values
_REPLACE: Final = "download or copy the file again"


def decode_image(path: Path) -> NDArray[np.uint8]:
    """Return an image file as H×W×3 uint8 RGB, with its EXIF orientation applied.

    Raises:
        DataError: the file is missing, damaged, not an image, animated, too large, or 16-bit or float gray.
        EnvironmentProblem: read permission is missing.
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{printable(path)}: expected 8 bits per channel, got a {_depth(image)} gray image",
                "scale the values that matter to 0–255 and save the image with 8 bits",
            )
        image = ImageOps.exif_transpose(image)
        return np.array(image.convert("RGB"))


def decode_mask(path: Path) -> Image.Image:
    """Return a mask file as a loaded Pillow image of mode ``L`` or ``P`` (values), or ``RGB`` (colors).

    Raises:
        DataError: as for `decode_image`, and for values above 255 and lossy formats.
        EnvironmentProblem: read permission is missing.
    """
    with _opened(path) as image:
        if image.format in _LOSSY:
            raise DataError(
                f"{printable(path)}: expected a lossless mask, got {image.format}, which changes values along edges",
                "export the mask again from its source as PNG; converting this file does not restore the values",
            )
        if image.mode.startswith(("I", "F")):
            return _to_8_bits(path, ImageOps.exif_transpose(image))
        step = _gray_step(path, image)
        image = ImageOps.exif_transpose(image)
        if image.mode == "1":
            return Image.fromarray(np.array(image).astype(np.uint8))  # 0 and 1; convert("L") gives 0 and 255
        if image.mode in ("LA", "La"):
            image = image.getchannel("L")
        elif image.mode not in ("L", "P"):
            image = image.convert("RGB")
        return Image.fromarray(np.array(image) // step) if step > 1 else image.copy()


def _to_8_bits(path: Path, image: Image.Image) -> Image.Image:
    """Return a mask of more bits as 8-bit if its values allow it; annotation tools often save 16 bits."""
    values = np.asarray(image)
    if image.mode != "F" and values.min() >= 0 and values.max() <= 255:
        return Image.fromarray(values.astype(np.uint8))
    range_ = "" if image.mode == "F" else f" values from {values.min()} to {values.max()}"
    raise DataError(
        f"{printable(path)}: expected a mask of values from 0 to 255, got {_depth(image)}{range_}",
        "give every class one value below 256 and save the mask as an 8-bit grayscale PNG",
    )


def indices_of(mask: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Return the stored values of a mask, H×W uint8: gray values or palette indices.

    Raises:
        DataError: the mask holds colors.
    """
    if mask.mode not in ("L", "P"):
        raise DataError(
            f"{printable(path)}: expected one channel of values, got colors (mode {mask.mode})",
            "use the index or palette version of the mask, or the dataset `folder`, which reads color masks with "
            "`name r g b` lines in classes.txt",
        )
    return np.array(mask)


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
    """Open and decode a file; every failure becomes an error that names it."""
    try:
        # No warning filters are set around the size check: that is not safe between threads.
        if path.exists() and not path.is_file():  # opening a pipe would block forever
            raise DataError(
                f"{printable(path)}: expected a file, got a {'folder' if path.is_dir() else 'pipe or device'}",
                "put the image there, or remove it from the split's list",
            )
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(path, f"{width}×{height}")
            frames = getattr(image, "n_frames", 1)
            if image.format != "MPO" and frames > 1:  # MPO: a JPEG photograph with previews
                raise DataError(
                    f"{printable(path)}: expected one image, got {frames} frames",
                    "save the frame that is meant as a separate image",
                )
            image.load()
            yield image
    except DataError:
        raise
    except PermissionError as error:
        raise unreadable_path(path) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from error
    except Exception as error:  # Pillow raises a dozen types for damaged files
        raise _unreadable(path, error) from error


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
