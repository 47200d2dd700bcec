"""What all surrogates of region mutual information share: the options of the original, and how they are counted."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from segmi.losses.base import Invariance, Loss, Term
from segmi.losses.rmi.config import (
    ClassReduction,
    IgnoredHandling,
    Pooling,
    Probability,
    Quantity,
    RMIConfig,
    Shuffle,
    Variant,
)
from segmi.losses.rmi.region_mutual_information import region_denominator, region_mutual_information_term
from segmi.types import IGNORE_INDEX, Labels, Logits


class RegionSurrogate(Loss):
    """A surrogate as a module; abstract: a subclass says what it computes instead, or what it shuffles.

    Its options are those of `segmi.losses.RegionMutualInformation`.
    """

    family = "rmi"
    invariances: tuple[Invariance, ...] = ("class permutation",)

    quantity: ClassVar[Quantity] = "information"
    shuffle: ClassVar[Shuffle] = "none"

    def __init__(
        self,
        *,
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
        super().__init__()
        self.config = RMIConfig(
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
            quantity=self.quantity,
            shuffle=self.shuffle,
        )
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over what is averaged, images or pairs, and their number; shows what the original shows."""
        return surrogate_term(logits, labels, self.config, self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of images or of pairs."""
        return {"": region_denominator(logits, labels, self.config, self.ignore_index)}


def surrogate_term(logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int) -> Term:
    """`RMIConfig.quantity` of these maps as a ratio."""
    return region_mutual_information_term(logits, labels, config, ignore_index)[0]
