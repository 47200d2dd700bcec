"""Losses to minimize, computed from logits and labels: one file per loss.

Use a loss as ``loss(logits, labels)`` in any training loop, or train a cohort of networks with `build_objective`.
"""

# ruff: noqa: F403 — the subpackages list their public names
from segmi.losses.base import CallableLoss, Diagnostic, Loss, Objective, Outputs, PerNetwork, PixelLoss, Term
from segmi.losses.build import LOSSES, build_objective, known_losses
from segmi.losses.class_counts import ClassCounts
from segmi.losses.distillation import *
from segmi.losses.distillation import __all__ as _distillation
from segmi.losses.label_information import *
from segmi.losses.label_information import __all__ as _label_information
from segmi.losses.pixel import *
from segmi.losses.pixel import __all__ as _pixel
from segmi.losses.representation import *
from segmi.losses.representation import __all__ as _representation
from segmi.losses.rmi.correlations import (
    RegionCCATrace,
    RegionCKA,
    RegionCovarianceMatching,
    region_cca_trace,
    region_cka,
    region_covariance_matching,
)
from segmi.losses.rmi.matched_bound import RegionMatchedBound, region_matched_bound
from segmi.losses.rmi.permutations import (
    RegionPermutedPixels,
    RegionShuffledLabels,
    region_permuted_pixels,
    region_shuffled_labels,
)
from segmi.losses.rmi.reference import region_mutual_information_plain
from segmi.losses.rmi.region_mutual_information import (
    RegionMutualInformation,
    region_information,
    region_kernel,
    region_mutual_information,
)
from segmi.losses.rmi.residuals import (
    RegionDiagonal,
    RegionErrorDeterminant,
    RegionLogMSE,
    RegionOwnPixel,
    region_diagonal,
    region_error_determinant,
    region_log_mse,
    region_own_pixel,
)
from segmi.losses.rmi.rmi_loss import RMILoss, rmi_loss
from segmi.losses.unsupervised import *
from segmi.losses.unsupervised import __all__ as _unsupervised
from segmi.losses.weighted_sum import WeightedSum

__all__ = [
    *_distillation,
    *_label_information,
    *_pixel,
    *_representation,
    *_unsupervised,
    "LOSSES",
    "CallableLoss",
    "ClassCounts",
    "Diagnostic",
    "Loss",
    "Objective",
    "Outputs",
    "PerNetwork",
    "PixelLoss",
    "RMILoss",
    "RegionCCATrace",
    "RegionCKA",
    "RegionCovarianceMatching",
    "RegionDiagonal",
    "RegionErrorDeterminant",
    "RegionLogMSE",
    "RegionMatchedBound",
    "RegionMutualInformation",
    "RegionOwnPixel",
    "RegionPermutedPixels",
    "RegionShuffledLabels",
    "region_cca_trace",
    "region_cka",
    "region_covariance_matching",
    "region_diagonal",
    "region_error_determinant",
    "region_information",
    "region_kernel",
    "region_log_mse",
    "region_matched_bound",
    "region_mutual_information",
    "region_mutual_information_plain",
    "region_own_pixel",
    "region_permuted_pixels",
    "region_shuffled_labels",
    "rmi_loss",
    "Term",
    "WeightedSum",
    "build_objective",
    "known_losses",
]
