"""Label maps and confidences of single images, as runs store them for figures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.models.inference import InferenceConfig
from segmi.training.cohort import Cohort
from segmi.training.evaluate import predict_batch


class LabelMap(NamedTuple):
    """Prediction for one image: H×W uint8 class indices, and H×W float32 probabilities of these classes."""

    labels: np.ndarray
    confidence: np.ndarray


def predict_labels(cohort: Cohort, images: SegmentationDataset, index: int, **options: Any) -> dict[str, LabelMap]:
    """Return every network's label map of image ``index``, at the size of its labels.

    The training mode of the cohort is restored. ``options`` are fields of `segmi.models.InferenceConfig`.
    """
    config = InferenceConfig(**options)
    was_training = cohort.training
    device = next(cohort.parameters()).device
    image = images[index].image.as_subclass(torch.Tensor)[None].float().div_(255).to(device)
    size = (images.labels(index).shape[-2], images.labels(index).shape[-1])
    cohort.eval()
    try:
        with torch.inference_mode():
            predictions = predict_batch(cohort, image, [size], config, confidence=True)
    finally:
        cohort.train(was_training)
    result = {}
    for name, ((labels, confidence),) in predictions.items():
        assert confidence is not None
        result[name] = LabelMap(labels[0].to(torch.uint8).cpu().numpy(), confidence[0].cpu().numpy())
    return result
