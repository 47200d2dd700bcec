"""Estimates that are trained: critics and laws of one's own, and `estimate` around the bounds.

The only modules with parameters in this room.
"""

from segmi.information.estimation.critics import (
    BilinearCritic,
    ConcatenatedCritic,
    Critic,
    InnerProductCritic,
    SeparableCritic,
)
from segmi.information.estimation.densities import ConditionalGaussian, MarginalGaussian
from segmi.information.estimation.estimate import ESTIMATORS, Estimate, estimate
from segmi.information.estimation.probes import label_information

__all__ = [
    "ESTIMATORS",
    "BilinearCritic",
    "ConcatenatedCritic",
    "ConditionalGaussian",
    "Critic",
    "Estimate",
    "InnerProductCritic",
    "MarginalGaussian",
    "SeparableCritic",
    "estimate",
    "label_information",
]
