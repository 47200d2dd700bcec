"""What stands in mask files: numbers or colors, how many of each, and whether edges were smoothed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.decode import SUFFIXES, decode_mask, printable
from segmi.datasets.palette import Color
from segmi.errors import DataError, SegmiError, together

MOST_COLORS: Final = 255
FEW_COLORS: Final = 64
"""Distinct colors up to which a file of unknown meaning is taken for a mask."""

SMOOTHED_VALUES: Final = 8
"""Smoothing brings new values; with no more than these, a mask is taken as it is."""

MOST_OF_A_PHOTOGRAPH: Final = 0.25
"""What the most frequent values of a photograph hold at most, where a smoothed mask still has its flat regions."""

LONELY: Final = 0.25
"""The share of a value's pixels, none of whose four neighbors has it, from which it does not mark regions."""

Progress = Callable[[int, int], None]


@dataclass
class Contents:
    """What the masks of a folder hold.

    Args:
        files: how many there are.
        colored: whether their values are colors.
        pixels: by value, how many have it.
        lonely: by value, how many of them touch no other of it.
        palette: the colors of a palette that all files share.
    """

    files: int = 0
    colored: bool = False
    pixels: Counter[int] = field(default_factory=Counter)
    lonely: Counter[int] = field(default_factory=Counter)
    palette: tuple[Color, ...] | None = None

    @property
    def values(self) -> list[int]:
        """In increasing order; a color as r · 65536 + g · 256 + b."""
        return sorted(self.pixels)

    def share(self, value: int) -> float:
        """Of all pixels."""
        return self.pixels[value] / max(sum(self.pixels.values()), 1)


def read_contents(paths: Sequence[Path], progress: Progress | None = None) -> Contents:
    """Read all masks.

    Raises:
        DataError: masks that cannot be read (all are named), of several kinds, or without classes.
    """
    contents = Contents(files=len(paths))
    kinds: dict[str, Path] = {}
    palettes: set[tuple[Color, ...] | None] = set()
    refused: list[SegmiError] = []
    for done, seen in enumerate(_each(paths), start=1):
        if isinstance(seen, SegmiError):
            refused.append(seen)
        elif not refused:
            kinds.setdefault("colors" if seen.colored else "numbers", paths[done - 1])
            contents.pixels += seen.pixels
            contents.lonely += seen.lonely
            palettes.add(seen.palette)
            if len(contents.pixels) > 16 * MOST_COLORS:
                break  # no mask, whatever the others hold
        if progress is not None:
            progress(done, len(paths))
    if refused:
        raise _together(refused, len(paths))
    if len(kinds) > 1:
        listing = " and ".join(f"{kind} (such as {printable(path)})" for kind, path in kinds.items())
        raise DataError(f"expected masks of one kind, got {listing}", "save them alike: 8-bit numbers, or RGB colors")
    contents.colored = "colors" in kinds
    contents.palette = palettes.pop() if len(palettes) == 1 else None
    _refuse_what_is_no_mask(contents, paths[0].parent)
    return contents


def looks_like_masks(folder: Path, stems: Sequence[str]) -> bool:
    """Whether some files of a folder hold few values each."""
    for stem in stems[:: max(1, len(stems) // 5)]:
        beside = (folder / stem).parent.iterdir()
        path = next(p for p in beside if p.stem == Path(stem).name and p.suffix.lower() in SUFFIXES)
        try:
            if len(_seen(path).pixels) > FEW_COLORS:
                return False
        except SegmiError:
            return False
    return True


def _each(paths: Sequence[Path]) -> Iterator[Contents | SegmiError]:
    def look(path: Path) -> Contents | SegmiError:
        try:
            return _seen(path)
        except SegmiError as error:
            return error

    # Threads, for Pillow and NumPy give up the interpreter's lock.
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(look, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _seen(path: Path) -> Contents:
    mask = decode_mask(path)
    colored = mask.mode == "RGB"
    codes = _codes(np.asarray(mask))
    values, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    lonely = np.bincount(places.ravel()[_alone(codes).ravel()], minlength=len(values))
    return Contents(
        1,
        colored,
        Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))),
        Counter(dict(zip(values.tolist(), lonely.tolist(), strict=True))),
        _palette(mask),
    )


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    if pixels.ndim == 2:
        return pixels.astype(np.int32)
    channels = pixels.astype(np.int32)
    return (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]


def _alone(codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels none of whose four neighbors has the same value."""
    alone = np.ones(codes.shape, dtype=bool)
    down, right = codes[1:] == codes[:-1], codes[:, 1:] == codes[:, :-1]
    alone[1:] &= ~down
    alone[:-1] &= ~down
    alone[:, 1:] &= ~right
    alone[:, :-1] &= ~right
    return alone


def _palette(mask: Image.Image) -> tuple[Color, ...] | None:
    flat = mask.getpalette("RGB") if mask.mode == "P" else None
    if flat is None:
        return None
    return tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))


def _together(refused: Sequence[SegmiError], count: int) -> DataError:
    remedies = dict.fromkeys(error.remedy for error in refused if error.remedy)
    return DataError(
        f"{len(refused)} of {count} masks cannot be read:\n{together([error.message for error in refused])}",
        "\n    ".join(remedies),
    )


def _refuse_what_is_no_mask(contents: Contents, folder: Path) -> None:
    what = "colors" if contents.colored else "values"
    values = contents.values
    grainy = [value for value in values if contents.lonely[value] > LONELY * contents.pixels[value]]
    if len(values) > MOST_COLORS + 1 or (len(values) > SMOOTHED_VALUES and 2 * len(grainy) > len(values)):
        most = sum(sorted(contents.pixels.values())[-SMOOTHED_VALUES:]) / sum(contents.pixels.values())
        smoothed = most > MOST_OF_A_PHOTOGRAPH
        raise DataError(
            f"the masks in {printable(folder)}: expected a value per class, got {len(values)} {what}, "
            + (
                f"of which {SMOOTHED_VALUES} hold {most:.0%} of the pixels" if smoothed else "spread as in a photograph"
            ),
            "their edges were smoothed, by scaling or by a lossy format: export them again from their source as PNG, "
            "and scale masks by nearest neighbor only"
            if smoothed
            else "if these are images and the masks lie elsewhere, say so: --images DIR --masks DIR",
        )
    if len(values) < 2:
        raise DataError(
            f"the masks in {printable(folder)}: expected at least two values, got only {values[0] if values else 'none'}",
            "look at a mask: one class everywhere leaves nothing to learn",
        )
