"""The table of objectives by name, and how plain data becomes an objective."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from torch import nn

from segmi.errors import UsageError, nearest, unknown_name
from segmi.objectives.binary_cross_entropy import BinaryCrossEntropy
from segmi.objectives.contract import Loss, Objective, PerMember
from segmi.objectives.controls.affinity_fields import AffinityFields
from segmi.objectives.controls.balanced_cross_entropy import BalancedCrossEntropy
from segmi.objectives.controls.channel_wise_distillation import ChannelWiseDistillation
from segmi.objectives.controls.confidence_penalty import ConfidencePenalty
from segmi.objectives.controls.dice import Dice
from segmi.objectives.controls.dist import DIST
from segmi.objectives.controls.focal import Focal
from segmi.objectives.controls.label_smoothing import LabelSmoothing
from segmi.objectives.controls.lovasz_softmax import LovaszSoftmax
from segmi.objectives.controls.shuffled_teacher import ShuffledTeacher
from segmi.objectives.controls.weighted_cross_entropy import WeightedCrossEntropy
from segmi.objectives.cross_entropy import CrossEntropy
from segmi.objectives.dependence.conditional_information import ConditionalInformation
from segmi.objectives.dependence.determinant_information import DeterminantInformation
from segmi.objectives.dependence.normalised_conditional_information import NormalisedConditionalInformation
from segmi.objectives.dependence.probability_corrected import ProbabilityCorrected
from segmi.objectives.dependence.soft_confusion import SoftConfusion
from segmi.objectives.peers.contrastive_distillation import ContrastiveDistillation
from segmi.objectives.peers.distillation import Distillation
from segmi.objectives.peers.ensemble_teacher import EnsembleTeacher
from segmi.objectives.peers.jensen_shannon import JensenShannon
from segmi.objectives.peers.mutual_learning import MutualLearning
from segmi.objectives.peers.variational_information_distillation import VariationalInformationDistillation
from segmi.objectives.prediction.entropy_minimisation import EntropyMinimisation
from segmi.objectives.prediction.information_maximisation import InformationMaximisation
from segmi.objectives.prediction.invariant_information import InvariantInformation
from segmi.objectives.prediction.local_invariant_information import LocalInvariantInformation
from segmi.objectives.prediction.marginal_prior import MarginalPrior
from segmi.objectives.region_correlations import RegionCCATrace, RegionCKA, RegionCovarianceMatching
from segmi.objectives.region_matched_bound import RegionMatchedBound
from segmi.objectives.region_mutual_information import RegionMutualInformation
from segmi.objectives.region_residuals import RegionDiagonal, RegionErrorDeterminant, RegionLogMSE, RegionOwnPixel
from segmi.objectives.region_shuffles import RegionPermutedPixels, RegionShuffledLabels
from segmi.objectives.representation.information_bottleneck import InformationBottleneck
from segmi.objectives.representation.pixel_contrast import PixelContrast
from segmi.objectives.rmi_loss import RMILoss
from segmi.objectives.weighted_sum import WeightedSum

OBJECTIVES: Final[dict[str, type[Loss] | type[Objective]]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "region_mutual_information": RegionMutualInformation,
    "rmi_loss": RMILoss,
    "mutual_learning": MutualLearning,
    "region_permuted_pixels": RegionPermutedPixels,
    "region_shuffled_labels": RegionShuffledLabels,
    "region_diagonal": RegionDiagonal,
    "region_own_pixel": RegionOwnPixel,
    "region_error_determinant": RegionErrorDeterminant,
    "region_log_mse": RegionLogMSE,
    "region_cca_trace": RegionCCATrace,
    "region_cka": RegionCKA,
    "region_covariance_matching": RegionCovarianceMatching,
    "region_matched_bound": RegionMatchedBound,
    "soft_confusion": SoftConfusion,
    "determinant_information": DeterminantInformation,
    "conditional_information": ConditionalInformation,
    "normalised_conditional_information": NormalisedConditionalInformation,
    "probability_corrected": ProbabilityCorrected,
    "information_maximisation": InformationMaximisation,
    "marginal_prior": MarginalPrior,
    "entropy_minimisation": EntropyMinimisation,
    "invariant_information": InvariantInformation,
    "local_invariant_information": LocalInvariantInformation,
    "weighted_cross_entropy": WeightedCrossEntropy,
    "balanced_cross_entropy": BalancedCrossEntropy,
    "focal": Focal,
    "dice": Dice,
    "lovasz_softmax": LovaszSoftmax,
    "label_smoothing": LabelSmoothing,
    "confidence_penalty": ConfidencePenalty,
    "affinity_fields": AffinityFields,
    "ensemble_teacher": EnsembleTeacher,
    "jensen_shannon": JensenShannon,
    "distillation": Distillation,
    "variational_information_distillation": VariationalInformationDistillation,
    "contrastive_distillation": ContrastiveDistillation,
    "shuffled_teacher": ShuffledTeacher,
    "channel_wise_distillation": ChannelWiseDistillation,
    "dist": DIST,
    "pixel_contrast": PixelContrast,
    "information_bottleneck": InformationBottleneck,
}
"""The objectives of segmi by name. A `Loss` applies to every trained member, an `Objective` sees them all."""

_GIVEN: Final = ("name", "weight", "frozen")


def known_objectives() -> dict[str, type[nn.Module]]:
    """`OBJECTIVES`, and those that installed packages offer as entry points of the group ``segmi.objectives``."""
    offered = {entry.name: entry.load() for entry in entry_points(group="segmi.objectives")}
    return {**offered, **OBJECTIVES}


def build_objective(
    specification: Mapping[str, Mapping[str, Any] | None], *, members: Sequence[str], frozen: Sequence[str] = ()
) -> Objective:
    """The objective that plain data describes.

    Args:
        specification: by name in `known_objectives`, the options of its class and, optionally, its ``weight``.
        members: the names of all networks of the cohort.
        frozen: those of them that are not trained.

    Returns:
        A `WeightedSum`, in the order of the specification.

    Raises:
        UsageError: an unknown name or option, a value that the class refuses, or members that do not suffice.

    Example:
        >>> both = {"cross_entropy": {}, "rmi_loss": {"weight": 0.1, "radius": 5}}
        >>> [part.loss for part in build_objective(both, members=["unet"]).objectives]
        [CrossEntropy(), RMILoss(
          (region): RegionMutualInformation()
        )]
    """
    if not specification:
        raise UsageError("objective: expected at least one objective, got none", "name one, such as cross_entropy")
    strangers = [name for name in frozen if name not in members]
    if strangers:
        raise UsageError(f"frozen: expected members of the cohort, got {', '.join(strangers)}", f"use {list(members)}")
    if set(members) <= set(frozen):
        raise UsageError("frozen: expected a member that is trained, got none", "take one out of frozen")
    return WeightedSum([_built(name, dict(options or {}), members, frozen) for name, options in specification.items()])


def _built(name: str, options: dict[str, Any], members: Sequence[str], frozen: Sequence[str]) -> Objective:
    known = known_objectives()
    if name not in known:
        raise unknown_name("objective", name, known)
    weight = options.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UsageError(f"objective {name}, weight: expected a number, got {weight!r}", "leave it out for 1")
    kind = known[name]
    _check_options(name, kind, options)
    if issubclass(kind, Objective):
        _check_members(name, kind, members, frozen)
    try:
        if issubclass(kind, Objective):
            made = kind(name=name, weight=float(weight), frozen=tuple(frozen), **options)
            _check_layers(name, made, members)
            return made
        learning = [member for member in members if member not in frozen]
        return PerMember(kind(**options), name, weight=float(weight), frozen=tuple(frozen), members=learning)
    except (TypeError, ValueError) as error:
        raise UsageError(f"objective {name}: {error}") from error


def _check_members(name: str, kind: type[Objective], members: Sequence[str], frozen: Sequence[str]) -> None:
    if "peers" in kind.needs and len(members) < 2:
        raise UsageError(f"objective {name}: expected two or more members, got {list(members)}", "add a member")
    if "teacher" in kind.needs and not frozen:
        raise UsageError(
            f"objective {name}: expected a frozen member that teaches, got {list(members)}, all of which learn",
            "name the teacher under frozen",
        )


def _check_layers(name: str, objective: Objective, members: Sequence[str]) -> None:
    """Members of whose layers it speaks are there, one that learns among them, and one that teaches where it must."""
    wanted = objective.layers()
    for member in wanted:
        if member not in members:
            raise unknown_name(f"member under layers of {name}:", member, members)
    frozen = getattr(objective, "frozen", ())
    learning, teaching = ([m for m in wanted if (m in frozen) is role] for role in (False, True))
    if "features" in objective.needs and not learning:
        raise UsageError(f"layers: expected a layer of a member that learns, got those of {list(wanted)}")
    if wanted and "teacher" in objective.needs and not teaching:
        raise UsageError(f"layers: expected a layer of the teacher too, got those of {list(wanted)}")


def _check_options(name: str, kind: type[nn.Module], options: Mapping[str, Any]) -> None:
    accepted = [option for option in inspect.signature(kind).parameters if option not in _GIVEN]
    for option in options:
        if option not in accepted:
            guess = nearest(option, accepted)
            remedy = (f"did you mean {guess!r}? " if guess else "") + f"Known: weight, {', '.join(accepted)}"
            raise UsageError(f"objective {name}: unknown option {option!r}", remedy)
