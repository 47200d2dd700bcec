import pytest
import torch
from torch import nn

from segmi.errors import UsageError
from segmi.models import UNet
from segmi.models.unet import Upsampling


def expected_parameters(outputs, in_channels, width):
    """Counted from the paper's description alone."""

    def block(before, after):
        return 9 * before * after + 2 * after + 9 * after * after + 2 * after

    features = [width, 2 * width, 4 * width, 8 * width, 16 * width]
    down = sum(block(a, b) for a, b in zip([in_channels, *features[:-1]], features, strict=True))
    up = sum(4 * 2 * f * f + f + block(2 * f, f) for f in features[:-1])
    return down + up + width * outputs + outputs


def test_network_of_the_paper_has_7_76_million_parameters():
    count = sum(p.numel() for p in UNet(21).parameters())
    assert count == 7_763_701 == expected_parameters(21, 3, 32)
    assert round(count / 1e6, 2) == 7.76


def test_parameters_of_the_published_network_with_one_output():
    assert sum(p.numel() for p in UNet(1).parameters()) == 7_763_041  # as the authors of the layout publish it


@pytest.mark.parametrize(("outputs", "in_channels", "width"), [(1, 1, 4), (2, 5, 7), (11, 3, 16)])
def test_parameter_count_follows_the_formula(outputs, in_channels, width):
    assert sum(p.numel() for p in UNet(outputs, in_channels, width).parameters()) == expected_parameters(
        outputs, in_channels, width
    )


def test_layout():
    network = UNet(21)
    kinds = [type(m) for m in network.modules() if not list(m.children())]
    assert kinds.count(nn.Conv2d) == 19
    assert sum(issubclass(kind, nn.ConvTranspose2d) for kind in kinds) == 4
    assert kinds.count(nn.BatchNorm2d) == 18
    assert kinds.count(nn.ReLU) == 18
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    assert nn.Dropout not in kinds
    assert nn.Sigmoid not in kinds


def test_forward_equals_a_handwritten_network():
    network = UNet(3, width=2).eval()
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)
    e, u, d = network.encoders, network.upsamplings, network.decoders
    x = torch.rand(1, 3, 32, 32)
    pool = nn.functional.max_pool2d

    def doubled(layer, x):
        return nn.functional.conv_transpose2d(x, layer.weight, layer.bias, stride=2)

    e1 = e[0](x)
    e2 = e[1](pool(e1, 2))
    e3 = e[2](pool(e2, 2))
    e4 = e[3](pool(e3, 2))
    b = network.bottleneck(pool(e4, 2))
    d4 = d[0](torch.cat([doubled(u[0], b), e4], 1))
    d3 = d[1](torch.cat([doubled(u[1], d4), e3], 1))
    d2 = d[2](torch.cat([doubled(u[2], d3), e2], 1))
    d1 = d[3](torch.cat([doubled(u[3], d2), e1], 1))
    assert (e1.shape[1], e4.shape[1], b.shape[1], b.shape[-1]) == (2, 16, 32, 2)
    torch.testing.assert_close(network(x), network.head(d1), rtol=0, atol=0)
    assert (network(x) < 0).any()  # raw logits: no sigmoid at the end


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_training_in_bf16_upsamples_as_in_float64(memory_format, monkeypatch):
    torch.manual_seed(0)
    layer = Upsampling(8, 16).to(memory_format=memory_format)
    products = []
    monkeypatch.setattr(layer, "_as_product", lambda x: products.append(1) or Upsampling._as_product(layer, x))
    x = torch.randn(2, 8, 5, 7).bfloat16().to(memory_format=memory_format).requires_grad_()
    upstream = torch.randn(2, 16, 10, 14).bfloat16()
    wanted = (x, layer.weight, layer.bias)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
        with torch.no_grad():
            assert layer(x).stride() == found.stride()
    assert len(products) == (memory_format is torch.channels_last), "where a gradient is asked for, and only there"
    exact = [one.double() for one in wanted]
    truth = nn.functional.conv_transpose2d(*exact, stride=2)
    pairs = zip(
        [found, *torch.autograd.grad(found, wanted, upstream)],
        [truth, *torch.autograd.grad(truth, exact, upstream.double())],
        strict=True,
    )
    for got, known in pairs:
        assert (got.double() - known).norm() < 2**-8 * known.norm()  # as near as bf16 can be


def test_shift_by_the_stride_shifts_the_logits():
    network = UNet(2, width=2).eval()
    x = torch.rand(1, 3, 16 * 24, 48)
    torch.testing.assert_close(
        network(x)[:, :, 176:208], network(x.roll(16, 2))[:, :, 192:224], rtol=1e-4, atol=1e-5
    )  # away from the border, which is 140 pixels deep


@pytest.mark.parametrize("arguments", [{"outputs": 0}, {"outputs": 1, "in_channels": 0}, {"outputs": 1, "width": 0}])
def test_arguments_below_one_are_refused(arguments):
    with pytest.raises(UsageError, match=r"of the U-Net must be at least 1, got 0"):
        UNet(**arguments)
