"""Ablations without regression or whitening, with shuffled maps, and with a target value.

For arguments, options and errors see `segmi.losses.rmi.ablations`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Unpack

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.rmi.ablations import ablation_value
from segmi.losses.rmi.loss import RegionLoss
from segmi.losses.rmi.rmi_config import Kernel, RMIOptions, expand_options
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = [
    "RegionCKA", "RegionCovarianceMatching", "RegionMatchedBound", "RegionPermutedPixels", "RegionShuffledLabels",
    "region_cka", "region_covariance_matching", "region_matched_bound", "region_permuted_pixels",
    "region_shuffled_labels",
]  # fmt: skip


@expand_options
def region_cka(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return minus the linear centered kernel alignment of label and prediction windows.

    ``L = -1/N Σ_n Σ_c ‖S_yp‖² / (‖S_yy + αI‖ ‖S_pp + αI‖)``, Frobenius norms

    Removes: whitening. Directions count by their variance, so the mean of the window dominates, and fine structure has
    almost no weight. The ridge keeps a nearly constant map without direction.

    Invariant to offsets, the complement, orthogonal maps of the predicted window and, up to α, contrast. A constant
    prediction is stationary; an absent class gives 0 without gradient. The variant ``corrected`` differs only in ridge,
    ignored pixels and reduction, since a constant prediction gives 0.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: none, minimized; between -1 and 0 per class.
    Raises: as `region_mutual_information`.
    Source: Kornblith, Norouzi, Lee and Hinton, *Similarity of Neural Network Representations Revisited*, ICML 2019.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_cka(perfect, labels), region_cka(perfect.roll(1, -1), labels)
        (tensor(-2.0000), tensor(-1.7383))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="cka")


class RegionCKA(RegionLoss):
    """`region_cka` as a module.

    Use: a control that shows whether the whitening of directions matters.
    Assumes: as region mutual information, without the removed part.
    Invariances: offset, complement and rotations of each class's window; up to the ridge its contrast.
    Degenerate solutions: the complement, the mean of a window; constant maps and absent classes are stationary.
    Cost: at most twice region mutual information.
    """

    quantity = "cka"


@expand_options
def region_covariance_matching(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return the squared distance between the covariances of prediction windows and label windows.

    ``L = 1/N Σ_n Σ_c (‖S_pp - S_yy‖² + ‖S_yp - S_yy‖²) / n²``, Frobenius norms, n windows

    Removes: the information, not second-order statistics. The first part alone would ignore the pairing of windows.

    Invariant to offsets. A constant prediction is not stationary. The map of an absent class is pulled towards a
    constant; it is not counted in the variant ``corrected`` and with the reduction ``present``. A class with few pixels
    has little weight, as these are squares of variances. ``alpha`` and ``relative_ridge`` have no effect. The variant
    ``corrected`` subtracts the value of a constant prediction, ``2 ‖S_yy‖²/n²``.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: probabilities to the fourth power, minimized; at least 0, for ``corrected`` of either sign.
    Raises: as `region_mutual_information`.
    Source: for the first part Sun and Saenko, *Deep CORAL: Correlation Alignment for Deep Domain Adaptation*, 2016.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_covariance_matching(0 * perfect, labels), region_covariance_matching(-perfect, labels)
        (tensor(7.8903), tensor(15.7806))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="covariance_matching")


class RegionCovarianceMatching(RegionLoss):
    """`region_covariance_matching` as a module.

    Use: a control that shows whether plain second-order statistics explain a gain.
    Assumes: as region mutual information, without the removed part.
    Invariances: a permutation of the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset.
    Cost: as region mutual information where every class is present; absent classes cost nearly as much as present ones.
    """

    quantity = "covariance_matching"


# --- shuffled maps: the order of cells is a function of the seed and of the labels of the image


@expand_options
def region_permuted_pixels(
    logits: Logits,
    labels: Labels,
    *,
    seed: int = 0,
    ignore_index: int | None = IGNORE_INDEX,
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return region mutual information after label and probability of an image are shuffled with the same order.

    Removes: spatial structure. Every pixel keeps its label and its probability, but its neighbors are arbitrary pixels
    of the image. With one pixel per window it equals the original. A gain that remains does not come from
    neighborhoods.

    Only valid cells of the feature grid are shuffled. Constant predictions and absent classes are as in the original; a
    shift costs as much as at R = 1. ``seed`` seeds the order: a crop is always shuffled in the same way.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: as `region_mutual_information`.
    Raises: as `region_mutual_information`.
    Source: an ablation of Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> shifted = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1).roll(1, -1)
        >>> region_permuted_pixels(shifted, labels), region_permuted_pixels(shifted, labels, radius=1)
        (tensor(2.4514), tensor(2.6856))
    """
    return ablation_value(logits, labels, ignore_index, options, shuffle="pixels", seed=seed)


