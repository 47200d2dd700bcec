"""What all surrogates of region mutual information share: the options of the original, and how they are counted."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from segmi.arrays import VOID, Labels, Logits
from segmi.objectives._region_knobs import (
    ClassReduction,
    Mode,
    Pooling,
    Probability,
    Quantity,
    RegionKnobs,
    Shuffle,
    VoidHandling,
)
from segmi.objectives.contract import Invariance, Loss, Term
from segmi.objectives.region_mutual_information import region_denominator, region_mutual_information_term


class RegionSurrogate(Loss):
    """A surrogate as a module; abstract: a subclass says what it computes instead, or what it shuffles.

    Its options are those of `segmi.objectives.RegionMutualInformation`.
    """

    family = "region"
    invariances: tuple[Invariance, ...] = ("class names",)

    quantity: ClassVar[Quantity] = "information"
    shuffle: ClassVar[Shuffle] = "none"

    def __init__(
        self,
        *,
        radius: int = 3,
        mode: Mode = "reference",
        probability: Probability = "sigmoid",
        pooling: Pooling = "none",
        stride: int = 1,
        misregistered: bool = False,
        void: VoidHandling | None = None,
        class_reduction: ClassReduction | None = None,
        alpha: float = 5e-4,
        relative_ridge: float = 1e-3,
        ignore_index: int = VOID,
    ) -> None:
        super().__init__()
        self.config = RegionKnobs(
            radius=radius,
            mode=mode,
            probability=probability,
            pooling=pooling,
            stride=stride,
            misregistered=misregistered,
            void=void,
            class_reduction=class_reduction,
            alpha=alpha,
            relative_ridge=relative_ridge,
            quantity=self.quantity,
            shuffle=self.shuffle,
        )
        self.ignore_index = ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over what is averaged, pictures or pairs, and their number; shows what the original shows."""
        return surrogate_term(logits, labels, self.config, self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of pictures or of pairs."""
        return {"": region_denominator(logits, labels, self.config, self.ignore_index)}


def surrogate_term(logits: Logits, labels: Labels, config: RegionKnobs, ignore_index: int) -> Term:
    """`RegionKnobs.quantity` of these maps as a ratio."""
    return region_mutual_information_term(logits, labels, config, ignore_index)[0]
