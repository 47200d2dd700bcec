"""What is reported and never optimized: one pooled confusion matrix, and the scores that are read off it.

`scores` and its neighbors need numpy alone; PyTorch is imported when the counting is asked for.
"""

from typing import TYPE_CHECKING, Any

from segmi.metrics.scores import Scores, class_iou, constant_prediction_scores, scores

if TYPE_CHECKING:
    from segmi.metrics.confusion import ConfusionMatrix, confusion_counts
    from segmi.metrics.diagnostics import PredictionDiagnostics

__all__ = [
    "ConfusionMatrix",
    "PredictionDiagnostics",
    "Scores",
    "class_iou",
    "confusion_counts",
    "constant_prediction_scores",
    "scores",
]


def __getattr__(name: str) -> Any:
    if name in ("ConfusionMatrix", "confusion_counts"):
        from segmi.metrics import confusion

        return getattr(confusion, name)
    if name == "PredictionDiagnostics":
        from segmi.metrics.diagnostics import PredictionDiagnostics

        return PredictionDiagnostics
    raise AttributeError(f"module 'segmi.metrics' has no attribute {name!r}")
