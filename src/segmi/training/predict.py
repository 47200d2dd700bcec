"""Label maps of single images with their confidence, as a run keeps them for its figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.models.sliding_window import check_windows
from segmi.training.cohort import Cohort
from segmi.training.evaluate import Prediction, predictions_by_network


class LabelMap(NamedTuple):
    """What a network says of an image: H×W uint8 class indices, and H×W float32 probabilities of these classes."""

    labels: np.ndarray
    confidence: np.ndarray


def predict_labels(
    cohort: Cohort, images: SegmentationDataset, index: int, *, window: int | None = None, overlap: int | None = None
) -> dict[str, LabelMap]:
    """The label map of image ``index`` by every network, at the size of its labels.

    Args:
        cohort: the networks, left in the mode they came in.
        images: where the image is.
        index: which one.
        window: side of the windows in which a larger image is predicted, as in `evaluate`.
        overlap: pixels that neighboring windows share.
    """
    check_windows(window, overlap)
    was_training = cohort.training
    device = next(cohort.parameters()).device
    image = images.resized(index).image.as_subclass(torch.Tensor)[None].float().div_(255).to(device)
    size = (images.labels(index).shape[-2], images.labels(index).shape[-1])
    cohort.eval()
    try:
        with torch.inference_mode():
            found = predictions_by_network(cohort, image, [size], window, overlap, batch_size=1, confident=True)
            return {name: _as_arrays(one) for name, (one,) in found.items()}
    finally:
        cohort.train(was_training)


def _as_arrays(one: Prediction) -> LabelMap:
    labels = one.labels[0].to(torch.uint8).cpu().numpy()
    sure = np.ones(labels.shape, np.float32) if one.confidence is None else one.confidence[0].cpu().numpy()
    return LabelMap(labels, sure)
