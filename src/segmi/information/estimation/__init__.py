"""Trained estimates: critics and models of pairs, `estimate` around the bounds, and probes of features."""

from segmi.information.estimation.estimate import ESTIMATORS, Estimate, estimate
from segmi.information.estimation.pair_models import (
    BilinearCritic,
    ConcatenatedCritic,
    ConditionalGaussian,
    Critic,
    InnerProductCritic,
    MarginalGaussian,
    SeparableCritic,
)
from segmi.information.estimation.probes import label_information

__all__ = [
    "ESTIMATORS", "BilinearCritic", "ConcatenatedCritic", "ConditionalGaussian", "Critic", "Estimate",
    "InnerProductCritic", "MarginalGaussian", "SeparableCritic", "estimate", "label_information",
]  # fmt: skip
