"""ImageFile files to arrays, with Pillow alone: other decoders have crashed on damaged files.

What is converted, and what is refused:

===========================================  ==========================================================
images                                     masks
===========================================  ==========================================================
gray, palette, black-and-white, CMYK → RGB   1-, 2- and 4-bit files keep their stored numbers
alpha is dropped                             alpha is dropped
the EXIF orientation is applied              the EXIF orientation is applied
animations are refused                       animations are refused
16-bit and float gray are refused            16- and 32-bit numbers up to 255 are kept, other ones and float refused
\\                                            JPEG and WebP are refused: they change the ids at every edge
===========================================  ==========================================================

Files that are empty, truncated, no image at all, or larger than `MAX_PIXELS` are refused. Every refusal is a
`DataError` that names the file and what to do.
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
"""The largest image that is decoded (a quarter of a GiB as RGB); more is taken for a decompression bomb."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
"""What is opened at all. Pillow's other readers (EPS runs Ghostscript) stay shut."""

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
"""The endings by which image and mask files are told from others, in lower case."""

_LOSSY: Final = frozenset({"JPEG", "MPO", "WEBP"})
_GRAY_STEP: Final = {2: 85, 4: 17}  # Pillow stretches 2- and 4-bit gray to 0..255; ids must come out as stored


def decode_image(path: Path) -> NDArray[np.uint8]:
    """An image file as H×W×3 uint8 RGB, turned upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, damaged, no image, animated, too large, or 16-bit or float gray.
        EnvironmentProblem: it may not be read.
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{printable(path)}: expected 8 bits per channel, got a {_depth(image)} gray image",
                "scale its values to 0–255 and save it with 8 bits; the range that matters is for you to choose",
            )
        image = ImageOps.exif_transpose(image)
        return np.array(image.convert("RGB"))


def decode_mask(path: Path) -> Image.Image:
    """A mask file as a loaded Pillow image of mode ``L`` or ``P`` (ids), or ``RGB`` (colors).

    Raises:
        DataError: as for `decode_image`, and for numbers above 255 and lossy formats.
        EnvironmentProblem: it may not be read.
    """
    with _opened(path) as image:
        if image.format in _LOSSY:
            raise DataError(
                f"{printable(path)}: expected a lossless mask, got {image.format}, which blurs the ids at every edge",
                "export the mask again from its source as PNG; converting this file does not bring the ids back",
            )
        if image.mode.startswith(("I", "F")):
            return _of_8_bits(path, ImageOps.exif_transpose(image))
        step = _gray_step(path, image)
        image = ImageOps.exif_transpose(image)
        if image.mode == "1":
            return Image.fromarray(np.array(image).astype(np.uint8))  # 0 and 1, where convert("L") says 0 and 255
        if image.mode in ("LA", "La"):
            image = image.getchannel("L")
        elif image.mode not in ("L", "P"):
            image = image.convert("RGB")
        return Image.fromarray(np.array(image) // step) if step > 1 else image.copy()


def _of_8_bits(path: Path, image: Image.Image) -> Image.Image:
    """A mask of more bits as one of 8, where its numbers allow it; programs for labels often save them so."""
    values = np.asarray(image)
    if image.mode == "F":
        found = "float"
    elif values.min() < 0 or values.max() > 255:
        found = f"{_depth(image)} numbers from {values.min()} to {values.max()}"
    else:
        return Image.fromarray(values.astype(np.uint8))
    raise DataError(
        f"{printable(path)}: expected a mask of numbers from 0 to 255, got {found}",
        "give every class one number below 256 and save the mask as an 8-bit grayscale PNG",
    )


def indices_of(mask: Image.Image, path: Path) -> NDArray[np.uint8]:
    """The numbers stored in a mask, H×W uint8: gray values, or palette indices.

    Raises:
        DataError: the mask holds colors.
    """
    if mask.mode not in ("L", "P"):
        raise DataError(
            f"{printable(path)}: expected one channel of ids, got colors (mode {mask.mode})",
            "use the index or palette version of the mask; color masks are read by the dataset `folder`, with "
            "`name r g b` lines in classes.txt",
        )
    return np.array(mask)


def printable(path: Path | str) -> str:
    r"""A path as it may be printed and stored: bytes that are no UTF-8 and control characters are escaped.

    Example:
        >>> printable("caf\udce9\n.png")
        'caf\\xe9\\n.png'
    """
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file, opened and decoded; whatever goes wrong becomes an error that names it."""
    try:
        # Not a context of its own around the size check: changing warning filters is not safe between threads.
        if path.exists() and not path.is_file():  # a pipe would keep us waiting for ever
            raise DataError(
                f"{printable(path)}: expected a file, got a {'folder' if path.is_dir() else 'pipe or device'}",
                "put the image there, or take it off the split's list",
            )
        with Image.open(path, formats=FORMATS) as image:
            _check_size(path, image.size)
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a JPEG photograph with previews
                raise DataError(
                    f"{printable(path)}: expected one image, got {image.n_frames} frames",  # type: ignore[attr-defined]
                    "save the frame you mean as an image of its own",
                )
            image.load()
            yield image
    except DataError:
        raise
    except PermissionError as error:
        raise EnvironmentProblem(
            f"{printable(path)}: may not be read", f"give read permission: {error.strerror}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from error
    except Exception as error:  # Pillow raises a dozen types on damaged files; all mean the same to the user
        raise _unreadable(path, error) from error


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width}×{height}")


def _too_large(path: Path, found: str) -> DataError:
    return DataError(
        f"{printable(path)}: expected at most {MAX_PIXELS / 1e6:.0f} megapixels, got {found}",
        "cut the image and its mask into tiles, or remove the file if you do not know where it comes from",
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    """Why a file could not be decoded, read off its first bytes."""
    again = "download or copy the file again"
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
            empty = file.tell() == 0
    except FileNotFoundError:
        return DataError(
            f"{printable(path)}: expected a file, got none", "put the file there, or take it off the split's list"
        )
    except OSError as second:
        return DataError(f"{printable(path)}: expected a file, got {second.strerror}", again)
    if empty:
        return DataError(f"{printable(path)}: expected an image, got an empty file", again)
    if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
        return DataError(
            f"{printable(path)}: expected an image, got a web page",
            "download it again; most likely the server asked for a login or the link has moved",
        )
    if head.startswith(b"version https://git-lfs"):
        return DataError(
            f"{printable(path)}: expected an image, got a Git LFS pointer", "fetch the files with git lfs pull"
        )
    if isinstance(error, Image.UnidentifiedImageError):
        return DataError(f"{printable(path)}: expected an image ({', '.join(FORMATS)}), got something else", again)
    return DataError(f"{printable(path)}: expected a whole image, got a truncated or damaged one ({error})", again)


def _depth(image: Image.Image) -> str:
    return "16-bit" if image.mode.startswith("I;16") else "float" if image.mode == "F" else "32-bit or 16-bit"


def _gray_step(path: Path, image: Image.Image) -> int:
    """By how much Pillow has multiplied the stored values of a grayscale PNG."""
    if image.format != "PNG" or image.mode != "L":
        return 1
    with path.open("rb") as file:
        header = file.read(26)  # signature, IHDR: width, height, bit depth (24), color type (25)
    return _GRAY_STEP.get(header[24], 1)
