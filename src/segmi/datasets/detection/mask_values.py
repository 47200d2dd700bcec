"""The values in mask files: numbers or colors, their counts, and whether their edges were smoothed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.check import in_threads
from segmi.datasets.decode import FORMATS, decode_levels, decode_mask, has_equal_channels, printable
from segmi.datasets.detection.gray_threshold import levels_of, threshold_of, threshold_remedy
from segmi.datasets.detection.neighbor_pixels import inside_pixels, isolated_pixels
from segmi.datasets.palette import Color, color_codes, color_of
from segmi.datasets.reader import combined_error
from segmi.errors import DataError, SegmiError

MAX_VALUES: Final = 255
MAX_VALUES_OF_A_FILE: Final = 64  # a file of unknown role with at most this many distinct values is considered a mask
SMOOTHED_VALUES: Final = 8  # Smoothing adds new values; masks with at most this many are accepted
MAX_PHOTOGRAPH_SHARE: Final = 0.25
"""The most frequent values of a photograph cover at most this share; a smoothed mask still has flat regions."""

ISOLATED_SHARE: Final = 0.25
"""A value marks no regions if more than this share of its pixels has no neighbor of the same value."""

CHROMA_NOISE: Final = 64  # the channels of a gray JPEG differ by less
GRAY: Final = 0x010101  # times a gray level: the number of its color

Progress = Callable[[int, int], None]


@dataclass
class MaskValues:
    """The values of the masks of a folder; a color is the number r · 65536 + g · 256 + b."""

    files: int = 0  # number of files
    colored: bool = False  # whether the values are colors
    pixels: Counter[int] = field(default_factory=Counter)  # number of pixels of each value
    # number of pixels of each value without a neighbor of the same value
    isolated: Counter[int] = field(default_factory=Counter)
    inside: Counter[int] = field(default_factory=Counter)  # number of pixels of each gray level inside of regions
    palette: tuple[Color, ...] | None = None  # the palette colors of palette files
    of_files: list[frozenset[int]] = field(default_factory=list)  # the set of values of each file
    threshold: int | None = None  # 0 and 255 are gray levels below this one, and the others
    transparent: float = 0.0  # share of transparent pixels
    white_is_zero: int = 0  # number of black and white files that store white as 0
    missing: frozenset[int] = frozenset()  # values that GeoTIFF files declare as missing
    notes: tuple[str, ...] = ()  # how the files were read

    @property
    def values(self) -> list[int]:
        """The values in increasing order."""
        return sorted(self.pixels)

    @property
    def together(self) -> Counter[frozenset[int]]:
        """The number of files with each set of values."""
        return Counter(self.of_files)

    @property
    def colors(self) -> set[Color]:
        """The colors of the values: as stored, from the palette, or gray levels."""
        codes = self.values if self.colored else [value * GRAY for value in self.values]
        return {*map(color_of, codes)} if self.palette is None else {self.palette[value] for value in self.values}

    def share(self, value: int) -> float:
        """Return the share of a value in all pixels."""
        return self.pixels[value] / max(sum(self.pixels.values()), 1)


class _FileValues(NamedTuple):
    """The values of one file."""

    kind: str  # numbers, palette, gray (three equal channels), colors, levels (above 255) or lossy
    pixels: dict[int, int]  # number of pixels of each value
    isolated: dict[int, int]  # number of pixels of each value without a neighbor of the same value
    inside: dict[int, int]  # number of pixels of each value whose four neighbors have nearly the same value
    palette: tuple[Color, ...] | None = None
    tinted: bool = False  # whether a lossy file has colors
    transparent: float = 0.0  # share of transparent pixels
    white_is_zero: bool = False  # whether a black and white file stores white as 0
    missing: int | None = None  # the value that a GeoTIFF declares as missing

    def colors(self) -> dict[int, int]:
        """Return the number of the color of each value."""
        if self.palette is not None:
            return {value: _code(self.palette[value]) for value in self.pixels if value < len(self.palette)}
        return {value: value if self.kind == "colors" else value * GRAY for value in self.pixels}


def read_mask_values(
    paths: Sequence[Path], progress: Progress | None = None, threshold: int | None = None
) -> MaskValues:
    """Read all masks; with a threshold, as two gray levels.

    Raises:
        DataError: masks that cannot be read (all are named), of several kinds, or without distinct classes.
    """
    files: list[_FileValues] = []
    kinds: dict[str, Path] = {}
    errors: list[SegmiError] = []
    found: set[int] = set()
    results = in_threads(lambda path: _values_or_error(path, threshold), paths, progress)
    for path, values in zip(paths, results, strict=True):
        if isinstance(values, SegmiError):
            errors.append(values)
        elif not errors:
            kinds.setdefault(values.kind, path)
            files.append(values)
            found.update(values.pixels)
            if len(found) > 16 * MAX_VALUES:
                break  # no content of the other files makes these masks
    if errors:
        numbered = any("bit values from 0 to" in error.message for error in errors)
        more = "or, if the values number objects, read two classes: --threshold 1" if numbered else None
        raise combined_error(f"{len(errors)} of {len(paths)} masks cannot be read", errors, more)
    if "lossy" in kinds or "levels" in kinds:
        raise _without_threshold(kinds, files, paths)
    total = MaskValues(files=len(paths), threshold=threshold)
    several = _several_colors(files)
    total.colored = "colors" in kinds or bool(several)
    if total.colored and "numbers" in kinds:
        listing = " and ".join(
            f"{title} (such as {printable(kinds[kind])})"
            for kind, title in (("colors", "colors"), ("palette", "palette colors"), ("numbers", "numbers"))
            if kind in kinds
        )
        raise DataError(f"expected masks of one kind, got {listing}", "save all as 8-bit numbers, or all as RGB colors")
    if several:
        value, (one, other, *_) = next(iter(several.items()))
        note = f"the palettes differ from file to file (index {value} is {one} and {other}), so colors are read"
        total.notes = (note,)
    transparent = sum(file.transparent * sum(file.pixels.values()) for file in files)
    total.transparent = transparent / max(sum(sum(file.pixels.values()) for file in files), 1)
    total.white_is_zero = sum(file.white_is_zero for file in files)
    total.missing = frozenset(file.missing for file in files if file.missing is not None)
    for file in files:
        names = file.colors() if total.colored else {value: value for value in file.pixels}
        total.pixels.update({names.get(value, value): count for value, count in file.pixels.items()})
        total.inside.update(file.inside)
        total.isolated.update({names.get(value, value): count for value, count in file.isolated.items()})
        total.of_files.append(frozenset(names.values()))
    palettes = {file.palette for file in files if file.palette is not None}
    total.palette = None if total.colored or "numbers" in kinds else max(palettes, key=len, default=None)
    _check_masks(total, paths[0])
    return total


def looks_like_mask(path: Path) -> bool:
    """Return whether an image file has few distinct values or colors, whatever their size."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            step = 1 + max(image.size) // 512
            pixels = np.asarray(image)[::step, ::step]
    except Exception:  # the error that names the file is raised when it is read as an image or a mask
        return False
    codes = color_codes(pixels[..., :3]) if pixels.ndim == 3 and pixels.shape[2] >= 3 else pixels
    return len(np.unique(codes)) <= MAX_VALUES_OF_A_FILE


