"""The mean of probabilities over networks and views equals the mean that is computed by hand."""

import pytest
import torch
import torch.nn.functional as F

from segmi.errors import UsageError
from segmi.models import InferenceConfig, averaging, build_network, forward_padded
from segmi.models.averaging import Member, mean_logits, views_of
from segmi.models.inference import class_probabilities, parse_tta


@pytest.fixture
def make():
    def network(seed=0, **options):
        torch.manual_seed(seed)
        built = build_network("unet", **{"classes": 3, "width": 2, **options}).eval()
        with torch.no_grad():  # an untrained head gives nearly the same logit everywhere
            built.module.head.weight *= 1000
        return built

    return network


def probabilities(network, images, size):
    with torch.no_grad():
        logits = forward_padded(network, images)
    return class_probabilities(F.interpolate(logits, size, mode="bilinear", align_corners=False))


def mean(network, images, sizes, **options):
    with torch.inference_mode():
        logits = mean_logits([Member(network, images, InferenceConfig(**options))], sizes)
    return [class_probabilities(one) for one in logits]


@pytest.mark.parametrize("one_logit", [False, True])
def test_flips_average_the_probabilities_of_the_mirrored_image(make, one_logit):
    network = make(classes=2, one_logit=one_logit)
    images = torch.rand(2, 3, 21, 30)  # padded to the stride
    sizes = [(21, 30), (40, 33)]
    found = mean(network, images, sizes, tta=("flips",))
    for index, size in enumerate(sizes):
        plain = probabilities(network, images[index : index + 1], size)
        mirrored = probabilities(network, images[index : index + 1].flip(-1), size).flip(-1)
        torch.testing.assert_close(found[index], (plain + mirrored) / 2, atol=1e-5, rtol=0)
        assert (plain - mirrored).abs().max() > 0.01


def test_vertical_flips_follow_the_training(make):
    network = make()
    assert [view.flips for view in views_of(network, ("flips",))] == [(), (-1,)]
    network.card = {"preprocessing": {"vertical_flip": 0.5}}
    assert [view.flips for view in views_of(network, ("flips",))] == [(), (-1,), (-2,), (-2, -1)]
    images = torch.rand(1, 3, 24, 19)
    (found,) = mean(network, images, [(30, 25)], tta=("flips",))
    flips = ([], [-1], [-2], [-2, -1])
    expected = sum(probabilities(network, images.flip(one), (30, 25)).flip(one) for one in flips) / 4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_flips_make_the_prediction_of_the_mirrored_image_the_mirrored_prediction(make):
    network, images = make(), torch.rand(1, 3, 50, 75)
    for options in ({}, {"window": 32, "overlap": 16}):
        (found,) = mean(network, images, [(50, 75)], tta=("flips",), **options)
        (mirrored,) = mean(network, images.flip(-1), [(50, 75)], tta=("flips",), **options)
        torch.testing.assert_close(mirrored.flip(-1), found, atol=1e-5, rtol=0)


def test_scales_average_resized_images(make):
    network, images = make(), torch.rand(1, 3, 32, 48)
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    (found,) = mean(network, images, [(32, 48)], tta=("scales",))
    assert seen == [(32, 48), (32, 48), (48, 64)], "24×36 and 40×60, padded to multiples of 16"
    sides = ((32, 48), (24, 36), (40, 60))
    scaled = [F.interpolate(images, side, mode="bilinear", antialias=True) for side in sides]
    expected = sum(probabilities(network, one, (32, 48)) for one in scaled) / 3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert len(views_of(network, ("flips", "scales"))) == 6


def test_networks_count_equally_whatever_their_scale(make):
    networks = [make(seed) for seed in range(3)]
    images = [torch.rand(1, 3, side, side) for side in (32, 48, 17)]
    with torch.inference_mode():
        members = [Member(n, x, InferenceConfig()) for n, x in zip(networks, images, strict=True)]
        (logits,) = mean_logits(members, [(40, 30)])
    expected = sum(probabilities(n, x, (40, 30)) for n, x in zip(networks, images, strict=True)) / 3
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-5, rtol=0)


def test_one_logit_and_two_logits_can_be_averaged(make):
    networks = [make(0, classes=2), make(1, classes=2, one_logit=True)]
    images = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        (logits,) = mean_logits([Member(one, images, InferenceConfig()) for one in networks], [(16, 16)])
    expected = sum(probabilities(one, images, (16, 16)) for one in networks) / 2
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-5, rtol=0)


def test_certain_networks_give_finite_logits(make):
    for options in ({}, {"classes": 2, "one_logit": True}):
        network = make(**options)
        with torch.no_grad():
            network.module.head.weight *= 1e6
        with torch.inference_mode():
            member = Member(network, torch.rand(1, 3, 16, 16), InferenceConfig(tta=("flips",)))
            (logits,) = mean_logits([member], [(16, 16)])
        assert logits.isfinite().all()


def test_large_results_are_in_a_file(make, monkeypatch):
    network, images = make(), torch.rand(1, 3, 32, 32)
    (expected,) = mean(network, images, [(64, 64)], tta=("flips",))
    monkeypatch.setattr(averaging, "MAX_BYTES", 1000)
    (found,) = mean(network, images, [(64, 64)], tta=("flips",))
    assert torch.equal(found, expected)


def test_names_are_checked():
    assert parse_tta(" flips, scales,flips") == ("flips", "scales")
    with pytest.raises(UsageError, match=r"unknown test-time augmentation 'flip'(.|\n)*flips"):
        InferenceConfig(tta=parse_tta("flip"))
    with pytest.raises(UsageError, match="unknown test-time augmentation ''"):
        InferenceConfig(tta=parse_tta(""))
