"""Ablations of region mutual information that measure the residuals of a window differently.

Region mutual information is the log-volume of the residuals Y - BP with the best matrix B. Here B is diagonal or the
identity, the volume is the volume of a box or a ball, or the logarithm is removed.

All functions take ``logits`` (N×C×H×W), ``labels`` (N×H×W), ``ignore_index`` and the fields of `RMIConfig` as in
`region_mutual_information`, return a scalar, and raise the same errors. All modules take the same options.
"""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from segmi.losses.rmi.dispatch import compute_regions, region_term
from segmi.losses.rmi.loss import RegionLoss
from segmi.losses.rmi.rmi_config import RMIOptions, expand_options, read_options
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = [
    "RegionCCATrace", "RegionDiagonal", "RegionErrorDeterminant", "RegionLogMSE", "RegionOwnPixel", "region_cca_trace",
    "region_diagonal", "region_error_determinant", "region_log_mse", "region_own_pixel",
]  # fmt: skip


def ablation_value(
    logits: Logits, labels: Labels, ignore_index: int | None, options: RMIOptions, **ablation: Any
) -> Tensor:
    """Return the value of the ablation that ``quantity``, ``shuffle`` and ``seed`` select."""
    config = read_options(options, **ablation)
    return region_term(logits, compute_regions(logits, labels, config, ignore_index, "auto"), config).value


@expand_options
def region_diagonal(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return region mutual information with the residuals of a window treated as independent.

    ``L = 1/(N d) Σ_n Σ_c ½ Σ_k log(M_kk + α)``, M as in `region_mutual_information`

    Removes: the covariance of the residuals between positions of a window. At least the original (Hadamard), and equal
    where M is diagonal, so at R = 1.

    Invariant to offsets, the complement, and up to α any linear map of the predicted window. A constant prediction is
    stationary; an absent class gives the constant ½ log α without gradient. The variant ``corrected`` subtracts the
    value of a constant prediction, ``½ Σ_k log(S_yy,kk + ε)``.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel, minimized; ``published`` has either sign, ``corrected`` is at most 0.
    Raises: as `region_mutual_information`.
    Source: an ablation of Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019; for
    the inequality Cover and Thomas, *Elements of Information Theory*, 2nd edition, section 17.9.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_diagonal(perfect.roll(1, -1), labels), region_diagonal(0 * perfect, labels)
        (tensor(-3.7229), tensor(3.7636))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="diagonal")


class RegionDiagonal(RegionLoss):
    """`region_diagonal` as a module.

    Use: a control that shows whether the covariance of the residuals within a window matters.
    Assumes: as region mutual information, without the removed part.
    Invariances: as region mutual information, except rotations of the label's window.
    Degenerate solutions: as region mutual information.
    Cost: at most twice region mutual information.
    """

    quantity = "diagonal"


@expand_options
def region_own_pixel(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return region mutual information with every pixel of a window predicted from the same pixel only.

    ``L = 1/(N d) Σ_n Σ_c ½ log det(E Eᵀ + αD² + αI)`` with ``E = Y - DP`` and the diagonal ``D_kk = S_yp,kk / (S_pp,kk
    + α)``, the best slope of each pixel for itself

    Removes: the neighbors as regressors, and with them the tolerance to shifts; keeps the covariance of the residuals.
    At least the original, and equal at R = 1.

    Invariant to offsets, the complement and, up to α, contrast. A constant prediction is stationary; an absent class
    gives the constant ½ log α without gradient. The variant ``corrected`` subtracts the value of a constant prediction,
    ``½ log det(S_yy + εI)``.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel, minimized; of either sign. Slopes are optimal for each pixel, not for the
    volume, so ``corrected`` can be above 0.
    Raises: as `region_mutual_information`.
    Source: an ablation of Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_own_pixel(perfect.roll(1, -1), labels), region_own_pixel(0 * perfect, labels)
        (tensor(1.7259), tensor(2.1599))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="own_pixel")


class RegionOwnPixel(RegionLoss):
    """`region_own_pixel` as a module.

    Use: a control that shows whether the neighbors as regressors matter.
    Assumes: as region mutual information, without the removed part.
    Invariances: offset, complement and, up to the ridge, contrast of each class's map; not shifts.
    Degenerate solutions: the complement; a constant map is stationary.
    Cost: at most twice region mutual information.
    """

    quantity = "own_pixel"


