"""The published loss: a weighted sum of binary cross-entropy and region mutual information."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self, Unpack

from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.compiled.grad_scale import GradScale
from segmi.losses.pixel.binary_cross_entropy import BinaryCrossEntropy, PixelKernel
from segmi.losses.rmi.dispatch import compute_regions, region_term
from segmi.losses.rmi.loss import RegionMutualInformation
from segmi.losses.rmi.rmi_config import Kernel, RMIOptions, expand_options
from segmi.losses.targets import is_valid
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["RMILoss", "rmi_loss"]

AS_RUN: Final[Mapping[str, Any]] = MappingProxyType(
    {"bce_weight": 0.5, "radius": 3, "variant": "published", "probability": "sigmoid", "pooling": "none", "stride": 1}
    | {"ignored": "zero", "class_reduction": "sum", "alpha": 5e-4}
)
"""Options of the study's code, without pooling."""

AS_PUBLISHED: Final[Mapping[str, Any]] = MappingProxyType({**AS_RUN, "pooling": "average", "stride": 4})
"""Options of the paper that introduced the loss: average pooling by 4."""


@expand_options
def rmi_loss(
    logits: Logits,
    labels: Labels,
    *,
    bce_weight: float = 0.5,
    ignore_index: int | None = IGNORE_INDEX,
    kernel: Kernel = "auto",
    **options: Unpack[RMIOptions],
) -> Tensor:
    """Return the weighted sum of binary cross-entropy and region mutual information.

    ``L = λ L_BCE + (1 - λ) L_RMI``  (eq. 17, as released), λ = ``bce_weight``. In the variant ``published`` the binary
    cross-entropy is divided by the number of valid pixels plus one, as released; in ``corrected`` it is
    `binary_cross_entropy`. Without pooling, the compiled kernels compute both in one pass, at about the price of a
    cross-entropy.

    Args:
        logits, labels, ignore_index, kernel: as in `region_mutual_information`.
        bce_weight: λ, between 0 and 1.
        options: the fields of `RMIConfig`, which affect only the region term. As published: ``pooling="average",
            stride=4``, see `RMILoss.as_published`; as the study's code ran: the defaults, see `RMILoss.as_run`.

    Shapes:
        logits: N×C×H×W, any float type, H and W at least ``radius`` after pooling; labels: N×H×W, any integer type.

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
    return RMILoss(bce_weight=bce_weight, ignore_index=ignore_index, kernel=kernel, **options)(logits, labels)


class RMILoss(Loss):
    """`rmi_loss` as a module.

    Use: thin and small objects, with ``variant="corrected"``; the default reproduces published results.
    Assumes: as `RegionMutualInformation`; the pixel-wise loss determines sign and position.
    Invariances: a permutation of the classes, in labels and channels alike; the pixel-wise loss breaks the others of
        the region term.
    Degenerate solutions: none: the degenerate maps of the region term are not minima of the pixel-wise loss.
    Cost: close to one pass over the logits if a compiled routine computes both parts; nothing at prediction.

    Args:
        bce_weight: λ, the share of the binary cross-entropy, between 0 and 1.
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba``, ``triton`` or ``torch``; the compiled ones compute both parts of a sigmoid in one
            pass, ``triton`` only without pooling.
        options: the fields of `RMIConfig`; they affect only the region term.

    Example:
        >>> import torch
        >>> sorted(RMILoss().terms(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)))
        ['binary_cross_entropy', 'region_mutual_information']
    """

    family = "rmi"
    invariances = ("class permutation",)

    @expand_options
    def __init__(
        self,
        *,
        bce_weight: float = 0.5,
        ignore_index: int | None = IGNORE_INDEX,
        kernel: Kernel = "auto",
        **options: Unpack[RMIOptions],
    ) -> None:
        super().__init__()
        if not 0 <= bce_weight <= 1:
            raise ValueError(
                f"bce_weight: expected a number between 0 and 1, got {bce_weight!r}. Fix: use 0.5, as published."
            )
        self.bce_weight, self.ignore_index = float(bce_weight), ignore_index
        self.region = RegionMutualInformation(ignore_index=ignore_index, kernel=kernel, **options)
        config = self.region.config
        self.extra_pixels = 1 if config.variant == "published" else 0
        # Without a compiled kernel for the region term, the pixel loss chooses its kernel separately.
        self.pixels: BinaryCrossEntropy | None = None
        if config.probability != "sigmoid":
            self.pixels = BinaryCrossEntropy(ignore_index=ignore_index, kernel="torch" if kernel == "torch" else "auto")
        self._grad_scale = GradScale(
            pixel_weight=self.bce_weight,
            extra_pixels=self.extra_pixels,
            term_weight=1 - self.bce_weight,
            reduction=config.class_reduction,
            dimension=config.dimension,
        )

    @classmethod
    def as_published(cls, **overrides: Any) -> Self:
        """Return the loss of Zhao et al.: average pooling by 4, windows of 3×3, λ = 0.5, the published formula.

        In a study file: ``rmi_loss: {pooling: average, stride: 4}``.
        """
        return cls(**{**AS_PUBLISHED, **overrides})

    @classmethod
    def as_run(cls, **overrides: Any) -> Self:
        """Return the loss that *Deep Image Segmentation based on Mutual Information: A Study* ran, without pooling.

        In a study file: ``rmi_loss: {}``.
        """
        return cls(**{**AS_RUN, **overrides})

    @property
    def jittered(self) -> int:
        """Number of covariances so far that needed more than their ridge to be factored."""
        return self.region.jittered

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Return both parts, each with its own denominator; the extra pixel is added once, see `Term`."""
        region = self.region
        separate: PixelKernel = "torch" if region.kernel == "torch" else "auto"
        result = compute_regions(
            logits, labels, region.config, region.ignore_index, region.kernel, pixels=True,
            grad_scale=self._grad_scale, pixel_kernel=self.pixels.kernel if self.pixels else separate,
        )  # fmt: skip
        region.count_jittered(result)
        return {
            "binary_cross_entropy": Term(
                result.pixels, result.valid, weight=self.bce_weight, denominator_offset=float(self.extra_pixels)
            ),
            "region_mutual_information": region_term(logits, result, region.config)._replace(
                weight=1 - self.bce_weight
            ),
        }

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum of both parts as a mean over images; only `terms` is exact over several batches."""
        count = logits.new_full((), float(len(logits)))
        return Term(self(logits, labels) * count, count)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of valid pixels, and of images or pairs whose label varies."""
        pixels = is_valid(labels, self.region.ignore_index).sum()
        region = self.region.denominators(logits, labels)[""]
        return {"binary_cross_entropy": pixels.to(region.dtype), "region_mutual_information": region}