def _values_or_error(path: Path, threshold: int | None = None) -> _FileValues | SegmiError:
    try:
        if threshold is not None:
            return _counted("numbers", np.where(decode_levels(path) >= threshold, 255, 0))
        mask = decode_mask(path, lossy=True)
    except SegmiError as error:
        try:
            levels = decode_levels(path)
        except SegmiError:
            return error
        two = len(np.unique(levels)) <= 2 and (levels == np.round(levels)).all()  # such as 0 and 65535
        return _counted("levels", levels) if two and threshold is None else error
    pixels = np.asarray(mask)
    if mask.info.get("lossy"):
        tinted = pixels.ndim == 3 and int(np.ptp(pixels, axis=-1).max()) > CHROMA_NOISE
        return _counted("lossy", decode_levels(path))._replace(tinted=tinted)
    kind = {"L": "numbers", "P": "palette"}.get(mask.mode, "colors")
    if kind == "colors":
        gray = has_equal_channels(pixels)
        kind, pixels = ("gray", pixels[..., 0]) if gray else (kind, color_codes(pixels))
    flat = mask.getpalette("RGB") if mask.mode == "P" else None
    palette = None if flat is None else tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=False))
    counted = _counted(kind, pixels, palette)
    text = str(mask.info.get("missing")).strip("\0 ").removesuffix(".0")
    missing = int(text) if text.isdigit() else None
    white_is_zero = mask.info.get("white_is_zero", False)
    return counted._replace(transparent=mask.info.get("transparent", 0.0), missing=missing, white_is_zero=white_is_zero)


def _counted(kind: str, codes: NDArray[Any], palette: tuple[Color, ...] | None = None) -> _FileValues:
    values, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    isolated = np.bincount(index.ravel()[isolated_pixels(codes).ravel()], minlength=len(values))
    inside = np.bincount(index.ravel()[inside_pixels(codes).ravel()], minlength=len(values))
    keys = values.tolist()
    of_all, of_isolated, of_inside = (
        dict(zip(keys, of_value.tolist(), strict=True)) for of_value in (counts, isolated, inside)
    )
    return _FileValues(kind, of_all, of_isolated, of_inside, palette)


