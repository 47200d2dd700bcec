"""Depthwise convolutions whose gradient is computed in fp32 when a CPU trains in bf16.

oneDNN has no fast bf16 kernels for the gradient of depthwise convolutions with large kernels or strides: on a CPU with
``avx512_bf16`` they took 55 % of a training step of EfficientNet-Lite0, and ten times as long as in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _FloatGradient(torch.autograd.Function):
    """Convolution without bias, forward in the dtype of the images, backward in fp32."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.options = options
        stride, padding, dilation, groups = options
        return F.conv2d(images, weight.to(images.dtype), None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.options
        of_images, of_weight, _ = torch.ops.aten.convolution_backward(
            gradients[0].float(), images.float(), weight, None, stride, padding, dilation, False, [0, 0], groups,
            [*ctx.needs_input_grad[:2], False],
        )  # fmt: skip
        return None if of_images is None else of_images.to(images.dtype), of_weight, None


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution; `use_float_gradients` sets this class on existing layers."""

    same: bool  # whether the images are padded as TensorFlow does, at the end first

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution; under bf16 autocast on a CPU with the gradient in fp32."""
        if self.same:
            from timm.layers.padding import pad_same

            input = pad_same(input, list(self.kernel_size), list(self.stride), list(self.dilation))
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
            return self._conv_forward(input, self.weight, self.bias)
        options = (self.stride, self.padding, self.dilation, self.groups)
        output: Tensor = _FloatGradient.apply(input.to(torch.get_autocast_dtype("cpu")), self.weight, options)
        return output


def use_float_gradients(module: nn.Module) -> None:
    """Compute the gradients of depthwise convolutions that are slow in bf16 on a CPU in fp32, in place.

    Weights, outputs and the names of the layers stay the same.
    """
    for layer in module.modules():
        if type(layer) is not nn.Conv2d and type(layer).__name__ != "Conv2dSame":
            continue
        assert isinstance(layer, nn.Conv2d)  # timm's Conv2dSame is one
        depthwise = layer.groups == layer.in_channels == layer.out_channels > 1 and layer.bias is None
        # 3×3 kernels with stride 1 have fast bf16 gradients.
        if depthwise and layer.padding_mode == "zeros" and (layer.kernel_size[0] > 3 or layer.stride[0] > 1):
            same = type(layer) is not nn.Conv2d
            layer.__class__ = DepthwiseConv2d
            layer.__dict__["same"] = same
