"""Scores of a confusion matrix, on numpy arrays.

Rows are the truth, columns the prediction. TP, FP and FN of a class are its diagonal entry, the rest of its column and
the rest of its row. A class is *absent* if TP + FP + FN = 0: its scores are undefined, so it is left out of means.
"""

from __future__ import annotations

from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

CountsLike: TypeAlias = npt.ArrayLike
"""C×C counts of a dataset, or N×C×C counts of its images: non-negative integers."""


class Scores(TypedDict):
    """Result of `scores`."""

    mIoU: float
    IoU: list[float | None]
    absent_classes: int
    micro_IoU: float
    pixel_accuracy: float
    mean_accuracy: float
    binary_IoU: float
    binary_accuracy: float


def class_iou(counts: CountsLike) -> np.ndarray:
    """Return the intersection over union of every class, pooled over all images.

    ``IoU_c = TP_c / (TP_c + FP_c + FN_c)``

    Shapes: counts C×C or N×C×C; the result has C entries.
    Unit and sign: a fraction, 0 to 1, larger is better; NaN for an absent class.
    Raises: TypeError, ValueError for invalid counts.
    Example:
        >>> class_iou([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
        array([0.75, 0.8 ,  nan])
    """
    pooled = _pooled(counts)
    hit = np.diagonal(pooled)
    return _ratio(hit, pooled.sum(0) + pooled.sum(1) - hit)


def scores(counts: CountsLike) -> Scores:
    """Return all scores of a confusion matrix, pooled over all images.

    For the K classes c that are not absent, and n counted pixels:

    - ``mIoU = 1/K Σ_c TP_c / (TP_c + FP_c + FN_c)``: IoU in Table 1 of the paper
    - ``IoU``: the same per class, None for an absent class
    - ``absent_classes``: number of classes in neither truth nor prediction
    - ``micro_IoU = Σ_c TP_c / Σ_c (TP_c + FP_c + FN_c)``
    - ``pixel_accuracy = Σ_c TP_c / n``: Acc in Table 1 of the paper
    - ``mean_accuracy``: mean over the classes in the truth of ``TP_c / (TP_c + FN_c)``
    - ``binary_IoU = 1/K Σ_c TP_c / (TP_c + FP_c + FN_c)``: the printed formula of the paper, one class against the
      rest; pooled over the dataset it equals mIoU
    - ``binary_accuracy = 1/K Σ_c (TP_c + TN_c) / n``: the printed formula of the paper, one class against the rest; it
      equals ``1 - 2 (1 - pixel_accuracy) / K``, so it is large for many classes and any prediction

    Shapes: counts C×C, or N×C×C, summed over the images first.
    Unit and sign: fractions, 0 to 1, larger is better; NaN if nothing is counted.
    Raises: TypeError, ValueError for invalid counts.
    Example:
        >>> result = scores([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
        >>> result["mIoU"], result["IoU"], result["pixel_accuracy"], result["binary_accuracy"]
        (0.775, [0.75, 0.8, None], 0.875, 0.875)
    """
    pooled = _pooled(counts)
    hit, truth, predicted = np.diagonal(pooled), pooled.sum(1), pooled.sum(0)
    union = truth + predicted - hit
    total = pooled.sum()
    iou = _ratio(hit, union)
    # TP + TN of one class against the rest, undefined for absent classes
    one_against_rest = _ratio(total - (union - hit), np.where(union > 0, total, 0))
    mean_iou = _mean(iou)
    return {
        "mIoU": mean_iou,
        "IoU": [None if np.isnan(value) else float(value) for value in iou],
        "absent_classes": int((union == 0).sum()),
        "micro_IoU": float(_ratio(hit.sum(), union.sum())),
        "pixel_accuracy": float(_ratio(hit.sum(), total)),
        "mean_accuracy": _mean(_ratio(hit, truth)),
        "binary_IoU": mean_iou,
        "binary_accuracy": _mean(one_against_rest),
    }


def constant_prediction_scores(counts: CountsLike, *, predicted_class: int | None = None) -> Scores:
    """Return the scores of predicting one class everywhere, on the images of ``counts``: a lower baseline.

    Args:
        counts: C×C or N×C×C; only the frequencies of the true classes matter.
        predicted_class: the predicted class, the most frequent one in train for example; None: the most frequent one in
            ``counts``.
    Unit and sign: as `scores`.
    Raises: TypeError, ValueError for invalid counts, or a ``predicted_class`` that is not a class.
    Example:
        >>> result = constant_prediction_scores([[60, 20], [5, 15]])
        >>> result["pixel_accuracy"], result["IoU"]
        (0.8, [0.8, 0.0])
    """
    truth = _pooled(counts).sum(1)
    constant = int(truth.argmax()) if predicted_class is None else predicted_class
    if not 0 <= constant < len(truth):
        raise ValueError(f"predicted_class: expected a class index from 0 to {len(truth) - 1}, got {constant}")
    # all pixels in the column of the predicted class
    columns = np.zeros((len(truth), len(truth)), dtype=np.int64)
    columns[:, constant] = truth
    return scores(columns)


def _pooled(counts: CountsLike) -> np.ndarray:
    array = np.asarray(counts)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or array.shape[-1] == 0:
        raise ValueError(f"counts: expected C×C or N×C×C, got shape {array.shape}. Rows are the truth")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"counts: expected integers, got {array.dtype}. Fix: pass counts, not frequencies")
    if array.size and array.min() < 0:
        raise ValueError(f"counts: expected counts of at least 0, got {array.min()}")
    return array.reshape(-1, *array.shape[-2:]).sum(0, dtype=np.int64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    # ``part / whole``, NaN if whole is 0
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> float:
    # the mean without NaN, or NaN if all are NaN
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
