"""Evaluation of an ensemble of bundles on a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmi.datasets import DatasetReader
from segmi.deploy.ensemble import Ensemble
from segmi.deploy.prediction import format_of, predict_members
from segmi.models import InferenceConfig
from segmi.models.network import resolve_device
from segmi.types import IGNORE_INDEX


def ensemble_confusion(
    ensemble: Ensemble,
    dataset: DatasetReader,
    split: str,
    config: InferenceConfig,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[Any]:
    """Return the confusion matrix of whole images, C×C int64; rows are the truth, columns the prediction.

    The probabilities are averaged at the size of the image, as in `segmi.deploy.predict`; each network sees the image
    with its own preprocessing, bands and value range.

    Raises:
        UsageError: if the dataset has no such split, or the threshold does not fit the networks.
        DataError: if an image or mask cannot be read.
    """
    ensemble.to(resolve_device(device))
    classes, samples, own = ensemble.classes, dataset.split(split), dataset.image_format
    matrix = np.zeros(classes * classes, np.int64)
    for done, sample in enumerate(samples, 1):
        members = []
        for network in ensemble.networks:
            dataset.image_format = replace(format_of(network), orientation=own.orientation)
            image, truth = dataset.read(sample)
            members.append((network, [image]))
        (labels,) = predict_members(members, config)
        valid = truth != IGNORE_INDEX
        matrix += np.bincount(truth[valid].astype(np.int64) * classes + labels[valid], minlength=classes * classes)
        if progress is not None:
            progress(done, len(samples))
    return matrix.reshape(classes, classes)
