"""Layouts and names of other programs and datasets: each ends in the right pairs and classes, or in a choice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.detection import Proposal, propose
from segmi.errors import DataError, SegmiError, UsageError

SIZE = (24, 32)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*path.as_posix().encode()])
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)


def drawn(values: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    pixels = np.full(SIZE, values[0])
    for index, value in enumerate(values[1:]):
        pixels[2 + index : 12 + index, 4 * index : 4 * index + 4] = value
    return pixels


def labels(path: Path, values: tuple[int, ...] = (0, 1, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(values).astype(np.uint8)).save(path)


def vessels(path: Path) -> None:
    labels(path, (0, 255))


def colors(path: Path, shown: tuple[tuple[int, int, int], ...] = ((0, 0, 0), (255, 0, 0))) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(shown, np.uint8)[drawn(tuple(range(len(shown))))]).save(path)


def pairs_of(proposal: Proposal) -> dict[str, list[tuple[str, str]]]:
    """The paths of images and masks of each split, read from the written file."""
    root = proposal.dataset.root
    (root / "segmi.toml").write_text(proposal.text())
    dataset = open_dataset("custom", root)
    assert dataset.config == proposal.dataset.config
    return {
        split: [tuple(p.relative_to(root).as_posix() for p in (s.image, s.mask)) for s in dataset.split(split)]
        for split in dataset.splits
    }


def names_of(proposal: Proposal) -> dict[str, int]:
    return {one.name: one.values[0] for one in proposal.dataset.config.classes}


# Which of several masks, and which of several images


def drive(root: Path) -> None:
    for number in (21, 22, 23, 24):
        photo(root / f"training/images/{number}_training.tif")
        vessels(root / f"training/1st_manual/{number}_manual1.png")
        vessels(root / f"training/mask/{number}_training_mask.png")
    for number in ("01", "02"):
        photo(root / f"test/images/{number}_test.tif")
        vessels(root / f"test/1st_manual/{number}_manual1.png")
        vessels(root / f"test/2nd_manual/{number}_manual2.png")
        vessels(root / f"test/mask/{number}_test_mask.png")


@pytest.mark.parametrize("masks", [None, "1st_manual"])
def test_the_manual_masks_of_drive_whose_splits_have_other_names(tmp_path, masks):
    drive(tmp_path)
    proposal = propose(tmp_path, masks=masks, val=0.25)
    pairs = pairs_of(proposal)
    assert pairs["test"] == [
        ("test/images/01_test.tif", "test/1st_manual/01_manual1.png"),
        ("test/images/02_test.tif", "test/1st_manual/02_manual1.png"),
    ]
    assert [len(pairs[split]) for split in ("train", "val")] == [3, 1]
    assert any(note.startswith("not used: test/2nd_manual (2 files), test/mask") for note in proposal.notes)


def test_fields_of_view_are_no_masks_of_a_split_without_manual_ones(tmp_path):
    drive(tmp_path)
    for path in [*(tmp_path / "test").glob("*_manual/*")]:
        path.unlink()
    assert propose(tmp_path).dataset.splits == ("train", "val")
    hrf = tmp_path / "hrf"
    for number in range(1, 6):
        photo(hrf / f"images/{number:02}_dr.JPG")
        vessels(hrf / f"manual1/{number:02}_dr.tif")
        vessels(hrf / f"mask/{number:02}_dr_mask.tif")
    assert all(mask.startswith("manual1/") for of in pairs_of(propose(hrf)).values() for _, mask in of)


def test_masks_in_a_folder_called_images(tmp_path):
    """iSAID."""
    for split in ("train", "val"):
        for number in range(3):
            photo(tmp_path / split / f"images/P{number:04}.png")
            colors(tmp_path / split / f"Semantic_masks/images/P{number:04}_instance_color_RGB.png")
            colors(tmp_path / split / f"Instance_masks/images/P{number:04}_instance_id_RGB.png")
    assert pairs_of(propose(tmp_path))["val"][0] == (
        "val/images/P0000.png",
        "val/Semantic_masks/images/P0000_instance_color_RGB.png",
    )


def test_a_word_inside_the_names_of_masks_alone(tmp_path):
    """KITTI road: lanes are other masks of some images."""
    for kind, count in (("um", 4), ("umm", 3), ("uu", 2)):
        for number in range(count):
            photo(tmp_path / f"training/image_2/{kind}_{number:06}.png")
            colors(tmp_path / f"training/gt_image_2/{kind}_road_{number:06}.png")
            if kind == "um":
                colors(tmp_path / f"training/gt_image_2/{kind}_lane_{number:06}.png")
    proposal = propose(tmp_path)
    pairs = [pair for of in pairs_of(proposal).values() for pair in of]
    assert len(pairs) == 9
    assert ("training/image_2/uu_000000.png", "training/gt_image_2/uu_road_000000.png") in pairs
    assert all("_road_" in mask for _, mask in pairs)
    assert any("4 files beside the masks, such as training/gt_image_2/um_lane_000000.png" in n for n in proposal.notes)


def several(root: Path, files: str, count: int = 6) -> None:
    """``files``: words of images, a bar, and endings of masks."""
    images, masks = (side.split() for side in files.split("|"))
    for number in range(count):
        for image in images:
            photo(root / f"{image.format(number)}.png")
        for mask in masks:
            vessels(root / f"{mask.format(number)}.png")


@pytest.mark.parametrize(
    ("files", "option", "choice", "pair"),
    [
        ("{0} | {0}_cat {0}_dog", "masks", "*_dog", ("0.png", "0_dog.png")),
        ("images/{0} | masks/{0}_cat masks/{0}_dog", "masks", "*_dog", ("images/0.png", "masks/0_dog.png")),
        ("in/i{0} | gt/i{0}_attr_a gt/i{0}_attr_b", "masks", "*_attr_b", ("in/i0.png", "gt/i0_attr_b.png")),
        ("c{0}_t1 c{0}_t2 c{0}_flair | c{0}_seg", "images", "*_flair", ("c0_flair.png", "c0_seg.png")),
        ("c{0}/c{0}_t1 c{0}/c{0}_t2 c{0}/c{0}_ct | c{0}/c{0}_seg", "images", "*_t2", ("c0/c0_t2.png", "c0/c0_seg.png")),
        ("t{0}/B02 t{0}/B03 | t{0}/label", "images", "B03", ("t0/B03.png", "t0/label.png")),
        ("train_r/r_{0} train_n/n_{0} | train_gt/gt_{0}", "images", "*_n", ("train_n/n_0.png", "train_gt/gt_0.png")),
    ],
)  # fmt: skip
def test_several_masks_or_images_are_a_choice_that_works(tmp_path, files, option, choice, pair):
    several(tmp_path, files)
    with pytest.raises(UsageError, match=rf"--{option} '?{re.escape(choice)}") as caught:
        propose(tmp_path)
    assert ("merge them" if option == "masks" else "as one TIFF") in str(caught.value)
    pairs = pairs_of(propose(tmp_path, **{option: choice}))
    assert sum(map(len, pairs.values())) == 6
    assert pair in [one for of in pairs.values() for one in of]


def test_the_semantic_one_of_several_files_of_each_image(tmp_path):
    """Segments.ai, and CHASE_DB1 with two observers."""
    ends = ("", "_semantic", "_colored")
    several(tmp_path / "a", "x{0} | " + " ".join(f"x{{0}}_label_ground-truth{end}" for end in ends))
    categories = [{"id": 255, "name": "cat"}]
    (tmp_path / "a/release.json").write_text(json.dumps({"dataset": {"task_attributes": {"categories": categories}}}))
    proposal = propose(tmp_path / "a")
    assert ("x0.png", "x0_label_ground-truth_semantic.png") in [p for of in pairs_of(proposal).values() for p in of]
    assert names_of(proposal) == {"background": 0, "cat": 255}
    several(tmp_path / "b", "Image_{0}L | Image_{0}L_1stHO Image_{0}L_2ndHO")
    assert all(mask.endswith("1stHO.png") for of in pairs_of(propose(tmp_path / "b")).values() for _, mask in of)


def test_parts_and_folders_named_as_images_are_no_images(tmp_path):
    """Full ADE20K."""
    for split in ("training", "validation"):
        for number in range(3):
            path = f"{split}/street/ADE_{number:08}"
            photo(tmp_path / f"{path}.jpg")
            colors(tmp_path / f"{path}_seg.png")
            colors(tmp_path / f"{path}_parts_1.png")
            labels(tmp_path / path / "instance_000.png")
    proposal = propose(tmp_path)
    assert {split: len(of) for split, of in pairs_of(proposal).items()} == {"train": 3, "val": 3}
    assert any("12 files beside the masks" in note for note in proposal.notes)
    (tmp_path / "training/street/ADE_00000001_seg.png").unlink()
    with pytest.raises(DataError, match=r"ADE_00000001\.jpg: image without mask"):
        propose(tmp_path)


def test_a_split_in_the_name_of_one_folder_alone(tmp_path):
    for number in range(5):
        photo(tmp_path / f"Bilder für Test/Aufnahme {number} ä.jpg")
        labels(tmp_path / f"Masken/Aufnahme {number} ä.png")
    assert {split: len(of) for split, of in pairs_of(propose(tmp_path)).items()} == {"train": 4, "val": 1}


def test_images_for_training_without_masks_are_not_left_out(tmp_path):
    for split in ("train", "val"):
        for number in range(4):
            photo(tmp_path / split / f"images/{number}.png")
            labels(tmp_path / split / f"masks/{number if split == 'val' else f'q{number * 7}z'}.png")
    with pytest.raises(DataError, match=r"expected masks for the images in train/images, got masks only in val/masks"):
        propose(tmp_path)
    pairs = pairs_of(propose(tmp_path, images="val/images", masks="val/masks"))
    assert {split: len(of) for split, of in pairs.items()} == {"train": 3, "val": 1}


# Names without a common part


@pytest.mark.parametrize(
    "header", ["image,mask", "img_path;mask_path;split", "image_id,split,sat_image_path,mask_path", ""]
)
def test_pairs_from_a_table(tmp_path, header):
    lines = [header] if header else []
    for number in range(8):
        image, mask = f"photos/a{number * 37}.jpg", f"drawn/q{number * 11}z.png"
        photo(tmp_path / image)
        labels(tmp_path / mask)
        split = "validation" if number > 5 else "train"
        row = {2: f"{image},{mask}", 3: f".\\{image};{mask};{split}", 4: f"{number},{split},{image},{mask}"}
        lines.append(row.get(len(re.split("[,;]", header)), f"/home/me/{image} /home/me/{mask}"))
    with pytest.raises(
        SegmiError, match=r"list (them|images and masks) in a table pairs\.csv with the columns image and mask"
    ):
        propose(tmp_path)
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    pairs = pairs_of(propose(tmp_path))
    assert {split: len(of) for split, of in pairs.items()} == {"train": 6, "val": 2}
    assert all(int(image[8:-4]) // 37 == int(mask[7:-5]) // 11 for of in pairs.values() for image, mask in of)
    if "split" in header:
        assert [image for image, _ in pairs["val"]] == ["photos/a222.jpg", "photos/a259.jpg"]
    (tmp_path / "drawn/q0z.png").unlink()
    with pytest.raises(DataError, match=r"drawn/q0z\.png is missing(.|\n)*remove the row"):
        propose(tmp_path)


# Lists of classes


TRIO = {"background": 0, "cat": 1, "dog": 2}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("data.yaml", "train: ../train\nnc: 2\nnames: ['cat', 'dog']\n", TRIO),
        ("data.yaml", "names:\n  0: cat\n  1: dog\n", TRIO),
        ("dataset.yaml", "names:\n  0: background\n  1: cat\n  2: dog\n", TRIO),
        ("labels.yml", "labels:\n  background: 0\n  cat: 1\n  dog: 2\n", TRIO),
        ("class_dict_seg.csv", "name, r, g, b\nbackground, 9, 0, 0\ncat, 128, 64, 128\ndog, 130, 76, 0\n", TRIO),
        ("class_dict_seg.csv", "name, r, g, b\nunlabeled, 0, 0, 0\ncat, 9, 6, 1\ndog, 1, 7, 0\nox, 0, 9, 9\n",
         {"cat": 1, "dog": 2, "ox": 3}),
        ("class_mapping.csv", "class_name,class_color\nbackground,0\ncat,1\ndog,2\n", TRIO),
        ("classes.json", [{"id": "x7", "index": 1, "name": "cat"}, {"id": "y9", "index": 2, "name": "dog"}], TRIO),
        ("info.json", {"label_classes": [{"id": i, "name": n} for n, i in TRIO.items()]}, TRIO),
        ("train.json", {"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}, TRIO),
        ("config_v2.0.json", {"labels": [{"name": n, "color": [9, i, 9]} for n, i in TRIO.items()]}, TRIO),
        ("dataset.json", {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
         {"background": 0, "whole": 1, "core": 2}),
    ],
)  # fmt: skip
def test_files_that_name_the_classes(tmp_path, name, content, expected):
    for number in range(4):
        photo(tmp_path / f"images/{number}.jpg")
        labels(tmp_path / f"masks/{number}.png")
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert names_of(propose(tmp_path)) == expected


def test_colors_of_v7(tmp_path):
    for number in range(4):
        photo(tmp_path / f"images/{number}.jpg")
        colors(tmp_path / f"masks/{number}.png", ((0, 0, 0), (255, 50, 50)))
    (tmp_path / "class_mapping.csv").write_text("class_name,class_color\nback,0 0 0\ncat,255 50 50\n")
    assert names_of(propose(tmp_path)) == {"back": (0, 0, 0), "cat": (255, 50, 50)}


@pytest.mark.parametrize(
    ("images", "masks", "values", "expected"),
    [
        ("training/image_2/{}", "training/semantic/{}", (0, 7, 8, 26), {"road": 7, "sidewalk": 8, "car": 26}),
        ("images/10k/train/{}", "labels/sem_seg/masks/train/{}", (0, 2, 9, 13, 255), {"road": 0, "car": 13}),
    ],
)  # fmt: skip
def test_labels_of_cityscapes_in_other_datasets(tmp_path, images, masks, values, expected):
    """KITTI and BDD100K."""
    for number in range(4):
        photo(tmp_path / f"{images.format(number)}.jpg")
        labels(tmp_path / f"{masks.format(number)}.png", values)
        colors(
            tmp_path / f"{masks.format(number).replace('semantic', 'semantic_rgb').replace('masks', 'colormaps')}.png"
        )
    names = names_of(propose(tmp_path))
    assert len(names) == 19
    assert names.items() >= expected.items()


def test_colors_of_two_datasets_name_no_classes(tmp_path):
    shown = ((0, 0, 0), (128, 0, 0), (128, 64, 128), (128, 128, 0))  # of CamVid and UAVid
    for number in range(4):
        photo(tmp_path / f"images/{number}.jpg")
        colors(tmp_path / f"masks/{number}.png", shown)
    assert [*names_of(propose(tmp_path))] == ["background", "class 1", "class 2", "class 3"]
    for number in range(4):
        colors(tmp_path / f"masks/{number}.png", (*shown, (192, 0, 192)))
    assert names_of(propose(tmp_path))["static car"] == (192, 0, 192)


def test_a_list_without_background_is_refused_with_its_place(tmp_path):
    for number in range(4):
        photo(tmp_path / f"images/{number}.jpg")
        labels(tmp_path / f"masks/{number}.png")
    path = tmp_path / "classes.txt"
    path.write_text("cat\ndog\n")
    with pytest.raises(DataError, match="if 0 is not the first name, write `background` as the first line"):
        propose(tmp_path)
    path.write_text("background\ncat\ndog\n")
    assert names_of(propose(tmp_path)) == TRIO


# Values


def masks_of(root: Path, save: Callable[[Path, int], None], suffix: str = "tif", count: int = 6) -> Path:
    for number in range(count):
        photo(root / f"images/{number}.png")
        (root / "masks").mkdir(exist_ok=True)
        save(root / f"masks/{number}.{suffix}", number)
    return root


def test_whole_floats_are_values_and_negative_ones_are_named(tmp_path):
    root = masks_of(tmp_path / "a", lambda path, _: tifffile.imwrite(path, drawn().astype(np.float32)))
    proposal = propose(root)
    assert [one.values for one in proposal.dataset.config.classes] == [(0,), (1,), (2,)]
    read = proposal.dataset.mask_values(root / "masks/0.tif")
    assert (read == drawn()).all()
    root = masks_of(tmp_path / "b", lambda path, _: tifffile.imwrite(path, drawn((0, 1, -1)).astype(np.int16)))
    with pytest.raises(DataError, match=r"values from -1 to 1(.|\n)*with 255 instead of -1 for pixels without a class"):
        propose(root)
    root = masks_of(tmp_path / "c", lambda path, _: tifffile.imwrite(path, drawn().astype(np.float32) / 3))
    with pytest.raises(
        DataError, match=r"float fractions, values from 0 to 0\.66(.|\n)*save `mask > 0\.5` as an 8-bit"
    ):
        propose(root)


def test_tiff_that_stores_white_as_0(tmp_path):
    def save(path, _):
        tifffile.imwrite(path, drawn((0, 3)).astype(np.uint8), photometric="miniswhite")

    assert [one.values for one in propose(masks_of(tmp_path / "a", save)).dataset.config.classes] == [(0,), (3,)]

    def save_bits(path, _):
        tifffile.imwrite(path, drawn((1, 0)).astype(bool), photometric="miniswhite")

    root = masks_of(tmp_path / "b", save_bits)
    proposal = propose(root)
    assert any("6 of 6 masks are black and white TIFF files that store white as 0" in n for n in proposal.notes)
    assert (proposal.dataset.mask_values(root / "masks/0.tif") == drawn((0, 1))).all()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_three_gray_levels_get_no_threshold(tmp_path, suffix):
    def save(path, number):
        pixels = np.zeros((96, 96), np.uint8)
        pixels[8:40, 8:40], pixels[50:80, 10 + number : 50] = 128, 255
        large = Image.fromarray(pixels)
        if suffix == "jpg":
            large.save(path, quality=90)
        else:
            large.rotate(7, Image.Resampling.BICUBIC).save(path)

    root = masks_of(tmp_path, save, suffix)
    for path in (root / "images").iterdir():
        Image.new("RGB", (96, 96)).save(path)
    with pytest.raises(DataError, match="set each pixel to the nearest") as caught:
        propose(root)
    assert "--threshold" not in str(caught.value)
    if suffix == "jpg":
        assert "nearest of its levels (0, 128, 255)" in str(caught.value)


def test_numbers_of_objects_are_no_classes(tmp_path):
    def save(path, number):
        labels(path, tuple(range(number % 5 + 2)))

    root = masks_of(tmp_path, save, "png", 10)
    with pytest.raises(DataError, match=r"number their objects: from 1 to 1 in one file, to 5(.|\n)*--threshold 1;"):
        propose(root)
    classes = propose(root, threshold=1).dataset.config.classes
    assert [one.name for one in classes] == ["background", "foreground"]
    (root / "classes.txt").write_text("\n".join(f"{v} c{v}" for v in range(6)))
    assert len(propose(root).dataset.config.classes) == 6


# Groups


@pytest.mark.parametrize(
    ("name", "header", "row", "column"),
    [
        ("metadata.csv", "file_name,patient_id,age", "{0}.png,p{1},{0}", "patient_id"),
        ("meta.tsv", "image\tweather\tscene", "{0}\train\ts{1}", "scene"),
        ("HAM.csv", "lesion_id;image_id;dx", "L{1};{0};nv", "lesion_id"),
    ],
)
def test_groups_in_a_column_of_a_table(tmp_path, name, header, row, column):
    numbers = [number * 7919 % 1009 for number in range(20)]
    for number in numbers:
        photo(tmp_path / f"images/{number}.png")
        labels(tmp_path / f"masks/{number}.png")
    rows = [row.format(number, index // 3) for index, number in enumerate(numbers)]
    (tmp_path / name).write_text("\n".join([header, *rows]))
    (tmp_path / "runs.csv").write_text("\n".join(["img,rle_mask", *(f"{n}.png,1 2 3 4" for n in numbers)]))
    proposal = propose(tmp_path)
    assert f"7 groups by {column} in {name}: each group stays in one split" in proposal.notes
    group = {number: index // 3 for index, number in enumerate(numbers)}
    splits = {split: {group[int(Path(image).stem)] for image, _ in of} for split, of in pairs_of(proposal).items()}
    assert not splits["train"] & splits["val"]


@pytest.mark.parametrize("name", ["2007_{:06}", "ISIC_{:07}", "{:012}"])
def test_photographs_with_running_numbers_are_no_video(tmp_path, name):
    for number in range(24306, 24330):
        photo(tmp_path / f"images/{name.format(number)}.jpg")
        labels(tmp_path / f"masks/{name.format(number)}.png")
    proposal = propose(tmp_path)
    assert not proposal.dataset.config.contiguous
    assert not any("video: " in note or "one video" in note for note in proposal.notes)


# Outlines


REGION = {"rle": [1, 2], "brushlabels": ["cat"]}
POLYGON = {"paths": [[{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 1}]]}
FEATURE = {"type": "Feature", "geometry": {"type": "Polygon"}}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("min.json", [{"image": "/data/0.jpg", "tag": [REGION]}], "Label Studio's tasks"),
        ("0.json", {"item": {}, "annotations": [{"name": "cat", "polygon": POLYGON}]}, "polygons of V7"),
        ("a.geojson", [{**FEATURE, "properties": {"classification": {"name": "Tumor"}}}], "QuPath's GeoJSON"),
        ("b.geojson", {"type": "FeatureCollection", "crs": {}, "features": [FEATURE]}, "GeoJSON's polygons"),
        ("c.xml", '<Annotations><Vertex X="1.0" Y="2.0"/></Annotations>', "XML outlines of QuPath"),
        ("d.json", {"objects": [{"label": "road", "polygon": [[1, 2]]}]}, "Cityscapes' polygons"),
    ],
)
def test_outlines_of_further_programs(tmp_path, name, content, words):
    for number in range(3):
        photo(tmp_path / f"images/{number}.jpg")
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=f"got {words}[^\n]* in {name}"):
        propose(tmp_path)


def test_one_mask_per_part_of_a_face(tmp_path):
    for number in range(4):
        photo(tmp_path / f"CelebA-HQ-img/{number}.jpg")
        for part in ("hair", "l_eye", "skin"):
            vessels(tmp_path / f"mask-anno/0/{number:05}_{part}.png")
    with pytest.raises(DataError, match=r"a mask per object or class \(00000_hair, 00000_l_eye\)"):
        propose(tmp_path)


def test_two_files_of_one_stem_are_not_mended_by_pairs(tmp_path):
    for number in range(4):
        photo(tmp_path / f"images/{number}.jpg")
        labels(tmp_path / f"masks/{number}.png")
    photo(tmp_path / "images/3.png")
    with pytest.raises(DataError, match="keep one file per stem") as caught:
        propose(tmp_path)
    assert "--pairs-only" not in str(caught.value)


def test_the_folders_that_the_content_decides_on_are_named(tmp_path):
    for number in range(5):
        photo(tmp_path / f"a/{number}.png")
        labels(tmp_path / f"b/{number}.png")
    assert "by their content, images are in a and masks in b" in propose(tmp_path).notes
