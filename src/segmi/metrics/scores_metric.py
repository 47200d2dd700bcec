"""The scores of a confusion matrix as a metric of torchmetrics, which synchronizes it between processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from segmi.metrics.confusion_matrix import confusion_counts
from segmi.metrics.scores import scores
from segmi.types import IGNORE_INDEX, THRESHOLD


class SegmentationScores(Metric):
    """`scores` as a `torchmetrics.Metric`: ``update(predictions, labels)``, then ``compute()``.

    Args:
        classes: C, 2 for a binary problem.
        ignore_index: label of ignored pixels.
        options: of `torchmetrics.Metric`.
    Example:
        >>> metric = SegmentationScores(2)
        >>> metric.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]))
        >>> metric.compute()["mIoU"]
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, classes: int, *, ignore_index: int = IGNORE_INDEX, **options: Any) -> None:
        super().__init__(**options)
        self.classes, self.ignore_index = classes, ignore_index
        self.add_state("counts", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Count a batch: class indices N×H×W, or logits N×C×H×W (C = 1 if binary), and labels N×H×W."""
        if predictions.is_floating_point():
            binary = predictions.shape[1] == 1
            predictions = (predictions[:, 0].sigmoid() > THRESHOLD).long() if binary else predictions.argmax(1)
        found = confusion_counts(predictions, labels, self.classes, self.ignore_index)
        self.counts += found.sum(0).to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name as tensors; NaN for an absent class."""
        found: dict[str, Any] = dict(scores(self.counts.cpu().numpy()))
        found["IoU"] = [float("nan") if one is None else one for one in found["IoU"]]
        return {name: torch.tensor(value) for name, value in found.items()}
