"""A cohort of one or more networks, trained on one objective, evaluated and used for prediction."""

from segmi.training.cohort import Average, Cohort
from segmi.training.evaluate import evaluate
from segmi.training.fit import FitOutcome, fit
from segmi.training.optimization import OPTIMIZERS, SCHEDULES
from segmi.training.predict import predict_labels
from segmi.training.progress import FitProgress

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Average",
    "Cohort",
    "FitOutcome",
    "FitProgress",
    "evaluate",
    "fit",
    "predict_labels",
]
