"""The published color palettes of the datasets, and color masks as class values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.decode import printable
from segmi.errors import DataError

Color: TypeAlias = tuple[int, int, int]
Palette: TypeAlias = tuple[Color, ...]


def voc_color(index: int) -> Color:
    """Return a color of the PASCAL VOC palette: bits 0, 3, 6 of the index are the high bits of red, and so on.

    Source: the color map of the VOC development kit.

    Example:
        >>> voc_color(1), voc_color(15), voc_color(255)
        ((128, 0, 0), (192, 128, 128), (224, 224, 192))
    """
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue


def full_palette(colors: Sequence[Color], ignored: Color) -> Palette:
    """Return 256 colors: the class colors, VOC's for the indices without a class, and the ignored color last.

    Example:
        >>> palette = full_palette([(1, 2, 3)], ignored=(9, 9, 9))
        >>> len(palette), palette[0], palette[255]
        (256, (1, 2, 3), (9, 9, 9))
    """
    return (*colors, *(voc_color(index) for index in range(len(colors), 255)), ignored)


def from_hex(text: str) -> Palette:
    """Return the colors in a text of six-digit hexadecimal numbers, separated by white space.

    Example:
        >>> from_hex("804080 f423e8")
        ((128, 64, 128), (244, 35, 232))
    """
    return tuple((int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)) for word in text.split())


VOC_PALETTE: Final[Palette] = tuple(voc_color(index) for index in range(256))
"""PASCAL VOC; ignored pixels, the outlines of the objects, have the cream of index 255."""

CITYSCAPES_PALETTE: Final = full_palette(
    from_hex("""
        804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98
        4682b4 dc143c ff0000 00008e 000046 003c64 005064 0000e6 770b20
    """),
    ignored=(0, 0, 0),
)
"""Cityscapes, in the order of its train ids."""

CAMVID_PALETTE: Final = full_palette(
    from_hex("808080 800000 c0c080 804080 0000c0 808000 c08080 404080 400080 404000 0080c0"), ignored=(0, 0, 0)
)
"""CamVid; each of the 11 merged classes has the color of the original class with its name."""

ADE20K_PALETTE: Final = full_palette(
    from_hex("""
        787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
        ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
        08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
        eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
        0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
        0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
        00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
        8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
        ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
        00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
    """),
    ignored=(0, 0, 0),
)
"""ADE20K: the 150 colors of the scene-parsing benchmark."""


def values_of_colors(
    pixels: NDArray[np.uint8], colors: Sequence[Color], values: Sequence[int], path: Path, *, remedy: str | None = None
) -> NDArray[np.uint8]:
    """Return the value of every pixel of a color mask; two colors may have the same value.

    Shapes: H×W×3 → H×W, both uint8.

    ``values`` has the value of each color. ``remedy`` is the fix for an unknown color; by default, to correct
    ``classes.txt``.

    Raises:
        DataError: a pixel has none of the colors; the message names the file and the most frequent such colors.
    """
    codes = color_codes(pixels)
    known = np.array([(red << 16) | (green << 8) | blue for red, green, blue in colors], dtype=np.int32)
    order = np.argsort(known)
    position = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    unknown = known[order][position] != codes
    if unknown.any():
        raise _unknown_colors(codes[unknown], codes.size, path, remedy)
    return np.asarray(values, dtype=np.uint8)[order][position]


def color_codes(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return RGB pixels as 24-bit numbers, red in the highest byte: H×W×3 → H×W."""
    channels = pixels.astype(np.int32)
    return (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]


def color_of(code: int) -> Color:
    """Return the color of a 24-bit number of `color_codes`."""
    return code >> 16, (code >> 8) & 255, code & 255


def _unknown_colors(codes: NDArray[np.int32], pixels: int, path: Path, remedy: str | None) -> DataError:
    unknown, counts = np.unique(codes, return_counts=True)
    frequent = [int(code) for code in unknown[np.argsort(-counts, kind="stable")[:5]]]
    listing = ", ".join(" ".join(map(str, color_of(code))) for code in frequent)
    more = f", … ({len(unknown)} colors in all)" if len(unknown) > 5 else ""
    if len(unknown) > 50:  # far more colors than a class list can lack
        remedy = "save the mask again without smoothing, scaling or JPEG; its edges are blurred"
    elif remedy is None:
        remedy = (
            "add the color to classes.txt (`name r g b`, or `ignored r g b`); if the mask stores values "
            "with another palette, set masks=index"
        )
    return DataError(
        f"{printable(path)}: expected only the colors of the classes and of ignored pixels, got also {listing}{more} "
        f"({len(codes) / pixels:.1%} of the pixels)",
        remedy,
    )
