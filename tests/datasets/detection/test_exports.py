"""Exports of annotation programs, generated in their documented formats: right classes, splits and ignored values.

Each function writes a small export. Exports of outlines or single objects end in the refusal with the way to get masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets.detection import propose
from segmi.datasets.palette import VOC_PALETTE
from segmi.errors import DataError

SIZE = (24, 32)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([*path.as_posix().encode()]).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def regions(*values: int) -> np.ndarray:
    pixels = np.full(SIZE, values[0], dtype=np.uint8)
    for index, value in enumerate(values[1:]):
        pixels[2 + index : 14 + index, 6 * index : 6 * index + 6] = value
    return pixels


def mask(path: Path, pixels: np.ndarray, palette: tuple[tuple[int, int, int], ...] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette([value for color in palette for value in color])
    image.save(path)


def text(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def labelme(root: Path) -> None:
    """``labelme2voc.py data data_dataset_voc --labels labels.txt``: -1 of ``__ignore__`` is stored as 255."""
    names = ["_background_", "aeroplane", "bicycle"]
    for number in range(5):
        photo(root / f"data/2011_{number:06d}.jpg")
        text(root / f"data/2011_{number:06d}.json", {"version": "5.4", "shapes": [], "imagePath": "x"})
        photo(root / f"data_dataset_voc/JPEGImages/2011_{number:06d}.jpg")
        photo(root / f"data_dataset_voc/SegmentationClassVisualization/2011_{number:06d}.jpg")
        mask(root / f"data_dataset_voc/SegmentationClass/2011_{number:06d}.png", regions(0, 1, 2, 255), VOC_PALETTE)
        mask(root / f"data_dataset_voc/SegmentationObject/2011_{number:06d}.png", regions(0, 1, 2, 3), VOC_PALETTE)
    text(root / "labels.txt", "\n".join(["__ignore__", *names]) + "\n")
    text(root / "data_dataset_voc/class_names.txt", "\n".join(names))


def labelme_ignored(root: Path) -> None:
    """The same with only ``labels.txt``."""
    labelme(root)
    (root / "data_dataset_voc/class_names.txt").unlink()


CVAT_COLORS = ((0, 0, 0), (10, 10, 128), (10, 128, 0), (0, 108, 128))


def cvat(root: Path) -> None:
    """Segmentation mask 1.1: the classes have the colors of ``labelmap.txt``, in an order of its own."""
    table = np.array(CVAT_COLORS, dtype=np.uint8)
    for number in range(5):
        photo(root / f"JPEGImages/frame_{number:06d}.PNG")
        mask(root / f"SegmentationClass/frame_{number:06d}.png", table[regions(0, 1, 2, 3)])
        mask(root / f"SegmentationObject/frame_{number:06d}.png", table[regions(0, 1, 1, 2)])
    text(root / "ImageSets/Segmentation/default.txt", "".join(f"frame_{number:06d}\n" for number in range(5)))
    rows = {"bird": 3, "background": 0, "aeroplane": 1, "bicycle": 2, "never": None}
    colors = {n: "1,2,3" if i is None else ",".join(map(str, CVAT_COLORS[i])) for n, i in rows.items()}
    lines = [f"{name}:{color}::" for name, color in colors.items()]
    text(root / "labelmap.txt", "# label:color_rgb:parts:actions\n" + "\n".join(lines))


def cvat_palette(root: Path) -> None:
    """The same with indexed masks."""
    cvat(root)
    for number in range(5):
        mask(root / f"SegmentationClass/frame_{number:06d}.png", regions(0, 1, 2, 3), CVAT_COLORS)


def roboflow(root: Path) -> None:
    """Semantic segmentation masks: masks beside the images, ``unlabeled`` is the background."""
    for split, count in {"train": 5, "valid": 2, "test": 2}.items():
        for number in range(count):
            stem = f"{split}{number}_jpg.rf.0123456789abcdef{number}"
            photo(root / split / f"{stem}.jpg")
            mask(root / split / f"{stem}_mask.png", regions(0, 1, 2))
        text(root / split / "_classes.csv", "Pixel Value, Class\n 0, unlabeled\n 1, pothole\n 2, crack\n")
    text(root / "README.roboflow.txt", "road - v1\n")


def supervisely(root: Path) -> None:
    """Export as masks: machine masks have three equal channels, ``0`` is the background."""
    for number in range(5):
        photo(root / f"ds1/img/fruit {number}.jpg")
        text(root / f"ds1/ann/fruit {number}.jpg.json", {"objects": [{"classTitle": "kiwi"}], "size": {}})
        mask(root / f"ds1/masks_machine/fruit {number}.png", regions(0, 1, 2)[..., None].repeat(3, 2))
        photo(root / f"ds1/masks_human/fruit {number}.png")
    text(root / "obj_class_to_machine_color.json", {"lemon": [2, 2, 2], "kiwi": [1, 1, 1]})
    text(root / "meta.json", {"classes": [{"title": "lemon", "shape": "polygon", "color": "#FF0000"}], "tags": []})


def supervisely_json(root: Path) -> None:
    """The project format: JSON files only."""
    for number in range(3):
        photo(root / f"ds1/img/{number}.jpg")
        text(root / f"ds1/ann/{number}.jpg.json", {"objects": [{"classTitle": "kiwi", "geometryType": "polygon"}]})
    text(root / "meta.json", {"classes": [{"title": "kiwi", "shape": "polygon", "color": "#FF0000"}]})


def label_studio(root: Path) -> None:
    """Brush labels to PNG: one file per task, annotation and label."""
    for number in range(3):
        photo(root / f"images/{number}.jpg")
        for tag in ("Car", "Road"):
            mask(root / f"export/task-{number}-annotation-1-by-1-tag-{tag}-0.png", regions(0, 255))


def label_studio_json(root: Path) -> None:
    """The export as JSON."""
    photo(root / "upload/1.jpg")
    result = [{"type": "polygonlabels", "value": {"points": [[1, 1], [2, 2], [3, 1]], "polygonlabels": ["Car"]}}]
    text(root / "project-1.json", [{"id": 1, "annotations": [{"result": result}], "data": {"image": "1.jpg"}}])


def via(root: Path) -> None:
    """VIA 2: regions as JSON."""
    photo(root / "1.jpg")
    shape = {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2, 1]}
    entry = {"filename": "1.jpg", "size": 9, "regions": [{"shape_attributes": shape, "region_attributes": {}}]}
    text(root / "via_region_data.json", {"1.jpg9": entry})


def qupath(root: Path) -> None:
    """TileExporter with LabeledImageServer: tiles of slides with their coordinates, labels with a suffix."""
    for slide in ("S-01", "S-02", "S-03", "S-04", "S-05"):
        for x in (0, 512):
            stem = f"{slide} [d=1,x={x},y=0,w=512,h=512]"
            photo(root / f"tiles/{slide}/{stem}.tif")
            mask(root / f"tiles/{slide}/{stem}-labelled.png", regions(0, 1, 2))


def qupath_geojson(root: Path) -> None:
    """Annotations as GeoJSON."""
    photo(root / "slide.png")
    text(root / "slide.geojson", {"type": "FeatureCollection", "features": []})


def nnunet(root: Path) -> None:
    """The PNG layout of nnU-Net v2."""
    for number in range(5):
        photo(root / f"Dataset120_Road/imagesTr/road_{number:03d}_0000.png")
        mask(root / f"Dataset120_Road/labelsTr/road_{number:03d}.png", regions(0, 1, 2))
        photo(root / f"Dataset120_Road/imagesTs/road_{number + 10:03d}_0000.png")
    labels = {"background": 0, "road": 1, "ignore": 2}
    channels = {"0": "R", "1": "G", "2": "B"}
    data = {"channel_names": channels, "labels": labels | {"car": 1}, "numTraining": 5, "file_ending": ".png"}
    text(root / "Dataset120_Road/dataset.json", data | {"labels": labels})


def nnunet_nifti(root: Path) -> None:
    """Its usual form."""
    for folder, name in (("imagesTr", "case_000_0000"), ("labelsTr", "case_000")):
        text(root / folder / f"{name}.nii.gz", "\x1f\x8b")
    text(root / "dataset.json", {"labels": {"background": 0, "heart": 1}})


def nnunet_channels(root: Path) -> None:
    """Several channels per case, one file each."""
    for number in range(5):
        for channel in range(2):
            photo(root / f"imagesTr/case_{number:03d}_{channel:04d}.png")
        mask(root / f"labelsTr/case_{number:03d}.png", regions(0, 1))


def coco_stuff(root: Path) -> None:
    """stuffthingmaps: values are one less than the numbers in ``labels.txt``, 255 is unlabeled."""
    for split, count in {"train2017": 5, "val2017": 2}.items():
        for number in range(count):
            photo(root / f"images/{split}/{number:012d}.jpg")
            mask(root / f"stuffthingmaps_trainval2017/{split}/{number:012d}.png", regions(0, 1, 3, 255))
    text(root / "labels.txt", "0: unlabeled\n1: person\n2: bicycle\n3: street sign\n4: wall-brick\n5: wood\n")


def monai_label(root: Path) -> None:
    """A datastore: images beside ``labels/final`` (saved by a person) and ``labels/original`` (predicted)."""
    for number in range(5):
        photo(root / f"endoscopy_{chr(97 + number)}.png")
        mask(root / f"labels/final/endoscopy_{chr(97 + number)}.png", regions(0, 1))
        mask(root / f"labels/original/endoscopy_{chr(97 + number)}.png", regions(0, 1, 1))
    text(root / "datastore_v2.json", {"name": "endoscopy", "objects": {}})


def monai_label_nifti(root: Path) -> None:
    """The usual radiology datastore."""
    text(root / "spleen_1.nii.gz", "\x1f\x8b")
    text(root / "labels/final/spleen_1.nii.gz", "\x1f\x8b")


def openmmlab(root: Path) -> None:
    """img_dir and ann_dir, with ``reduce_zero_label`` not applied."""
    for split, count in {"train": 5, "val": 2}.items():
        for number in range(count):
            photo(root / f"data/my_dataset/img_dir/{split}/{split}{number}xxx.jpg")
            mask(root / f"data/my_dataset/ann_dir/{split}/{split}{number}xxx.png", regions(0, 1, 2, 255))


def kaggle_carvana(root: Path) -> None:
    """train/ and train_masks/ with GIF masks: sixteen views of each car."""
    palette = ((0, 0, 0), (255, 255, 255))
    for car in ("fff9b3a5373f", "00087a6bd4dc", "a98fd4d0e3b1", "b8a3c2f5aa17", "c2a3de3b4f01"):
        for view in (1, 2):
            photo(root / f"train/{car}_{view:02d}.jpg")
            mask(root / f"train_masks/{car}_{view:02d}_mask.gif", regions(0, 1), palette)
    text(root / "train_masks.csv", "img,rle_mask\nfff9b3a5373f_01.jpg,1 2\n")


def kaggle_nuclei(root: Path) -> None:
    """stage1_train of the Data Science Bowl: one mask per nucleus."""
    for number in range(3):
        photo(root / f"stage1_train/id{number}/images/id{number}.png")
        for nucleus in "abc":
            mask(root / f"stage1_train/id{number}/masks/{nucleus}{number}f3.png", regions(0, 255))


def kaggle_steel(root: Path) -> None:
    """Severstal: run lengths in a table."""
    for number in range(3):
        photo(root / f"train_images/{number}.jpg")
    text(root / "train.csv", "ImageId,ClassId,EncodedPixels\n0.jpg,1,29102 12\n")


EXPECTED: dict[Callable[[Path], None], tuple[dict[str, object], tuple[object, ...], list[int]]] = {
    # values of the classes, ignored values, images per split
    labelme: ({"_background_": 0, "aeroplane": 1, "bicycle": 2}, (255,), [4, 1]),
    labelme_ignored: ({"_background_": 0, "aeroplane": 1, "bicycle": 2}, (255,), [4, 1]),
    cvat: (
        {
            **{"bird": (0, 108, 128), "background": (0, 0, 0), "aeroplane": (10, 10, 128)},
            **{"bicycle": (10, 128, 0), "never": (1, 2, 3)},
        },
        (),
        [4, 1],
    ),
    cvat_palette: ({"bird": 3, "background": 0, "aeroplane": 1, "bicycle": 2, "never": 254}, (), [4, 1]),
    roboflow: ({"unlabeled": 0, "pothole": 1, "crack": 2}, (), [5, 2, 2]),
    supervisely: ({"background": 0, "lemon": 2, "kiwi": 1}, (), [4, 1]),
    qupath: ({"class 0": 0, "class 1": 1, "class 2": 2}, (), [8, 2]),
    nnunet: ({"background": 0, "road": 1}, (2,), [4, 1]),
    coco_stuff: ({"person": 0, "bicycle": 1, "street sign": 2, "wall-brick": 3, "wood": 4}, (255,), [5, 2]),
    monai_label: ({"background": 0, "foreground": 1}, (), [4, 1]),
    openmmlab: ({"class 0": 0, "class 1": 1, "class 2": 2}, (255,), [5, 2]),
    kaggle_carvana: ({"background": 0, "foreground": 1}, (), [8, 2]),
}

REFUSED: dict[Callable[[Path], None], tuple[str, str]] = {
    supervisely_json: ("Supervisely's objects", "Export as masks"),
    label_studio: ("a mask per object or class", "merge the masks of each image"),
    label_studio_json: ("Label Studio's tasks", "COCO format, then draw masks from them: segmi data convert"),
    via: ("VIA's regions", "COCO format, then draw masks from them: segmi data convert"),
    qupath_geojson: ("QuPath's GeoJSON", "TileExporter"),
    nnunet_nifti: ("unsupported files: 2 .nii", "nibabel"),
    nnunet_channels: ("one per channel", "one TIFF with several bands"),
    monai_label_nifti: ("unsupported files: 2 .nii", "nibabel"),
    kaggle_nuclei: ("a mask per object or class (3 in stage1_train/id0/masks)", "merge the masks of each image"),
    kaggle_steel: ("run lengths in train.csv", "one PNG mask per image"),
}


@pytest.mark.parametrize("export", EXPECTED, ids=lambda export: export.__name__)
def test_exports_are_read(tmp_path, export):
    export(tmp_path)
    classes, ignored, sizes = EXPECTED[export]
    dataset = propose(tmp_path).dataset
    assert {one.name: one.values for one in dataset.config.classes} == {name: (v,) for name, v in classes.items()}
    assert dataset.config.ignored == ignored
    assert [len(dataset.split(split)) for split in dataset.splits] == sizes
    for split in dataset.splits:
        for sample in dataset.split(split):
            assert sample.mask != sample.image
            assert dataset.read_mask(sample).shape == SIZE


@pytest.mark.parametrize("export", REFUSED, ids=lambda export: export.__name__)
def test_exports_without_masks_are_refused(tmp_path, export):
    export(tmp_path)
    given, remedy = REFUSED[export]
    with pytest.raises(DataError) as caught:
        propose(tmp_path)
    assert given in str(caught.value)
    assert remedy in str(caught.value.remedy)


def test_the_label_that_a_person_saved_is_read(tmp_path):
    monai_label(tmp_path)
    proposal = propose(tmp_path)
    assert proposal.dataset.config.parts["train"].masks == "labels/final"
    assert "not used: labels/original (5 files)" in proposal.notes


def test_tiles_of_a_slide_and_views_of_a_car_stay_together(tmp_path):
    for export, count in ((qupath, 5), (kaggle_carvana, 5)):
        export(tmp_path / export.__name__)
        dataset = propose(tmp_path / export.__name__).dataset
        groups = {split: {sample.group for sample in dataset.split(split)} for split in dataset.splits}
        assert not groups["train"] & groups["val"]
        assert len(groups["train"] | groups["val"]) == count
