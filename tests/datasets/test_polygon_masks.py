"""Polygons of labelme, COCO and YOLO become masks whose pixels are known."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from segmi.cli import main
from segmi.datasets.detection import propose
from segmi.datasets.polygon_masks import convert_polygons
from segmi.errors import DataError, UsageError

WIDTH, HEIGHT = 40, 30
SQUARE = [(4, 5), (14, 5), (14, 15), (4, 15)]  # 10 × 10 pixels
INNER = [(6, 7), (10, 7), (10, 11), (6, 11)]  # 4 × 4 pixels inside


def expected(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for left, top, right, bottom, value in boxes:
        mask[top:bottom, left:right] = value
    return mask


def photo(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([number, *path.stem.encode()]).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def labelme(path: Path, shapes: list[dict], **fields: object) -> None:
    image = photo(path.with_suffix(".jpg"))
    data = {"version": "5.4.1", "shapes": shapes, "imagePath": image.name, "imageWidth": WIDTH, "imageHeight": HEIGHT}
    path.write_text(json.dumps(data | fields))


def shape(label: str, points: list[tuple[float, float]], kind: str = "polygon", **fields: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, **fields}


def flat(points: list[tuple[int, int]]) -> list[float]:
    return [float(value) for point in points for value in point]


def masks(output: Path) -> dict[str, np.ndarray]:
    folder = output / "masks"
    return {p.relative_to(folder).as_posix(): np.asarray(Image.open(p)) for p in sorted(folder.rglob("*.png"))}


def test_labelme(tmp_path):
    root, output = tmp_path / "in", tmp_path / "out"
    png = io.BytesIO()
    Image.fromarray(np.full((3, 2), 255, np.uint8)).save(png, format="PNG")
    labelme(
        root / "a.json",
        [
            shape("car", SQUARE),
            shape("tree", INNER),
            shape("__ignore__", [(20, 20), (30, 25)], "rectangle"),
            shape("car", [(1, 1), (3, 4)], "mask", mask=base64.b64encode(png.getvalue()).decode()),
            shape("car", [(1, 1), (3, 3)], "line"),
        ],
    )
    labelme(root / "b.json", [shape("tree", [(20, 15), (25, 15)], "circle")])
    photo(root / "c.jpg")
    result = convert_polygons(root, output)
    assert result.classes == ("background", "car", "tree")
    assert result.notes == ("skipped 1 image without annotations", "skipped 1 shape of the type line, without area")
    drawn = masks(output)
    first = expected((4, 5, 14, 15, 1), (6, 7, 10, 11, 2), (20, 20, 30, 25, 255), (1, 1, 3, 4, 1))
    np.testing.assert_array_equal(drawn["a.png"], first)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    disc = np.hypot(x - 20, y - 15) < 5
    assert (drawn["b.png"].astype(bool) != disc).mean() < 0.01
    config = propose(output).dataset.config
    assert [(one.name, one.values) for one in config.classes] == [("background", (0,)), ("car", (1,)), ("tree", (2,))]
    assert config.ignored == (255,)


def test_labelme_keeps_the_order_of_its_list_and_of_the_shapes(tmp_path):
    labelme(tmp_path / "in" / "a.json", [shape("tree", INNER), shape("car", SQUARE)])
    (tmp_path / "in" / "labels.txt").write_text("__ignore__\n_background_\ntree\nhouse\ncar\n")
    result = convert_polygons(tmp_path / "in", tmp_path / "out")
    assert result.classes == ("background", "tree", "house", "car")
    np.testing.assert_array_equal(masks(tmp_path / "out")["a.png"], expected((4, 5, 14, 15, 3)))


def coco(images: list[dict], annotations: list[dict], names: tuple[str, ...] = ("car", "tree")) -> str:
    categories = [{"id": 10 * (index + 1), "name": name, "supercategory": "thing"} for index, name in enumerate(names)]
    categories.append({"id": 0, "name": "things", "supercategory": "none"})  # as Roboflow writes it
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def entry(number: int, name: str) -> dict:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}


def test_coco_polygons_and_run_lengths(tmp_path):
    root = tmp_path / "in"
    for split in ("train", "val"):
        photo(root / f"{split}2017" / "1.jpg", len(split))
        photo(root / f"{split}2017" / "2.jpg", len(split))
        whole = np.asfortranarray(expected((20, 20, 30, 25, 1)))
        compressed = run_lengths.encode(whole)
        counts = [HEIGHT * 4 + 5, 10, HEIGHT * WIDTH - HEIGHT * 4 - 15]  # one column of 10 pixels at x = 4, y = 5
        parts = [flat(SQUARE), flat([(30, 1), (32, 1), (32, 3), (30, 3)])]
        lengths = {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}
        column = {"size": [HEIGHT, WIDTH], "counts": counts}
        annotations = [
            {"image_id": 1, "category_id": 20, "segmentation": [flat(INNER)], "area": 16},
            {"image_id": 1, "category_id": 10, "segmentation": parts},
            {"image_id": 1, "category_id": 20, "segmentation": lengths},
            {"image_id": 2, "category_id": 10, "segmentation": column, "iscrowd": 1},
            {"image_id": 2, "category_id": 10, "bbox": [0, 0, 3, 3], "segmentation": []},
        ]
        text = coco([entry(1, "1.jpg"), entry(2, "2.jpg")], annotations)
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(text)
    result = convert_polygons(root, tmp_path / "out")
    assert (result.format, result.images, result.classes) == ("COCO", 4, ("background", "car", "tree"))
    assert result.notes == ("2 boxes without outlines are skipped",)
    drawn = masks(tmp_path / "out")
    assert [*drawn] == ["train/1.png", "train/2.png", "val/1.png", "val/2.png"]
    first = expected((4, 5, 14, 15, 1), (6, 7, 10, 11, 2), (30, 1, 32, 3, 1), (20, 20, 30, 25, 2))
    np.testing.assert_array_equal(drawn["val/1.png"], first)
    np.testing.assert_array_equal(drawn["train/2.png"], expected((4, 5, 5, 15, 1)))
    assert (tmp_path / "out/images/val/1.jpg").read_bytes() == (root / "val2017/1.jpg").read_bytes()
    dataset = propose(tmp_path / "out").dataset
    assert dataset.info.classes == ("background", "car", "tree")
    assert [len(dataset.split(split)) for split in ("train", "val")] == [2, 2]


def test_images_beside_their_annotations_as_roboflow_exports_them(tmp_path):
    for split in ("train", "valid"):
        photo(tmp_path / "in" / split / f"{split}_jpg.rf.1.jpg")
        text = coco(
            [entry(0, f"{split}_jpg.rf.1.jpg")], [{"image_id": 0, "category_id": 10, "segmentation": [flat(SQUARE)]}]
        )
        (tmp_path / "in" / split / "_annotations.coco.json").write_text(text)
    convert_polygons(tmp_path / "in", tmp_path / "out")
    drawn = masks(tmp_path / "out")
    assert [*drawn] == ["train/train_jpg.rf.1.png", "val/valid_jpg.rf.1.png"]
    np.testing.assert_array_equal(drawn["val/valid_jpg.rf.1.png"], expected((4, 5, 14, 15, 1)))


@pytest.mark.parametrize("names", ["list", "dict", "file", "none"])
@pytest.mark.parametrize("layout", ["{}/images/{}.jpg {}/labels/{}.txt", "images/{}/{}.jpg labels/{}/{}.txt"])
def test_yolo(tmp_path, layout, names):
    root = tmp_path / "in"
    image, text = layout.split()
    for split in ("train", "valid"):
        photo(root / image.format(split, "a"))
        photo(root / image.format(split, "empty"))
        photo(root / image.format(split, "unlabeled"))
        lines = [
            "1 " + " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in INNER),
            "0 " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in SQUARE),
        ]
        path = root / text.format(split, "a")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        path.with_stem("empty").write_text("")
    content = {"list": "names: [car, tree]\n", "dict": "names:\n  0: car\n  1: tree\n"}
    if names in content:
        (root / "data.yaml").write_text(content[names])
    elif names == "file":
        (root / "classes.txt").write_text("car\ntree\n")
    result = convert_polygons(root, tmp_path / "out")
    known = ("class 0", "class 1") if names == "none" else ("car", "tree")
    assert result.classes == ("background", *known)
    assert result.notes == ("skipped 2 images without annotations",)
    drawn = masks(tmp_path / "out")
    assert [*drawn] == ["train/a.png", "train/empty.png", "val/a.png", "val/empty.png"]
    np.testing.assert_array_equal(drawn["val/a.png"], expected((4, 5, 14, 15, 1), (6, 7, 10, 11, 2)))
    assert not drawn["train/empty.png"].any()


def test_annotations_of_images_as_stored_are_turned_like_the_images(tmp_path):
    root = tmp_path / "in"
    labelme(root / "a.json", [shape("car", SQUARE)])
    exif = Image.Exif()
    exif[274] = 6
    Image.open(root / "a.jpg").save(root / "a.jpg", exif=exif)
    convert_polygons(root, tmp_path / "out")
    np.testing.assert_array_equal(masks(tmp_path / "out")["a.png"], np.rot90(expected((4, 5, 14, 15, 1)), -1))


def test_problems_are_named_together(tmp_path):
    root = tmp_path / "in"
    for name in ("a", "b"):
        labelme(root / f"{name}.json", [shape("car", SQUARE)])
        (root / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match=r"2 problems(.|\n)*a.json: its image a.jpg is missing(.|\n)*b.json"):
        convert_polygons(root, tmp_path / "out")
    labelme(root / "a.json", [shape("car", SQUARE)], imageWidth=99)
    labelme(root / "b.json", [shape("car", SQUARE)])
    with pytest.raises(DataError, match=r"a.jpg: expected an image of 99×30, the size of its annotations, got 40×30"):
        convert_polygons(root, tmp_path / "new")
    with pytest.raises(DataError, match="expected polygons of labelme"):
        convert_polygons(tmp_path / "new", tmp_path / "newer")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a").touch()
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        convert_polygons(root, tmp_path / "used")


def test_the_commands_follow_each_other(tmp_path, capsys):
    root, output = tmp_path / "in", tmp_path / "out"
    for name in "abcde":
        labelme(root / f"{name}.json", [shape("car", SQUARE)])
    assert main(["data", "init", str(root)]) == 3
    remedy = capsys.readouterr().err
    assert f"segmi data convert {root} --output DIR, then segmi data init DIR" in remedy
    assert main(["data", "convert", str(root), "--output", str(output)]) == 0
    assert "5 masks from the polygons of labelme: background, car" in capsys.readouterr().out
    assert main(["data", "init", str(output)]) == 0
    assert main(["data", "check", str(output)]) == 0
    assert "no problems" in capsys.readouterr().out
