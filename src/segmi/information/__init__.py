"""Information quantities in nats on plain tensors: of discrete distributions and tables, and of Gaussian vectors.

Nothing here knows of images or networks; everything is usable alone.
"""

from segmi.information.discrete import (
    conditional_entropy,
    empirical_distribution,
    entropy,
    jensen_shannon_divergence,
    joint_entropy,
    kl_divergence,
    kl_divergence_of_logs,
    mutual_information,
    self_information,
)
from segmi.information.gaussian import (
    canonical_correlations,
    conditional_cholesky,
    gaussian_conditional_entropy,
    gaussian_entropy,
    gaussian_mutual_information,
)

__all__ = [
    "canonical_correlations",
    "conditional_cholesky",
    "conditional_entropy",
    "empirical_distribution",
    "entropy",
    "gaussian_conditional_entropy",
    "gaussian_entropy",
    "gaussian_mutual_information",
    "jensen_shannon_divergence",
    "joint_entropy",
    "kl_divergence",
    "kl_divergence_of_logs",
    "mutual_information",
    "self_information",
]
