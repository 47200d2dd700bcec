"""Region mutual information with less freedom: other regressions, and other sizes of what they leave.

Region mutual information is the log-volume of Y - BP with the best matrix B. Here B is diagonal or the identity, or the
volume is that of a box or of a ball. None lies below the original (see each for the order), and with one pixel per
window the first two are the original.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from segmi.losses.rmi.config import RegionOptions, RMIConfig
from segmi.losses.rmi.surrogate import RegionSurrogate, surrogate_term
from segmi.types import IGNORE_INDEX, Labels, Logits


def region_diagonal(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """Region mutual information with the residuals of a window taken for independent.

    ``L = 1/(N d) Σ_n Σ_c ½ Σ_k log(M_kk + α)``, M as in `region_mutual_information`

    What it takes away: the covariance of the residuals between the positions of a window. It is at least the original
    (Hadamard), and equal where M is diagonal, so at R = 1.

    It does not see what the original does not: offsets, the complement, any linear map of the predicted window (up
    to α). A constant prediction is stationary; an absent class is the constant ½ log α without gradient.

    In the mode ``corrected`` the value of a constant prediction, ``½ Σ_k log(S_yy,kk + ε)``, is subtracted.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized; of either sign in the mode ``published``, at most 0 in ``corrected``.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019; the
    inequality is Hadamard's, Cover and Thomas, *Elements of Information Theory*, 2nd edition, section 17.9.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_diagonal(perfect.roll(1, -1), labels), region_diagonal(0 * perfect, labels)
        (tensor(-3.7229), tensor(3.7636))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="diagonal", **options), ignore_index).value


class RegionDiagonal(RegionSurrogate):
    """`region_diagonal` as a module; its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: as region mutual information, but for rotations of the label's window.
    Degenerate solutions: those of region mutual information.
    Cost: that of region mutual information, whose moments it takes.
    """

    quantity = "diagonal"


def region_own_pixel(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """Region mutual information where every pixel of a window is predicted from the same pixel only.

    ``L = 1/(N d) Σ_n Σ_c ½ log det(E Eᵀ + αD² + αI)`` with ``E = Y - DP`` and the diagonal ``D_kk = S_yp,kk / (S_pp,kk
    + α)``, the best slope of each pixel for itself

    What it takes away: the neighbors as regressors, and with them the tolerance to shifts; the covariance of the
    residuals stays. It is at least the original, and equal at R = 1.

    It does not see offsets and the complement, nor (up to α) contrast. A constant prediction is stationary; an absent
    class is the constant ½ log α without gradient.

    In the mode ``corrected`` the value of a constant prediction, ``½ log det(S_yy + εI)``, is subtracted.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized; of either sign. Slopes are best for each pixel, not for the volume
    of all, so the value in the mode ``corrected`` can lie above 0.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_own_pixel(perfect.roll(1, -1), labels), region_own_pixel(0 * perfect, labels)
        (tensor(1.7259), tensor(2.1599))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="own_pixel", **options), ignore_index).value


class RegionOwnPixel(RegionSurrogate):
    """`region_own_pixel` as a module; its options are those of `RegionMutualInformation`.

    Assumes: as region mutual information, which it is set beside, but for what it takes away.
    Invariances: offset, complement and, up to the ridge, contrast of each class's map; a shift is none.
    Degenerate solutions: the complement; a constant map is stationary.
    Cost: that of region mutual information, whose moments it takes.
    """

    quantity = "own_pixel"


def region_error_determinant(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """The log-volume of the errors of a window, without any regression before.

    ``L = 1/(N d) Σ_n Σ_c ½ log det((Y - P)(Y - P)ᵀ + 2αI)``

    What it takes away: the free linear decoder. A prediction must be the label itself, up to an offset: the complement,
    other contrasts and shifts cost what they should. It is at least region mutual information (take B = I there).

    It does not see offsets, since windows are centered; so it is no loss of its own. A constant prediction is not
    stationary. An absent class is not a constant: its map is drawn to be flat, where the value is ½ log 2α; in the mode
    ``corrected``, and with the reduction ``present``, it does not count.

    In the mode ``corrected`` the value of a constant prediction, ``½ log det(S_yy + 2εI)``, is subtracted.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized; of either sign, at least ½ log 2α per class.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: a control for Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019. It is
    the negative log-likelihood of Gaussian errors with the best covariance, up to constants.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_error_determinant(perfect, labels), region_error_determinant(-perfect, labels)
        (tensor(-6.9078), tensor(3.5461))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="error_determinant", **options), ignore_index).value


class RegionErrorDeterminant(RegionSurrogate):
    """`region_error_determinant` as a module; its options are those of `RegionMutualInformation`.

    Assumes: that the errors of a window are Gaussian; nothing of how prediction and label hang together, for a
        prediction is taken at its word.
    Invariances: other names for the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset alone.
    Cost: some 15 times cross-entropy: its errors go through PyTorch's maps, not through the compiled routines.
    """

    quantity = "error_determinant"


def region_log_mse(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, **options: Unpack[RegionOptions]
) -> Tensor:
    """The logarithm of the mean square error of a class in an image.

    ``L = 1/N Σ_n Σ_c ½ log(tr((Y - P)(Y - P)ᵀ) / d + 2α)``

    What it takes away: all structure; what is left is the logarithm, by which the gradient is divided by what is still
    wrong, so that small objects count like large ones. If it does what region mutual information does, that was the
    reason. It is at least `region_error_determinant` (the arithmetic mean of eigenvalues against the geometric one).

    It does not see offsets, as windows are centered, nor how errors are arranged. A constant prediction is not
    stationary. An absent class is not a constant: its map is drawn to be flat, where the value is ½ log 2α; in the mode
    ``corrected``, and with the reduction ``present``, it does not count.

    In the mode ``corrected`` the value of a constant prediction, ``½ log(tr(S_yy)/d + 2ε)``, is subtracted.

    Args:
        logits, labels, ignore_index, options: those of `region_mutual_information`.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized; of either sign, at least ½ log 2α per class.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`.

    Source: the Gaussian likelihood with one variance for all errors, at its best value; Rybkin, Daniilidis and Levine,
    *Simple and Effective VAE Training with Calibrated Decoders*, ICML 2021.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_log_mse(perfect, labels), region_log_mse(-perfect, labels)
        (tensor(-6.9078), tensor(5.1499))
    """
    return surrogate_term(logits, labels, RMIConfig(quantity="log_mse", **options), ignore_index).value


class RegionLogMSE(RegionSurrogate):
    """`region_log_mse` as a module; its options are those of `RegionMutualInformation`.

    Assumes: that what is wrong counts in proportion to what is still wrong of the same class in the same image.
    Invariances: other names for the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset alone.
    Cost: some 15 times cross-entropy: its errors go through PyTorch's maps, not through the compiled routines.
    """

    quantity = "log_mse"
