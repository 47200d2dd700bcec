"""Lists of classes and splits as people write them: read, or named with the share of what they ignore."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets.detection import Proposal, propose
from segmi.errors import DataError, UsageError

CLASSES = {"sky": 0, "road": 1, "car": 2}
COLORS = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
LISTS = {
    "classes.csv": "name,color\nvoid,#000000\nroad,#ff0000\ncar,#0000ff\n",
    "colors.csv": "label;colour\nvoid;#000\nroad;#f00\ncar;#00F\n",
    "labelmap.txt": "void #000000\nroad #ff0000\ncar #0000ff\n",
    "classes.txt": "void 0 0 0\nroad 255 0 0\ncar 0 0 255\n",
}


def write(root: Path, mask: Callable[[np.ndarray], np.ndarray], suffix: str = ".png", count: int = 6) -> None:
    """Write photographs and masks of three classes; 1/4 of the pixels are of class 1 and 1/8 of class 2."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    labels = np.zeros((32, 32), np.uint8)
    labels[:16, :16], labels[16:24, 16:] = 1, 2
    for number in range(count):
        photo = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / f"images/{number}.jpg")
        Image.fromarray(mask(labels)).save(root / f"masks/{number}{suffix}")


def in_colors(labels: np.ndarray) -> np.ndarray:
    return np.array(COLORS, np.uint8)[labels]


def names_of(proposal: Proposal) -> dict[str, object]:
    return {one.name: one.values[0] for one in proposal.dataset.config.classes}


@pytest.mark.parametrize(
    "content",
    [
        "sky=0\nroad=1\ncar = 2\n",
        "sky, road, car\n",
        "sky;road;car",
        "['sky', 'road', 'car']\n",
        '[\n  "sky",\n  "road",\n  "car",\n]\n',
        "{0: 'sky', 1: 'road', 2: 'car'}",
        '{"sky": 0,\n "road": 1,\n "car": 2}\n',
        "sky  # everything above\nroad\n\n  # moving\ncar\n",
    ],
)
@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_names_in_other_forms(tmp_path, name, content):
    write(tmp_path, lambda labels: labels)
    (tmp_path / name).write_text(content)
    assert names_of(propose(tmp_path)) == CLASSES


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_an_ignored_name_in_the_order_of_the_values(tmp_path, name):
    write(tmp_path, lambda labels: labels)
    (tmp_path / name).write_text("sky\nroad\nunlabeled\n")
    proposal = propose(tmp_path)
    assert names_of(proposal) == {"sky": 0, "road": 1}
    assert proposal.dataset.config.ignored == (2,)


def test_colors_in_the_form_of_css(tmp_path):
    colors = np.array([(10, 20, 30), (200, 0, 0), (0, 200, 50)], np.uint8)
    write(tmp_path, lambda labels: colors[labels])
    listed = [("sky", "rgb(10, 20, 30)"), ("road", "rgba(200,0,0,255)"), ("car", "#00C832")]
    (tmp_path / "labels.json").write_text(json.dumps([{"name": name, "color": color} for name, color in listed]))
    assert names_of(propose(tmp_path)) == {"sky": (10, 20, 30), "road": (200, 0, 0), "car": (0, 200, 50)}


def test_names_with_numbers_stay_whole(tmp_path):
    write(tmp_path, lambda labels: labels)
    (tmp_path / "classes.txt").write_text("C# code\n2 wheeler\n4 wheeler, parked\n")
    assert names_of(propose(tmp_path)) == {"C# code": 0, "2 wheeler": 1, "4 wheeler, parked": 2}


@pytest.mark.parametrize("name", LISTS)
def test_the_share_of_an_ignored_color_is_reported(tmp_path, name):
    write(tmp_path, in_colors)
    (tmp_path / name).write_text(LISTS[name])
    proposal = propose(tmp_path)
    assert names_of(proposal) == {"road": COLORS[1], "car": COLORS[2]}
    assert proposal.dataset.config.ignored == (COLORS[0],)
    assert f"0 0 0 (62.50% of the pixels) is ignored by {name}" in proposal.notes


