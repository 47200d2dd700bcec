"""Information quantities of discrete distributions and of joint tables.

A *distribution* has probabilities along one dimension, ``dim``; a *table* has the joint probabilities of (X, Y) in its
last two dimensions, X along the rows and Y along the columns. All other dimensions are a batch. Results are in nats
unless ``base`` is given, in float32 for half-precision input. ``0 log 0 = 0``, and an entry of probability 0 has no
gradient, where the one-sided derivative is infinite. ``check=False`` skips the checks of values, which synchronize a
GPU.

Source of the definitions: Cover and Thomas, *Elements of Information Theory*, 2nd edition, chapter 2, whose equation
numbers are given.
"""

from segmi.information.discrete.distributions import (
    cross_entropy,
    entropy,
    jensen_shannon_divergence,
    jensen_shannon_divergence_of_logs,
    kl_divergence,
    kl_divergence_of_logs,
    self_information,
)
from segmi.information.discrete.predictions import (
    PredictionSums,
    barber_agakov_bound,
    class_separation,
    conditional_prediction_mutual_information,
    label_entropy,
    normalized_conditional_mutual_information,
    prediction_cross_entropy,
    prediction_mutual_information,
    prediction_sums,
    soft_confusion,
    soft_confusion_mutual_information,
)
from segmi.information.discrete.tables import (
    conditional_entropy,
    conditional_mutual_information,
    empirical_distribution,
    entropy_of_counts,
    joint_entropy,
    log_determinant_mutual_information,
    mutual_information,
    mutual_information_of_counts,
)

__all__ = [
    "PredictionSums", "barber_agakov_bound", "class_separation", "conditional_entropy",
    "conditional_mutual_information", "conditional_prediction_mutual_information", "cross_entropy",
    "empirical_distribution", "entropy", "entropy_of_counts", "jensen_shannon_divergence",
    "jensen_shannon_divergence_of_logs", "joint_entropy", "kl_divergence", "kl_divergence_of_logs", "label_entropy",
    "log_determinant_mutual_information", "mutual_information", "mutual_information_of_counts",
    "normalized_conditional_mutual_information", "prediction_cross_entropy", "prediction_mutual_information",
    "prediction_sums", "self_information", "soft_confusion", "soft_confusion_mutual_information",
]  # fmt: skip
