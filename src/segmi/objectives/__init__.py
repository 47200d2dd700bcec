"""Scalars to be minimised, from logits and labels: one file per objective.

Use one as ``loss(logits, labels)`` in any training loop, or build what a cohort is trained on with `build_objective`.
"""

from segmi.objectives._region_plain import region_mutual_information_plain
from segmi.objectives.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from segmi.objectives.build import OBJECTIVES, build_objective, known_objectives
from segmi.objectives.contract import Loss, Objective, Outputs, PerMember, Readout, TakesClassCounts, Term
from segmi.objectives.controls.affinity_fields import AffinityFields, affinity_fields
from segmi.objectives.controls.balanced_cross_entropy import BalancedCrossEntropy, balanced_cross_entropy
from segmi.objectives.controls.channel_wise_distillation import ChannelWiseDistillation, channel_wise_distillation
from segmi.objectives.controls.confidence_penalty import ConfidencePenalty, confidence_penalty
from segmi.objectives.controls.dice import Dice, dice
from segmi.objectives.controls.dist import DIST, dist
from segmi.objectives.controls.focal import Focal, focal
from segmi.objectives.controls.label_smoothing import LabelSmoothing, label_smoothing
from segmi.objectives.controls.lovasz_softmax import LovaszSoftmax, lovasz_softmax
from segmi.objectives.controls.shuffled_teacher import ShuffledTeacher, shuffled_teacher
from segmi.objectives.controls.weighted_cross_entropy import WeightedCrossEntropy, weighted_cross_entropy
from segmi.objectives.cross_entropy import CrossEntropy, cross_entropy
from segmi.objectives.dependence.conditional_information import ConditionalInformation, conditional_information
from segmi.objectives.dependence.determinant_information import DeterminantInformation, determinant_information
from segmi.objectives.dependence.normalised_conditional_information import (
    NormalisedConditionalInformation,
    normalised_conditional_information,
)
from segmi.objectives.dependence.probability_corrected import ProbabilityCorrected, probability_corrected
from segmi.objectives.dependence.soft_confusion import SoftConfusion, soft_confusion
from segmi.objectives.peers.contrastive_distillation import ContrastiveDistillation, contrast_of_pairs
from segmi.objectives.peers.distillation import Distillation, distillation
from segmi.objectives.peers.ensemble_teacher import EnsembleTeacher, ensemble_teacher
from segmi.objectives.peers.jensen_shannon import JensenShannon, jensen_shannon
from segmi.objectives.peers.mutual_learning import MutualLearning, mutual_learning
from segmi.objectives.peers.variational_information_distillation import (
    VariationalInformationDistillation,
    gaussian_surprise,
)
from segmi.objectives.prediction.entropy_minimisation import EntropyMinimisation, entropy_minimisation
from segmi.objectives.prediction.information_maximisation import InformationMaximisation, information_maximisation
from segmi.objectives.prediction.invariant_information import InvariantInformation, invariant_information
from segmi.objectives.prediction.local_invariant_information import (
    LocalInvariantInformation,
    local_invariant_information,
)
from segmi.objectives.prediction.marginal_prior import MarginalPrior, marginal_prior
from segmi.objectives.region_correlations import (
    RegionCCATrace,
    RegionCKA,
    RegionCovarianceMatching,
    region_cca_trace,
    region_cka,
    region_covariance_matching,
)
from segmi.objectives.region_matched_bound import RegionMatchedBound, region_matched_bound
from segmi.objectives.region_mutual_information import (
    RegionMutualInformation,
    region_information,
    region_kernel,
    region_mutual_information,
)
from segmi.objectives.region_residuals import (
    RegionDiagonal,
    RegionErrorDeterminant,
    RegionLogMSE,
    RegionOwnPixel,
    region_diagonal,
    region_error_determinant,
    region_log_mse,
    region_own_pixel,
)
from segmi.objectives.region_shuffles import (
    RegionPermutedPixels,
    RegionShuffledLabels,
    region_permuted_pixels,
    region_shuffled_labels,
)
from segmi.objectives.representation.information_bottleneck import InformationBottleneck, rate
from segmi.objectives.representation.pixel_contrast import PixelContrast, supervised_contrast
from segmi.objectives.rmi_loss import RMILoss, rmi_loss
from segmi.objectives.weighted_sum import WeightedSum

__all__ = [
    "DIST",
    "OBJECTIVES",
    "AffinityFields",
    "BalancedCrossEntropy",
    "BinaryCrossEntropy",
    "ChannelWiseDistillation",
    "ConditionalInformation",
    "ConfidencePenalty",
    "ContrastiveDistillation",
    "CrossEntropy",
    "DeterminantInformation",
    "Dice",
    "Distillation",
    "EnsembleTeacher",
    "EntropyMinimisation",
    "Focal",
    "InformationBottleneck",
    "InformationMaximisation",
    "InvariantInformation",
    "JensenShannon",
    "LabelSmoothing",
    "LocalInvariantInformation",
    "Loss",
    "LovaszSoftmax",
    "MarginalPrior",
    "MutualLearning",
    "NormalisedConditionalInformation",
    "Objective",
    "Outputs",
    "PerMember",
    "PixelContrast",
    "ProbabilityCorrected",
    "RMILoss",
    "Readout",
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
    "TakesClassCounts",
    "Term",
    "VariationalInformationDistillation",
    "WeightedCrossEntropy",
    "WeightedSum",
    "affinity_fields",
    "balanced_cross_entropy",
    "binary_cross_entropy",
    "build_objective",
    "channel_wise_distillation",
    "conditional_information",
    "confidence_penalty",
    "contrast_of_pairs",
    "cross_entropy",
    "determinant_information",
    "dice",
    "dist",
    "distillation",
    "ensemble_teacher",
    "entropy_minimisation",
    "focal",
    "gaussian_surprise",
    "information_maximisation",
    "invariant_information",
    "jensen_shannon",
    "known_objectives",
    "label_smoothing",
    "local_invariant_information",
    "lovasz_softmax",
    "marginal_prior",
    "mutual_learning",
    "normalised_conditional_information",
    "probability_corrected",
    "rate",
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
    "supervised_contrast",
    "weighted_cross_entropy",
]