def test_given_ignored_colors_win_over_the_list(tmp_path):
    write(tmp_path, in_colors)
    path = tmp_path / "colors.txt"
    path.write_text("sky 0 0 0\nroad 255 0 0\ncar 0 0 255\n")
    proposal = propose(tmp_path, ignored=[COLORS[1]])
    assert names_of(proposal) == {"sky": COLORS[0], "car": COLORS[2]}
    assert proposal.dataset.config.ignored == (COLORS[1],)
    path.write_text("void 0 0 0\nroad 255 0 0\ncar 0 0 255\n")
    with pytest.raises(DataError, match="hold also 0 0 0") as error:
        propose(tmp_path, ignored=[])
    assert "give this color the name of a class in colors.txt" in str(error.value.remedy)
    path.write_text("background 0 0 0\nroad 255 0 0\ncar 0 0 255\n")
    proposal = propose(tmp_path, ignored=[])
    assert names_of(proposal) == {"background": COLORS[0], "road": COLORS[1], "car": COLORS[2]}
    assert proposal.dataset.config.ignored == ()


@pytest.mark.parametrize(
    ("mask", "given", "message"),
    [
        (in_colors, [255], "--ignored: expected colors, as the masks have, got 255"),
        (lambda labels: labels, [(0, 0, 0)], "--ignored: expected values, as the masks have, got 0 0 0"),
    ],
)
def test_ignored_values_of_the_other_kind_are_refused(tmp_path, mask, given, message):
    write(tmp_path, mask)
    with pytest.raises(UsageError, match=message):
        propose(tmp_path, ignored=given)
    assert propose(tmp_path, ignored=[]).dataset.config.ignored == ()


def test_colors_in_jpeg_get_no_gray_levels(tmp_path):
    write(tmp_path, in_colors, ".jpg")
    with pytest.raises(DataError, match="cannot be read") as error:
        propose(tmp_path)
    assert "or set each pixel to the nearest color of the classes" in str(error.value.remedy)
    write(tmp_path / "gray", lambda labels: labels * 120, ".jpg")
    with pytest.raises(DataError) as error:
        propose(tmp_path / "gray")
    assert "or set each pixel to the nearest of its levels (0, 120, 240)" in str(error.value.remedy)


@pytest.mark.parametrize(("header", "noted"), [("filename,split", True), ("image_id;subset", True), ("file,x", False)])
def test_a_split_in_a_table_is_noted(tmp_path, header, noted):
    write(tmp_path, lambda labels: labels)
    cut = re.findall("[,;]", header)[0]
    rows = [f"{number}.jpg{cut}{'train' if number < 4 else 'val'}" for number in range(6)]
    (tmp_path / "meta.csv").write_text("\n".join([header, *rows]))
    note = "meta.csv is not read; for these splits, write the image names into train.txt and val.txt"
    proposal = propose(tmp_path)
    assert (note in proposal.notes) is noted
    for split, part in (("train", range(4)), ("val", range(4, 6))):
        (tmp_path / f"{split}.txt").write_text("".join(f"{number}\n" for number in part))
    proposal = propose(tmp_path)
    assert [one.image.stem for one in proposal.dataset.split("val")] == ["4", "5"]
    assert note not in proposal.notes


def test_objects_with_equal_names_in_several_cases(tmp_path):
    for number in range(4):
        photo = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        mask = np.zeros((16, 16), np.uint8)
        mask[2 + number : 9, 3:9] = 255
        for path, pixels in ((f"images/case{number}", photo), ("masks/obj1", mask), ("masks/obj2", mask.T)):
            file = tmp_path / f"case{number}" / f"{path}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    with pytest.raises(DataError, match=r"expected one mask per image, got a mask per object or class \(2 in case0/"):
        propose(tmp_path)
