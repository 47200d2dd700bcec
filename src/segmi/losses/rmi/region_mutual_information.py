"""Region mutual information: how much the windows of a predicted map tell about the windows of the label map.

The default ridge of the variant ``corrected``, 1e-3 of the variance of the label, stands where the value hardly depends on it
any more, except for sharp predictions, and where maps that are still nearly constant are not thrown about. On three
label maps of CamVid (224×224, ignored pixels left out), the value, and the norm of the gradient by the logits in 1e-4:

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

from typing import cast, get_args

import torch
from torch import Tensor

from segmi.losses.base import Diagnostic, Loss, Term
from segmi.losses.options import check_choice
from segmi.losses.rmi.config import (
    ClassReduction,
    IgnoredHandling,
    Pooling,
    Probability,
    RMIConfig,
    Variant,
)
from segmi.losses.rmi.dispatch import Kernel, choose_kernel
from segmi.losses.rmi.grad_scale import GradScale
from segmi.losses.rmi.result import RegionFound, check_windows, found_regions
from segmi.losses.rmi.torch import counted_pairs
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def region_mutual_information(
    logits: Logits,
    labels: Labels,
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
    kernel: Kernel = "auto",
) -> Tensor:
    """A lower bound, up to constants and sign, on the mutual information of label and prediction regions.

    Every R×R window of one image and one class is a point with d = R² coordinates, Y of the label map (0 or 1), P of
    the probability map σ(z). With S the sums of products over the centered points,

    ``M = S_yy - S_yp (S_pp + αI)⁻¹ S_ypᵀ,   L = 1/(N d) Σ_n Σ_c ½ log det(M + αI)``  (eq. 14-16)

    is the uncertainty about the label window that a linear regression on the predicted window leaves.

    The variant ``published`` is the published formula: label and probability are set to 0 in ignored pixels, 1e-6 is added to
    the probability and 1e-8 to the diagonal of the Cholesky factor in its logarithm. A class that is absent from a
    image adds the constant ½ log α and no gradient.

    The variant ``corrected`` takes only windows without ignored pixels, divides S by their number, replaces α by
    ``ε = relative_ridge · tr(S_yy) / d``, which depends on the label alone, and returns ``-I_G / d`` averaged over the
    (image, class) pairs whose label varies, with ``I_G = ½ log det(S_yy + εI) - ½ log det(M + εI)``.

    Both maps may be down-sampled first: by the average or the maximum of squares of ``stride`` pixels, which as
    published start ``stride // 2`` pixels outside the image (the average counts zeros there), or by interpolation,
    ``H // stride`` samples from corner to corner. Average pooling by 4 is the published setting. A maximum, and an
    average over the border, are not blind to P and 1 - P.

    Neither sees what a linear map of the window can undo: P and 1 - P have the same value. So it is no loss of its own;
    add a pixel-wise one. It does not enforce registration: a shift by one pixel keeps most of the value at R = 3.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; H and W at least R after down-sampling.
        labels: N×H×W, any integer type.
        radius: R, the side of the window.
        variant: ``published`` or ``corrected``.
        probability: ``sigmoid``, or ``softmax`` over the classes, of which there must be two or more.
        pooling: ``none``, ``average``, ``max`` or ``interpolation``.
        stride: how many pixels become one, on each side; at least 2 with a pooling.
        legacy_interpolation: whether interpolation takes the label from the nearest pixels of another grid, as published. A
            perfect prediction is then worse than a constant one.
        ignored: ``zero``, label and probability are 0 in ignored pixels; or ``drop``, windows with an ignored pixel in them are
            left out, and with pooling also those with a cell that reaches over the border. None: ``zero`` in the variant
            ``published``, ``drop`` in the variant ``corrected``.
        class_reduction: over the classes of an image, ``sum`` or ``mean``, and then the mean over images; or
            ``present``, the mean over the (image, class) pairs whose label varies. None: ``sum`` in the variant
            ``published``, ``present`` in the variant ``corrected``.
        alpha: α of the variant ``published``.
        relative_ridge: ε over the mean variance of the label window, in the variant ``corrected``.
        ignore_index: the label of ignored pixels.
        kernel: what computes it: ``numba``, compiled for the CPU when first called and then kept on the disk;
            ``triton``, likewise for CUDA, which has been run in Triton's interpreter only and must be asked for;
            ``torch``, plain PyTorch, several times slower; ``auto``, ``numba`` where it can (a CPU, sigmoid, no
            pooling, at most 32 bits), else ``torch``. `region_kernel` tells which.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimized. ``published`` is of either sign, with C ½ log α ≈ -3.8 C for a
    image without any class and ½ log 2α at the perfect prediction of a class; ``corrected`` is at most 0. An empty batch
    (and, where ``corrected``, one without anything to predict) gives 0, attached to the graph.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match, an image (after down-sampling) smaller than the window, config out of
            range; on the CPU, ids that are neither class nor ignored. On other devices those give NaN, and so do NaN
            logits everywhere.
        RuntimeError: a second derivative; `region_mutual_information_plain` has it.

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_mutual_information(perfect, labels) < region_mutual_information(0 * perfect, labels)
        tensor(True)
    """
    config = RMIConfig(
        radius=radius,
        variant=variant,
        alpha=alpha,
        relative_ridge=relative_ridge,
        probability=probability,
        pooling=pooling,
        stride=stride,
        legacy_interpolation=legacy_interpolation,
        ignored=ignored,
        class_reduction=class_reduction,
    )
    return region_mutual_information_term(logits, labels, config, ignore_index, kernel)[0].value


def region_information(
    logits: Logits,
    labels: Labels,
    *,
    radius: int = 3,
    variant: Variant = "published",
    probability: Probability = "sigmoid",
    pooling: Pooling = "none",
    stride: int = 1,
    legacy_interpolation: bool = False,
    ignored: IgnoredHandling | None = None,
    alpha: float = 5e-4,
    relative_ridge: float = 1e-3,
    ignore_index: int = IGNORE_INDEX,
    kernel: Kernel = "auto",
) -> Tensor:
    """How much the prediction tells about the label, by image and class, as the loss sees it.

    ``I_G = ½ log det(S_yy + αI) - ½ log det(M + αI) = -½ Σ_i log(1 - ρ_i²)``, ρ the canonical correlations of the
    windows under that ridge (ε in the variant ``corrected``). Its gradient is that of the loss with the sign turned, but it is
    0 for an absent class and for a constant prediction: the number to look at. The options are those of the loss; there
    is no reduction over classes.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is N×C, without gradient.

    Unit and sign: nats per window (not per pixel), at least 0.

    Raises:
        TypeError, ValueError: as `region_mutual_information`.

    Source: the Gaussian mutual information; see `segmi.information.gaussian_mutual_information`.

    Example:
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> region_information(torch.stack([labels, 1 - labels, labels], 1).float(), labels).round(decimals=1)
        tensor([[30.5000, 30.5000,  0.0000]])
    """
    config = RMIConfig(
        radius=radius,
        variant=variant,
        alpha=alpha,
        relative_ridge=relative_ridge,
        probability=probability,
        pooling=pooling,
        stride=stride,
        legacy_interpolation=legacy_interpolation,
        ignored=ignored,
    )
    found = found_regions(logits.detach(), labels, config, ignore_index, kernel)
    return found.information + found.invalid


def region_kernel(
    logits: Logits, *, probability: Probability = "sigmoid", pooling: Pooling = "none", kernel: Kernel = "auto"
) -> Kernel:
    """Which routine `region_mutual_information` takes with these options: ``numba``, ``triton`` or ``torch``.

    Shapes:
        logits: N×C×H×W, any float type and device.

    Raises:
        ValueError: a routine that cannot do what is asked, with the reason.

    Example:
        >>> region_kernel(torch.zeros(1, 2, 8, 8)), region_kernel(torch.zeros(1, 2, 8, 8, dtype=torch.float64))
        ('numba', 'torch')
    """
    stride = 1 if pooling == "none" else 2
    return choose_kernel(logits, RMIConfig(probability=probability, pooling=pooling, stride=stride), kernel)


def region_mutual_information_term(
    logits: Logits,
    labels: Labels,
    config: RMIConfig,
    ignore_index: int,
    kernel: Kernel = "auto",
    grad_scale: GradScale | None = None,
) -> tuple[Term, RegionFound]:
    """The loss as a ratio (its denominator counts images or pairs), and what it was made from."""
    found = found_regions(logits, labels, config, ignore_index, kernel, grad_scale=grad_scale)
    return region_term(logits, found, config), found


def region_term(logits: Logits, found: RegionFound, config: RMIConfig) -> Term:
    """The term of what was found on ``logits``, of which shape, type and device count."""
    return Term(found.numerator, _denominator(logits, found.counted, config), diagnostics=_diagnostics(found))


def _diagnostics(found: RegionFound) -> dict[str, Diagnostic]:
    """``I_G`` per class, over the images whose label varies, and ``jittered``, the share of those covariances."""
    pairs = found.counted.to(found.information.dtype)
    return {
        "I_G": Diagnostic((found.information.detach() * pairs).sum(0), pairs.sum(0)),
        "jittered": Diagnostic(found.jittered.to(pairs.dtype), pairs.sum()),
    }


def region_denominator(logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int) -> Tensor:
    """The denominator of `region_mutual_information_term` alone."""
    check_windows(logits, config)
    targets = read_targets(logits, labels, ignore_index)
    present = config.class_reduction == "present"
    return _denominator(logits, counted_pairs(targets, logits.shape[1], config) if present else None, config)


def _denominator(logits: Tensor, counted: Tensor | None, config: RMIConfig) -> Tensor:
    dtype = upcast(logits).dtype
    if config.class_reduction == "present" and counted is not None:
        return counted.sum().to(dtype)
    images, channels = logits.shape[:2]
    averaged = images if config.class_reduction == "sum" else images * channels
    return torch.full((), float(averaged), dtype=dtype, device=logits.device)


class RegionMutualInformation(Loss):
    """`region_mutual_information` as a module.

    Assumes: that windows of label and probability are Gaussian together, or else it is a lower bound by the best
        linear regression of the one on the other; that the windows of an image stand for its law, many more of
        them than d².
    Invariances: other names for the classes, in labels and channels alike; of each class's map the offset, the
        complement ``1 - p`` and any rotation, reflection or order of the positions in the window, and up to the
        ridge any invertible linear map.
    Degenerate solutions: the complement; a shift by up to R - 1 pixels keeps most of the reward; a constant map is
        stationary, and so is in ``published`` the map of a class that the image does not hold. So it needs a
        pixel-wise loss beside it.
    Cost: two passes over the probabilities and a factorization of size 2 R² per image and class; nothing at
        prediction.

    Args:
        radius: the side of the window.
        variant: ``published`` or ``corrected``.
        probability: ``sigmoid`` or ``softmax``.
        pooling: ``none``, ``average``, ``max`` or ``interpolation``.
        stride: how many pixels become one, on each side.
        legacy_interpolation: whether interpolation takes label and probability from different grids, as published.
        ignored: ``zero`` or ``drop``; None for what the variant does.
        class_reduction: ``sum``, ``mean`` or ``present``; None for what the variant does.
        alpha: the ridge of the variant ``published``.
        relative_ridge: the ridge of the variant ``corrected``, over the mean variance of the label window.
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba``, ``triton`` or ``torch``.

    Attributes:
        jittered: how many covariances so far needed more than their ridge to be factored.

    Example:
        >>> loss = RegionMutualInformation(radius=3)
        >>> loss(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8))  # 2 log(√α + 1e-8)
        tensor(-7.6009)
    """

    family = "rmi"
    invariances = ("class permutation",)

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
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        self.config = RMIConfig(
            radius=radius,
            variant=variant,
            alpha=alpha,
            relative_ridge=relative_ridge,
            probability=probability,
            pooling=pooling,
            stride=stride,
            legacy_interpolation=legacy_interpolation,
            ignored=ignored,
            class_reduction=class_reduction,
        )
        self.ignore_index = ignore_index
        check_choice("kernel", kernel, get_args(Kernel))
        self.kernel: Kernel = kernel
        self._asked: Kernel = kernel
        self._jittered: Tensor | int = 0
        self._foresight = GradScale(0.0, 0.0, 1.0, self.config.class_reduction, self.config.dimension)

    @property
    def jittered(self) -> int:
        """How many covariances so far needed more than their ridge to be factored; waits for the device."""
        return int(self._jittered)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over what is averaged, images or (image, class) pairs, and their number.

        Its diagnostics: ``I_G``, that of `region_information` by class, in nats per window, averaged over the images
        that hold the class; ``jittered``, the share of their covariances that needed more than the ridge.
        """
        term, found = region_mutual_information_term(
            logits, labels, self.config, self.ignore_index, self.kernel, self._foresight
        )
        self.count_jittered(found)
        return term

    def select_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """See `Loss.select_kernel`."""
        wanted = self._asked if self._asked != "auto" else cast(Kernel, kernel or "auto")
        self.kernel = choose_kernel(logits, self.config, wanted)
        return self.kernel

    def count_jittered(self, found: RegionFound) -> None:
        """Add to `jittered`."""
        self._jittered = self._jittered + found.jittered

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of images or of pairs."""
        return {"": region_denominator(logits, labels, self.config, self.ignore_index)}
