"""The statement of what a network sees of large and small images."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmi.datasets import Sample, open_dataset
from segmi.datasets.image_format import ImageFormat
from segmi.datasets.image_sizes import Size, describe_scale, image_sizes, proposed_resize
from segmi.datasets.processing import Processing


class Reader:
    image_format = ImageFormat()


def samples(*paths) -> list[Sample]:
    return [Sample(path, path, path.stem, path.stem) for path in paths]


def test_sizes_come_from_headers_and_follow_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((7, 10, 12), np.uint16))
    (tmp_path / "b.tif").write_bytes((tmp_path / "b.tif").read_bytes())
    reader = Reader()
    both = samples(tmp_path / "a.jpg", tmp_path / "b.tif")
    assert image_sizes(reader, both) == [Size(12, 10), Size(20, 30)]
    reader.image_format = ImageFormat(orientation="ignore")
    assert image_sizes(reader, both)[1] == Size(30, 20)


def test_the_size_of_generated_images():
    scenes = open_dataset("street-scenes", train=3, val=1, height=32, width=48)
    assert image_sizes(scenes, scenes.split("train")) == [Size(48, 32)]


def test_large_images_keep_their_resolution():
    assert proposed_resize([Size(2500, 1500)], 224) is None
    assert proposed_resize([Size(225, 224)], 224) is None
    assert proposed_resize([Size(300, 100)], 224) == 224


@pytest.mark.parametrize(
    ("sizes", "processing", "expected"),
    [
        ([(2500, 1500)], Processing(resize=None), "images of 2500 × 1500 at full resolution, crops of 224"),
        (
            [(100, 80), (640, 480)],
            Processing(resize=None),
            "images of 100 × 80 to 640 × 480 at full resolution, crops of 224 (smaller images are padded)",
        ),
        (
            [(468, 936), (2340, 936)],
            Processing(),
            "images of 468 × 936 to 2340 × 936 resized to 234 × 234 (width × 0.1 to 0.5, height × 0.25), crops of 224",
        ),
        (
            [(100, 100), (400, 200)],
            Processing(resize=50, resize_mode="shorter", crop=32, scale=(0.5, 2.0)),
            "images of 100 × 100 to 400 × 200 resized to 50 × 50 to 100 × 50 (× 0.25 to 0.5), "
            "crops of 32 after a random scale of 0.5 to 2",
        ),
    ],
)
def test_the_scale_is_stated(sizes, processing, expected):
    assert describe_scale([Size(*size) for size in sizes], processing) == expected
