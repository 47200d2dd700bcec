"""Binary cross-entropy: one yes-or-no question per class, the pixel-wise part of the published RMI loss."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.compiled import is_eager, kernel_obstacle
from segmi.losses.compiled.grad_scale import GradScale
from segmi.losses.compiled.kernel_cache import PIXEL_MODULE, is_compiled, kernel_mode
from segmi.losses.option_checks import check_choice
from segmi.losses.probabilities import one_hot
from segmi.losses.targets import Targets, check_targets, ignore_value, is_transformed, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["BinaryCrossEntropy", "binary_cross_entropy"]

PixelKernel = Literal["auto", "numba", "torch"]


def binary_cross_entropy(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, kernel: PixelKernel = "auto"
) -> Tensor:
    """Return the binary cross-entropy of every class against the others, summed over classes, averaged over pixels.

    ``L = -1/|V| Σ_{u∈V} Σ_c [y_uc log σ(z_uc) + (1 - y_uc) log(1 - σ(z_uc))]``, V the valid pixels, y one-hot; with one
    channel, y is the label itself.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        kernel: ``numba`` is compiled for the CPU and takes logits of at most 32 bits; ``torch`` runs everywhere;
            ``auto`` uses ``numba`` if it can.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a kernel that is not available; shapes that do not match; on the CPU, ids that are neither a class
            nor ignored. On other devices such ids give NaN, and so do NaN logits on every device.
    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, 2019, eq. 17.
    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [3, 255]]]))  # 4 log 2
        tensor(2.7726)
    """
    return binary_cross_entropy_term(logits, labels, ignore_index=ignore_index, kernel=kernel).value


def binary_cross_entropy_term(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, kernel: PixelKernel = "auto",
    grad_scale: GradScale | None = None, targets: Targets | None = None
) -> Term:  # fmt: skip
    """Return `binary_cross_entropy` as the sum over valid pixels and their number.

    ``grad_scale`` predicts the factor of the sum, by default one over the number of valid pixels; ``targets`` is the
    result of `read_targets` if it is already known.
    """
    check_targets(logits, labels, ignore_index)
    chosen = choose_pixel_kernel(logits, kernel)
    if chosen == "numba" and is_eager(logits) and is_compiled(PIXEL_MODULE, wait=kernel == "numba"):
        from segmi.losses.pixel._binary_cross_entropy_cpu import pixel_sum  # imports Numba

        result = pixel_sum(
            logits, labels, grad_scale or GradScale(pixel_weight=1.0), ignore_value(ignore_index),
            lambda z: _summed(z, read_targets(z, labels, ignore_index)),
        )  # fmt: skip
        if result.unknown:
            read_targets(logits, labels, ignore_index)  # raises an error that lists the unknown ids
        return Term(result.total, result.total.new_tensor(float(result.valid)))
    targets = targets or read_targets(logits, labels, ignore_index)
    total = _summed(logits, targets)
    return Term(total + targets.invalid, targets.valid.sum().to(total.dtype))


def _summed(logits: Logits, targets: Targets) -> Tensor:
    z = upcast(logits)
    if is_transformed():
        truth = targets.classes.unsqueeze(1) if z.shape[1] == 1 else one_hot(targets, z.shape[1])
        return torch.where(targets.valid.unsqueeze(1), F.softplus(torch.where(truth > 0, -z, z)), 0.0).sum()
    return _SummedPixels.apply(z, targets.classes, targets.valid)


def choose_pixel_kernel(logits: Logits, kernel: PixelKernel = "auto") -> PixelKernel:
    """Return the routine that ``kernel`` selects for these logits: ``numba`` or ``torch``.

    Raises: ValueError for an unknown name, or a routine that cannot run here, with the reason.
    """
    check_choice("kernel", kernel, get_args(PixelKernel))
    if kernel == "torch":
        return kernel
    obstacle = kernel_obstacle("numba", logits)
    if obstacle and kernel == "numba":
        raise ValueError(f"kernel: {kernel!r} {obstacle}. Fix: use 'auto' or 'torch'.")
    return "torch" if obstacle or (kernel == "auto" and kernel_mode() == "off") else "numba"


class _SummedPixels(torch.autograd.Function):
    # ``Σ log(1 + exp(z)) - z_y`` over valid pixels and classes. The label stays an index and the gradient has a closed
    # form, so that no map is kept but the logits. The gradient consists of differentiable operations, so second
    # derivatives exist
    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(z, classes, valid)
        total = z.new_zeros(())
        for image in range(len(z)):  # one at a time, so that temporary maps are small
            part, index = z[image], classes[image : image + 1]
            # log(1 + exp(z)) - z = log(1 + exp(-z)), which does not cancel where z is large
            signed = part.where(index == 0, -part) if len(part) == 1 else part.scatter(0, index, -part.gather(0, index))
            total += F.softplus(signed).sum(0).masked_fill_(~valid[image], 0.0).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        z, classes, valid = ctx.saved_tensors
        index, scale = classes.unsqueeze(1), valid.unsqueeze(1) * upstream[0]
        # the gradient is σ(z) - y
        p = z.sigmoid()
        if torch.is_grad_enabled():  # a second derivative may follow
            one = torch.ones_like(index, dtype=z.dtype)
            return (p - index if z.shape[1] == 1 else p.scatter_add(1, index, -one)) * scale, None, None
        difference = p.sub_(index) if z.shape[1] == 1 else p.scatter_(1, index, -1.0, reduce="add")
        return difference.mul_(scale), None, None


class BinaryCrossEntropy(PixelLoss):
    """`binary_cross_entropy` as a module.

    Use: the pixel term of `rmi_loss`, its control, or classes that are decided independently.
    Assumes: every class is a separate yes-or-no question, so the probabilities of a pixel need not sum to 1.
    Invariances: a permutation of the classes, in labels and channels alike; the order of pixels.
    Degenerate solutions: as cross-entropy; most of the C questions are about absent classes, so a network that always
        answers no starts with a low loss.
    Cost: one pass over the logits.
    Args: see `binary_cross_entropy`.
    Example:
        >>> import torch
        >>> BinaryCrossEntropy()(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.uint8))
        tensor(0.6931)
    """

    family = "pixel"
    invariances = ("class permutation", "pixel permutation")
    compiled_module = PIXEL_MODULE

    def __init__(self, *, ignore_index: int | None = IGNORE_INDEX, kernel: PixelKernel = "auto") -> None:
        super().__init__(ignore_index=ignore_index)
        check_choice("kernel", kernel, get_args(PixelKernel))
        self.kernel: PixelKernel = kernel
        self._requested: PixelKernel = kernel
        self._grad_scale = GradScale(pixel_weight=1.0)

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over valid pixels and their number."""
        return binary_cross_entropy_term(
            logits, labels, ignore_index=self.ignore_index, kernel=self.kernel, grad_scale=self._grad_scale
        )

    def select_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """Choose one routine for all further calls; see `Loss.select_kernel`."""
        wanted = self._requested if self._requested != "auto" else cast(PixelKernel, kernel or "auto")
        self.kernel = choose_pixel_kernel(logits, wanted)
        return self.kernel
