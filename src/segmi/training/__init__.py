"""Training of a cohort of networks on an objective, evaluation, and prediction."""

from segmi.training.cohort import Average, Cohort
from segmi.training.config import (
    TRAINING_CONFIGS,
    Budget,
    LoggingConfig,
    OptimizationConfig,
    RuntimeConfig,
    training_configs,
)
from segmi.training.evaluate import evaluate, predict_labels
from segmi.training.fit import FitOutcome, fit
from segmi.training.loop import FitProgress
from segmi.training.optimization import OPTIMIZERS, SCHEDULES
from segmi.training.run_callbacks import Callback, TrainingState

__all__ = [
    "OPTIMIZERS", "SCHEDULES", "TRAINING_CONFIGS", "Average", "Budget", "Callback", "Cohort", "FitOutcome",
    "FitProgress", "LoggingConfig", "OptimizationConfig", "RuntimeConfig", "TrainingState", "evaluate", "fit",
    "predict_labels", "training_configs",
]  # fmt: skip
