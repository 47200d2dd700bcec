"""Losses on predictions alone, for images with and without labels."""

from segmi.losses.unsupervised.entropy_minimization import EntropyMinimization, entropy_minimization
from segmi.losses.unsupervised.information_maximization import InformationMaximization, information_maximization
from segmi.losses.unsupervised.invariant_information import InvariantInformation, invariant_information
from segmi.losses.unsupervised.local_invariant_information import LocalInvariantInformation, local_invariant_information
from segmi.losses.unsupervised.marginal_prior import MarginalPrior, marginal_prior

__all__ = [
    "EntropyMinimization", "InformationMaximization", "InvariantInformation", "LocalInvariantInformation",
    "MarginalPrior", "entropy_minimization", "information_maximization", "invariant_information",
    "local_invariant_information", "marginal_prior",
]  # fmt: skip