@expand_options
def region_error_determinant(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return the log-volume of the errors of a window, without a regression.

    ``L = 1/(N d) Σ_n Σ_c ½ log det((Y - P)(Y - P)ᵀ + 2αI)``

    Removes: the free linear decoder. The prediction must equal the label up to an offset: the complement, other
    contrasts and shifts are penalized. At least region mutual information (B = I there).

    Invariant to offsets, since windows are centered, so it needs a pixel-wise loss. A constant prediction is not
    stationary. The map of an absent class is pulled towards a constant, with the value ½ log 2α; it is not counted in
    the variant ``corrected`` and with the reduction ``present``. The variant ``corrected`` subtracts the value of a
    constant prediction, ``½ log det(S_yy + 2εI)``.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel, minimized; of either sign, at least ½ log 2α per class.
    Raises: as `region_mutual_information`.
    Source: an ablation of Zhao et al., *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019; up to
    constants the negative log-likelihood of Gaussian errors with the best covariance.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_error_determinant(perfect, labels), region_error_determinant(-perfect, labels)
        (tensor(-6.9078), tensor(3.5461))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="error_determinant")


class RegionErrorDeterminant(RegionLoss):
    """`region_error_determinant` as a module.

    Use: a control that shows whether the regression of the label on the prediction matters.
    Assumes: the errors of a window are Gaussian; the prediction equals the label except for these errors.
    Invariances: a permutation of the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset.
    Cost: as region mutual information where every class is present; absent classes cost nearly as much as present ones.
    """

    quantity = "error_determinant"


@expand_options
def region_log_mse(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return the logarithm of the mean squared error of a class in an image.

    ``L = 1/N Σ_n Σ_c ½ log(tr((Y - P)(Y - P)ᵀ) / d + 2α)``

    Removes: all structure. The logarithm remains, which divides the gradient by the remaining error, so that small
    objects count like large ones. At least `region_error_determinant` (arithmetic against geometric mean of
    eigenvalues).

    Invariant to offsets, since windows are centered, and to the arrangement of errors. A constant prediction is not
    stationary. The map of an absent class is pulled towards a constant, with the value ½ log 2α; it is not counted in
    the variant ``corrected`` and with the reduction ``present``. The variant ``corrected`` subtracts the value of a
    constant prediction, ``½ log(tr(S_yy)/d + 2ε)``.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel, minimized; of either sign, at least ½ log 2α per class.
    Raises: as `region_mutual_information`.
    Source: the Gaussian likelihood with one variance for all errors, at its optimum; Rybkin, Daniilidis and Levine,
    *Simple and Effective VAE Training with Calibrated Decoders*, ICML 2021.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_log_mse(perfect, labels), region_log_mse(-perfect, labels)
        (tensor(-6.9078), tensor(5.1499))
    """
    return ablation_value(logits, labels, ignore_index, options, quantity="log_mse")


class RegionLogMSE(RegionLoss):
    """`region_log_mse` as a module.

    Use: a control that shows whether the logarithm and its balance of large and small objects explain a gain.
    Assumes: an error matters in proportion to the total error of the same class in the same image.
    Invariances: a permutation of the classes, in labels and channels alike; the offset of each class's map.
    Degenerate solutions: a wrong offset.
    Cost: as region mutual information where every class is present; absent classes cost nearly as much as present ones.
    """

    quantity = "log_mse"


@expand_options
def region_cca_trace(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Return minus half the mean squared canonical correlation of label and prediction windows.

    ``L = -1/(N d) Σ_n Σ_c ½ tr((S_yy + αI)⁻¹ S_yp (S_pp + αI)⁻¹ S_ypᵀ) = -1/(N d) Σ_n Σ_c ½ Σ_i ρ_i²``

    Removes: the logarithm. Region mutual information is ``½ Σ_i log(1 - ρ_i²)`` up to a constant, which is close to
    this for small ρ. There a nearly predicted direction has an ever larger weight; here the gradient stays small near
    the truth.

    Invariant to offsets, the complement, and up to α any linear map of the predicted window. A constant prediction is
    stationary; an absent class gives 0 without gradient. The variant ``corrected`` differs only in ridge, ignored
    pixels and reduction, since a constant prediction gives 0.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.
    Unit and sign: nats per window pixel (to first order), minimized; between -½ and 0 per class.
    Raises: as `region_mutual_information`.
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
    return ablation_value(logits, labels, ignore_index, options, quantity="cca_trace")


class RegionCCATrace(RegionLoss):
    """`region_cca_trace` as a module.

    Use: a control that shows whether the logarithm of region mutual information matters.
    Assumes: as region mutual information, without the removed part.
    Invariances: as region mutual information.
    Degenerate solutions: as region mutual information.
    Cost: at most twice region mutual information.
    """

    quantity = "cca_trace"
