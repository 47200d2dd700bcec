import json
import os

import numpy as np
import pytest
import torch
from torch import nn

import segmi
from segmi.deploy import load, save_bundle
from segmi.errors import DataError, UsageError
from segmi.models import SegmentationNetwork, build_network


@pytest.fixture
def bundle(tmp_path, network, dataset, preprocessing):
    return save_bundle(tmp_path / "run" / "bundle", network, dataset=dataset, preprocessing=preprocessing)


def change(bundle, **changes):
    card = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps(card | changes))


def test_round_trip_gives_the_same_network(bundle, network):
    loaded = segmi.load(bundle)
    assert isinstance(loaded, SegmentationNetwork)
    assert not loaded.training
    images = torch.rand(2, 3, 32, 48)
    assert torch.equal(loaded(images).logits, network(images).logits)
    assert loaded.specification == network.specification
    assert loaded.normalization == network.normalization


def test_card_has_all_fields(bundle, network, dataset, preprocessing):
    card = load(bundle).card
    assert card == json.loads((bundle / "model.json").read_text())
    assert sorted(p.name for p in bundle.iterdir()) == ["model.json", "model.safetensors"]
    assert card["schema_version"] == 2
    assert card["segmi_version"] == segmi.__version__
    assert card["architecture"] == "unet"
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    assert card["preprocessing"] == preprocessing
    assert card["dataset"] == {"name": "toy", "title": "Toy images"}
    assert (card["classes"], card["palette"], card["ignore_index"]) == (dataset["classes"], dataset["palette"], 255)


def test_other_libraries_read_the_weights(bundle, network):
    from safetensors.numpy import load_file

    arrays = load_file(bundle / "model.safetensors")
    assert set(arrays) == set(network.state_dict())
    np.testing.assert_array_equal(arrays["module.head.bias"], network.state_dict()["module.head.bias"].numpy())


@pytest.mark.parametrize(
    "arguments",
    [
        {"architecture": "unet", "classes": 2, "one_logit": True, "width": 2, "features": ["head"]},
        {"architecture": "lraspp_mobilenet_v3_large", "classes": 3},
        {
            "architecture": "smp_deeplabv3plus",
            "classes": 3,
            "encoder": "tu-mobilenetv3_small_050",
            "decoder_channels": 16,
        },
        {
            "architecture": "smp_fpn",
            "classes": 3,
            "encoder": "tu-tf_efficientnet_lite0",
            "encoder_weights": "bundled",
            "in_channels": 1,
        },
    ],
)
def test_every_kind_of_network_is_restored(tmp_path, dataset, arguments):
    network = build_network(**arguments).eval()
    dataset["classes"] = dataset["classes"][: arguments["classes"]]
    loaded = load(save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={}))
    images = torch.rand(1, network.in_channels, 64, 64)
    assert torch.equal(loaded(images).logits, network(images).logits)
    assert set(loaded(images).features) == set(arguments.get("features", ()))


def test_loading_draws_no_random_numbers(bundle):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(bundle)
    assert torch.equal(torch.rand(3), expected)


