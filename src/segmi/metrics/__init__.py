"""Reported metrics, never optimized: one pooled confusion matrix and the scores computed from it.

`scores` and its neighbors need numpy only; the modules that import PyTorch are loaded when a name is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from segmi.metrics.scores import Scores, class_iou, constant_prediction_scores, scores

if TYPE_CHECKING:
    from segmi.metrics.confusion_matrix import ConfusionMatrix, confusion_counts
    from segmi.metrics.diagnostics import PredictionDiagnostics
    from segmi.metrics.scores_metric import SegmentationScores

__all__ = [
    "ConfusionMatrix",
    "PredictionDiagnostics",
    "Scores",
    "class_iou",
    "confusion_counts",
    "constant_prediction_scores",
    "scores",
]  # fmt: skip

if find_spec("torchmetrics") is not None:  # a star import must not fail without it
    __all__ += ["SegmentationScores"]

_LAZY: Final = {
    "ConfusionMatrix": "confusion_matrix",
    "confusion_counts": "confusion_matrix",
    "PredictionDiagnostics": "diagnostics",
    "SegmentationScores": "scores_metric",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'segmi.metrics' has no attribute {name!r}")
    return getattr(import_module(f"segmi.metrics.{_LAZY[name]}"), name)
