"""Losses on the dependence of predictions and labels over a whole batch."""

from segmi.losses.label_information.conditional_information import ConditionalInformation, conditional_information
from segmi.losses.label_information.determinant_information import DeterminantInformation, determinant_information
from segmi.losses.label_information.normalized_conditional_information import (
    NormalizedConditionalInformation,
    normalized_conditional_information,
)
from segmi.losses.label_information.probability_corrected import ProbabilityCorrected, probability_corrected
from segmi.losses.label_information.soft_confusion import SoftConfusion, soft_confusion

__all__ = [
    "ConditionalInformation", "DeterminantInformation", "NormalizedConditionalInformation", "ProbabilityCorrected",
    "SoftConfusion", "conditional_information", "determinant_information", "normalized_conditional_information",
    "probability_corrected", "soft_confusion",
]  # fmt: skip
