"""Region mutual information: the information that windows of a probability map have about the label map.

Default of ``relative_ridge``: at 1e-3 of the variance of the label, the value hardly depends on the ridge except for
sharp predictions, and the gradient of nearly constant maps is moderate. Value, and norm of the gradient with respect to
the logits in units of 1e-4, on three label maps of CamVid (224×224, ignored pixels dropped):

=====================  ======  ======  ======  ======  ======  ======  ======
relative ridge          1e-7    1e-6    1e-5    1e-4    1e-3    1e-2    1e-1
=====================  ======  ======  ======  ======  ======  ======  ======
blurred, noisy         -0.189  -0.189  -0.189  -0.189  -0.187  -0.177  -0.138
less so                -0.735  -0.735  -0.734  -0.727  -0.674  -0.485  -0.246
sharp, noisy           -2.168  -2.164  -2.133  -1.961  -1.481  -0.786  -0.295
one pixel off          -4.368  -3.600  -2.833  -2.067  -1.314  -0.654  -0.256
the truth              -6.455  -5.304  -4.153  -3.004  -1.875  -0.889  -0.314
gradient, near flat     37.10   25.18   13.75    6.18    1.85    0.31    0.03
gradient, less so       63.72   63.69   63.40   60.78   45.83   18.31    3.62
=====================  ======  ======  ======  ======  ======  ======  ======
"""

from __future__ import annotations

from typing import ClassVar, Unpack, cast, get_args

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Loss, Term
from segmi.losses.compiled.grad_scale import GradScale
from segmi.losses.option_checks import check_choice
from segmi.losses.rmi.dispatch import (
    RegionResult,
    choose_kernel,
    compute_regions,
    cpu_module,
    region_denominator,
    region_term,
)
from segmi.losses.rmi.rmi_config import Kernel, Quantity, RMIOptions, Shuffle, expand_options, read_options
from segmi.losses.targets import is_transformed
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["RegionMutualInformation", "region_information", "region_mutual_information"]


