"""Depthwise convolutions whose gradients avoid the slow routines of oneDNN on a CPU.

oneDNN has no fast gradient by the weights of kernels wider than three: on small maps, a 5×5 kernel takes ten times as
long to differentiate by its weights as by its images. In bf16, all gradients of strided and of large kernels are slow:
they took 55 % of a training step of EfficientNet-Lite0 on a CPU with ``avx512_bf16``. Gradients are therefore computed
in the dtype of the weights, and those of wide kernels in strips of three columns: 1.2 times as many steps of that
network at 128 × 128 on one core.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FAST_WIDTH: Final = 3  # columns of a kernel that oneDNN differentiates fast by its weights


class _FastGradient(torch.autograd.Function):
    """Depthwise convolution without bias, forward in the dtype of the images, backward in that of the weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
        stride, padding, dilation, groups = options
        return F.conv2d(images, weight.to(images.dtype), None, stride, padding, dilation, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, ctx.options = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, _ = ctx.options
        gradient, source = gradients[0].to(weight.dtype), images.to(weight.dtype)
        of_images, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_images = _gradients(gradient, source, weight, stride, padding, dilation, by_images=True).to(images.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, source, weight, stride, padding, dilation)
        return of_images, of_weight, None


def _gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, *, by_images: bool
) -> Tensor:
    """Return the gradient of a depthwise convolution by its images, else by its weights, as oneDNN computes it."""
    wanted = [by_images, not by_images, False]
    both = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, stride, padding, dilation, False, [0, 0], weight.shape[0], wanted
    )
    result: Tensor = both[0] if by_images else both[1]
    return result


def _weight_gradient(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return the gradient by the weights, C×1×H×W, of strips of `FAST_WIDTH` columns where the kernel is wider."""
    width = weight.shape[3]
    if width <= FAST_WIDTH:
        return _gradients(gradient, images, weight, stride, padding, dilation, by_images=False)
    rows, columns = padding
    padded = F.pad(images, (columns, columns, rows, rows)) if rows or columns else images
    seen = stride[1] * (gradient.shape[3] - 1) + dilation[1] * (FAST_WIDTH - 1) + 1  # columns that a strip reads
    strips, done = [], 0
    while done < width:
        first = min(done, width - FAST_WIDTH)  # the last strip may overlap the one before
        part = padded[..., dilation[1] * first : dilation[1] * first + seen]
        strip = weight[..., first : first + FAST_WIDTH]
        strips.append(_gradients(gradient, part, strip, stride, (0, 0), dilation, by_images=False)[..., done - first :])
        done = first + FAST_WIDTH
    return torch.cat(strips, 3)


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution; `use_fast_gradients` sets this class on existing layers."""

    same: bool  # whether the images are padded as TensorFlow does, at the end first

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution, with fast gradients on a CPU."""
        if self.same:
            from timm.layers.padding import pad_same

            input = pad_same(input, list(self.kernel_size), list(self.stride), list(self.dilation))
        autocast = torch.is_autocast_enabled("cpu")
        fast = input.device.type == "cpu" and torch.is_grad_enabled() and (autocast or self.kernel_size[1] > FAST_WIDTH)
        if not fast:
            return self._conv_forward(input, self.weight, self.bias)
        options = (self.stride, self.padding, self.dilation, self.groups)
        images = input.to(torch.get_autocast_dtype("cpu")) if autocast else input
        output: Tensor = _FastGradient.apply(images, self.weight, options)
        return output


def use_fast_gradients(module: nn.Module) -> None:
    """Set `DepthwiseConv2d` on the depthwise convolutions whose gradients are slow on a CPU, in place.

    Weights, outputs and the names of the layers stay the same.
    """
    for layer in module.modules():
        if type(layer) is not nn.Conv2d and type(layer).__name__ != "Conv2dSame":
            continue
        assert isinstance(layer, nn.Conv2d)  # timm's Conv2dSame is one
        depthwise = layer.groups == layer.in_channels == layer.out_channels > 1 and layer.bias is None
        # 3×3 kernels with stride 1 have fast gradients in both dtypes.
        if depthwise and layer.padding_mode == "zeros" and (max(layer.kernel_size) > 3 or layer.stride[0] > 1):
            same = type(layer) is not nn.Conv2d
            layer.__class__ = DepthwiseConv2d
            layer.__dict__["same"] = same
