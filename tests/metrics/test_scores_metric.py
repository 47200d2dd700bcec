"""The scores as a metric of torchmetrics."""

import pytest
import torch

from segmi.metrics import ConfusionMatrix, SegmentationScores, scores

torchmetrics = pytest.importorskip("torchmetrics")


def test_equals_the_scores_of_the_pooled_counts() -> None:
    metric, matrix = SegmentationScores(3), ConfusionMatrix(3)
    assert isinstance(metric, torchmetrics.Metric)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(2, 3, 5, 6, generator=generator)
        labels = torch.randint(0, 2, (2, 5, 6), generator=generator)
        labels[:, 0] = 255
        metric.update(logits, labels)
        matrix.update(logits.argmax(1), labels)
    expected = scores(matrix.pooled().numpy())
    found = metric.compute()
    assert found["mIoU"].item() == pytest.approx(expected["mIoU"])
    assert found["IoU"].tolist() == pytest.approx(expected["IoU"])
    metric.reset()
    assert metric.counts.sum() == 0


def test_one_channel_and_collections() -> None:
    collection = torchmetrics.MetricCollection({"scores": SegmentationScores(2)})
    logits = torch.tensor([[[[-1.0, 2.0, 3.0]]]])
    collection.update(logits, torch.tensor([[[0, 1, 0]]]))
    assert collection["scores"].counts.tolist() == [[1, 1], [0, 1]]
