import json

import pytest
import torch
import torchvision

from segmi.errors import UsageError
from segmi.models import MODELS, adapters, build_network, list_encoders, list_models
from segmi.testing import MODEL_RULES, check_model

LARGE = {"fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"}
# Parameters that the library does not use: PSPNet reads three stages of the encoder, DPT has no classifier.
UNUSED = {
    "smp_pspnet": (
        "module.encoder.model.blocks.2",
        "module.encoder.model.blocks.3",
        "module.encoder.model.blocks.4",
        "module.encoder.model.blocks.5",
    ),
    "smp_dpt": ("module.encoder.model.norm", "module.encoder.model.head"),
}
ALL = [pytest.param(name, marks=pytest.mark.slow) if name.endswith("101") else name for name in MODELS]


@pytest.mark.parametrize("rule", MODEL_RULES)
@pytest.mark.parametrize("name", ALL)
def test_every_architecture_satisfies_the_contract(name, rule, smallest):
    if rule == "binary" and name in LARGE:
        pytest.skip("the large variants share their code with the small ones")
    arguments, side = smallest(name)
    options = {key: value for key, value in arguments.items() if key != "architecture"}
    check_model(name, options, side=side, unused=UNUSED.get(name, ()), rules=[rule])


@pytest.mark.parametrize("name", ALL)
def test_specifications_and_weights_are_checked(name, smallest):
    arguments, _ = smallest(name)
    network = build_network(**arguments, classes=3)
    assert (network.classes, network.channels, network.in_channels) == (3, 3, 3)
    twin = build_network(**network.specification)
    assert twin.specification == network.specification
    with pytest.raises(RuntimeError, match="Missing key"):
        twin.load_state_dict(dict(list(network.state_dict().items())[:-1]), strict=True)
    assert build_network(**arguments, classes=2, one_logit=True).channels == 1


@pytest.mark.parametrize("name", ALL)
def test_needs_batch_of_two_is_known_before_training(name, smallest):
    arguments, side = smallest(name)
    network = build_network(**arguments, classes=2).train()
    try:
        network(torch.rand(1, 3, 2 * side, 2 * side))
        fails = False
    except ValueError as error:
        assert "takes at least 2 images" in str(error)  # noqa: PT017
        fails = True
    assert network.needs_batch_of_two is fails


def test_table_is_complete():
    import segmentation_models_pytorch as smp
    import torchvision

    titles = {name: row.title for name, row in MODELS.items() if name.startswith("smp_")}
    assert {title.lower() for title in titles.values()} == set(smp.MODEL_ARCHITECTURES_MAPPING)
    assert all(name == f"smp_{title.lower()}" for name, title in titles.items())
    assert set(torchvision.models.list_models(module=torchvision.models.segmentation)) <= set(MODELS)
    assert [row["name"] for row in list_models()][: len(MODELS)] == list(MODELS)
    json.dumps(list_models())


def test_encoders_by_name():
    names = list_encoders()
    assert len(names) == len(set(names)) > 1000
    assert {"resnet18", "mit_b0", "tu-tf_efficientnet_lite0"} <= set(names)
    assert set(list_encoders(timm=False)) < set(names)


