"""What label and prediction regions have in common, without the logarithm of a determinant.

One file for three: they are the steps from region mutual information down to plain second-order statistics.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from segmi.losses.rmi.config import RegionOptions, RMIConfig
from segmi.losses.rmi.surrogate import RegionSurrogate, surrogate_term
from segmi.types import IGNORE_INDEX, Labels, Logits


def region_cca_trace(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """The mean square of the canonical correlations of label and prediction windows.

    ``L = -1/(N d) Σ_n Σ_c ½ tr((S_yy + αI)⁻¹ S_yp (S_pp + αI)⁻¹ S_ypᵀ) = -1/(N d) Σ_n Σ_c ½ Σ_i ρ_i²``

    What it takes away: the logarithm. Region mutual information is ``½ Σ_i log(1 - ρ_i²)`` up to a constant, which this
    is for small ρ. There a direction that is nearly predicted is worth ever more; here a correlation counts for what it
    is, and the gradient stays small near the truth.

    It does not see what the original does not: offsets, the complement, any linear map of the predicted window (up to
    α). A constant prediction is stationary; an absent class is 0 without gradient.

    The mode ``corrected`` differs in ridge, ignored and reduction only: a constant prediction is 0 anyway.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel (to first order), minimized; between -½ and 0 per class.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: Pillai, *Some new test criteria in multivariate analysis*, Annals of Mathematical Statistics 26, 1955, for
    the trace; Hotelling, *Relations between two sets of variates*, Biometrika 28, 1936, for the correlations.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_cca_trace(perfect, labels), region_cca_trace(perfect.roll(1, -1), labels)
        (tensor(-0.9995), tensor(-0.6693))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="cca_trace", **options), ignore_index).value


class RegionCCATrace(RegionSurrogate):
    """`region_cca_trace` as a module; its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: those of region mutual information.
    Degenerate solutions: those of region mutual information.
    Cost: that of region mutual information, whose moments it takes.
    """

    quantity = "cca_trace"


def region_cka(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """The centered kernel alignment, with linear kernels, of label and prediction windows.

    ``L = -1/N Σ_n Σ_c ‖S_yp‖² / (‖S_yy + αI‖ ‖S_pp + αI‖)``, Frobenius norms

    What it takes away: whitening. Directions count by their variance, so nearly all comes from the brightness of the
    window, and the fine structure that region mutual information magnifies is not seen. The ridge keeps a nearly
    constant map from having any direction at all.

    It does not see offsets, the complement, orthogonal maps of the predicted window, nor (up to α) contrast. A constant
    prediction is stationary; an absent class is 0 without gradient.

    The mode ``corrected`` differs in ridge, ignored and reduction only: a constant prediction is 0 anyway.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: none, minimized; between -1 and 0 per class.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: Kornblith, Norouzi, Lee and Hinton, *Similarity of Neural Network Representations Revisited*, ICML 2019.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_cka(perfect, labels), region_cka(perfect.roll(1, -1), labels)
        (tensor(-2.0000), tensor(-1.7383))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="cka", **options), ignore_index).value


class RegionCKA(RegionSurrogate):
    """`region_cka` as a module; its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: offset, complement and rotations of each class's window; up to the ridge its contrast.
    Degenerate solutions: the complement, and the brightness of a window alone; a constant map and that of an absent
        class are stationary.
    Cost: that of region mutual information, whose moments it takes.
    """

    quantity = "cka"


def region_covariance_matching(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """How far the covariances of the prediction windows are from those of the label windows.

    ``L = 1/N Σ_n Σ_c (‖S_pp - S_yy‖² + ‖S_yp - S_yy‖²) / n²``, Frobenius norms, n windows

    What it takes away: the information; plain second-order statistics are left. The first part alone would not know
    which window belongs to which.

    It does not see offsets. A constant prediction is not stationary. An absent class is not a constant: its map is
    drawn to be flat; in the mode ``corrected``, and with the reduction ``present``, it does not count. Squares of
    variances: a class with few pixels counts for little.

    ``alpha`` and ``relative_ridge`` have no effect. In the mode ``corrected`` the value of a constant prediction, ``2
    ‖S_yy‖²/n²``, is subtracted.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: squared squares of probabilities, minimized; at least 0, in the mode ``corrected`` of either sign.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: for the first part Sun and Saenko, *Deep CORAL: Correlation Alignment for Deep Domain Adaptation*, 2016.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_covariance_matching(0 * perfect, labels), region_covariance_matching(-perfect, labels)
        (tensor(7.8903), tensor(15.7806))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="covariance_matching", **options), ignore_index).value


class RegionCovarianceMatching(RegionSurrogate):
    """`region_covariance_matching` as a module; its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: other names for the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset alone.
    Cost: some 15 times cross-entropy: its errors go through PyTorch's maps, not through the compiled routines.
    """

    quantity = "covariance_matching"