@expand_options
def region_mutual_information(
    logits: Logits,
    labels: Labels,
    *,
    ignore_index: int | None = IGNORE_INDEX,
    kernel: Kernel = "auto",
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return a lower bound, up to constants and sign, on the mutual information of label and prediction regions.

    Every R×R window of one image and one class is a point with d = R² coordinates, Y of the label map (0 or 1), P of
    the probability map σ(z). With S the sums of products over the centered points,

    ``M = S_yy - S_yp (S_pp + αI)⁻¹ S_ypᵀ,   L = 1/(N d) Σ_n Σ_c ½ log det(M + αI)``  (eq. 14-16)

    measures the uncertainty about the label window that remains after a linear regression on the predicted window.

    The variant ``published`` is this formula as released: label and probability are 0 in ignored pixels, 1e-6 is added
    to the probability, and 1e-8 to the diagonal of the Cholesky factor in its logarithm. A class that is absent from an
    image adds the constant ½ log α and no gradient.

    The variant ``corrected`` uses only windows without ignored pixels, divides S by their number, replaces α by ``ε =
    relative_ridge · tr(S_yy) / d``, which depends only on the label, and returns ``-I_G / d`` averaged over the (image,
    class) pairs whose label varies, with ``I_G = ½ log det(S_yy + εI) - ½ log det(M + εI)``.

    A linear map of the window does not change the value: P and 1 - P have the same loss, so add a pixel-wise loss. It
    does not enforce registration: a shift by one pixel keeps most of the value at R = 3. A maximum, and an average at
    the border, distinguish P from 1 - P.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; H and W at least R after pooling.
        labels: N×H×W, any integer type.
        ignore_index: the label of ignored pixels.
        kernel: ``numba``, compiled for the CPU once and cached on disk; ``triton``, for CUDA; ``torch``,
            PyTorch, several times slower; ``auto``, ``numba`` or ``triton`` if it can run (at most 32 bits), is
            compiled, and on CUDA agrees with PyTorch, else ``torch``.
        options: the fields of `RMIConfig`.

    Shapes: logits N×C×H×W, labels N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized. ``published`` has either sign: C ½ log α ≈ -3.8 C for an image
    without any class, ½ log 2α for the perfect prediction of a class. ``corrected`` is at most 0. An empty batch (and
    for ``corrected`` a batch without a pair that varies) gives 0, attached to the graph.

    Raises:
        TypeError: logits that are not float, labels that are not integer, an unknown option.
        ValueError: shapes that do not match, an image (after pooling) smaller than the window, options out of range; on
            the CPU, ids that are neither a class nor ignored. On other devices such ids give NaN, and so do NaN logits
            on every device.
        RuntimeError: a second derivative; `region_mutual_information_plain` has it.

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_mutual_information(perfect, labels) < region_mutual_information(0 * perfect, labels)
        tensor(True)
    """
    config = read_options(options)
    return region_term(logits, compute_regions(logits, labels, config, ignore_index, kernel), config).value


@expand_options
def region_information(
    logits: Logits,
    labels: Labels,
    *,
    ignore_index: int | None = IGNORE_INDEX,
    kernel: Kernel = "auto",
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return the information of the prediction about the label, by image and class, as the loss estimates it.

    ``I_G = ½ log det(S_yy + αI) - ½ log det(M + αI) = -½ Σ_i log(1 - ρ_i²)``, ρ the canonical correlations of the
    windows under that ridge (ε in the variant ``corrected``). Its gradient is minus the gradient of the loss, but it is
    0 for an absent class and for a constant prediction, which makes it the number to monitor.

    Args:
        logits, labels, ignore_index, kernel, options: as in `region_mutual_information`; ``class_reduction`` has no
            effect.

    Shapes: logits N×C×H×W, labels N×H×W; the result is N×C, without gradient.

    Unit and sign: nats per window (not per pixel), at least 0.

    Raises:
        TypeError, ValueError: as `region_mutual_information`.

    Source: the Gaussian mutual information; see `segmi.information.gaussian_mutual_information`.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> region_information(torch.stack([labels, 1 - labels, labels], 1).float(), labels).round(decimals=1)
        tensor([[30.5000, 30.5000,  0.0000]])
    """
    result = compute_regions(logits.detach(), labels, read_options(options), ignore_index, kernel)
    return result.information + result.invalid


class RegionLoss(Loss):
    """Abstract base of region mutual information and its ablations: a subclass sets its quantity or its shuffle.

    Args:
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba``, ``triton`` or ``torch``.
        options: the fields of `RMIConfig`.
    """

    family = "rmi"
    invariances: tuple[Invariance, ...] = ("class permutation",)

    quantity: ClassVar[Quantity] = "information"
    shuffle: ClassVar[Shuffle] = "none"

    @expand_options
    def __init__(
        self, *, ignore_index: int | None = IGNORE_INDEX, kernel: Kernel = "auto", **options: Unpack[RMIOptions]
    ) -> None:
        super().__init__()
        check_choice("kernel", kernel, get_args(Kernel))
        self.config = read_options(options, quantity=self.quantity, shuffle=self.shuffle)
        self.compiled_module = cpu_module(self.config)
        self.ignore_index = ignore_index
        self.kernel: Kernel = kernel
        self._requested: Kernel = kernel
        self._jittered: Tensor | int = 0
        self._grad_scale = GradScale(
            0.0, term_weight=1.0, reduction=self.config.class_reduction, dimension=self.config.dimension
        )

    @property
    def jittered(self) -> int:
        """Number of covariances so far that needed more than their ridge; synchronizes with the device."""
        return int(self._jittered)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over images or (image, class) pairs and their number; see `region_term` for diagnostics."""
        result = compute_regions(
            logits, labels, self.config, self.ignore_index, self.kernel, grad_scale=self._grad_scale
        )
        self.count_jittered(result)
        return region_term(logits, result, self.config)

    def select_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """Choose one routine for all further calls; see `Loss.select_kernel`."""
        wanted = self._requested if self._requested != "auto" else cast(Kernel, kernel or "auto")
        self.kernel = choose_kernel(logits, self.config, wanted)
        return self.kernel

    def count_jittered(self, result: RegionResult) -> None:
        """Add the count of one batch to `jittered`, except in `torch.func`, whose tensors are temporary."""
        if torch.compiler.is_compiling() or not is_transformed():
            self._jittered = self._jittered + result.jittered

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of images or pairs."""
        return {"": region_denominator(logits, labels, self.config, self.ignore_index)}


class RegionMutualInformation(RegionLoss):
    """`region_mutual_information` as a module.

    Use: thin and small objects, added to a pixel-wise loss; `rmi_loss` has both parts.
    Assumes: windows of label and probability are jointly Gaussian, else the value is a lower bound by the best linear
        regression; an image has many more windows than d².
    Invariances: a permutation of the classes, in labels and channels alike; for each class's map an offset, the
        complement ``1 - p``, any permutation of the positions in the window, and up to the ridge any invertible linear
        map.
    Degenerate solutions: the complement; a shift by up to R - 1 pixels keeps most of the value; a constant map is
        stationary, and so is the map of an absent class in the variant ``published``. It needs a pixel-wise loss.
    Cost: two passes over the probabilities and a factorization of size 2 R² per image and class; nothing at prediction.

    Args:
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba``, ``triton`` or ``torch``.
        options: the fields of `RMIConfig`.

    Example:
        >>> import torch
        >>> loss = RegionMutualInformation(radius=3)
        >>> loss(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8))  # 2 log(√α + 1e-8)
        tensor(-7.6009)
    """
