"""Scores against their definitions, scikit-learn and torchmetrics, with ignored pixels and absent classes."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from segmi.metrics import ConfusionMatrix, class_iou, constant_prediction_scores, scores

KEYS = [
    "mIoU",
    "IoU",
    "absent_classes",
    "micro_IoU",
    "pixel_accuracy",
    "mean_accuracy",
    "binary_IoU",
    "binary_accuracy",
]


def test_known_scores():
    result = scores([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 4, 0, 4]])
    assert list(result) == KEYS
    assert result["IoU"] == [6 / 9, 3 / 10, None, 4 / 8]
    assert result["mIoU"] == pytest.approx((6 / 9 + 3 / 10 + 4 / 8) / 3)
    assert result["absent_classes"] == 1
    assert result["micro_IoU"] == 13 / 27
    assert result["pixel_accuracy"] == 13 / 20
    assert result["mean_accuracy"] == pytest.approx((6 / 8 + 3 / 4 + 4 / 8) / 3)
    assert result["binary_accuracy"] == pytest.approx((17 / 20 + 13 / 20 + 16 / 20) / 3)


def test_a_class_that_is_predicted_but_never_true_counts_as_zero():
    result = scores([[2, 2], [0, 0]])
    assert result["IoU"] == [0.5, 0.0]
    assert result["mIoU"] == 0.25
    assert result["absent_classes"] == 0
    assert result["mean_accuracy"] == 0.5  # of the one class that is true


def test_scores_equal_scikit_learn_and_torchmetrics(random_maps):
    for seed, (classes, used) in enumerate([(2, 2), (5, 5), (8, 5), (21, 3)]):
        predictions, labels = random_maps(seed, 6, classes, used)
        matrix = ConfusionMatrix(classes)
        matrix.update(predictions, labels)
        result = scores(matrix.pooled())
        valid = labels != 255
        t, p = labels[valid].numpy(), predictions[valid].numpy()
        present = range(used)
        assert result["absent_classes"] == classes - used
        assert result["IoU"][used:] == [None] * (classes - used)
        np.testing.assert_allclose(result["IoU"][:used], jaccard_score(t, p, labels=present, average=None))
        assert result["mIoU"] == pytest.approx(jaccard_score(t, p, labels=present, average="macro"))
        assert result["micro_IoU"] == pytest.approx(jaccard_score(t, p, labels=present, average="micro"))
        assert result["pixel_accuracy"] == pytest.approx(accuracy_score(t, p))
        assert result["mean_accuracy"] == pytest.approx(balanced_accuracy_score(t, p))
        binary = [accuracy_score(t == c, p == c) for c in present]
        assert result["binary_accuracy"] == pytest.approx(np.mean(binary))
        assert result["binary_IoU"] == pytest.approx(np.mean([jaccard_score(t == c, p == c) for c in present]))

        maps = predictions.long(), labels.long()
        np.testing.assert_allclose(
            result["IoU"][:used],
            MulticlassJaccardIndex(classes, average="none", ignore_index=255)(*maps)[:used],
            rtol=1e-6,
        )
        assert result["mIoU"] == pytest.approx(
            MulticlassJaccardIndex(classes, average="macro", ignore_index=255)(*maps).item(), rel=1e-6
        )
        assert result["micro_IoU"] == pytest.approx(
            MulticlassJaccardIndex(classes, average="micro", ignore_index=255)(*maps).item(), rel=1e-6
        )
        assert result["pixel_accuracy"] == pytest.approx(
            MulticlassAccuracy(classes, average="micro", ignore_index=255)(*maps).item(), rel=1e-6
        )


def test_scores_are_computed_from_pooled_counts():
    images = np.array([[[9, 1], [0, 0]], [[0, 0], [5, 5]]])
    assert scores(images) == scores(images.sum(0))
    assert scores(images)["mIoU"] == pytest.approx((9 / 15 + 5 / 11) / 2)
    np.testing.assert_allclose(class_iou(images), [9 / 15, 5 / 11])


counts = st.integers(1, 6).flatmap(lambda c: arrays(np.int64, (c, c), elements=st.integers(0, 50)))


@settings(max_examples=100, deadline=None)
@given(counts=counts, seed=st.integers(0, 100))
def test_identities_of_the_scores(counts, seed):
    result = scores(counts)
    if counts.sum() == 0:
        assert all(math.isnan(result[name]) for name in KEYS if name not in ("IoU", "absent_classes"))
        return
    classes = len(counts)
    assert all(0 <= result[name] <= 1 for name in KEYS if name not in ("IoU", "absent_classes"))
    accuracy = result["pixel_accuracy"]
    assert result["micro_IoU"] == pytest.approx(accuracy / (2 - accuracy))
    assert result["binary_IoU"] == result["mIoU"]
    assert result["binary_accuracy"] == pytest.approx(1 - 2 * (1 - accuracy) / (classes - result["absent_classes"]))
    assert result["mIoU"] == pytest.approx(np.nanmean(np.array(result["IoU"], dtype=float)))
    order = np.random.default_rng(seed).permutation(classes)
    renamed = scores(counts[order][:, order])
    assert renamed["mIoU"] == pytest.approx(result["mIoU"])
    assert renamed["mean_accuracy"] == pytest.approx(result["mean_accuracy"])
    grown = scores(np.pad(counts, (0, 2)))
    assert grown["absent_classes"] == result["absent_classes"] + 2
    assert {**grown, "IoU": 0, "absent_classes": 0} == {**result, "IoU": 0, "absent_classes": 0}
    assert scores(1000 * counts)["mIoU"] == pytest.approx(result["mIoU"])


def test_no_counted_pixel_gives_nan():
    for empty in (np.zeros((3, 3), int), np.zeros((0, 3, 3), int)):
        result = scores(empty)
        assert result["absent_classes"] == 3
        assert result["IoU"] == [None] * 3
        assert math.isnan(result["mIoU"])
        assert math.isnan(result["pixel_accuracy"])


def test_scores_are_plain_numbers():
    text = json.dumps(scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])), allow_nan=False)
    assert json.loads(text)["IoU"] == [0.75, 0.8, None]
    assert scores(torch.tensor([[3, 1], [0, 4]])) == scores([[3, 1], [0, 4]])


def test_counts_beyond_single_precision():
    large = 2**40
    assert scores([[large, 1], [0, large]])["pixel_accuracy"] == 2 * large / (2 * large + 1)
    assert scores(np.full((3, 1, 1), 2**31 - 1, dtype=np.int32))["mIoU"] == 1


def test_constant_prediction_equals_counting_it(random_maps):
    _, labels = random_maps(20, 4, 6, 4)
    matrix = ConfusionMatrix(6)
    matrix.update(torch.where(labels == 255, 0, labels), labels)
    for constant in (0, 3, 5):
        counted = ConfusionMatrix(6)
        counted.update(torch.full_like(labels, constant), labels)
        assert constant_prediction_scores(matrix.pooled(), predicted_class=constant) == scores(counted.pooled())
    most = int(torch.bincount(labels[labels != 255]).argmax())
    assert constant_prediction_scores(matrix.counts()) == constant_prediction_scores(
        matrix.counts(), predicted_class=most
    )
    result = constant_prediction_scores(matrix.pooled())
    assert result["mIoU"] == pytest.approx(result["pixel_accuracy"] / 4)
    assert result["absent_classes"] == 2


@pytest.mark.parametrize("function", [scores, class_iou, constant_prediction_scores])
@pytest.mark.parametrize(
    ("counts", "error", "text"),
    [
        ([[1, 2, 3], [4, 5, 6]], ValueError, r"C×C or N×C×C, got shape \(2, 3\)"),
        ([1, 2], ValueError, r"got shape \(2,\)"),
        (np.zeros((0, 0), int), ValueError, r"got shape \(0, 0\)"),
        ([[0.5, 0.5], [0, 0]], TypeError, "expected integers, got float64"),
        ([[1, -1], [0, 0]], ValueError, "at least 0, got -1"),
    ],
)
def test_invalid_counts_raise(function, counts, error, text):
    with pytest.raises(error, match=text):
        function(counts)


@pytest.mark.parametrize("constant", [-1, 2])
def test_unknown_constant_class_raises(constant):
    with pytest.raises(ValueError, match=f"from 0 to 1, got {constant}"):
        constant_prediction_scores([[1, 0], [0, 1]], predicted_class=constant)


def test_scores_import_without_torch():
    code = "import sys; from segmi.metrics import scores; import segmi.metrics.scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