def _several_colors(files: Sequence[_FileValues]) -> dict[int, list[str]]:
    """Return the palette indices that have different colors in different files, with the colors."""
    colors: dict[int, set[Color]] = defaultdict(set)
    for file in files:
        for value in file.pixels if file.palette is not None else ():
            if value < len(file.palette or ()):
                colors[value].add((file.palette or ())[value])
    listed = {value: [" ".join(map(str, c)) for c in sorted(found)] for value, found in sorted(colors.items())}
    return {value: found for value, found in listed.items() if len(found) > 1}


def _code(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _without_threshold(kinds: dict[str, Path], files: Sequence[_FileValues], paths: Sequence[Path]) -> DataError:
    """Return the error for JPEG masks and masks of values above 255, with a threshold if they have two levels."""
    pixels: Counter[int] = Counter()
    inside: Counter[int] = Counter()
    for file in files:
        pixels.update(file.pixels)
        inside.update(file.inside)
    mixed = "colors" in kinds or ("levels" in kinds and len(kinds) > 1)
    two = None if mixed else threshold_of(pixels, inside)
    count = sum(file.kind in ("lossy", "levels") for file in files)
    if two is None:
        errors = [e for e in map(_decoding_error, paths) if e is not None]
        levels = [] if mixed else levels_of(inside)
        tinted = any(file.tinted for file in files)
        nearest = "color of the classes" if tinted else f"of its levels ({', '.join(map(str, levels))})"
        several = 2 < len(levels) <= SMOOTHED_VALUES
        more = f"or set each pixel to the nearest {nearest} and save it as PNG" if several else None
        return combined_error(f"{len(errors)} of {len(paths)} masks cannot be read", errors, more)
    path = kinds.get("lossy") or kinds["levels"]
    given = "lossy formats, whose edges are blurred" if "lossy" in kinds else f"levels up to {max(pixels)}"
    return DataError(
        f"{count} of {len(paths)} masks, such as {printable(path)}: expected a value per class, got {given}",
        threshold_remedy(*two),
    )


def _decoding_error(path: Path) -> SegmiError | None:
    try:
        decode_mask(path)
    except SegmiError as error:
        return error
    return None


def _check_masks(masks: MaskValues, first: Path) -> None:
    """Check that the values can be classes.

    Raises:
        DataError: there are too many, as in photographs and smoothed masks, or fewer than two.
    """
    kind = "colors" if masks.colored else "values"
    values, folder = masks.values, first.parent
    grainy = [value for value in values if masks.isolated[value] > ISOLATED_SHARE * masks.pixels[value]]
    if len(values) > MAX_VALUES + 1 or (len(values) > SMOOTHED_VALUES and 2 * len(grainy) > len(values)):
        share = sum(sorted(masks.pixels.values())[-SMOOTHED_VALUES:]) / sum(masks.pixels.values())
        two = None if masks.colored else threshold_of(masks.pixels, masks.inside)
        if two is not None or share > MAX_PHOTOGRAPH_SHARE:
            given = f"of which {SMOOTHED_VALUES} cover {share:.0%} of the pixels, as after smoothing or JPEG"
            remedy = "export the masks again from their source as PNG, and scale masks by nearest neighbor only"
            remedy = f"{remedy}; or set each pixel to the nearest class" if two is None else remedy
            remedy = remedy if two is None else f"{remedy}; or {threshold_remedy(*two)}"
        else:
            given = "spread as in a photograph"
            remedy = "if these are images, name the folders: --images DIR --masks DIR"
        raise DataError(
            f"the masks in {printable(folder)}: expected a value per class, got {len(values)} {kind}, {given}", remedy
        )
    if len(values) < 2:
        given = ", ".join(_named(value, masks) for value in values) or "none"
        remedy = "check the masks: with a single class there is nothing to learn"
        with Image.open(first, formats=FORMATS) as image:
            alpha = image.getchannel("A").getextrema() if "A" in image.getbands() else (0, 0)
        if alpha[0] != alpha[1]:
            given, remedy = f"{given}, and different transparency", "save the alpha channel of each mask as a gray PNG"
        raise DataError(f"the masks in {printable(folder)}: expected at least two values, got only {given}", remedy)


def _named(value: int, masks: MaskValues) -> str:
    return " ".join(map(str, color_of(value))) if masks.colored else str(value)
