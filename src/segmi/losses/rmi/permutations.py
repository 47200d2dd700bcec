"""Region mutual information of maps whose pixels are in disorder: what is left without space, and without pairing."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from torch import Tensor

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


def region_permuted_pixels(
    logits: Logits, labels: Labels, *, seed: int = 0, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """Region mutual information after the pixels of an image are put into a random order, label and probability alike.

    What it takes away: spatial structure. Every pixel keeps its label and its probability, but its neighbors are any
    pixels of the image. With one pixel per window it is the original, exactly. What training gains by it, region
    mutual information does not gain by neighborhoods.

    The order is that of the pooled maps, and of their valid cells only; ignored cells stay where they are. It is a
    function of ``seed`` and of the labels of the image: the same crop is always permuted alike.

    It does not see what the original does not, and constant predictions and absent classes are as there. Shifts cost
    here what they cost at R = 1.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.
        seed: of the order.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: as `region_mutual_information`.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> shifted = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1).roll(1, -1)
        >>> region_permuted_pixels(shifted, labels), region_permuted_pixels(shifted, labels, radius=1)
        (tensor(2.2929), tensor(2.6856))
    """
    config = RMIConfig(shuffle="pixels", seed=seed, **options)
    return surrogate_term(logits, labels, config, ignore_index).value


def region_shuffled_labels(
    logits: Logits, labels: Labels, *, seed: int = 0, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """Region mutual information with labels in a random order, probabilities as they are: there is nothing to learn.

    What it takes away: the pairing of label and prediction. A method that gains by it gains by something else than
    information, such as noise in the gradient or another effective learning rate. Its value is that of a constant
    prediction but for chance, which is the larger the more pixels a window has.

    The order is that of the pooled maps, and of their valid cells only; ignored cells stay where they are. It is a
    function of ``seed`` and of the labels of the image: one order for all images could be learned by heart.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.
        seed: of the order.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: as `region_mutual_information`.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_shuffled_labels(perfect, labels), region_shuffled_labels(0 * perfect, labels)
        (tensor(3.5235), tensor(3.5874))
    """
    config = RMIConfig(shuffle="labels", seed=seed, **options)
    return surrogate_term(logits, labels, config, ignore_index).value


class _Shuffled(RegionSurrogate):
    """Abstract: with a seed. The order that it shuffles into hangs on the number of the class."""

    invariances = ()

    def __init__(
        self,
        *,
        seed: int = 0,
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
        self.config = replace(self.config, seed=seed)


class RegionPermutedPixels(_Shuffled):
    """`region_permuted_pixels` as a module; but for the seed its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: none that the shuffle leaves exact but the offset and complement of each class's map: its order
        hangs on the number of the class.
    Degenerate solutions: the complement; a constant map is stationary.
    Cost: that of region mutual information, and a shuffle of label and probability.
    """

    shuffle = "pixels"


class RegionShuffledLabels(_Shuffled):
    """`region_shuffled_labels` as a module; but for the seed its options are those of `RegionMutualInformation`.

    Assumes: nothing: it is there to show that nothing is gained.
    Invariances: as `RegionPermutedPixels`.
    Degenerate solutions: all: label and prediction have nothing to do with each other. What a network can gain is
        chance, by maps that vary enough to correlate with anything.
    Cost: that of region mutual information, and a shuffle of the label.
    """

    shuffle = "labels"