def test_saving_again_replaces_the_whole(bundle, network, dataset, preprocessing):
    with torch.no_grad():
        network.module.head.bias.fill_(7)
    save_bundle(bundle, network, dataset=dataset, preprocessing=preprocessing)
    assert load(bundle).module.head.bias.tolist() == [7, 7, 7]
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_a_failed_save_leaves_the_old_bundle(bundle, network, dataset, preprocessing, monkeypatch):
    before = (bundle / "model.safetensors").read_bytes()

    def fail(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("segmi.deploy.bundle.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(bundle, network, dataset=dataset, preprocessing=preprocessing)
    assert (bundle / "model.safetensors").read_bytes() == before
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]
    load(bundle)


def test_missing_files_are_named(bundle, tmp_path):
    with pytest.raises(
        DataError, match=r"nowhere is not a bundle: no such folder(.|\n)*choose a folder with model.safetensors"
    ):
        load(tmp_path / "nowhere")
    (bundle / "model.json").unlink()
    with pytest.raises(DataError, match=r"is not a bundle: model.json missing"):
        load(bundle)
    (bundle / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model.safetensors and model.json missing"):
        load(bundle)


def test_pickles_are_refused_and_never_opened(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    folder = tmp_path / "old"
    folder.mkdir()
    torch.save({"weights": Evil()}, folder / "model.pt")
    for path in (folder, folder / "model.pt"):
        with pytest.raises(DataError, match=r"pickled weights, which can execute any code .* segmi does not load them"):
            load(path)
    (folder / "model.json").write_text("{}")
    (folder / "model.pt").rename(folder / "model.safetensors")  # a pickle with another suffix
    with pytest.raises(DataError):
        load(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 3}, r"has schema_version 3, .* reads 2(.|\n)*install a newer segmi"),
        ({"schema_version": "x"}, r"has schema_version 'x'(.|\n)*use a bundle that segmi wrote"),
        ({"palette": [[0, 0, 0]]}, r"palette should be 256 colors"),
        ({"palette": [[0, 0, 300]] * 256}, r"palette should be 256 colors"),
        ({"classes": ["one"]}, r"1 classes for a network of 3"),
        ({"preprocessing": None}, r"preprocessing should be a dict, got NoneType"),
        ({"sha256": "0" * 64}, r"model.safetensors does not belong to model.json"),
        (
            {"specification": {"architecture": "unet", "classes": 3, "width": 4}},
            r"do not fit the network .* size mismatch",
        ),
        ({"specification": {"architecture": "nonet", "classes": 3}}, r"cannot build: unknown architecture 'nonet'"),
        ({"specification": {"classes": 3}}, r"cannot build"),
    ],
)
def test_damaged_cards_are_refused(bundle, changes, message):
    change(bundle, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load(bundle)
    assert str(bundle) in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_cards_that_are_not_json_are_refused(bundle, text):
    (bundle / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"model.json (is not JSON|has schema_version None)"):
        load(bundle)


def test_every_flipped_byte_of_the_weights_is_noticed(bundle):
    weights = bundle / "model.safetensors"
    whole = weights.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 20):
        weights.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match="SHA-256 differs"):
            load(bundle)
    weights.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="SHA-256 differs"):
        load(bundle)


def test_damage_with_a_matching_checksum_is_refused(bundle):
    from segmi.deploy.bundle import _sha256

    (bundle / "model.safetensors").write_bytes(b"no arrays at all")
    change(bundle, sha256=_sha256(bundle / "model.safetensors"))
    with pytest.raises(DataError, match=r"model.safetensors is damaged"):
        load(bundle)


def test_invalid_bundles_are_not_saved(tmp_path, network, dataset, preprocessing):
    with pytest.raises(UsageError, match="expected a network built by build_network, got Conv2d"):
        save_bundle(tmp_path / "b", nn.Conv2d(3, 3, 1), dataset=dataset, preprocessing=preprocessing)
    bare = SegmentationNetwork(nn.Conv2d(3, 3, 1), classes=3)
    with pytest.raises(UsageError, match="got SegmentationNetwork"):
        save_bundle(tmp_path / "b", bare, dataset=dataset, preprocessing=preprocessing)
    with pytest.raises(UsageError, match="lacks title, palette"):
        save_bundle(tmp_path / "b", network, dataset={"name": "x", "classes": []}, preprocessing=preprocessing)
    with pytest.raises(UsageError, match="the network has 3 classes, the dataset toy has 2"):
        save_bundle(tmp_path / "b", network, dataset=dataset | {"classes": ["a", "b"]}, preprocessing=preprocessing)
    with pytest.raises(UsageError, match="must be plain JSON"):
        save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": {1}})
    assert not (tmp_path / "b").exists()


def test_names_with_any_characters_survive(tmp_path, network, dataset, preprocessing):
    dataset["classes"] = ["Straße", "<b>", "空"]
    assert load(save_bundle(tmp_path / "ü b", network, dataset=dataset, preprocessing=preprocessing)).card[
        "classes"
    ] == ["Straße", "<b>", "空"]
