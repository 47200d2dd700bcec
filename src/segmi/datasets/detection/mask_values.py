"""The values in mask files: numbers or colors, their counts, and whether their edges were smoothed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.check import in_threads
from segmi.datasets.decode import decode_mask, printable
from segmi.datasets.palette import Color, color_codes
from segmi.datasets.reader import combined_error
from segmi.errors import DataError, SegmiError

MAX_VALUES: Final = 255
MAX_VALUES_OF_A_FILE: Final = 64  # a file of unknown role with at most this many distinct values is considered a mask
SMOOTHED_VALUES: Final = 8  # Smoothing adds new values; masks with at most this many are accepted
MAX_PHOTOGRAPH_SHARE: Final = 0.25
"""The most frequent values of a photograph cover at most this share; a smoothed mask still has flat regions."""

ISOLATED_SHARE: Final = 0.25
"""A value marks no regions if more than this share of its pixels has no neighbor of the same value."""

Progress = Callable[[int, int], None]


@dataclass
class MaskValues:
    """The values of the masks of a folder; a color is the number r · 65536 + g · 256 + b."""

    files: int = 0  # number of files
    colored: bool = False  # whether the values are colors
    pixels: Counter[int] = field(default_factory=Counter)  # number of pixels of each value
    # number of pixels of each value without a neighbor of the same value
    isolated: Counter[int] = field(default_factory=Counter)
    palette: tuple[Color, ...] | None = None  # the palette colors, if all files have the same palette

    @property
    def values(self) -> list[int]:
        """The values in increasing order."""
        return sorted(self.pixels)

    def share(self, value: int) -> float:
        """Return the share of a value in all pixels."""
        return self.pixels[value] / max(sum(self.pixels.values()), 1)


def read_mask_values(paths: Sequence[Path], progress: Progress | None = None) -> MaskValues:
    """Read all masks.

    Raises:
        DataError: masks that cannot be read (all are named), of several kinds, or without distinct classes.
    """
    total = MaskValues(files=len(paths))
    kinds: dict[str, Path] = {}
    palettes: set[tuple[Color, ...] | None] = set()
    errors: list[SegmiError] = []
    for path, values in zip(paths, in_threads(_values_or_error, paths, progress), strict=True):
        if isinstance(values, SegmiError):
            errors.append(values)
        elif not errors:
            kinds.setdefault("colors" if values.colored else "numbers", path)
            total.pixels += values.pixels
            total.isolated += values.isolated
            palettes.add(values.palette)
            if len(total.pixels) > 16 * MAX_VALUES:
                break  # no content of the other files makes these masks
    if errors:
        raise combined_error(f"{len(errors)} of {len(paths)} masks cannot be read", errors)
    if len(kinds) > 1:
        listing = " and ".join(f"{kind} (such as {printable(path)})" for kind, path in kinds.items())
        raise DataError(f"expected masks of one kind, got {listing}", "save all as 8-bit numbers, or all as RGB colors")
    total.colored = "colors" in kinds
    total.palette = palettes.pop() if len(palettes) == 1 else None
    _check_masks(total, paths[0].parent)
    return total


def looks_like_mask(path: Path) -> bool:
    """Return whether a file is readable as a mask and has few values."""
    values = _values_or_error(path)
    return not isinstance(values, SegmiError) and len(values.pixels) <= MAX_VALUES_OF_A_FILE


def _values_or_error(path: Path) -> MaskValues | SegmiError:
    try:
        mask = decode_mask(path)
    except SegmiError as error:
        return error
    pixels = np.asarray(mask)
    codes = pixels.astype(np.int32) if pixels.ndim == 2 else color_codes(pixels)
    values, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    isolated = np.bincount(index.ravel()[_isolated(codes).ravel()], minlength=len(values))
    return MaskValues(
        1,
        mask.mode == "RGB",
        Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))),
        Counter(dict(zip(values.tolist(), isolated.tolist(), strict=True))),
        _palette(mask),
    )


def _isolated(codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which pixels have no value in common with any of their four neighbors."""
    isolated = np.ones(codes.shape, dtype=bool)
    down, right = codes[1:] == codes[:-1], codes[:, 1:] == codes[:, :-1]
    isolated[1:] &= ~down
    isolated[:-1] &= ~down
    isolated[:, 1:] &= ~right
    isolated[:, :-1] &= ~right
    return isolated


def _palette(mask: Image.Image) -> tuple[Color, ...] | None:
    flat = mask.getpalette("RGB") if mask.mode == "P" else None
    return None if flat is None else tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=False))


def _check_masks(masks: MaskValues, folder: Path) -> None:
    """Check that the values can be classes.

    Raises:
        DataError: there are too many, as in photographs and smoothed masks, or fewer than two.
    """
    kind = "colors" if masks.colored else "values"
    values = masks.values
    grainy = [value for value in values if masks.isolated[value] > ISOLATED_SHARE * masks.pixels[value]]
    if len(values) > MAX_VALUES + 1 or (len(values) > SMOOTHED_VALUES and 2 * len(grainy) > len(values)):
        share = sum(sorted(masks.pixels.values())[-SMOOTHED_VALUES:]) / sum(masks.pixels.values())
        if share > MAX_PHOTOGRAPH_SHARE:
            given = f"of which {SMOOTHED_VALUES} cover {share:.0%} of the pixels, as after smoothing or JPEG"
            remedy = "export the masks again from their source as PNG, and scale masks by nearest neighbor only"
        else:
            given = "spread as in a photograph"
            remedy = "if these are images, name the folders: --images DIR --masks DIR"
        raise DataError(
            f"the masks in {printable(folder)}: expected a value per class, got {len(values)} {kind}, {given}", remedy
        )
    if len(values) < 2:
        given = ", ".join(map(str, values)) or "none"
        raise DataError(
            f"the masks in {printable(folder)}: expected at least two values, got only {given}",
            "check the masks: with a single class there is nothing to learn",
        )
