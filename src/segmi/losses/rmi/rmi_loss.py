"""The published mixture of binary cross-entropy and region mutual information, as one loss."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.pixel.binary_cross_entropy import BinaryCrossEntropy, PixelKernel
from segmi.losses.rmi.config import ClassReduction, IgnoredHandling, Pooling, Probability, Variant
from segmi.losses.rmi.dispatch import Kernel
from segmi.losses.rmi.grad_scale import GradScale
from segmi.losses.rmi.region_mutual_information import RegionMutualInformation, region_term
from segmi.losses.rmi.result import found_regions
from segmi.types import IGNORE_INDEX, Labels, Logits

AS_RUN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "bce_weight": 0.5,
        "radius": 3,
        "variant": "published",
        "probability": "sigmoid",
        "pooling": "none",
        "stride": 1,
        "ignored": "zero",
        "class_reduction": "sum",
        "alpha": 5e-4,
    }
)
"""What the study's code ran: nothing is down-sampled."""

AS_PUBLISHED: Final[Mapping[str, Any]] = MappingProxyType({**AS_RUN, "pooling": "average", "stride": 4})
"""What the paper of the loss reports: averages of 4×4 pixels."""


def rmi_loss(
    logits: Logits,
    labels: Labels,
    *,
    bce_weight: float = 0.5,
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
    """Binary cross-entropy and region mutual information, weighted.

    ``L = λ L_BCE + (1 - λ) L_RMI``  (eq. 17, as released), λ = ``bce_weight``. In the variant ``published`` the binary
    cross-entropy is divided by the number of valid pixels plus one, as published; it is `binary_cross_entropy` in the
    variant ``corrected``. The other options are those of `region_mutual_information`; they do not touch the pixel term.

    The compiled kernels compute both parts in one visit of the maps, at about the price of a cross-entropy.

    As published: ``pooling="average", stride=4``, see `RMILoss.as_published`. As the study's code ran it: the defaults,
    see `RMILoss.as_run`.

    Shapes:
        logits: N×C×H×W, any float type, H and W at least ``radius`` after down-sampling;
            labels: N×H×W, any integer type.

    Unit and sign: nats, minimized; of either sign, since every class that is absent from an image adds about
    -3.8 (1 - λ) / N in the variant ``published``.

    Raises:
        TypeError, ValueError, RuntimeError: as `region_mutual_information`; ValueError for a weight outside [0, 1].

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019, and the
    code released with it.

    Example:
        >>> import torch
        >>> rmi_loss(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8))  # ½ 64/65 2 log 2 - ½ 7.6009
        tensor(-3.1180)
    """
    loss = RMILoss(
        bce_weight=bce_weight,
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
        ignore_index=ignore_index,
        kernel=kernel,
    )
    return loss(logits, labels)


class RMILoss(Loss):
    """`rmi_loss` as a module: call it as the published class, ``RMILoss()(logits, labels)``.

    Assumes: what `RegionMutualInformation` does; the pixel term says which side of a class is the class, and where
        it is.
    Invariances: other names for the classes, in labels and channels alike. Those of the region term end at the
        pixel term.
    Degenerate solutions: none of its own: those of the region term are no minima of the pixel term.
    Cost: close to one pass over the logits where the compiled routines do both parts in one visit; nothing at
        prediction.

    Args:
        bce_weight: λ, the share of the binary cross-entropy.
        radius: the side of the window.
        variant: ``published`` or ``corrected``.
        probability: ``sigmoid`` or ``softmax``, in the region term; the pixel term has the sigmoid always.
        pooling: ``none``, ``average``, ``max`` or ``interpolation``.
        stride: how many pixels become one, on each side.
        legacy_interpolation: whether interpolation takes label and probability from different grids, as published.
        ignored: ``zero`` or ``drop``; None for what the variant does.
        class_reduction: ``sum``, ``mean`` or ``present``; None for what the variant does.
        alpha: the ridge of the variant ``published``.
        relative_ridge: the ridge of the variant ``corrected``, over the mean variance of the label window.
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba``, ``triton`` or ``torch``; the compiled ones compute both parts in one visit.

    Example:
        >>> import torch
        >>> sorted(RMILoss().terms(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)))
        ['binary_cross_entropy', 'region_mutual_information']
    """

    family = "rmi"
    invariances = ("class permutation",)

    def __init__(
        self,
        *,
        bce_weight: float = 0.5,
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
        if not 0 <= bce_weight <= 1:
            raise ValueError(f"bce_weight: expected a share between 0 and 1, got {bce_weight!r}; 0.5 is published")
        self.bce_weight = float(bce_weight)
        self.extra_pixels = 1 if variant == "published" else 0
        self.region = RegionMutualInformation(
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
            ignore_index=ignore_index,
            kernel=kernel,
        )
        config = self.region.config
        self.pixels: BinaryCrossEntropy | None = None
        """What finds the pixel loss where no compiled kernel has the region term; it has a kernel of its own."""
        if config.pooling != "none" or config.probability != "sigmoid":
            self.pixels = BinaryCrossEntropy(ignore_index=ignore_index, kernel="torch" if kernel == "torch" else "auto")
        self._foresight = GradScale(
            pixel_weight=self.bce_weight,
            extra_pixels=self.extra_pixels,
            term_weight=1 - self.bce_weight,
            reduction=config.class_reduction,
            dimension=config.dimension,
        )

    @classmethod
    def as_published(cls, **overrides: Any) -> Self:
        """As in the paper of Zhao et al.: average pooling by 4, windows of 3×3, λ = 0.5, the published formula.

        In a study file: ``rmi_loss: {pooling: average, stride: 4}``.
        """
        return cls(**{**AS_PUBLISHED, **overrides})

    @classmethod
    def as_run(cls, **overrides: Any) -> Self:
        """As the code of *Deep Image Segmentation based on Mutual Information: A Study* ran it: the same, not pooled.

        In a study file: ``rmi_loss: {}``.
        """
        return cls(**{**AS_RUN, **overrides})

    @property
    def jittered(self) -> int:
        """How many covariances so far needed more than their ridge to be factored."""
        return self.region.jittered

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Both parts, each with its own denominator. The published extra pixel is added once, see `Term`."""
        region = self.region
        apart: PixelKernel = "torch" if region.kernel == "torch" else "auto"
        found = found_regions(
            logits, labels, region.config, region.ignore_index, region.kernel,
            pixels=True, grad_scale=self._foresight, pixel_kernel=self.pixels.kernel if self.pixels else apart,
        )  # fmt: skip
        region.count_jittered(found)
        return {
            "binary_cross_entropy": Term(
                found.pixels, found.valid, weight=self.bce_weight, denominator_offset=float(self.extra_pixels)
            ),
            "region_mutual_information": region_term(logits, found, region.config)._replace(weight=1 - self.bce_weight),
        }

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The mixture counted by images, for those who need one ratio; `terms` is exact over several batches."""
        count = logits.new_full((), float(len(logits)))
        return Term(self(logits, labels) * count, count)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels, and that of images or of varying pairs."""
        pixels = (labels != self.region.ignore_index).sum()
        region = self.region.denominators(logits, labels)[""]
        return {
            "binary_cross_entropy": pixels.to(region.dtype),
            "region_mutual_information": region,
        }