@pytest.mark.slow
def test_every_smp_encoder_builds_and_runs():
    for encoder in list_encoders(timm=False):
        device = "cpu" if encoder.startswith("mit_") else "meta"  # those look at numbers while they are built
        with torch.device(device):
            network = build_network("smp_fpn", classes=2, encoder=encoder).eval()
        assert network(torch.rand(1, 3, 64, 64, device=device)).logits.shape == (1, 2, 64, 64), encoder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "unett"}, r"unknown architecture 'unett'(.|\n)*did you mean 'unet'"),
        ({"architecture": "smp_deeplab3plus"}, r"did you mean 'smp_deeplabv3plus'"),
        (
            {"architecture": "smp_unet", "encoder": "resnet81"},
            r"unknown encoder 'resnet81'(.|\n)*did you mean 'resnet18'",
        ),
        (
            {"architecture": "smp_unet", "encoder": "tu-mobilenetv3_smal_050"},
            r"did you mean 'tu-mobilenetv3_small_050'",
        ),
        ({"architecture": "smp_unet", "encoder": "tu-resnet18.nonsense"}, r"unknown encoder(.|\n)*tu-resnet18.a1_in1k"),
        ({"architecture": "smp_unet", "encoder": "resnet18", "encoder_weights": "imagnet"}, r"did you mean 'imagenet'"),
        ({"architecture": "smp_unet", "decoder_chanels": [1]}, r"unknown option of smp_unet(.|\n)*'decoder_channels'"),
        ({"architecture": "smp_unet", "width": 8}, r"unknown option of smp_unet 'width'"),
        ({"architecture": "unet", "encoder": "resnet18"}, r"unknown option of unet 'encoder'(.|\n)*width"),
        ({"architecture": "unet", "encoder_weights": "imagenet"}, r"unet has no pretrained weights"),
        ({"architecture": "deeplabv3_resnet50", "encoder_weights": "coc"}, r"did you mean 'coco'"),
        ({"architecture": "unet", "classes": 1}, r"at least 2 classes, got 1(.|\n)*one_logit=True"),
        ({"architecture": "unet", "classes": 3, "one_logit": True}, r"problems of 2 classes, got 3"),
        ({"architecture": "unet", "in_channels": 0}, r"in_channels must be at least 1"),
        ({"architecture": "unet", "normalize": "imagenet"}, r"normalize must be \"weights\", \"none\" or"),
        ({"architecture": "unet", "normalize": {"mean": [0.5], "std": [0.5]}}, r"\[3 numbers\]"),
        ({"architecture": "unet", "normalize": {"mean": [0.5] * 3, "std": [0, 1, 1]}}, r"positive std"),
        ({"architecture": "smp_unetplusplus", "encoder": "mit_b0"}, r"cannot be built with encoder 'mit_b0'"),
        ({"architecture": "smp_dpt", "encoder": "resnet18"}, r"cannot be built(.|\n)*must start with 'tu-'"),
        ({"architecture": "smp_fpn", "encoder": "resnet18", "encoder_options": {"a": 1}}, r"encoders of timm \(tu-…\)"),
        ({"architecture": "smp_unet", "decoder_channels": {1}}, r"numbers, texts, lists and mappings|cannot be built"),
    ],
)
def test_invalid_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        build_network(**{"classes": 2, **arguments})


def test_weights_are_random_by_default(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("a download was attempted")

    monkeypatch.setattr("socket.create_connection", forbidden)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", forbidden)
    for name in ("deeplabv3_mobilenet_v3_large", "smp_fpn"):
        network = build_network(name, classes=2)
        assert network.normalization is None
        assert network.specification["normalize"] == "none"


def test_batch_norm_momentum() -> None:
    """Three passes of a batch at 0.1, as the study's code made them, move the statistics as one at 1 - 0.9³ does."""
    images = torch.rand(2, 3, 32, 32)
    thrice = build_network("unet", classes=3, width=2).train()
    once = build_network("unet", classes=3, width=2, batch_norm_momentum=1 - 0.9**3).train()
    once.load_state_dict(thrice.state_dict())
    for _ in range(3):
        thrice(images)
    once(images)
    for (name, one), other in zip(once.named_buffers(), thrice.buffers(), strict=True):
        if "running" in name:
            torch.testing.assert_close(one, other)
    rebuilt = build_network(**once.specification)
    assert {m.momentum for m in rebuilt.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1 - 0.9**3}


def test_invalid_momentum_is_refused() -> None:
    with pytest.raises(UsageError, match=r"batch_norm_momentum: expected a value in \(0, 1\], got 0"):
        build_network("unet", classes=3, batch_norm_momentum=0)


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
@pytest.mark.parametrize("in_channels", [1, 5])
def test_pretrained_first_layers_of_torchvision_are_adapted(name, in_channels):
    """As segmentation_models_pytorch: the weights are repeated, and scaled so that the sum over channels stays."""
    module = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=2)
    before = next(layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)).weight.detach().clone()
    adapters._replace_first_convolution(module, in_channels, pretrained=True)
    after = next(layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)).weight
    if in_channels == 1:
        expected = before.sum(1, keepdim=True)
    else:
        expected = before[:, [0, 1, 2, 0, 1]] * 3 / 5
    torch.testing.assert_close(after, expected)
