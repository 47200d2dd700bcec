"""Images kept for the figures: the same ones in every run, with the truth and what every network says, how surely."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segmi.records.example_images import write_sample

if TYPE_CHECKING:
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.training import Cohort

LONGEST_SIDE = 640
"""Figures are small; images of Cityscapes would fill the folder of every run."""


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
    images: SegmentationDataset,
    count: int,
    folder: Path,
    *,
    window: int | None = None,
    overlap: int | None = None,
) -> list[Path]:
    """Write some images with their truth, what every network says and how sure it is, at most 640 pixels wide."""
    from segmi.training import predict_labels

    paths = []
    for index in evenly_spaced(count, len(images)):
        sample = images.samples[index]
        image, truth = images.dataset.read(sample)
        predictions = predict_labels(cohort, images, index, window=window, overlap=overlap)
        paths += write_sample(
            folder,
            f"{index:04d}-{sample.name}",
            smaller(image, Image.Resampling.LANCZOS),
            smaller(truth, Image.Resampling.NEAREST),
            {network: smaller(one.labels, Image.Resampling.NEAREST) for network, one in predictions.items()},
            images.dataset.info.palette,
            confidences={
                network: smaller(np.rint(255 * one.confidence).astype(np.uint8), Image.Resampling.BILINEAR)
                for network, one in predictions.items()
            },
        )
    return paths


def smaller(array: np.ndarray, method: Image.Resampling) -> np.ndarray:
    """An H×W or H×W×3 uint8 image, scaled down to `LONGEST_SIDE` if it is larger."""
    scale = LONGEST_SIDE / max(array.shape[:2])
    if scale >= 1:
        return array
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return np.asarray(Image.fromarray(array).resize(size, method))
