"""Images of five 16-bit bands: from a folder of TIFF files to an exported program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tifffile
import torch
from PIL import Image

import segmi
from segmi.cli import main

PROCESSING = "processing={resize: null, crop: 32, color: 0.2}"
SMALL = ["--model", "unet", "--width", "2", "--steps", "2", "-b", "2", PROCESSING]


def pixels_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    mask = np.zeros((48, 64), np.uint8)
    mask[8 : 24 + number, 10 : 40 - number] = 1
    pixels = rng.integers(100, 900, (48, 64, 5)).astype(np.uint16)
    pixels[mask == 1, 3] += 2000
    return pixels, mask


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 4}
    for number in range(6):
        pixels, mask = pixels_of(number)
        tifffile.imwrite(folder / "images" / f"{number}.tif", pixels, **options)
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def test_five_bands_from_folder_to_program(tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "data", "init", str(tiles)]) == 0
    output = str(tmp_path / "run")
    capsys.readouterr()
    assert main(["-q", "train", str(tiles), *SMALL, "-o", output, "--json"]) == 0
    bundle = Path(json.loads(capsys.readouterr().out)["bundle"])
    card = json.loads((bundle / "model.json").read_text())
    assert card["specification"]["in_channels"] == 5
    format = card["preprocessing"]["image_format"]
    assert format["bands"] == [1, 2, 3, 4, 5]
    low, high = np.array(format["value_range"], np.float32).T
    assert high[3] > 2500 > 1000 > high[0]

    assert main(["-q", "evaluate", output, "--data", str(tiles), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["IoU"]

    network, (pixels, _) = segmi.load(bundle), pixels_of(0)
    images = ((pixels - low) / (high - low)).astype(np.float32).transpose(2, 0, 1)[None]
    with torch.inference_mode():
        logits = network(torch.from_numpy(images)).logits.numpy()
    labels = segmi.predict(network, pixels)
    np.testing.assert_array_equal(labels, logits[0].argmax(0))
    assert main(["-q", "predict", output, str(tiles / "images"), "-o", str(tmp_path / "masks")]) == 0
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "masks" / "0.png")), labels)

    assert main(["-q", "export", output, "-o", str(tmp_path / "a.onnx"), "--images", str(tiles / "images")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    np.testing.assert_allclose(session.run(None, {"images": images})[0], logits, atol=1e-4)
