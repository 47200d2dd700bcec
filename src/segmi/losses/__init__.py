"""Scalars to be minimized, from logits and labels: one file per loss.

Use one as ``loss(logits, labels)`` in any training loop, or build what a cohort is trained on with `build_objective`.
"""

from segmi.losses.base import CallableLoss, Diagnostic, Loss, Objective, Outputs, PerNetwork, Term
from segmi.losses.build import LOSSES, build_objective, known_losses
from segmi.losses.class_counts import ClassCounts
from segmi.losses.distillation.channel_wise_distillation import ChannelWiseDistillation, channel_wise_distillation
from segmi.losses.distillation.contrastive_distillation import ContrastiveDistillation, info_nce_per_pair
from segmi.losses.distillation.dist import DIST, dist
from segmi.losses.distillation.distillation import Distillation, distillation
from segmi.losses.distillation.ensemble_teacher import EnsembleTeacher, ensemble_teacher
from segmi.losses.distillation.jensen_shannon import JensenShannon, jensen_shannon
from segmi.losses.distillation.mutual_learning import MutualLearning, mutual_learning
from segmi.losses.distillation.shuffled_teacher import ShuffledTeacher, shuffled_teacher
from segmi.losses.distillation.variational_information_distillation import (
    VariationalInformationDistillation,
    gaussian_negative_log_likelihood,
)
from segmi.losses.label_information.conditional_information import ConditionalInformation, conditional_information
from segmi.losses.label_information.determinant_information import DeterminantInformation, determinant_information
from segmi.losses.label_information.normalized_conditional_information import (
    NormalizedConditionalInformation,
    normalized_conditional_information,
)
from segmi.losses.label_information.probability_corrected import ProbabilityCorrected, probability_corrected
from segmi.losses.label_information.soft_confusion import SoftConfusion, soft_confusion
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
from segmi.losses.representation.information_bottleneck import InformationBottleneck, bottleneck_rate
from segmi.losses.representation.pixel_contrast import PixelContrast, supervised_contrastive
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
from segmi.losses.unsupervised.entropy_minimization import EntropyMinimization, entropy_minimization
from segmi.losses.unsupervised.information_maximization import InformationMaximization, information_maximization
from segmi.losses.unsupervised.invariant_information import InvariantInformation, invariant_information
from segmi.losses.unsupervised.local_invariant_information import (
    LocalInvariantInformation,
    local_invariant_information,
)
from segmi.losses.unsupervised.marginal_prior import MarginalPrior, marginal_prior
from segmi.losses.weighted_sum import WeightedSum

__all__ = [
    "DIST",
    "LOSSES",
    "AffinityFields",
    "BalancedCrossEntropy",
    "BinaryCrossEntropy",
    "CallableLoss",
    "ChannelWiseDistillation",
    "ClassCounts",
    "ConditionalInformation",
    "ConfidencePenalty",
    "ContrastiveDistillation",
    "CrossEntropy",
    "DeterminantInformation",
    "Diagnostic",
    "Dice",
    "Distillation",
    "EnsembleTeacher",
    "EntropyMinimization",
    "Focal",
    "InformationBottleneck",
    "InformationMaximization",
    "InvariantInformation",
    "JensenShannon",
    "LabelSmoothing",
    "LocalInvariantInformation",
    "Loss",
    "LovaszSoftmax",
    "MarginalPrior",
    "MutualLearning",
    "NormalizedConditionalInformation",
    "Objective",
    "Outputs",
    "PerNetwork",
    "PixelContrast",
    "ProbabilityCorrected",
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
    "ShuffledTeacher",
    "SoftConfusion",
    "Term",
    "VariationalInformationDistillation",
    "WeightedCrossEntropy",
    "WeightedSum",
    "affinity_fields",
    "balanced_cross_entropy",
    "binary_cross_entropy",
    "bottleneck_rate",
    "build_objective",
    "channel_wise_distillation",
    "conditional_information",
    "confidence_penalty",
    "cross_entropy",
    "determinant_information",
    "dice",
    "dist",
    "distillation",
    "ensemble_teacher",
    "entropy_minimization",
    "focal",
    "gaussian_negative_log_likelihood",
    "info_nce_per_pair",
    "information_maximization",
    "invariant_information",
    "jensen_shannon",
    "known_losses",
    "label_smoothing",
    "local_invariant_information",
    "lovasz_softmax",
    "marginal_prior",
    "mutual_learning",
    "normalized_conditional_information",
    "probability_corrected",
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
    "shuffled_teacher",
    "soft_confusion",
    "supervised_contrastive",
    "weighted_cross_entropy",
]
