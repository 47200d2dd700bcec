"""Label maps of single pictures, as a run keeps them for its figures."""

from __future__ import annotations

import numpy as np
import torch

from segmi.data.loader import Pictures
from segmi.metrics.confusion import predicted_labels
from segmi.training.cohort import Cohort
from segmi.training.evaluate import padded_forward, resize_logits


def predict_labels(cohort: Cohort, pictures: Pictures, index: int) -> dict[str, np.ndarray]:
    """The label map of picture ``index`` by every member: H×W uint8 at the size of its labels.

    Args:
        cohort: the networks, left in the mode they came in.
        pictures: where the picture is.
        index: which one.
    """
    was_training = cohort.training
    device = next(cohort.parameters()).device
    image = pictures.resized(index).image.as_subclass(torch.Tensor)[None].float().div_(255).to(device)
    size = (pictures.labels(index).shape[-2], pictures.labels(index).shape[-1])
    cohort.eval()
    try:
        with torch.inference_mode():
            logits = padded_forward(cohort, image)
            return {
                name: predicted_labels(resize_logits(one, size))[0].to(torch.uint8).cpu().numpy()
                for name, one in logits.items()
            }
    finally:
        cohort.train(was_training)
