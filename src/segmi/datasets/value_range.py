"""The value range of images, from percentiles of their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from segmi.datasets.bands import read_bands
from segmi.datasets.image_format import ImageFormat

PERCENTILES: Final = (1, 99)
MAX_FILES: Final = 64  # evenly spaced files that are read
MAX_PIXELS: Final = 65_536  # evenly spaced pixels of each file


def percentile_range(paths: Sequence[Path], format: ImageFormat) -> tuple[tuple[float, float], ...]:
    """Return percentiles 1 and 99 of each channel of image files, over the pixels with data.

    Integers are rounded outwards, floats to six digits.

    Raises:
        DataError: a file cannot be read, or has other bands.
    """
    chosen = [paths[round(index)] for index in np.linspace(0, len(paths) - 1, min(len(paths), MAX_FILES))]
    parts, integers = [], True
    for path in chosen:
        bands, _ = read_bands(path)
        pixels = format.selected(bands, str(path)).reshape(-1, format.channels)
        values = pixels[:: max(1, len(pixels) // MAX_PIXELS)].astype(np.float64)
        values[~np.isfinite(values) | (values == np.float32(np.nan if bands.nodata is None else bands.nodata))] = np.nan
        integers = integers and pixels.dtype.kind in "iu"
        parts.append(values)
    values = np.concatenate(parts)
    return tuple(_ends(band[~np.isnan(band)], integers) for band in values.T)


def _ends(values: np.ndarray, integers: bool) -> tuple[float, float]:
    if not len(values):  # a band without any data
        return 0.0, 1.0
    low, high = np.percentile(values, PERCENTILES).tolist()
    low, high = (math.floor(low), math.ceil(high)) if integers else (float(f"{low:.6g}"), float(f"{high:.6g}"))
    return (low, high) if low < high else (low, low + 1)
