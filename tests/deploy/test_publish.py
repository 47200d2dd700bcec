"""Published bundles have a model card, and load from a folder and from a stub of the Hub."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from hub_stub import TOKEN, running

import segmi
from segmi.cli import main
from segmi.deploy import load, save_bundle
from segmi.deploy.publish import push, write_folder
from segmi.errors import DataError, EnvironmentProblem, UsageError


@pytest.fixture
def bundle(tmp_path, network, dataset, preprocessing):
    dataset["classes"] = ["sky", "ro|ad", "<b>car</b>"]
    return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing=preprocessing)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running() as stub:
        monkeypatch.setenv("HF_ENDPOINT", stub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield stub


def same_weights(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_the_folder_is_a_bundle_with_a_card(bundle, tmp_path, network):
    files = write_folder(bundle, tmp_path / "mine", license="apache-2.0")
    assert files == ["README.md", "model.json", "model.safetensors"]
    assert same_weights(segmi.load(tmp_path / "mine"), network)
    text = (tmp_path / "mine" / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert (head["library_name"], head["license"], head["pipeline_tag"]) == (
        "segmi",
        "apache-2.0",
        "image-segmentation",
    )
    for heading in ("## Use", "## Scores", "## Training", "## License", "## Limits"):
        assert heading in text
    assert 'segmi.load("mine")' in text
    assert "without the record of its run" in text
    assert "resize 40" in text


def test_a_missing_license_is_stated_on_the_card(bundle, tmp_path):
    write_folder(bundle, tmp_path / "mine")
    text = (tmp_path / "mine" / "README.md").read_text()
    assert "license:" not in text
    assert "No license was given" in text


def test_push_and_load_from_the_hub(bundle, hub, tmp_path, network, capsys):
    assert main(["publish", str(bundle), "--to", "me/streets", "--private"]) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/me/streets"
    assert sorted(hub.repositories["me/streets"]) == ["README.md", "model.json", "model.safetensors"]
    assert hub.repositories["me/streets"]["model.safetensors"] == (bundle / "model.safetensors").read_bytes()
    assert 'segmi.load("me/streets")' in hub.repositories["me/streets"]["README.md"].decode()
    loaded = segmi.load("me/streets")
    assert same_weights(loaded, network)
    assert not any("README" in request for request in hub.requests if "/resolve/" in request)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    assert segmi.predict(loaded, pixels).shape == (30, 50)
    assert same_weights(segmi.load("hf://me/streets@main"), network)


def test_missing_repositories_are_reported(hub):
    with pytest.raises(DataError, match=r"http://127.* has no repository me/nothing(.|\n)*check owner and name"):
        load("me/nothing")
    hub.repositories["me/other"] = {"readme.txt": b"no bundle"}
    with pytest.raises(DataError, match=r"me/other is not a bundle: model.safetensors and model.json missing"):
        load("me/other")
    with pytest.raises(DataError, match="me/other has no such revision"):
        load("me/other@v9")


def test_missing_and_wrong_tokens_are_reported(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(
        EnvironmentProblem, match=r"does not let this token write to me/x(.|\n)*token that has write access"
    ):
        push(bundle, "me/x")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(EnvironmentProblem, match=r"no token for writing(.|\n)*export HF_TOKEN"):
        push(bundle, "me/x")


def test_offline(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # no server listens on this port
    with pytest.raises(EnvironmentProblem, match=r"http://127.0.0.1:9 cannot be reached"):
        push(bundle, "me/x")
    with pytest.raises(
        EnvironmentProblem, match=r"me/x is not a local folder, and http://127.0.0.1:9 cannot be reached"
    ):
        load("me/x")


def test_a_misspelled_path_is_not_requested_from_the_hub(hub, tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(DataError, match="no such folder"):
        load("runs/mien")
    assert not hub.requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --to OWNER/NAME or --output DIR"),
        (["--to", "a/b", "--output", "x"], "expected either --to OWNER/NAME or --output DIR"),
        (["--to", "streets"], "'streets' is not the name of a repository"),
        (["--output", "."], "exists"),
    ],
)
def test_invalid_arguments_are_refused(bundle, arguments, message, capsys):
    assert main(["publish", str(bundle), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_predict_takes_files_images_and_arrays(bundle, image):
    loaded = segmi.load(bundle)
    path = image(size=(50, 37))
    expected = segmi.predict(loaded, path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(segmi.predict(loaded, opened), expected)
    np.testing.assert_array_equal(segmi.predict(loaded, np.array(Image.open(path))), expected)
    assert expected.shape == (37, 50)
    with pytest.raises(UsageError, match=r"H×W×3 uint8, or floats in \[0, 1\], got float64 of 4×4×3"):
        segmi.predict(loaded, np.full((4, 4, 3), 7.0))