@expand_options
def region_shuffled_labels(
    logits: Logits,
    labels: Labels,
    *,
    seed: int = 0,
    ignore_index: int | None = IGNORE_INDEX,
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return region mutual information with shuffled labels and unchanged probabilities, so there is nothing to learn.

    Removes: the pairing of label and prediction. A gain that remains has another reason than information, such as noise
    in the gradient or a different effective learning rate. The value equals the value of a constant prediction up to
    chance, which grows with the number of pixels per window.

    Only valid cells of the feature grid are shuffled. The order depends on ``seed`` and on the labels, since one order
    for all images could be memorized.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: as `region_mutual_information`.
    Raises: as `region_mutual_information`.
    Source: an ablation of Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_shuffled_labels(perfect, labels), region_shuffled_labels(0 * perfect, labels)
        (tensor(3.5315), tensor(3.5880))
    """
    return ablation_value(logits, labels, ignore_index, options, shuffle="labels", seed=seed)


class _ShuffledRegions(RegionLoss):
    """Abstract base of the shuffles; the order of cells depends on the class ids."""

    invariances = ()

    @expand_options
    def __init__(
        self, *, seed: int = 0, ignore_index: int | None = IGNORE_INDEX, kernel: Kernel = "auto",
        **options: Unpack[RMIOptions]
    ) -> None:  # fmt: skip
        super().__init__(ignore_index=ignore_index, kernel=kernel, **options)
        self.config = replace(self.config, seed=seed)


class RegionPermutedPixels(_ShuffledRegions):
    """`region_permuted_pixels` as a module.

    Use: a control that shows whether spatial structure matters.
    Assumes: as region mutual information, without the removed part.
    Invariances: offset and complement of each class's map; not class names, since the order depends on them.
    Degenerate solutions: the complement; a constant map is stationary.
    Cost: up to three times region mutual information, with the shuffle of label and probability.
    """

    shuffle = "pixels"


class RegionShuffledLabels(_ShuffledRegions):
    """`region_shuffled_labels` as a module.

    Use: a control that no method can gain from, because label and prediction are unrelated.
    Assumes: nothing: it shows that nothing is gained.
    Invariances: as `RegionPermutedPixels`.
    Degenerate solutions: all, since label and prediction are independent; a network can only gain by chance, with maps
        that vary enough to correlate with anything.
    Cost: up to three times region mutual information, with the shuffle of the label.
    """

    shuffle = "labels"


@expand_options
def region_matched_bound(
    logits: Logits,
    labels: Labels,
    *,
    target: float,
    ignore_index: int | None = IGNORE_INDEX,
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return the distance of region mutual information from a target.

    ``L = |L_RMI - t|``, t = ``target``

    Answers whether networks, losses or windows that reach the same bound segment equally well. If not, the bound is not
    the reason. Targets of different crops and datasets are comparable in the variant ``corrected``, where ``-t`` is the
    information in nats per window pixel.

    Has the invariances of the original. Stationary at the target, at a constant prediction, and if all classes are
    absent.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel, minimized; at least 0. An empty batch (and for ``corrected`` a batch without a
    pair that varies) gives 0. The mean over the images of a batch is compared, so batches cannot be accumulated.
    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`; ValueError for a target that is not finite.
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
    return RegionMatchedBound(target=target, ignore_index=ignore_index, **options)(logits, labels)


def _number(target: float) -> float:
    if isinstance(target, str) or not math.isfinite(target):
        raise ValueError(
            f"target: expected a number, got {target!r}. Fix: use a value of region_mutual_information with the same "
            "options."
        )
    return float(target)


def _distance(term: Term, target: float) -> Term:
    return term._replace(numerator=(term.numerator - target * term.denominator).abs())


class RegionMatchedBound(RegionLoss):
    """`region_matched_bound` as a module.

    Use: a control that shows whether networks with the same bound segment equally well.
    Assumes: as region mutual information with the same options; the target is one of its values.
    Invariances: as region mutual information.
    Degenerate solutions: every network whose bound equals the target, good or bad, which is the purpose.
    Cost: as region mutual information.

    Args:
        target: the value to reach; for the others see `RegionMutualInformation`.
    """

    scope = "batch"

    @expand_options
    def __init__(
        self, *, target: float, ignore_index: int | None = IGNORE_INDEX, kernel: Kernel = "auto",
        **options: Unpack[RMIOptions]
    ) -> None:  # fmt: skip
        super().__init__(ignore_index=ignore_index, kernel=kernel, **options)
        self.target = _number(target)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the distance from the target, times the number of images or pairs."""
        return _distance(super().term(logits, labels), self.target)
