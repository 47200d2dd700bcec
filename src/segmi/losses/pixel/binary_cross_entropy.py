"""Binary cross-entropy: one yes-or-no question per class, the pixel-wise part of the published region loss."""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.options import check_choice
from segmi.losses.rmi.dispatch import is_plain, machine_obstacle
from segmi.losses.rmi.grad_scale import GradScale
from segmi.losses.targets import Targets, check_targets, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

PixelKernel = Literal["auto", "numba", "torch"]


def binary_cross_entropy(
    logits: Logits, labels: Labels, *, ignore_index: int = IGNORE_INDEX, kernel: PixelKernel = "auto"
) -> Tensor:
    """The binary cross-entropy of every class against the others, summed over classes, averaged over valid pixels.

    ``L = -1/|V| Σ_{u∈V} Σ_c [y_uc log σ(z_uc) + (1 - y_uc) log(1 - σ(z_uc))]``, V the valid pixels, y one-hot; with one
    channel, y is the label itself.

    Shapes:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; labels: N×H×W, any integer type.

    ``kernel``: ``numba`` is compiled for the CPU and takes logits of at most 32 bits; ``torch`` runs everywhere;
    ``auto`` takes the first where it can.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a kernel that cannot be had; shapes that do not match; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, 2019, eq. 17.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [3, 255]]]))  # 4 log 2
        tensor(2.7726)
    """
    return binary_cross_entropy_term(logits, labels, ignore_index=ignore_index, kernel=kernel).value


def binary_cross_entropy_term(
    logits: Logits,
    labels: Labels,
    *,
    ignore_index: int = IGNORE_INDEX,
    extra_pixels: int = 0,
    kernel: PixelKernel = "auto",
    grad_scale: GradScale | None = None,
    targets: Targets | None = None,
) -> Term:
    """`binary_cross_entropy` as the sum over valid pixels and their number, and ``extra_pixels``, added once.

    ``grad_scale`` is by what the sum will be multiplied, and ``targets`` the labels as read, where these are known.
    """
    check_targets(logits, labels)
    if choose_pixel_kernel(logits, kernel) == "numba" and is_plain(logits):
        from segmi.losses.rmi.fused import visit_pixels

        def plain(z: Logits) -> Tensor:
            return _summed(z, read_targets(z, labels, ignore_index))

        found, total = visit_pixels(logits, labels, grad_scale or _alone(extra_pixels), ignore_index, plain)
        if found.unknown:
            read_targets(logits, labels, ignore_index)  # which refuses them by name
        invalid = math.nan if found.poisoned else 0.0
        return Term(total + invalid, total.new_tensor(float(found.valid)), denominator_offset=float(extra_pixels))
    targets = targets or read_targets(logits, labels, ignore_index)
    total = _summed(logits, targets)
    return Term(total + targets.invalid, targets.valid.sum().to(total.dtype), denominator_offset=float(extra_pixels))


def _summed(logits: Logits, targets: Targets) -> Tensor:
    return _SummedPixels.apply(upcast(logits), targets.classes, targets.valid)


def _alone(extra_pixels: int = 0) -> GradScale:
    """The grad_scale of a loss that is nothing but this."""
    return GradScale(pixel_weight=1.0, extra_pixels=extra_pixels, term_weight=0.0, reduction="sum", dimension=1)


def choose_pixel_kernel(logits: Logits, kernel: PixelKernel = "auto") -> PixelKernel:
    """The routine that ``kernel`` stands for on such logits: ``numba`` or ``torch``.

    Raises:
        ValueError: an unknown name, or a routine that cannot do what is asked, with the reason.
    """
    check_choice("kernel", kernel, get_args(PixelKernel))
    if kernel == "torch":
        return kernel
    obstacle = machine_obstacle("numba", logits)
    if obstacle and kernel == "numba":
        raise ValueError(f"kernel: {kernel!r} {obstacle}; use 'auto' or 'torch'")
    return "torch" if obstacle else "numba"


class _SummedPixels(torch.autograd.Function):
    """``Σ log(1 + exp(±z))`` over valid pixels and classes, minus where the class is the label's.

    The label stays an index and the gradient is written down instead of recorded, so that no map is kept but the
    logits. The gradient is made of differentiable operations: there are further
    derivatives.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(z, classes, valid)
        total = z.new_zeros(())
        for image in range(len(z)):  # one at a time, since nothing of its size is to stay
            part, index = z[image], classes[image : image + 1]
            # the sign goes into the logit: log(1 + exp(z)) - z would cancel where z is large
            signed = part.where(index == 0, -part) if len(part) == 1 else part.scatter(0, index, -part.gather(0, index))
            total += F.softplus(signed).sum(0).masked_fill_(~valid[image], 0.0).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        z, classes, valid = ctx.saved_tensors
        index, scale = classes.unsqueeze(1), valid.unsqueeze(1) * upstream[0]
        p = z.sigmoid()
        if torch.is_grad_enabled():  # there are further derivatives
            one = torch.ones_like(index, dtype=z.dtype)
            return (p - index if z.shape[1] == 1 else p.scatter_add(1, index, -one)) * scale, None, None
        taken = p.sub_(index) if z.shape[1] == 1 else p.scatter_(1, index, -1.0, reduce="add")
        return taken.mul_(scale), None, None


class BinaryCrossEntropy(Loss):
    """`binary_cross_entropy` as a module.

    Assumes: that every class is a question of its own, so that the probabilities of a pixel need not sum to 1.
    Invariances: other names for the classes, in labels and channels alike; the order of pixels.
    Degenerate solutions: as cross-entropy; and most of its C questions are about classes that are not there, so
        that a network that says no to everything begins well.
    Cost: one pass over the logits.

    Args:
        ignore_index: the label of ignored pixels.
        kernel: ``auto``, ``numba`` or ``torch``.

    Example:
        >>> import torch
        >>> BinaryCrossEntropy()(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
        tensor(0.6931)
    """

    family = "pixel"
    invariances = ("class permutation", "pixel permutation")

    def __init__(self, *, ignore_index: int = IGNORE_INDEX, kernel: PixelKernel = "auto") -> None:
        super().__init__()
        self.ignore_index = ignore_index
        check_choice("kernel", kernel, get_args(PixelKernel))
        self.kernel: PixelKernel = kernel
        self._asked: PixelKernel = kernel
        self._foresight = _alone()

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        return binary_cross_entropy_term(
            logits, labels, ignore_index=self.ignore_index, kernel=self.kernel, grad_scale=self._foresight
        )

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": (labels != self.ignore_index).sum().to(upcast(logits).dtype)}

    def select_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """See `Loss.select_kernel`."""
        wanted = self._asked if self._asked != "auto" else cast(PixelKernel, kernel or "auto")
        self.kernel = choose_pixel_kernel(logits, wanted)
        return self.kernel
