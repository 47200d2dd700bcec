"""Label maps of single pictures, as a run keeps them for its figures."""

from __future__ import annotations

import numpy as np
import torch

from segmi.data.loader import Pictures
from segmi.models.windows import check_windows
from segmi.training.cohort import Cohort
from segmi.training.evaluate import predictions_by_member


def predict_labels(
    cohort: Cohort, pictures: Pictures, index: int, *, window: int | None = None, overlap: int | None = None
) -> dict[str, np.ndarray]:
    """The label map of picture ``index`` by every member: H×W uint8 at the size of its labels.

    Args:
        cohort: the networks, left in the mode they came in.
        pictures: where the picture is.
        index: which one.
        window: side of the windows in which a larger picture is predicted, as in `evaluate`.
        overlap: pixels that neighbouring windows share.
    """
    check_windows(window, overlap)
    was_training = cohort.training
    device = next(cohort.parameters()).device
    image = pictures.resized(index).image.as_subclass(torch.Tensor)[None].float().div_(255).to(device)
    size = (pictures.labels(index).shape[-2], pictures.labels(index).shape[-1])
    cohort.eval()
    try:
        with torch.inference_mode():
            found = predictions_by_member(cohort, image, [size], window, overlap, batch_size=1)
            return {name: one[0].to(torch.uint8).cpu().numpy() for name, (one,) in found.items()}
    finally:
        cohort.train(was_training)
