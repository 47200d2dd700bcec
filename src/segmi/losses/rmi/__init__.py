"""Region mutual information: the loss, its options, its reference, and ablations.

`loss` and `combined_loss` have the public losses, `rmi_config` their options. `dispatch` selects the routine: `torch`
(PyTorch), `cpu` (Numba) or `cuda` (Triton).
"""

from segmi.losses.rmi.ablation_controls import (
    RegionCKA,
    RegionCovarianceMatching,
    RegionMatchedBound,
    RegionPermutedPixels,
    RegionShuffledLabels,
    region_cka,
    region_covariance_matching,
    region_matched_bound,
    region_permuted_pixels,
    region_shuffled_labels,
)
from segmi.losses.rmi.ablations import (
    RegionCCATrace,
    RegionDiagonal,
    RegionErrorDeterminant,
    RegionLogMSE,
    RegionOwnPixel,
    region_cca_trace,
    region_diagonal,
    region_error_determinant,
    region_log_mse,
    region_own_pixel,
)
from segmi.losses.rmi.combined_loss import RMILoss, rmi_loss
from segmi.losses.rmi.dispatch import region_kernel
from segmi.losses.rmi.loss import RegionMutualInformation, region_information, region_mutual_information
from segmi.losses.rmi.reference import region_mutual_information_plain
from segmi.losses.rmi.rmi_config import RMIConfig

__all__ = [
    "RMIConfig",
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
]
