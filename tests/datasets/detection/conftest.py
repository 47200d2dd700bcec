"""Small folders as people and projects leave them: generated scenes, saved in the layouts of the real thing."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.palette import CAMVID_PALETTE, VOC_PALETTE

SCENES = 18
SIZE = {"height": 48, "width": 64}
OFFSET = {"train": 0, "val": 100, "valid": 200, "test": 300}


@functools.cache
def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A street, H×W×3, and its labels: 0 to 10, and 255."""
    dataset = open_dataset("street-scenes", train=SCENES, val=1, **SIZE)
    return dataset.read(dataset.split("train")[number % SCENES])


def image(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = scene(number)[0].copy()
    pixels[0, 0] = (number // 256, number % 256, 7)  # no two images are the same
    Image.fromarray(pixels).save(path)
    return path


def labels_of(number: int, lookup: Sequence[int] = (*range(11),), ignored: int = 255) -> np.ndarray:
    """The labels of a scene through a lookup of 11 values."""
    table = np.full(256, ignored, dtype=np.uint8)
    table[: len(lookup)] = lookup
    return table[scene(number)[1]]


def mask(path: Path, pixels: np.ndarray, palette: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.astype(np.uint8))
    if palette is not None:
        image.putpalette([value for color in palette for value in color])
    image.save(path)
    return path


def colors(number: int) -> np.ndarray:
    return np.array(CAMVID_PALETTE, dtype=np.uint8)[labels_of(number)]


def voc(root: Path) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    stems = [f"2007_{number:06d}" for number in range(8)]
    for number, stem in enumerate(stems):
        image(root / "JPEGImages" / f"{stem}.jpg", number)
        mask(root / "SegmentationClass" / f"{stem}.png", labels_of(number, range(5, 16)), VOC_PALETTE)
        mask(root / "SegmentationObject" / f"{stem}.png", labels_of(number, range(11)), VOC_PALETTE)
    image(root / "JPEGImages" / "2012_000001.jpg", 9)  # most images of VOC have no mask
    (lists / "train.txt").write_text("\n".join(stems[:5]))
    (lists / "val.txt").write_text("\n".join(stems[5:]))
    (lists / "trainval.txt").write_text("\n".join(stems))
    return root


def cityscapes(root: Path) -> Path:
    number = 0
    for split, cities in {"train": ("aachen", "bremen"), "val": ("munster",)}.items():
        for city in cities:
            for frame in range(3):
                number += 1
                stem = f"{city}_{frame:06d}_000019"
                image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", number)
                folder = root / "gtFine" / split / city
                mask(
                    folder / f"{stem}_gtFine_labelIds.png",
                    labels_of(number, (23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 33), 3),
                )
                mask(folder / f"{stem}_gtFine_color.png", colors(number))
                Image.fromarray(np.full((48, 64), 26001, dtype=np.uint16)).save(
                    folder / f"{stem}_gtFine_instanceIds.png"
                )
                (folder / f"{stem}_gtFine_polygons.json").write_text('{"objects": [{"polygon": []}]}')
    return root


def segnet(root: Path) -> Path:
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for number in range(count):
            stem = f"000{number % 2 + 1}TP_{number:06d}"
            image(root / split / f"{stem}.png", number + OFFSET[split])
            mask(root / f"{split}annot" / f"{stem}.png", labels_of(number, ignored=11))
        (root / f"{split}.txt").write_text("/SegNet/CamVid/a.png /SegNet/CamVid/b.png\n")
    return root


def parallel(root: Path) -> Path:
    for number in range(10):
        image(root / "images" / f"photo {number}.jpg", number)
        mask(root / "masks" / f"photo {number}.png", labels_of(number))
    return root


def parallel_with_splits(root: Path) -> Path:
    for split, count in {"train": 4, "valid": 2}.items():
        for number in range(count):
            image(root / f"{split}_images" / f"{number}.png", number + OFFSET[split])
            mask(root / f"{split}_labels" / f"{number}.png", labels_of(number))
    return root


def split_folders(root: Path) -> Path:
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for number in range(count):
            image(root / split / "img" / f"{number}.png", number + OFFSET[split])
            mask(root / split / "gt" / f"{number}.png", labels_of(number))
    return root


def suffixes(root: Path) -> Path:
    for patient in range(6):
        for slice_ in range(3):
            image(root / f"p{patient}_{slice_}.jpg", 3 * patient + slice_)
            disc = np.where(labels_of(3 * patient + slice_) == 8, 255, 0)
            mask(root / f"p{patient}_{slice_}_mask.png", disc)
    return root


def both_suffixes(root: Path) -> Path:
    for number in range(6):
        image(root / "train" / f"{number}_sat.jpg", number)
        mask(root / "train" / f"{number}_mask.png", colors(number))
    (root / "class_dict.csv").write_text(
        "name,r,g,b\n"
        + "".join(f"c{i},{r},{g},{b}\n" for i, (r, g, b) in enumerate(CAMVID_PALETTE[:11]))
        + "ignored,0,0,0\n"
    )
    return root


def cvat(root: Path) -> Path:
    """The VOC layout as the annotation tool CVAT exports it: colors, and labelmap.txt."""
    for number in range(6):
        image(root / "JPEGImages" / f"{number}.jpg", number)
        mask(root / "SegmentationClass" / f"{number}.png", colors(number))
    names = [f"thing{index}" for index in range(11)]
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(names, CAMVID_PALETTE, strict=False)]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nignore:0,0,0::\n" + "\n".join(lines))
    return root


def few_colors(root: Path) -> Path:
    for number in range(6):
        image(root / "images" / f"{number}.png", number)
        road = labels_of(number)
        pixels = np.zeros((48, 64, 3), dtype=np.uint8)
        pixels[road == 3] = (255, 0, 0)
        pixels[road == 8] = (0, 0, 255)
        mask(root / "annotated" / f"{number}.png", pixels)
    return root


def panoptic(root: Path) -> Path:
    categories = [
        {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
        {"id": 149, "name": "road", "isthing": 0, "color": [128, 64, 128]},
        {"id": 187, "name": "sky-other", "isthing": 0, "color": [70, 130, 180]},
    ]
    index = {0: 187, 3: 149, 9: 1}
    for split, count in {"train": 4, "val": 2}.items():
        folder = f"panoptic_{split}2017"
        images, annotations = [], []
        for number in range(count):
            stem = f"{number + OFFSET[split]:012d}"
            image(root / f"{split}2017" / f"{stem}.jpg", number + OFFSET[split])
            labels = labels_of(number)
            ids = np.zeros((48, 64), dtype=np.int64)
            segments = []
            for segment, (value, category) in enumerate(index.items(), start=70_000 * (number + 1)):
                ids[labels == value] = segment
                segments.append({"id": segment, "category_id": category, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]})
            mask(root / "annotations" / folder / f"{stem}.png", np.stack([ids >> (8 * c) & 255 for c in range(3)], -1))
            images.append({"id": number, "file_name": f"{stem}.jpg", "width": 64, "height": 48})
            annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": segments})
        data = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{folder}.json").write_text(json.dumps(data))
    return root


def unnamed(root: Path) -> Path:
    for number in range(5):
        image(root / "A" / f"{number}.png", number)
        mask(root / "B" / f"{number}.png", labels_of(number), VOC_PALETTE[:5] + VOC_PALETTE[40:])
    return root


def scene_folders(root: Path) -> Path:
    for number in range(8):
        image(root / f"scene {number // 2}" / "images" / f"{number}.jpg", number)
        mask(root / f"scene {number // 2}" / "masks" / f"{number}.png", labels_of(number))
    return root


def patient_folders(root: Path) -> Path:
    for number in range(8):
        folder = root / f"patient_{number // 2}"
        image(folder / f"patient_{number // 2}_{number % 2}.tif", number)
        mask(folder / f"patient_{number // 2}_{number % 2}_mask.tif", np.where(labels_of(number) == 8, 255, 0))
    return root


def sample_folders(root: Path) -> Path:
    for number in range(8):
        image(root / f"case {number}" / "image.png", number)
        mask(root / f"case {number}" / "mask.png", labels_of(number))
    return root


def openmmlab(root: Path) -> Path:
    for split, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            image(root / "img_dir" / split / f"{number}.jpg", number + OFFSET[split])
            mask(root / "ann_dir" / split / f"{number}.png", labels_of(number))
    (root / "id2label.json").write_text(json.dumps({str(value): f"n{value}" for value in range(11)}))
    return root


def roboflow(root: Path) -> Path:
    for split, count in {"train": 4, "valid": 2}.items():
        for number in range(count):
            image(root / split / f"{number}_jpg.rf.{OFFSET[split]}.jpg", number + OFFSET[split])
            pixels = np.where(labels_of(number) == 8, 7, 2)
            mask(root / split / f"{number}_jpg.rf.{OFFSET[split]}_mask.png", pixels)
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n2, other\n7, car\n")
    return root


def trimaps(root: Path) -> Path:
    """Masks one folder deeper than listed, and lists with numbers behind the names."""
    for number in range(8):
        image(root / "images" / f"pet_{number}.jpg", number)
        mask(root / "annotations" / "trimaps" / f"pet_{number}.png", np.clip(labels_of(number), 1, 3))
    for name, numbers in {"trainval": range(6), "test": range(6, 8)}.items():
        (root / "annotations" / f"{name}.txt").write_text("\n".join(f"pet_{number} 1 1 1" for number in numbers))
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    one.__name__: one
    for one in (
        *(voc, cityscapes, segnet, parallel, parallel_with_splits, split_folders, suffixes, both_suffixes, cvat),
        *(few_colors, panoptic, unnamed, scene_folders, patient_folders, sample_folders, openmmlab, roboflow),
        trimaps,
    )
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a layout by its name and returns its folder."""
    return lambda name: MAKERS[name](tmp_path / "data")


@pytest.fixture
def labels() -> Callable[[int], np.ndarray]:
    """The labels of a scene, as drawn."""
    return labels_of
