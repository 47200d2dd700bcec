import numpy as np
import pytest
import torch
from PIL import Image

from segmi.models import build_network

PALETTE = [[(7 * i) % 256, (13 * i) % 256, (29 * i) % 256] for i in range(256)]


@pytest.fixture(autouse=True)
def _one_seed():
    torch.manual_seed(0)


@pytest.fixture
def dataset():
    return {
        "name": "toy",
        "title": "Toy images",
        "classes": ["sky", "road", "car"],
        "palette": PALETTE,
        "ignore_index": 255,
    }


@pytest.fixture
def preprocessing():
    return {"resize": 40, "resize_mode": "exact", "crop": 32, "flip": 0.0, "scale": [1.0, 1.0], "color": 0.0}


@pytest.fixture
def network():
    built = build_network("unet", classes=3, width=2, normalize={"mean": [0.4] * 3, "std": [0.2] * 3})
    built(torch.rand(4, 3, 32, 32))  # the batch statistics move, so that a forgotten buffer shows
    built.eval()
    with torch.no_grad():  # no class wins everywhere, so that a wrong label map shows
        built.module.head.bias -= built(torch.rand(4, 3, 32, 32)).logits.mean((0, 2, 3))
    return built


@pytest.fixture
def image(tmp_path):
    """Writes an image file of a given size and mode, and returns its path."""

    def write(name="image.png", size=(50, 37), mode="RGB", folder=tmp_path / "images"):
        folder.mkdir(exist_ok=True, parents=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
        Image.fromarray(pixels, "RGBA").convert(mode).save(folder / name)
        return folder / name

    return write
