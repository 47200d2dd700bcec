"""Pictures kept for the figures: the same ones in every run, with the truth and what every member says, how surely."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segmi.records.samples import write_sample

if TYPE_CHECKING:
    from segmi.data.pictures import Pictures
    from segmi.training import Cohort

LONGEST_SIDE = 640
"""Figures are small; pictures of Cityscapes would fill the folder of every run."""


def evenly_spaced(count: int, total: int) -> list[int]:
    """``count`` indices spread over ``total``, from the middle of equal parts; all of them if there are fewer.

    Example:
        >>> evenly_spaced(4, 100)
        [12, 37, 62, 87]
    """
    count = min(count, total)
    return [int((part + 0.5) * total / count) for part in range(count)]


def keep_samples(
    cohort: Cohort,
    pictures: Pictures,
    count: int,
    folder: Path,
    *,
    window: int | None = None,
    overlap: int | None = None,
) -> list[Path]:
    """Write some pictures with their truth, what every member says and how sure it is, at most 640 pixels wide."""
    from segmi.training import predict_labels

    paths = []
    for index in evenly_spaced(count, len(pictures)):
        sample = pictures.samples[index]
        image, truth = pictures.dataset.read(sample)
        predictions = predict_labels(cohort, pictures, index, window=window, overlap=overlap)
        paths += write_sample(
            folder,
            f"{index:04d}-{sample.name}",
            smaller(image, Image.Resampling.LANCZOS),
            smaller(truth, Image.Resampling.NEAREST),
            {member: smaller(one.labels, Image.Resampling.NEAREST) for member, one in predictions.items()},
            pictures.dataset.info.palette,
            confidences={
                member: smaller(np.rint(255 * one.confidence).astype(np.uint8), Image.Resampling.BILINEAR)
                for member, one in predictions.items()
            },
        )
    return paths


def smaller(array: np.ndarray, method: Image.Resampling) -> np.ndarray:
    """An H×W or H×W×3 uint8 picture, scaled down to `LONGEST_SIDE` if it is larger."""
    scale = LONGEST_SIDE / max(array.shape[:2])
    if scale >= 1:
        return array
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return np.asarray(Image.fromarray(array).resize(size, method))
