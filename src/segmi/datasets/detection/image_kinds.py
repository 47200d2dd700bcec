"""Bands, types, value ranges and orientation of images, proposed from their headers and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.bands import Header, decode_image, image_header, read_bands
from segmi.datasets.check import in_threads
from segmi.datasets.decode import printable
from segmi.datasets.image_format import RGB, ImageFormat, Orientation, ValueRange, describe_type
from segmi.datasets.image_sizes import Size
from segmi.datasets.reader import Sample, combined_error
from segmi.datasets.value_range import MAX_FILES, PERCENTILES, percentile_range
from segmi.errors import DataError, SegmiError, counted

USUAL_CROP: Final = 224  # pixels; the largest crop of `segmi train` on a CPU
MAX_READ: Final = 16  # evenly spaced files that are decoded to decide on alpha and orientation
CLEAR: Final = 1.05  # one orientation is chosen if the edges along its masks are stronger by this factor
FULL_SHARE: Final = 0.5  # integers that reach this share of their type's limit use the whole range

Progress = Callable[[int, int], None]


class FormatProposal(NamedTuple):
    """The proposed format of images, with the reasons."""

    format: ImageFormat
    notes: tuple[str, ...]


class _File(NamedTuple):
    """An image file with its mask and the headers of both."""

    image: Path
    mask: Path
    header: Header
    mask_header: Header


def propose_format(
    samples: Sequence[Sample], train: Sequence[Sample], progress: Progress | None = None
) -> FormatProposal:
    """Propose bands, value range and orientation; the value range is measured on the samples in ``train``.

    Raises:
        DataError: files cannot be read, or differ in type or number of bands; they are named.
    """
    files = _read_headers(samples, progress)
    if not files:
        return FormatProposal(RGB, ())
    orientation, turned = _orientation(files)
    bands, kind, alpha = _kind(files)
    notes = (*_large(files), *turned, *alpha)
    if kind == np.uint8 and bands in (1, 3):
        return FormatProposal(ImageFormat(orientation=orientation), notes)
    draft = ImageFormat(tuple(range(1, bands + 1)), "type", orientation=orientation)
    paths = [sample.image for sample in train if isinstance(sample.image, Path)]
    value_range, reason = _value_range(paths, draft, kind)
    shown = draft.bands[:3] if bands > 2 and draft.bands else (1,)
    how = "as red, green and blue" if len(shown) == 3 else "as gray"
    number = f"{bands} band{'s' if bands > 1 else ''}"
    which = f"band{'s' if len(shown) > 1 else ''} {', '.join(map(str, shown))} {how}"
    note = f"images have {number} of {describe_type(kind)}, and the network sees all; figures show {which}"
    format = ImageFormat(draft.bands, value_range, shown, orientation)
    return FormatProposal(format, (note, *reason, *notes))


def _large(files: Sequence[_File]) -> list[str]:
    """Return a note on the scale of training if most images are larger than the usual crops."""
    sizes = sorted({Size(*file.header[:2]) for file in files}, key=lambda size: size.width * size.height)
    if min(sizes[len(sizes) // 2]) <= USUAL_CROP:
        return []
    given = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return [f"images of {given} are larger than crops: `segmi train` takes random crops at full resolution"]


def _read_headers(samples: Sequence[Sample], progress: Progress | None) -> list[_File]:
    def headers(sample: Sample) -> _File | SegmiError | None:
        if not (isinstance(sample.image, Path) and isinstance(sample.mask, Path)):
            return None
        try:
            return _File(sample.image, sample.mask, image_header(sample.image), image_header(sample.mask))
        except SegmiError as error:
            return error

    results = list(in_threads(headers, samples, progress))
    errors = [one for one in results if isinstance(one, SegmiError)]
    if errors:
        raise combined_error(f"{len(errors)} of {len(samples)} images cannot be read", errors)
    return [one for one in results if isinstance(one, _File)]


def _kind(files: Sequence[_File]) -> tuple[int, np.dtype, list[str]]:
    """Return the number of bands and the type of all files, and notes on alpha."""
    with_alpha = [file for file in files if file.header.alpha is not None]
    kept, notes = set[str](), []
    if with_alpha and (varying := [f for f in _spaced(with_alpha, MAX_READ) if _alpha_varies(f.image)]):
        # In TIFF, a fourth band is often marked as alpha without being one.
        kept = {file.image.suffix.lower() for file in varying} & {".tif", ".tiff"}
        if kept:
            notes.append(
                "the last band is marked as alpha, but varies, so it is read as a band; see `bands` in segmi.toml"
            )
        else:
            count = f"{len(with_alpha)} image{'s' if len(with_alpha) > 1 else ''}"
            channels = list(range(1, varying[0].header.bands + 1))
            notes.append(f"the alpha channel of {count} is dropped although it varies; bands = {channels} keeps it")
    kinds: dict[tuple[int, str], list[_File]] = {}
    for file in files:
        dropped = file.header.alpha is not None and file.image.suffix.lower() not in kept
        bands = file.header.bands - dropped
        gray_or_rgb = bands in (1, 3) and file.header.dtype == "uint8"
        kinds.setdefault((3 if gray_or_rgb else bands, file.header.dtype), []).append(file)
    if len(kinds) > 1:
        listing = " and ".join(
            f"{counted(len(of), 'image')} with {counted(of[0].header.bands, 'band')} of "
            f"{describe_type(np.dtype(dtype))} "
            f"(such as {printable(of[0].image)})"
            for (_, dtype), of in kinds.items()
        )
        raise DataError(
            f"expected images of one type and number of bands, got {listing}",
            "convert them to one type, or put them into separate folders",
        )
    ((bands, dtype),) = kinds
    return bands, np.dtype(dtype), notes


def _alpha_varies(path: Path) -> bool:
    bands, _ = read_bands(path)
    alpha = bands.pixels[..., bands.alpha]
    return bands.alpha is not None and bool(alpha.min() != alpha.max())


def _value_range(paths: Sequence[Path], draft: ImageFormat, kind: np.dtype) -> tuple[ValueRange | None, list[str]]:
    if kind == np.uint8:
        return None, []
    pairs = percentile_range(paths, draft)
    low, high = min(low for low, _ in pairs), max(high for _, high in pairs)
    if (kind.kind == "f" and low >= 0 and high <= 1) or (kind.kind == "u" and high > FULL_SHARE * np.iinfo(kind).max):
        limits = "[0, 1]" if kind.kind == "f" else f"[0, {np.iinfo(kind).max}]"
        return "type", [f"values use the range of their type: value_range {limits}"]
    count = f"{min(len(paths), MAX_FILES)} training images"
    percentiles = " and ".join(map(str, PERCENTILES))
    note = f"value_range is percentiles {percentiles} of each band in {count}, {low:g} to {high:g} in all"
    return pairs, [f"{note}: they become 0 and 1, and values beyond are not clipped"]


def _orientation(files: Sequence[_File]) -> tuple[Orientation, list[str]]:
    """Return whether masks without EXIF orientation fit the stored pixels of images that have one."""
    turned = [file for file in files if file.header.orientation > 1 and file.mask_header.orientation == 1]
    if not turned:
        return "apply", []
    fits = Counter(_fit_of_sizes(file) for file in turned)
    if fits["ignore"] != fits["apply"]:
        orientation: Orientation = "ignore" if fits["ignore"] > fits["apply"] else "apply"
        reason = "by their sizes"
    else:
        stored, upright = np.sum([_edge_strengths(file) for file in _spaced(turned, MAX_READ)], axis=0)
        clear = max(stored, upright) > CLEAR * min(stored, upright)
        orientation = "apply" if clear and upright > stored else "ignore"
        reason = "by the edges of the images" if clear else "although the edges do not decide: check the contact sheet"
    fitted = "the stored pixels" if orientation == "ignore" else "the turned images"
    several = "s are" if len(turned) > 1 else " is"
    count = f"{len(turned)} image{several} turned by an EXIF tag that the mask lacks"
    setting = f'exif_orientation = "{orientation}" in segmi.toml decides'
    return orientation, [f"{count}: masks are on {fitted}, {reason}; {setting}"]


def _fit_of_sizes(file: _File) -> Orientation | None:
    """Return the orientation that the size of the mask requires, None if both are possible."""
    width, height = file.header[:2]
    if file.header.orientation < 5 or width == height:
        return None
    return "ignore" if file.mask_header[:2] == (width, height) else "apply"


def _edge_strengths(file: _File) -> tuple[float, float]:
    """Return the mean gradient of the image along the borders of the mask: stored, and turned by the EXIF tag."""
    bands = read_bands(file.mask)[0].pixels.astype(np.float64)
    mask = bands @ 256.0 ** np.arange(bands.shape[-1])  # one number per value or color
    borders = _gradient(mask) > 0
    strengths = []
    for orientation in get_args(Orientation):
        format = ImageFormat(tuple(range(1, file.header.bands + 1)), "type", orientation=orientation)
        image = decode_image(file.image, format).mean(axis=-1)
        fits = image.shape == mask.shape and borders.any()
        strengths.append(float(_gradient(image)[borders].mean()) if fits else 0.0)
    upright, stored = strengths
    return stored, upright


def _gradient(image: NDArray) -> NDArray:
    """Return the sum of the absolute differences to the pixels below and to the right."""
    result = np.zeros(image.shape, np.float64)
    result[:-1] += np.abs(np.diff(image, axis=0))
    result[:, :-1] += np.abs(np.diff(image, axis=1))
    return result


def _spaced(items: Sequence[_File], count: int) -> list[_File]:
    return [items[round(index)] for index in np.linspace(0, len(items) - 1, min(len(items), count))]
