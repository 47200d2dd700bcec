import copy
import pickle

import pytest
import torch
from torch import nn

from segmi.errors import UsageError
from segmi.models import Normalization, SegmentationNetwork, build_network, forward_padded


def test_images_are_normalized():
    normalization = Normalization((0.5, 0.25, 0.1), (0.5, 0.2, 0.1))
    network = SegmentationNetwork(nn.Identity(), classes=3, normalization=normalization)
    images = torch.rand(2, 3, 4, 4)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization)
    torch.testing.assert_close(network(images).logits, (images - mean) / std)
    assert not network.state_dict()  # the normalization is not trained


def test_small_logits_are_resized_to_the_images():
    network = SegmentationNetwork(nn.AvgPool2d(4), classes=3, stride=4)
    images = torch.full((1, 3, 8, 12), 0.25)
    torch.testing.assert_close(network(images).logits, images)


def test_logits_come_from_a_mapping():
    class Mapped(nn.Module):
        def forward(self, images):
            return {"out": images, "aux": None}

    assert SegmentationNetwork(Mapped(), classes=3)(torch.rand(1, 3, 2, 2)).logits.shape == (1, 3, 2, 2)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 3, 33, 48), torch.float32, r"multiples of 16 .* got 33×48; crop or pad them to 48×48"),
        ((1, 3, 0, 16), torch.float32, r"multiples of 16 .* got 0×16; crop or pad them to 16×16"),
        (
            (1, 1, 32, 32),
            torch.float32,
            r"expected float images of shape N×3×H×W, got torch.float32 of shape 1×1×32×32",
        ),
        ((3, 32, 32), torch.float32, r"of shape 3×32×32"),
        ((1, 3, 32, 32), torch.uint8, r"got torch.uint8"),
    ],
)
def test_refuses_images_of_the_wrong_shape(shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        build_network("unet", classes=2, width=2)(torch.zeros(shape, dtype=dtype))


def test_architectures_without_stride_accept_any_size():
    network = build_network("lraspp_mobilenet_v3_large", classes=2).eval()
    assert network.stride == 1
    assert network(torch.rand(1, 3, 33, 47)).logits.shape == (1, 2, 33, 47)


def test_features_equal_the_outputs_of_the_modules():
    network = build_network("unet", classes=2, width=2, features=["bottleneck", "head"]).eval()
    images = torch.rand(2, 3, 32, 32)
    output = network(images)
    assert set(output.features) == {"bottleneck", "head"}
    assert output.features["bottleneck"].shape == (2, 32, 2, 2)
    torch.testing.assert_close(output.features["head"], output.logits)
    assert not build_network("unet", classes=2, width=2)(images).features


def test_features_are_copied_before_in_place_layers():
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    network = SegmentationNetwork(block, classes=4, features=["0"])
    images = torch.randn(2, 3, 4, 4)
    kept = network(images).features["0"]
    torch.testing.assert_close(kept, block[0](images))
    assert (kept < 0).any()


def test_features_have_gradients():
    network = build_network("unet", classes=2, width=2, features=["encoders.0"])
    network(torch.rand(2, 3, 16, 16)).features["encoders.0"].sum().backward()
    assert network.module.encoders[0][0].weight.grad.abs().sum() > 0
    assert network.module.head.weight.grad is None


def test_unknown_feature_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"unknown feature 'bottelneck'(.|\n)*did you mean 'bottleneck"):
        build_network("unet", classes=2, width=2, features=["bottelneck"])


def test_feature_that_is_not_a_tensor_is_refused():
    network = build_network("smp_fpn", classes=2, encoder="tu-mobilenetv3_small_050", features=["encoder"]).eval()
    with pytest.raises(UsageError, match=r"feature 'encoder' \(TimmUniversalEncoder\) gives a list, not a tensor"):
        network(torch.rand(1, 3, 32, 32))


def test_copies_and_pickles_are_independent():
    network = build_network(
        "unet", classes=2, width=2, features=["head"], normalize={"mean": [0.5] * 3, "std": [1] * 3}
    )
    network.eval()
    images = torch.rand(1, 3, 16, 16)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        before = network(images).features["head"].clone()
        with torch.no_grad():
            twin.module.head.bias.add_(1)
        torch.testing.assert_close(network(images).features["head"], before)
        torch.testing.assert_close(twin(images).features["head"], before + 1)


def test_batch_of_one_where_pooled_maps_are_normalized():
    network = build_network("deeplabv3_mobilenet_v3_large", classes=3)
    before = copy.deepcopy(network.state_dict())
    network.eval()
    assert network.needs_batch_of_two
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.train()
    with pytest.raises(ValueError, match=r"takes at least 2 images in training; got a batch of 1 of 64×64 pixels"):
        network(torch.rand(1, 3, 64, 64))
    assert network(torch.rand(2, 3, 64, 64)).logits.shape == (2, 3, 64, 64)
    assert not build_network("unet", classes=3, width=2).needs_batch_of_two
    assert not build_network("lraspp_mobilenet_v3_large", classes=3).needs_batch_of_two


def test_images_too_small_for_the_pooling():
    network = build_network("smp_pan", classes=2, encoder="tu-mobilenetv3_small_050").eval()
    with pytest.raises(ValueError, match=r"large enough for the network's pooling; got a batch of 1 of 64×64 pixels"):
        network(torch.rand(1, 3, 64, 64))


def test_errors_of_other_kinds_pass_unchanged():
    class Broken(nn.Module):
        def forward(self, images):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        SegmentationNetwork(Broken(), classes=2)(torch.rand(1, 3, 2, 2))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 1), (17, 40), (50, 31)])
def test_logits_of_any_size(height, width):
    network = build_network("unet", classes=3, width=2).eval()
    images = torch.rand(1, 3, height, width)
    logits = forward_padded(network, images)
    assert logits.shape == (1, 3, height, width)
    if not height % 16 and not width % 16:
        torch.testing.assert_close(logits, network(images).logits)


def test_padding_repeats_the_edge():
    network = SegmentationNetwork(nn.AvgPool2d(4), classes=3, stride=4)
    images = torch.full((1, 3, 5, 7), 0.75)
    torch.testing.assert_close(forward_padded(network, images), images)  # black or white borders would show


def test_autocast_in_bfloat16():
    network = build_network("unet", classes=2, width=2, normalize={"mean": [0.5] * 3, "std": [0.5] * 3}).eval()
    images = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(images).logits
    torch.testing.assert_close(low.float(), network(images).logits, rtol=0.1, atol=0.1)
