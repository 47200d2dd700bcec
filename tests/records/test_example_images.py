"""Images for the figures: labels survive, colors are the dataset's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.errors import DataError
from segmi.records import find_samples, read_image, read_labels, write_sample

PALETTE = [(1, 2, 3), (40, 50, 60), *[(0, 0, 0)] * 253, (255, 255, 255)]


def test_round_trip(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    truth = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    write_sample(tmp_path, "clip.a/01", image, truth, {"unet": 1 - truth // 255, "other": truth}, PALETTE)
    (found,) = find_samples(tmp_path, ["unet", "other", "absent"])
    assert found.name == "clip.a-01"
    assert sorted(found.predictions) == ["other", "unet"]
    assert np.array_equal(read_image(found.image), image)
    assert np.array_equal(read_labels(found.truth), truth)
    with Image.open(found.truth) as opened:
        assert opened.mode == "P"
        assert opened.convert("RGB").getpixel((1, 0)) == (40, 50, 60)
        assert opened.convert("RGB").getpixel((2, 0)) == (255, 255, 255)


def test_damaged_images_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.truth.png"
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"a\.truth\.png cannot be read"):
        read_labels(path)
    Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(DataError, match="expected a palette PNG"):
        read_labels(path)
