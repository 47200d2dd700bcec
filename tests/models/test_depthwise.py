"""Depthwise convolutions keep their values, and their bf16 gradients are as good as those of fp32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from segmi.models import build_network
from segmi.models.depthwise import DepthwiseConv2d, use_float_gradients


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (3, 2)])
def test_bf16_gradients_are_those_of_fp32(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False)
    fast = copy.deepcopy(layer)
    use_float_gradients(fast)
    assert type(fast) is DepthwiseConv2d
    images = torch.randn(2, 16, 20, 20).bfloat16().float()
    assert torch.equal(layer(images), fast(images))  # without autocast nothing changes
    gradient = torch.randn_like(layer(images)).bfloat16()
    gradients = []
    for one in (layer, fast):
        source = images.clone().requires_grad_()
        if one is layer:
            one(source).backward(gradient.float())
        else:
            with torch.autocast("cpu", torch.bfloat16):
                output = one(source)
            assert output.dtype == torch.bfloat16
            output.backward(gradient)
        gradients.append((one.weight.grad, source.grad))
    (weight, source), (fast_weight, fast_source) = gradients
    # The gradient of the weights is computed in fp32 from the same numbers, that of the images is rounded to bf16.
    torch.testing.assert_close(fast_weight, weight)
    torch.testing.assert_close(fast_source, source, rtol=1e-2, atol=1e-2)


def test_only_slow_layers_are_replaced() -> None:
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 8, 5, bias=False), nn.Conv2d(8, 4, 1))
    use_float_gradients(layers)
    assert all(type(layer) is nn.Conv2d for layer in layers)


def test_encoders_keep_names_and_values() -> None:
    network = build_network("smp_fpn", classes=3, encoder="tu-tf_efficientnet_lite0").eval()
    replaced = [layer for layer in network.modules() if isinstance(layer, DepthwiseConv2d)]
    assert len(replaced) > 8
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = network(images).logits
        for layer in replaced:  # the class before
            from timm.layers.conv2d_same import Conv2dSame

            layer.__class__ = Conv2dSame if layer.same else nn.Conv2d
        assert torch.equal(network(images).logits, expected)
