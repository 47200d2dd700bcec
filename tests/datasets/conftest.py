"""Tiny datasets in the layouts of the real ones, with the other files of their archives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets.palette import VOC_PALETTE

SIZE = (6, 8)  # height, width


def save_image(path: Path, number: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """An image that no other number has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def save_mask(path: Path, ids: np.ndarray | int, palette: tuple[tuple[int, int, int], ...] | None = None) -> Path:
    """A mask of ids, all the same if one number is given; a palette file if a palette is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(SIZE, ids, dtype=np.uint8) if isinstance(ids, int) else ids.astype(np.uint8)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette([value for color in palette for value in color])
    image.save(path)
    return path


def ids_of(values: list[int], number: int = 0) -> np.ndarray:
    """A mask with each of the values."""
    pixels = np.resize(np.array(values, dtype=np.uint8), SIZE[0] * SIZE[1])
    return np.random.default_rng(number).permutation(pixels).reshape(SIZE)


def make_cityscapes(root: Path) -> Path:
    number = 0
    for split, cities in {"train": ("aachen", "bremen"), "val": ("munster",), "test": ("berlin",)}.items():
        for city in cities:
            for frame in range(2):
                number += 1
                stem = f"{city}_{frame:06d}_000019"
                save_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", number)
                folder = root / "gtFine" / split / city
                save_mask(folder / f"{stem}_gtFine_labelIds.png", ids_of(list(range(34)), number))
                save_mask(folder / f"{stem}_gtFine_labelTrainIds.png", ids_of([0, 18, 255]))
                save_image(folder / f"{stem}_gtFine_color.png", 0)
                Image.fromarray(np.full(SIZE, 26001, dtype=np.uint16)).save(folder / f"{stem}_gtFine_instanceIds.png")
                (folder / f"{stem}_gtFine_polygons.json").write_text("{}")
    (root / "README").write_text("read me")
    return root


def make_voc2012(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    names = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033", "2007_000042", "2007_000061"]}
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, stems in names.items():
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            number = int(stem[-6:])
            save_image(base / "JPEGImages" / f"{stem}.jpg", number)
            save_mask(base / "SegmentationClass" / f"{stem}.png", ids_of([*range(21), 255], number), VOC_PALETTE)
            save_mask(base / "SegmentationObject" / f"{stem}.png", 77, VOC_PALETTE)
    (lists / "trainval.txt").write_text("".join(f"{stem}\n" for stem in sorted(names["train"] + names["val"])))
    save_image(base / "JPEGImages" / "2012_000001.jpg", 9)  # most images of VOC have no mask
    return root


def make_ade20k(root: Path) -> Path:
    base = root / "ADEChallengeData2016"
    for folder, stem, count in (("training", "ADE_train", 3), ("validation", "ADE_val", 2)):
        for index in range(1, count + 1):
            save_image(base / "images" / folder / f"{stem}_{index:08d}.jpg", index * len(stem))
            mask = ids_of([0, 1, 2, 149, 150], index)
            save_mask(base / "annotations" / folder / f"{stem}_{index:08d}.png", mask)
    (base / "sceneCategories.txt").write_text("ADE_train_00000001 airport_terminal\n")
    return root


def make_camvid(root: Path) -> Path:
    base = root / "CamVid"
    for split, stems in {"train": ["0001TP_006690", "0006R0_f00930"], "val": ["0016E5_07959", "0016E5_07961"]}.items():
        lines = []
        for stem in stems:
            number = int(stem[-5:])
            save_image(base / split / f"{stem}.png", number)
            save_mask(base / f"{split}annot" / f"{stem}.png", ids_of(list(range(12)), number))
            lines.append(f"/SegNet/CamVid/{split}/{stem}.png /SegNet/CamVid/{split}annot/{stem}.png\n")
        (base / f"{split}.txt").write_text("".join(lines))
    return root


def make_folder(root: Path, count: int = 6) -> Path:
    for index in range(count):
        save_image(root / "images" / f"{index:04d}.png", index)
        save_mask(root / "masks" / f"{index:04d}.png", ids_of([0, 1, 2, 255], index))
    (root / "classes.txt").write_text("# meaning of the mask values\nbackground\ncell\ncell wall\n\nignored 255\n")
    return root


def make_custom(root: Path) -> Path:
    for index in range(6):
        save_image(root / f"{index:04d}.png", index)
        save_mask(root / f"{index:04d}_mask.png", ids_of([0, 1, 2, 255], index))
    (root / "segmi.toml").write_text(
        'format = 1\nmasks = "index"\nignored = [255]\n'
        'classes = [{ name = "background", value = 0 }, { name = "cell", value = 1 }, { name = "wall", value = 2 }]\n'
        'splits.train = { images = ".", masks = "." }\nnames.mask_suffix = "_mask"\ndraw.val = 0.2\n'
    )
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    "cityscapes": make_cityscapes,
    "voc2012": make_voc2012,
    "ade20k": make_ade20k,
    "camvid": make_camvid,
    "folder": make_folder,
    "custom": make_custom,
}


@pytest.fixture
def save() -> dict[str, Callable[..., Path]]:
    """``save["image"](path, number)`` and ``save["mask"](path, ids, palette)``."""
    return {"image": save_image, "mask": save_mask}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the tiny twin of a dataset and returns its root."""
    return lambda name: MAKERS[name](tmp_path / "data")


@pytest.fixture
def real_data() -> Path:
    """The folder of the real datasets: ``SEGMI_DATA``, or ``shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    for candidate in (os.environ.get("SEGMI_DATA"), beside):
        if candidate and (Path(candidate) / "CamVid" / "train").is_dir():
            return Path(candidate)
    pytest.skip("needs CamVid: set SEGMI_DATA to the folder that holds it")
