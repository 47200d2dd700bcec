"""Depthwise convolutions keep their values, and their gradients are those of fp32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from segmi.models import build_network
from segmi.models.depthwise import DepthwiseConv2d, use_fast_gradients


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (3, 2)])
def test_bf16_gradients_are_those_of_fp32(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False)
    fast = copy.deepcopy(layer)
    use_fast_gradients(fast)
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


@pytest.mark.parametrize("kernel", [(5, 5), (7, 7), (3, 8), (4, 4), (5, 3)])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_fp32_gradients_of_wide_kernels_are_those_of_fp64(kernel: tuple[int, int], stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    padding = (kernel[0] // 2, kernel[1] // 2 + 1)
    fast = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=False)
    exact = copy.deepcopy(fast).double()
    use_fast_gradients(fast)
    assert type(fast) is DepthwiseConv2d
    # Sums of small integers are exact in both dtypes.
    exact.weight.data = torch.randint(-4, 5, exact.weight.shape).double()
    fast.weight.data = exact.weight.detach().float()
    images = torch.randint(-4, 5, (2, 6, 19, 23)).float().to(memory_format=torch.channels_last).requires_grad_()
    source = images.detach().double().requires_grad_()
    output, expected = fast(images), exact(source)
    assert torch.equal(output.double(), expected)
    gradient = torch.randint_like(output, -4, 5)
    output.backward(gradient)
    expected.backward(gradient.double())
    assert torch.equal(fast.weight.grad.double(), exact.weight.grad)
    assert torch.equal(images.grad.double(), source.grad)


def test_function_transforms_and_double_precision() -> None:
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False).double()
    plain = copy.deepcopy(layer)
    use_fast_gradients(layer)
    images = torch.randn(3, 4, 9, 9, dtype=torch.float64)

    def of_image(module: nn.Module) -> torch.Tensor:
        def value(weight: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(module, {"weight": weight}, (image[None],)).square().sum()

        gradient: torch.Tensor = torch.vmap(torch.func.grad(value), (None, 0))(plain.weight.detach(), images)
        return gradient

    torch.testing.assert_close(of_image(layer), of_image(plain))


def test_frozen_layers_and_images_without_gradient() -> None:
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    use_fast_gradients(layer)
    layer(torch.randn(1, 4, 9, 9)).sum().backward()  # the first layer of a network: no gradient of the images
    assert layer.weight.grad is not None
    layer.weight.grad = None
    layer.requires_grad_(False)
    images = torch.randn(1, 4, 9, 9, requires_grad=True)
    layer(images).sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None


def test_only_slow_layers_are_replaced() -> None:
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 8, 5, bias=False), nn.Conv2d(8, 4, 1))
    use_fast_gradients(layers)
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
