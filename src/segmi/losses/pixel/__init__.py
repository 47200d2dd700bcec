"""Losses on pixels: cross-entropies, overlap losses and regularizers of the prediction."""

from segmi.losses.pixel.affinity_fields import AffinityFields, affinity_fields
from segmi.losses.pixel.balanced_cross_entropy import BalancedCrossEntropy, balanced_cross_entropy
from segmi.losses.pixel.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from segmi.losses.pixel.confidence_penalty import ConfidencePenalty, confidence_penalty
from segmi.losses.pixel.cross_entropy import CrossEntropy, cross_entropy
from segmi.losses.pixel.dice import Dice, dice
from segmi.losses.pixel.focal import Focal, focal
from segmi.losses.pixel.label_smoothing import LabelSmoothing, label_smoothing
from segmi.losses.pixel.lovasz_softmax import LovaszSoftmax, lovasz_softmax
from segmi.losses.pixel.weighted_cross_entropy import WeightedCrossEntropy, weighted_cross_entropy

__all__ = [
    "AffinityFields", "BalancedCrossEntropy", "BinaryCrossEntropy", "ConfidencePenalty", "CrossEntropy", "Dice",
    "Focal", "LabelSmoothing", "LovaszSoftmax", "WeightedCrossEntropy", "affinity_fields", "balanced_cross_entropy",
    "binary_cross_entropy", "confidence_penalty", "cross_entropy", "dice", "focal", "label_smoothing", "lovasz_softmax",
    "weighted_cross_entropy",
]  # fmt: skip
