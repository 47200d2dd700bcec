"""Region mutual information brought to a given value, neither more nor less."""

from __future__ import annotations

import math
from typing import Unpack

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.rmi.config import (
    ClassReduction,
    IgnoredHandling,
    Pooling,
    Probability,
    RegionOptions,
    RMIConfig,
    Variant,
)
from segmi.losses.rmi.surrogate import RegionSurrogate, surrogate_term
from segmi.types import IGNORE_INDEX, Labels, Logits


def region_matched_bound(
    logits: Logits, labels: Labels, *, target: float, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """The distance of region mutual information from a target.

    ``L = |L_RMI - t|``

    What it asks: whether networks, losses or windows that reach the same bound segment equally well. If not, the
    bound is not the reason. Targets of different crops and datasets are comparable in the variant ``corrected``, where
    ``-t`` is the information in nats per window pixel.

    It does not see what the original does not. At the target, at a constant prediction, and where all classes are
    absent, it is stationary.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.
        target: t, a value of `region_mutual_information` with these options.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized; at least 0. An empty batch (and, where ``corrected``, one without
    anything to predict) gives 0. It is the mean over the images of a batch that is compared, so batches cannot be
    accumulated.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`; ValueError for a target that is no number.

    Source: Tschannen, Djolonga, Rubenstein, Gelly and Lucic, *On Mutual Information Maximization for Representation
    Learning*, ICLR 2020, section 3.3.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_matched_bound(0 * perfect, labels, target=-0.5, variant="corrected")
        tensor(0.5000)
    """
    return _matched(surrogate_term(logits, labels, RMIConfig(**options), ignore_index), _number(target)).value


def _number(target: float) -> float:
    if isinstance(target, str) or not math.isfinite(target):
        raise ValueError(
            f"target: expected a number, got {target!r}; choose a value that region_mutual_information takes with the "
            "same options"
        )
    return float(target)


def _matched(term: Term, target: float) -> Term:
    return term._replace(numerator=(term.numerator - target * term.denominator).abs())


class RegionMatchedBound(RegionSurrogate):
    """`region_matched_bound` as a module; but for the target its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, with the same options, of which the target is a value.
    Invariances: those of region mutual information.
    Degenerate solutions: every network whose bound is the target, good or bad: that is what is asked.
    Cost: that of region mutual information.

    Args:
        target: the value to reach.
    """

    scope = "batch"

    def __init__(
        self,
        *,
        target: float,
        radius: int = 3,
        variant: Variant = "published",
        probability: Probability = "sigmoid",
        pooling: Pooling = "none",
        stride: int = 1,
        legacy_interpolation: bool = False,
        ignored: IgnoredHandling | None = None,
        class_reduction: ClassReduction | None = None,
        alpha: float = 5e-4,
        relative_ridge: float = 1e-3,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(
            radius=radius,
            variant=variant,
            probability=probability,
            pooling=pooling,
            stride=stride,
            legacy_interpolation=legacy_interpolation,
            ignored=ignored,
            class_reduction=class_reduction,
            alpha=alpha,
            relative_ridge=relative_ridge,
            ignore_index=ignore_index,
        )
        self.target = _number(target)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The distance from the target, times what is averaged over."""
        return _matched(super().term(logits, labels), self.target)
