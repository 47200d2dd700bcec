"""The bands of image files that a network sees, and their value range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segmi.errors import DataError

MAX_BANDS: Final = 16
DTYPES: Final = ("uint8", "uint16", "int8", "int16", "float16", "float32")
"""The types of pixels that are read; float32 represents all of their values exactly."""

Orientation: TypeAlias = Literal["apply", "ignore"]
ValueRange: TypeAlias = Literal["type", "percentiles"] | tuple[tuple[float, float], ...]
ImageArray: TypeAlias = NDArray[Any]
"""H×W×C: uint8, or float32 where ``value_range`` maps to [0, 1]."""


class Bands(NamedTuple):
    """The content of an image file."""

    pixels: NDArray[Any]  # H×W×B, values as stored
    alpha: int | None = None  # index of the band that the file marks as transparency
    nodata: float | None = None  # value of pixels without data (GDAL_NODATA)


@dataclass(frozen=True)
class ImageFormat:
    """How the bands of an image file become the channels of a network.

    The default is 8-bit RGB: gray is repeated, alpha is dropped, and files with more bits or bands are refused.

    Raises:
        DataError: the fields are invalid.
    """

    bands: tuple[int, ...] | None = None  # numbers of the bands, from 1, in the order of the channels; None: RGB
    # the values that become 0 and 1: a pair for all bands or one per band; "type": the limits of the file's type,
    # floats unchanged; "percentiles": of the training images, replaced by numbers when the dataset is opened; None:
    # only 8-bit files
    value_range: ValueRange | None = None
    shown: tuple[int, ...] = ()  # one or three of ``bands``, shown in figures; by default the first
    orientation: Orientation = "apply"  # whether the EXIF orientation of images and masks is applied

    def __post_init__(self) -> None:
        known = set(self.bands or (1, 2, 3))
        if self.bands is not None and not (1 <= len(self.bands) <= MAX_BANDS and min(self.bands) >= 1):
            raise DataError(f"bands: expected 1 to {MAX_BANDS} numbers from 1, got {list(self.bands)}", "correct bands")
        if self.shown and (len(self.shown) not in (1, 3) or not known.issuperset(self.shown)):
            raise DataError(
                f"shown_bands: expected one or three of the bands {sorted(known)}, got {list(self.shown)}",
                "name the bands to show as gray, or as red, green and blue",
            )
        if isinstance(self.value_range, tuple):
            expected = f"[low, high] with low < high, or {self.channels} such pairs, one for each band"
            pairs = self.value_range
            if len(pairs) not in (1, self.channels) or not all(low < high for low, high in pairs):
                raise DataError(
                    f"value_range: expected {expected}, got {[list(pair) for pair in pairs]}",
                    'correct it, or write "type" for the limits of the type',
                )

    @property
    def channels(self) -> int:
        """The number of channels."""
        return 3 if self.bands is None else len(self.bands)

    @property
    def pixel_bytes(self) -> int:
        """The number of bytes of a pixel in memory."""
        return self.channels * (1 if self.value_range is None else 4)

    def read(self, bands: Bands, file: str) -> ImageArray:
        """Return the channels of a file: ``(v - low) / (high - low)`` as float32, or uint8 without ``value_range``.

        Pixels without data become 0. Values outside of the range are not clipped.

        Raises:
            DataError: the file has other bands or another type, or values that are not finite; names ``file``.
        """
        pixels = self.selected(bands, file)
        if pixels.dtype.name not in DTYPES:
            raise DataError(
                f"{file}: expected 8- or 16-bit integers or 32-bit floats, got {pixels.dtype.name}",
                "save it with a type that holds all values: uint16 or float32",
            )
        if self.value_range is None:
            if pixels.dtype != np.uint8:
                raise DataError(
                    f"{file}: expected 8 bits per channel, got {describe_type(pixels.dtype)}",
                    "set value_range in segmi.toml, which `segmi data init` writes, to the values that become 0 and 1; "
                    "a network that was trained on 8-bit images needs 8-bit images",
                )
            return np.ascontiguousarray(pixels)
        low, high = self._limits(pixels.dtype)
        values = pixels.astype(np.float32)
        missing = None
        if bands.nodata is not None:
            nodata = np.float32(bands.nodata)
            missing = np.isnan(values) if np.isnan(nodata) else values == nodata
            values[missing] = 0
        if pixels.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).any(axis=-1).sum())
            raise DataError(
                f"{file}: expected finite values, got NaN or infinity in {count} pixel{'s' if count > 1 else ''}",
                "replace them by a number, or declare their value as GDAL_NODATA, which is read as the lower limit",
            )
        values -= low
        values /= high - low
        if missing is not None:
            values[missing] = 0
        return values

    def selected(self, bands: Bands, file: str) -> NDArray[Any]:
        """Return the bands of a file that are the channels, with the values as stored.

        Raises:
            DataError: the file has other bands; names ``file``.
        """
        pixels, count = bands.pixels, bands.pixels.shape[-1]
        if self.bands is not None:
            if max(self.bands) > count:
                raise DataError(
                    f"{file}: expected at least {max(self.bands)} bands, got {count}",
                    "replace the file; or, for a dataset, correct `bands` in segmi.toml",
                )
            return pixels[..., [number - 1 for number in self.bands]]
        if bands.alpha is not None:
            pixels, count = np.delete(pixels, bands.alpha, axis=-1), count - 1
        if count == 1:
            return np.repeat(pixels, 3, axis=-1)
        if count != 3:
            raise DataError(
                f"{file}: expected an RGB or gray image, got {count} bands",
                f"replace the file; for a dataset, use `segmi data init` with `bands = [1, …, {count}]` in segmi.toml",
            )
        return pixels

    def _limits(self, dtype: np.dtype[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if isinstance(self.value_range, tuple):
            low, high = np.array(self.value_range, np.float32).T
            return low, high
        limits = np.iinfo(dtype) if dtype.kind in "iu" else None
        ends = (0, 1) if limits is None else (limits.min, limits.max)
        return np.array(ends[:1], np.float32), np.array(ends[1:], np.float32)

    def to_rgb(self, image: ImageArray) -> NDArray[np.uint8]:
        """Return the bands to show of H×W×C channels as H×W×3 uint8, clipped to the value range."""
        bands = self.bands or (1, 2, 3)
        shown = self.shown or (bands[:3] if len(bands) > 2 else bands[:1])
        chosen = image[..., [bands.index(number) for number in shown]]
        if chosen.dtype != np.uint8:
            chosen = np.rint(chosen.clip(0, 1) * 255).astype(np.uint8)
        return chosen if len(shown) == 3 else np.repeat(chosen, 3, axis=-1)

    def describe(self) -> str:
        """Return bands and value range in words.

        Example:
            >>> ImageFormat().describe()
            'RGB, values 0–255 divided by 255'
            >>> ImageFormat((4, 1), ((0, 3000),)).describe()
            'bands 4, 1 of the files, (value - low) / (high - low) with [low, high] = [0, 3000], not clipped'
        """
        bands = "RGB" if self.bands is None else f"bands {', '.join(map(str, self.bands))} of the files"
        if self.value_range is None:
            return f"{bands}, values 0–255 divided by 255"
        pairs = self.value_range
        ends = ", ".join(str(list(pair)) for pair in pairs) if isinstance(pairs, tuple) else "the limits of the type"
        return f"{bands}, (value - low) / (high - low) with [low, high] = {ends}, not clipped"

    def plain(self) -> dict[str, Any]:
        """Return the fields that differ from the default as plain data, see `from_plain`."""
        data = {key: value for key, value in asdict(self).items() if value != getattr(RGB, key)}
        plain: dict[str, Any] = json.loads(json.dumps(data))  # tuples become lists
        return plain

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> ImageFormat:
        """Return the format of plain data.

        Example:
            >>> format = ImageFormat(bands=(1, 2, 3, 4), value_range=((0.0, 3000.0),))
            >>> ImageFormat.from_plain(format.plain()) == format
            True
        """
        tuples: dict[str, Any] = {key: tuple(data[key]) for key in ("bands", "shown") if data.get(key)}
        ranges = data.get("value_range")
        if ranges is not None:
            tuples["value_range"] = ranges if isinstance(ranges, str) else tuple((pair[0], pair[1]) for pair in ranges)
        return cls(**{**data, **tuples})


RGB: Final = ImageFormat()


def describe_type(dtype: np.dtype[Any]) -> str:
    """Return the type of pixels in words.

    Example:
        >>> describe_type(np.dtype("uint16"))
        '16-bit integers'
    """
    return f"{8 * dtype.itemsize}-bit {'floats' if dtype.kind == 'f' else 'integers'}"
