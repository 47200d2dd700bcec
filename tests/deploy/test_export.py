"""Exported programs agree with PyTorch and describe their use; programs that differ are not written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors import safe_open

import segmi
from segmi.cli import main
from segmi.deploy import export as module
from segmi.deploy import load, save_bundle
from segmi.deploy.export import export
from segmi.errors import EnvironmentProblem, RunError, UsageError
from segmi.models import build_network

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'segmi[export]'")

NETWORKS = {
    "unet": {"architecture": "unet", "width": 8},
    "deeplabv3": {"architecture": "deeplabv3_resnet50"},
    "segformer": {"architecture": "smp_segformer", "encoder": "mit_b0"},
}


def bundle_of(tmp_path, dataset, classes=3, **specification):
    network = build_network(classes=classes, **specification).eval()
    dataset["classes"] = [f"class {number}" for number in range(classes)]
    return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing={"resize": None})


@pytest.fixture
def small(tmp_path, network, dataset, preprocessing):
    return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing=preprocessing)


def by_the_metadata(session, how, photo):
    """Return the label map of an image without segmi and PyTorch, as in docs/guides/export.md."""
    small = photo.resize((how["resize"], how["resize"]), Image.Resampling.BILINEAR)
    images = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255
    height, width = images.shape[2:]
    below, right = -height % how["stride"], -width % how["stride"]
    padded = np.pad(images, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge")
    (logits,) = session.run(["logits"], {"images": padded})
    kept = logits[0, :, :height, :width]
    return np.argmax([Image.fromarray(one).resize(photo.size, Image.Resampling.BILINEAR) for one in kept], axis=0)


def test_onnx_accepts_any_batch_and_size_and_has_metadata(small, tmp_path, dataset):
    done = export(small, tmp_path / "m.onnx")
    assert done.parity.difference <= 1e-4
    assert done.parity.same_class > 0.999
    session = ort.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    network = load(small)
    for shape in ((1, 3, 48, 32), (3, 3, 32, 80)):
        images = torch.rand(shape)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(logits, network(images).logits.detach().numpy(), atol=1e-4)
    stored = session.get_modelmeta().custom_metadata_map
    assert json.loads(stored["segmi.classes"]) == dataset["classes"]
    assert json.loads(stored["segmi.palette"]) == dataset["palette"]
    preprocessing = json.loads(stored["segmi.preprocessing"])
    assert (preprocessing["resize"], preprocessing["stride"]) == (40, 16)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 93, 3), dtype=np.uint8))
    found = by_the_metadata(session, preprocessing, photo)
    assert len(np.unique(found)) > 1
    assert (found == segmi.predict(network, photo)).mean() > 0.97, "rounding of the resized image moves edges"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "m.onnx"]


def test_torch_export_reads_back(small, tmp_path, dataset):
    done = export(small, tmp_path / "m.pt2", format="torch-export")
    extra = {"segmi.classes": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra["segmi.classes"]) == dataset["classes"]
    images = torch.rand(3, 3, 64, 48)
    torch.testing.assert_close(program.module()(images), load(small)(images).logits)
    assert done.parity.difference == 0


def test_safetensors_holds_weights_and_description(small, tmp_path, dataset):
    export(small, tmp_path / "m.safetensors", format="safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert json.loads(file.metadata()["segmi.classes"]) == dataset["classes"]
        assert set(file.keys()) == set(load(small).state_dict())


def test_one_logit(tmp_path, dataset):
    bundle = bundle_of(tmp_path, dataset, classes=2, architecture="unet", width=2, one_logit=True)
    for threshold in (0.5, 0.3):
        done = export(bundle, tmp_path / "m.safetensors", format="safetensors", threshold=threshold)
        assert done.parity.same_class == 1
        with safe_open(done.path, "pt") as file:
            meta = file.metadata()
        text = json.loads(meta["segmi.preprocessing"])["output"]
        assert f"class 1 where its sigmoid exceeds {threshold}" in text
        assert json.loads(meta["segmi.threshold"]) == threshold


def test_several_logits_have_no_threshold(small, tmp_path):
    with pytest.raises(UsageError, match=r"a threshold of 0.3 needs a binary network with one logit"):
        export(small, tmp_path / "m.safetensors", format="safetensors", threshold=0.3)
    export(small, tmp_path / "m.safetensors", format="safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert "segmi.threshold" not in file.metadata()


def test_a_program_that_does_not_agree_is_not_written(small, tmp_path, monkeypatch):
    true = module._write_safetensors

    def off_by(difference):
        def wrong(network, path, threshold):
            run, stride = true(network, path, threshold)
            return lambda images: run(images) + np.float32(difference) * (len(images) == 2), stride

        return wrong

    monkeypatch.setattr(module, "_write_safetensors", off_by(2e-4))  # only where two images go through together
    with pytest.raises(RunError, match=r"does not agree with PyTorch: .* at most 1e-04(.|\n)*nothing was"):
        export(small, tmp_path / "m.safetensors", format="safetensors")
    monkeypatch.setattr(module, "_write_safetensors", off_by(np.nan))
    with pytest.raises(RunError, match="largest difference to PyTorch nan"):
        export(small, tmp_path / "m.safetensors", format="safetensors")
    monkeypatch.setattr(module, "_write_safetensors", off_by(5e-5))
    export(small, tmp_path / "m.safetensors", format="safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "m.safetensors"]


def test_invalid_arguments_are_refused(small, tmp_path, monkeypatch, capsys):
    with pytest.raises(UsageError, match=r"unknown format 'onx'(.|\n)*did you mean 'onnx'"):
        export(small, tmp_path / "m.onnx", format="onx")
    with pytest.raises(UsageError, match=r"expected a file ending in .pt2 for torch-export, got .*m.onnx"):
        export(small, tmp_path / "m.onnx", format="torch-export")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(EnvironmentProblem, match=r"needs the package onnxruntime(.|\n)*segmi\[export\]"):
        export(small, tmp_path / "m.onnx")
    assert main(["export", str(small), "-o", str(tmp_path / "m.onnx")]) == 5
    printed = capsys.readouterr().err
    assert "needs the package onnxruntime" in printed
    assert "tracing" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_networks_agree_on_twenty_images_of_camvid(tmp_path, dataset, camvid_root, name, format):
    bundle = bundle_of(tmp_path, dataset, classes=11, **NETWORKS[name])
    images = sorted((camvid_root / "val").iterdir())[::5][:20]
    done = export(bundle, tmp_path / f"m{module.FORMATS[format]}", format=format, images=images)
    assert done.parity.images >= 20
    assert done.parity.difference <= 1e-4


def test_a_segformer_on_five_bands_of_16_bits(tmp_path, dataset):
    """The file, its stated value range and the program give the labels that segmi predicts."""
    format = {"bands": [1, 2, 3, 4, 5], "value_range": [[100, 9000]] * 5}
    network = build_network("smp_segformer", encoder="resnet18", classes=3, in_channels=5).eval()
    bundle = save_bundle(
        tmp_path / "bundle", network, dataset=dataset, preprocessing={"resize": None, "image_format": format}
    )
    bands = np.random.default_rng(0).integers(0, 10_000, (5, 64, 96), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="separate")
    done = export(bundle, tmp_path / "m.onnx", images=[tmp_path / "a.tif"])
    assert done.parity.difference <= 1e-4
    session = ort.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    low, high = json.loads(session.get_modelmeta().custom_metadata_map["segmi.preprocessing"])["image_format"][
        "value_range"
    ][0]
    scaled = (bands.astype(np.float32) - low) / (high - low)
    (logits,) = session.run(["logits"], {"images": scaled[None]})
    assert (logits[0].argmax(0) == segmi.predict(load(bundle), tmp_path / "a.tif")).mean() > 0.999
