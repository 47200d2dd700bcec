"""Folders as people have them: splits survive, roles decide, other files do no harm, and remedies work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.clips import propose_group
from segmi.datasets.detection import Proposal, propose
from segmi.errors import DataError, SegmiError, UsageError

SIZE = (24, 32)
SPLITS = ("train", "val", "test")


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = [*path.as_posix().encode(), seed]
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def labels(path: Path, values: tuple[int, ...] = (0, 1, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(SIZE, values[0], dtype=np.uint8)
    for index, value in enumerate(values[1:]):
        pixels[2 + index : 12 + index, 4 * index : 4 * index + 4] = value
    Image.fromarray(pixels).save(path)
    return path


def instances(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(24 * 32).reshape(SIZE).astype(np.uint16) // 100 + 26000).save(path)
    return path


def splits_of(proposal: Proposal) -> dict[str, tuple[str, str, int]]:
    dataset = proposal.dataset
    return {name: (part.images, part.masks, len(dataset.split(name))) for name, part in dataset.config.parts.items()}


def write(root: Path, images: str, masks: str, splits: dict[str, int], make=labels) -> Path:
    for split, count in splits.items():
        for number in range(count):
            photo(root / images.format(split) / f"{number}.png")
            make(root / masks.format(split) / f"{number}.png")
    return root


# Splits survive


@pytest.mark.parametrize(
    ("images", "masks", "options"),
    [
        ("images/{}", "masks/{}", {"images": "images", "masks": "masks"}),
        ("{}/images", "{}/masks", {"images": "images", "masks": "masks"}),
        ("data/{}/rgb", "data/{}/gt", {"images": "rgb", "masks": "gt"}),
        ("images/{}", "annotations/{}/semantic", {"masks": "annotations"}),
        ("images/{}", "annotations/{}/semantic", {"masks": "semantic"}),
        ("images_{}", "labels_{}", {"images": "images_*", "masks": "labels_*"}),
        ("x/{}/photos", "y/{}/odd", {"images": "x", "masks": "y"}),
    ],
)
def test_splits_survive_named_folders(tmp_path, images, masks, options):
    root = write(tmp_path, images, masks, {"train": 4, "val": 2, "test": 2})
    expected = {
        split: (images.format(split), masks.format(split), n) for split, n in zip(SPLITS, (4, 2, 2), strict=True)
    }
    proposal = propose(root, **options)
    assert splits_of(proposal) == expected
    assert "splits of the layout: train, val, test" in proposal.notes


@pytest.mark.parametrize("others", [("instance",), ("color",), ("instance", "color", "panoptic")])
def test_several_mask_folders_of_one_dataset(tmp_path, others):
    root = write(tmp_path, "{}/images", "{}/gt/semantic", {"train": 4, "val": 2})
    for split, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            for other in others:
                (instances if other == "instance" else labels)(root / split / "gt" / other / f"{number}.png")
    assert splits_of(propose(root)) == {
        "train": ("train/images", "train/gt/semantic", 4),
        "val": ("val/images", "val/gt/semantic", 2),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}/gt", "{}/masks"),
        ("{}_gt", "{}_masks"),
        ("gt/{}/a", "gt/{}/b"),
        ("masks/{}", "labels/{}"),
    ],
)
def test_the_remedy_names_the_folder_in_all_splits(tmp_path, one, other):
    root = write(tmp_path, "images/{}", one, {"train": 4, "val": 2})
    write(root, "images/{}", other, {"train": 4, "val": 2})
    with pytest.raises(UsageError) as caught:
        propose(root)
    choices = re.findall(r"--masks '?([^ ']+)", str(caught.value.remedy))
    assert len(choices) == 2
    for choice in choices:
        assert [len(propose(root, masks=choice).dataset.split(split)) for split in ("train", "val")] == [4, 2]


# Roles


def test_instance_maps_of_equal_names_are_not_images(tmp_path):
    for number in range(5):
        photo(tmp_path / "photos" / f"{number}_rgb.jpg")
        labels(tmp_path / "masks" / f"{number}.png")
        instances(tmp_path / "ids" / f"{number}.png")
        labels(tmp_path / "panoptic" / f"{number}.png", (5, 9))
    assert splits_of(propose(tmp_path))["train"][:2] == ("photos", "masks")


def test_colored_masks_are_not_images(tmp_path):
    for split, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            photo(tmp_path / "rgb" / split / f"{number}.png")
            labels(tmp_path / "semantic" / split / f"{number}.png")
            labels(tmp_path / "color" / split / f"{number}.png", (9, 90, 200))
    assert splits_of(propose(tmp_path))["train"] == ("rgb/train", "semantic/train", 4)


def test_photographs_are_images_whatever_their_folder_is_called(tmp_path):
    for number in range(5):
        photo(tmp_path / "zz" / f"{number}.png")
        labels(tmp_path / "masks" / f"{number}.png")
        instances(tmp_path / "aa" / f"{number}.png")
    proposal = propose(tmp_path)
    assert splits_of(proposal)["train"][:2] == ("zz", "masks")
    assert "not used: aa (5 files)" in proposal.notes


# Published layouts, one or two levels up


@pytest.mark.parametrize("above", ["", "data", "downloads/data"])
@pytest.mark.parametrize("name", ["ADE20K", "PASCAL VOC", "Cityscapes", "SegNet"])
def test_published_layouts_are_recognized_from_above(tmp_path, above, name):
    root = tmp_path / above
    if name == "ADE20K":
        base = root / "ADEChallengeData2016"
        for split, count in {"training": 3, "validation": 2}.items():
            for number in range(count):
                photo(base / "images" / split / f"ADE_{split}_{number}.jpg")
                labels(base / "annotations" / split / f"ADE_{split}_{number}.png", (0, 1, 149))
        first, classes, official = "wall", 150, "ade20k"
    elif name == "PASCAL VOC":
        base = root / "VOCdevkit" / "VOC2012"
        (base / "ImageSets" / "Segmentation").mkdir(parents=True)
        for number in range(5):
            photo(base / "JPEGImages" / f"2007_{number}.jpg")
            labels(base / "SegmentationClass" / f"2007_{number}.png", (0, 15, 255))
        for split, numbers in {"train": "012", "val": "34"}.items():
            text = "".join(f"2007_{number}\n" for number in numbers)
            (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
        first, classes, official = "background", 21, "voc2012"
    elif name == "Cityscapes":
        for split, count in {"train": 3, "val": 2}.items():
            for number in range(count):
                stem = f"aachen_{number:06d}_000019"
                photo(root / "cityscapes/leftImg8bit" / split / "aachen" / f"{stem}_leftImg8bit.png")
                labels(root / "cityscapes/gtFine" / split / "aachen" / f"{stem}_gtFine_labelIds.png", (7, 26, 3))
        first, classes, official = "road", 19, "cityscapes"
    else:
        write(root, "CamVid/{}", "CamVid/{}annot", {"train": 3, "val": 2}, lambda path: labels(path, (0, 9, 11)))
        first, classes, official = "sky", 11, "camvid"
    proposal = propose(tmp_path)
    assert proposal.layout.startswith((f"{name}' layout", f"{name}'s layout"))
    assert (proposal.dataset.info.classes[0], len(proposal.dataset.info.classes)) == (first, classes)
    assert [len(proposal.dataset.split(split)) for split in proposal.dataset.splits] == [3, 2]
    assert len(open_dataset(official, tmp_path).split("train")) == 3  # the named dataset finds its root as well


def test_a_named_dataset_points_to_init(tmp_path):
    write(tmp_path, "{}/images", "{}/masks", {"train": 2})
    with pytest.raises(DataError, match=f"describe another layout: segmi data init {re.escape(str(tmp_path))}"):
        open_dataset("ade20k", tmp_path)


def test_named_folders_of_a_published_layout_keep_its_classes(tmp_path):
    for number in range(5):
        photo(tmp_path / "VOC2012" / "JPEGImages" / f"{number}.jpg")
        for folder in ("SegmentationClass", "SegmentationClassAug"):
            labels(tmp_path / "VOC2012" / folder / f"{number}.png", (0, 15, 255))
    with pytest.raises(UsageError, match=r"--masks VOC2012/SegmentationClass or --masks VOC2012/SegmentationClassAug"):
        propose(tmp_path)
    proposal = propose(tmp_path, masks="VOC2012/SegmentationClassAug")
    assert proposal.dataset.info.classes[15] == "person"
    assert proposal.dataset.config.parts["train"].masks == "VOC2012/SegmentationClassAug"


def test_further_lists_are_named_and_unlisted_images_counted(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for number in range(8):
        photo(tmp_path / "JPEGImages" / f"2007_{number}.jpg")
        labels(tmp_path / "SegmentationClass" / f"2007_{number}.png")
    for name, numbers in {"train": "012", "val": "34", "trainaug": "01256"}.items():
        (lists / f"{name}.txt").write_text("".join(f"2007_{number}\n" for number in numbers))
    notes = propose(tmp_path).notes
    assert any(note.startswith("further lists: ImageSets/Segmentation/trainaug.txt (5 images)") for note in notes)
    assert "in none of the lists, and not used: 3 of 8 images" in notes


def test_zero_of_loveda_is_ignored(tmp_path):
    for split in ("Train", "Val"):
        for place in ("Urban", "Rural"):
            for number in range(3):
                photo(tmp_path / split / place / "images_png" / f"{number}.png")
                labels(tmp_path / split / place / "masks_png" / f"{number}.png", (1, 0, 2, 7))
    proposal = propose(tmp_path)
    config = proposal.dataset.config
    assert (config.ignored, config.classes[0].name, config.classes[0].values) == ((0,), "background", (1,))
    assert [len(proposal.dataset.split(split)) for split in ("train", "val")] == [6, 6]


def test_all_recordings_are_read(tmp_path):
    """A2D2: names that differ inside, several recordings, colors named by hexadecimal codes."""
    for recording in ("20180807_145028", "20181016_125231"):
        for number in range(4):
            stem = f"{recording.replace('_', '')}_{{}}_frontcenter_{number:09d}.png"
            photo(tmp_path / recording / "camera/cam_front_center" / stem.format("camera"))
            mask = tmp_path / recording / "label/cam_front_center" / stem.format("label")
            pixels = np.zeros((*SIZE, 3), np.uint8)
            pixels[4:12] = (255, 0, 0)
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(mask)
    (tmp_path / "class_list.json").write_text(json.dumps({"#ff0000": "Car 1", "#000000": "Other"}))
    dataset = propose(tmp_path).dataset
    pairs = [(s.image, s.mask) for split in dataset.splits for s in dataset.split(split)]
    assert len(pairs) == 8
    assert all(str(image).replace("camera", "label") == str(mask) for image, mask in pairs)
    assert dataset.info.classes == ("Car 1", "Other")


# Other files beside images and masks

LABELME = {"version": "5.4", "shapes": [{"label": "a", "points": [[0, 0], [9, 0], [9, 9]]}], "imagePath": "0.jpg"}
OUTLINES = {
    "labelme": ("0.json", LABELME, "labelme's polygons", "segmi data convert"),
    "coco": (
        "annotations.json",
        {"images": [], "annotations": [{"segmentation": [[0, 0, 1, 1, 0, 1]]}], "categories": []},
        "COCO's polygons",
        "segmi data convert",
    ),
    "coco boxes": (
        "a.json",
        {"annotations": [{"bbox": [0, 0, 1, 1]}]},
        "COCO's bounding boxes",
        "boxes do not outline",
    ),
    "supervisely": (
        "ds/ann/0.jpg.json",
        {"objects": [{"classTitle": "car", "points": {"exterior": []}}]},
        "Supervisely's objects",
        "Export as masks",
    ),
    "via": ("via.json", {"_via_img_metadata": {}}, "VIA's regions", "COCO format, then draw masks"),
    "via csv": ("via.csv", "filename,file_size,region_shape_attributes\n", "VIA's regions", "COCO format"),
    "label studio": ("export.json", [{"id": 1, "annotations": []}], "Label Studio's tasks", "COCO format"),
    "qupath": ("slide.geojson", {"type": "FeatureCollection"}, "QuPath's GeoJSON", "TileExporter"),
    "cityscapes": ("a_polygons.json", {"objects": [{"polygon": []}]}, "Cityscapes' polygons", "_gtFine_labelIds"),
    "yolo": ("labels/0.txt", "0 0.1 0.1 0.4 0.1 0.4 0.4\n", "YOLO's polygons", "segmi data convert"),
    "yolo boxes": ("labels/0.txt", "0 0.1 0.1 0.4 0.1\n", "YOLO's bounding boxes", "boxes do not outline"),
    "cvat": ("annotations.xml", '<polygon label="a" points="1,2">', "CVAT's polygons", "Segmentation mask 1.1"),
    "voc boxes": ("0.xml", "<annotation><bndbox></bndbox></annotation>", "bounding boxes", "boxes do not outline"),
    "run lengths": ("train.csv", "ImageId,EncodedPixels\n0,1 2\n", "run lengths", "one PNG mask per image"),
}


@pytest.mark.parametrize("kind", OUTLINES)
def test_outlines_without_masks_get_the_right_remedy(tmp_path, kind):
    name, content, words, remedy = OUTLINES[kind]
    for number in range(3):
        photo(tmp_path / "images" / f"{number}.jpg")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError) as caught:
        propose(tmp_path)
    assert f"got {words} in {name}" in str(caught.value)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize("kind", OUTLINES)
def test_outlines_beside_masks_do_no_harm(tmp_path, kind):
    _, content, *_ = OUTLINES[kind]
    suffix = Path(OUTLINES[kind][0]).suffix
    for number in range(5):
        photo(tmp_path / "images" / f"{number}.jpg")
        labels(tmp_path / "masks" / f"{number}.png")
        text = content if isinstance(content, str) else json.dumps(content)
        for place in ("images", "masks", "."):
            (tmp_path / place / f"{number}{suffix}").write_text(text)
    (tmp_path / f"masks{suffix}").write_text("{" if suffix == ".json" else "x")  # named like the folder
    instances(tmp_path / "images" / "0" / "instance_000.png").parent.rename(tmp_path / "0")
    assert splits_of(propose(tmp_path)) == {"train": ("images", "masks", 4)}


@pytest.mark.parametrize(
    ("suffix", "remedy"), [(".nii.gz", "nibabel"), (".dcm", "pydicom"), (".npy", "numpy.load"), (".mat", "loadmat")]
)
@pytest.mark.parametrize("with_images", [True, False])
def test_volumes_and_arrays_are_named_with_a_way_to_convert_them(tmp_path, suffix, remedy, with_images):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"case{suffix}").write_bytes(b"\x1f\x8b")
    if with_images:
        photo(tmp_path / "previews" / "a.png")
    with pytest.raises(DataError, match=rf"unsupported files: 2 .*(.|\n)*{remedy}"):
        propose(tmp_path)


def test_stacks_of_pages_are_named(tmp_path):
    pages = [Image.new("L", (8, 6), value) for value in range(5)]
    for name in ("train-volume.tif", "train-labels.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"stacks such as train-.* with 5 pages(.|\n)*every page as a separate image"):
        propose(tmp_path)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{0}/images/{0}.png", "{0}/masks/x{1}.png"),
        ("images/{0}.png", "out/task-{0}-annotation-{1}-by-1-tag-Car-0.png"),
    ],
)
def test_masks_of_single_objects_are_named(tmp_path, image, mask):
    for number in range(4):
        photo(tmp_path / image.format(number))
        for other in (10 * number, 10 * number + 1):
            labels(tmp_path / mask.format(number, other), (0, 255))
    with pytest.raises(DataError, match=r"got a mask per object or class(.|\n)*merge the masks of each image"):
        propose(tmp_path)


@pytest.mark.parametrize(("image", "mask"), [("{}", "{}_anno"), ("{}", "{} zones"), ("{}-orig9", "{}")])
def test_side_by_side_with_any_suffix(tmp_path, image, mask):
    for number in range(1, 7):
        photo(tmp_path / f"train_{number}{image[2:]}.bmp")
        labels(tmp_path / f"train_{number}{mask[2:]}.bmp")
    dataset = propose(tmp_path).dataset
    pairs = [(s.image.stem, s.mask.stem) for split in dataset.splits for s in dataset.split(split)]
    assert sorted(pairs)[0] == (f"train_1{image[2:]}", f"train_1{mask[2:]}")
    assert len(pairs) == 6


# Few images


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_images(tmp_path, count):
    for number in range(count):
        photo(tmp_path / "images" / f"{number}.png")
        labels(tmp_path / "masks" / f"{number}.png")
    if count == 1:
        with pytest.raises(SegmiError) as caught:
            propose(tmp_path)
        assert "--val 0" in str(caught.value)
    proposal = propose(tmp_path, val=0)
    assert [len(proposal.dataset.split(split)) for split in proposal.dataset.splits] == [count]


def test_a_seed_whose_splits_have_all_classes_is_named(tmp_path):
    for number in range(10):
        photo(tmp_path / "images" / f"{chr(97 + number)}.png")
        labels(tmp_path / "masks" / f"{chr(97 + number)}.png", (0, 1, 2) if number in (3, 7) else (0, 1))
    for seed in range(6):
        proposal = propose(tmp_path, seed=seed)
        absent = [note for note in proposal.notes if "has no pixel of: class 2" in note]
        named = [re.search(r"all classes with --seed (\d+)", note) for note in proposal.notes]
        other = next((int(match[1]) for match in named if match), None)
        assert bool(absent) == (other is not None)
        if other is not None:
            assert not any("has no pixel of" in note for note in propose(tmp_path, seed=other).notes)
            break
    else:
        pytest.fail("no draw lacked a class")


def test_a_class_that_only_val_has(tmp_path):
    write(tmp_path, "{}/images", "{}/masks", {"train": 3}, lambda path: labels(path, (0, 1)))
    write(tmp_path, "{}/images", "{}/masks", {"val": 3})
    note = "train has no pixel of: class 2, which val has: move images to train, or merge classes (`value = [1, 2]`)"
    assert note in propose(tmp_path).notes


# Groups


def numbers(prefix: str, first: int, count: int = 10, step: int = 1, width: int = 6) -> list[str]:
    return [f"{prefix}{first + step * index:0{width}d}" for index in range(count)]


CLIPS = {
    "two kinds of names": [numbers("0001TP_", 6690), numbers("Seq05VD_f", 2820, width=5)],
    "four kinds": [
        numbers("0006R0_f", 930, 8, 30, 5), numbers("0016E5_", 7959), numbers("clip 3 frame", 0),
        numbers("video1f", 17, 7),
    ],
    "two videos": [numbers("drive_a_", 1), numbers("drive_b_", 1)],
    "folders of clips": [numbers("clipA/", 1), numbers("clipB/", 1)],
    "a single image": [numbers("0001TP_", 6690, 9), numbers("Seq05VD_f", 2820, 9), ["street"]],
    "folders": [numbers("a/", 1), numbers("b/", 1), numbers("c/", 1), numbers("d/", 1)],
}  # fmt: skip


@pytest.mark.parametrize("kind", CLIPS)
def test_clips_stay_in_one_split_and_this_is_said(tmp_path, kind):
    for name in (name for clip in CLIPS[kind] for name in clip):
        photo(tmp_path / "images" / f"{name}.png")
        labels(tmp_path / "masks" / f"{name}.png")
    proposal = propose(tmp_path)
    dataset = proposal.dataset
    clips = {split: {s.group for s in dataset.split(split)} for split in dataset.splits}
    assert not clips["train"] & clips["val"]
    assert len(clips["train"] | clips["val"]) == len(CLIPS[kind])
    unit = "group" if kind == "folders" else "clip"
    assert any(f"each {unit} stays in one split" in note for note in proposal.notes)
    assert len(dataset.split("val")) >= len(dataset.split("train")) / 9


@pytest.mark.parametrize("prefix", ["frame_", "frame", "0001TP_", "drive07_", "seq-", "", "img_"])
def test_one_video_is_divided_in_time(prefix):
    for first, step in ((1, 1), (6690, 30)):
        grouping = propose_group(numbers(prefix, first, step=step))
        assert grouping.contiguous
        assert grouping.note.startswith("the images are numbered like the frames of a video: the last")


def test_numbers_are_a_video_if_neighbors_look_alike(tmp_path):
    rng = np.random.default_rng(0)
    start, drift = rng.normal(size=SIZE), rng.normal(size=SIZE)
    for number in range(20):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        frame = 128 + 30 * (start + number * drift / 8)
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).convert("RGB").save(path)
        labels(tmp_path / "masks" / f"{number}.png")
    dataset = propose(tmp_path).dataset
    assert dataset.config.contiguous
    assert [sample.name for sample in dataset.split("val")] == ["16", "17", "18", "19"]
    for number in range(20):
        photo(tmp_path / "images" / f"{number}.png")
    proposal = propose(tmp_path)
    assert not proposal.dataset.config.contiguous
    assert any("for frames of a video, set contiguous = true" in note for note in proposal.notes)


def test_a_random_split_of_frames_is_not_called_clean(tmp_path):
    for number, name in enumerate(numbers("frame_", 1, 12)):
        split = "val" if number % 3 == 0 else "train"
        photo(tmp_path / split / "images" / f"{name}.png")
        labels(tmp_path / split / "masks" / f"{name}.png")
    notes = propose(tmp_path).notes
    assert "the images are numbered like the frames of one video: scores on val do not hold for new videos" in notes


def test_tiles_of_a_slide_and_categories():
    tiles = [f"slide {s} [x={x},y=0,w=512,h=512]" for s in "abcde" for x in range(0, 2048, 512)]
    assert propose_group(tiles).note.startswith("5 groups by the names before their coordinates")
    grid = [f"tumor{s}_x{x}_y{y}" for s in range(6) for x in range(3) for y in range(3)]
    assert propose_group(grid).note.startswith("6 groups by the names before their coordinates")
    animals = [f"{animal}_{number:03d}" for animal in ("cat", "dog") for number in range(20)]
    assert propose_group(animals).group is None  # two categories are not two videos


def test_groups_of_a_file_beside_the_data(tmp_path):
    for number in range(12):
        photo(tmp_path / "images" / f"{number}.png")
        labels(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "groups.txt").write_text("".join(f"{number} kind-{number % 4}\n" for number in range(12)))
    proposal = propose(tmp_path)
    assert proposal.dataset.config.groups == "groups.txt"
    assert "4 groups by groups.txt: each group stays in one split" in proposal.notes
    kinds = {split: {s.group for s in proposal.dataset.split(split)} for split in ("train", "val")}
    assert kinds["train"] | kinds["val"] == {f"kind-{index}" for index in range(4)}
    assert not kinds["train"] & kinds["val"]
    (tmp_path / "segmi.toml").write_text(proposal.text())
    assert open_dataset("custom", tmp_path).split("val") == proposal.dataset.split("val")


def test_augmented_copies_stay_with_their_original():
    copies = ("", "_flip", "_rot90", "_aug_2")
    for stems in (
        [f"scan{i}{c}" for i in range(8) for c in copies],
        [f"scan_{i}{c}" for i in range(8) for c in copies],
    ):
        grouping = propose_group(stems)
        assert grouping.group is not None
        groups = {stem: re.search(grouping.group, stem)[1] for stem in stems}
        assert len({*groups.values()}) == 8
        assert all(groups[stem] == groups[stem.removesuffix("_flip")] for stem in stems)


def test_frames_of_few_videos_are_divided_in_time():
    stems = [f"{video}_frame{number:04d}" for video in ("GOPR01", "drone") for number in range(10)]
    grouping = propose_group(stems)
    assert grouping.contiguous
    assert {re.search(grouping.group, stem)[1] for stem in stems} == {"GOPR01", "drone"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [(("train.csv", "val.csv"), "train.csv, val.csv are not read"), (("splits.json",), "splits.json is not read")],
)
def test_splits_in_tables_and_json_are_reported(tmp_path, files, expected):
    for number in range(5):
        photo(tmp_path / f"images/a{number}.png", number)
        labels(tmp_path / f"masks/a{number}.png")
    for name in files:
        (tmp_path / name).write_text('{"train": ["a0"]}' if name.endswith("json") else "image,mask\na0.png,a0.png\n")
    remedy = "for these splits, write the image names into train.txt and val.txt"
    assert f"{expected}; {remedy}" in propose(tmp_path).notes


def test_height_maps_are_not_images(tmp_path):
    for number in range(1, 6):
        photo(tmp_path / f"top/top_mosaic_area{number}.tif", number)
        photo(tmp_path / f"elevation/dsm_matching_area{number}.tif", number)
        labels(tmp_path / f"gts_for_participants/top_mosaic_area{number}.tif")
    dataset = propose(tmp_path).dataset
    assert {sample.image.parent.name for sample in dataset.split("train")} == {"top"}


def test_frames_with_annotations_are_images(tmp_path):
    for number in range(6):
        photo(tmp_path / f"RUGD_frames-with-annotations/park/park_{number:05d}.png", number)
        labels(tmp_path / f"RUGD_annotations/park/park_{number:05d}.png")
    dataset = propose(tmp_path).dataset
    images = [sample.image for split in dataset.splits for sample in dataset.split(split)]
    assert len(images) == 6
    assert all("RUGD_frames-with-annotations" in path.parts for path in images)


@pytest.mark.parametrize(("name", "train"), [("trn", 6), ("dev", None)])
def test_lists_of_some_splits_are_used_or_reported(tmp_path, name, train):
    for number in range(9):
        photo(tmp_path / f"JPEGImages/a{number}.png", number)
        labels(tmp_path / f"SegmentationClass/a{number}.png")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / f"ImageSets/{name}.txt").write_text("".join(f"a{number}\n" for number in range(6)))
    if train is not None:
        (tmp_path / "ImageSets/val.txt").write_text("".join(f"a{number}\n" for number in range(6, 9)))
        dataset = propose(tmp_path).dataset
        assert {split: len(dataset.split(split)) for split in dataset.splits} == {"train": train, "val": 3}
    else:
        assert any("further lists: ImageSets/dev.txt (6 images)" in note for note in propose(tmp_path).notes)


def test_mask_folders_of_single_classes_are_to_be_merged(tmp_path):
    for number in range(5):
        photo(tmp_path / f"images/a{number}.png", number)
        labels(tmp_path / f"masks/cat/a{number}.png", (0, 1))
        labels(tmp_path / f"masks/dog/a{number}.png", (0, 1))
    with pytest.raises(UsageError, match="if each holds one class, merge them: one mask per image") as error:
        propose(tmp_path)
    assert "--masks masks/cat or --masks masks/dog" in str(error.value)


def test_letters_beside_accents_are_no_frame_words():
    assert not propose_group([f"für_{number}" for number in range(8)]).contiguous


def test_several_images_of_each_case_are_a_choice(tmp_path):
    for case in range(5):
        photo(tmp_path / f"case{case}/t1.png", case)
        photo(tmp_path / f"case{case}/t2.png", case)
        labels(tmp_path / f"case{case}/seg.png")
    with pytest.raises(UsageError, match=r"got 2: t1, t2(.|\n)*--images t1 or --images t2 \(if each holds one band"):
        propose(tmp_path)
    proposal = propose(tmp_path, images="t2")
    assert "not used: t1 (5 files)" in proposal.notes
    dataset = proposal.dataset
    pairs = [(s.image.name, s.mask.name) for split in dataset.splits for s in dataset.split(split)]
    assert pairs == [("t2.png", "seg.png")] * 5
