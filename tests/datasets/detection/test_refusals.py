"""Undetectable folders are refused with the expected, the given and the fix; nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from segmi.datasets.detection import propose
from segmi.errors import DataError, SegmiError, UsageError


def a_mask(root: Path) -> Path:
    return sorted((root / "masks").iterdir())[0]


def lose_a_mask(root: Path) -> None:
    a_mask(root).unlink()


def lose_a_image(root: Path) -> None:
    sorted((root / "images").iterdir())[0].unlink()


def scale_a_mask(root: Path) -> None:
    Image.open(a_mask(root)).resize((50, 40), Image.Resampling.NEAREST).save(a_mask(root))


def masks_as_jpeg(root: Path) -> None:
    for path in list((root / "masks").iterdir()):
        Image.open(path).convert("L").save(path.with_suffix(".jpg"))
        path.unlink()


def smooth_the_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        gray = Image.fromarray(np.asarray(Image.open(path)) * 20)
        gray.filter(ImageFilter.GaussianBlur(1)).save(path)


def images_as_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        Image.open(root / "images" / f"{path.stem}.jpg").save(path)


def sixteen_bits(root: Path) -> None:
    Image.fromarray(np.full((48, 64), 26001, dtype=np.uint16)).save(a_mask(root))


def one_value(root: Path) -> None:
    for path in (root / "masks").iterdir():
        Image.fromarray(np.zeros((48, 64), dtype=np.uint8)).save(path)


def cut_a_image(root: Path) -> None:
    path = sorted((root / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])


def cut_a_mask(root: Path) -> None:
    a_mask(root).write_bytes(b"")


def two_kinds(root: Path) -> None:
    Image.fromarray(np.full((48, 64, 3), (9, 8, 7), dtype=np.uint8)).save(a_mask(root))


def two_folders_of_masks(root: Path) -> None:
    shutil.copytree(root / "masks", root / "labels")


def no_masks(root: Path) -> None:
    shutil.rmtree(root / "masks")


def other_names(root: Path) -> None:
    for number, path in enumerate(sorted((root / "masks").iterdir())):
        path.rename(path.with_name(f"{chr(97 + number)}.png"))


def arrays(root: Path) -> None:
    for path in list((root / "masks").iterdir()):
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)))
        path.unlink()


def polygons(root: Path) -> None:
    no_masks(root)
    (root / "instances.json").write_text(json.dumps({"annotations": [{"segmentation": [[0, 0, 1, 1]]}]}))


def broken_panoptic(root: Path) -> None:
    (root / "masks.json").write_text('{"images": []}')


def empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    (root / "notes.txt").write_text("nothing yet")


def gone(root: Path) -> None:
    shutil.rmtree(root)


def too_few_names(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\n")


def same_image_in_two_splits(root: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            shutil.copytree(root / kind, root / "split" / kind / split)
    for kind in ("images", "masks"):
        shutil.rmtree(root / kind)


REFUSALS = {
    lose_a_mask: ["got 1 file without", "photo 0.jpg: image without mask", "add the mask", "--pairs-only"],
    lose_a_image: ["got 1 file without", "photo 0.png: mask without image", "add the image"],
    scale_a_mask: ["photo 0.png: expected the size of its image", "64×48, got 50×40", "nearest neighbor"],
    masks_as_jpeg: ["10 of 10 masks cannot be read", "expected a lossless mask, got JPEG", "export the mask again"],
    smooth_the_masks: ["expected a value per class, got", "as after smoothing", "nearest neighbor only"],
    images_as_masks: ["expected a value per class, got", "colors, spread as in a photograph", "--masks DIR"],
    sixteen_bits: ["photo 0.png: expected a mask of values from 0 to 255, got 16-bit values", "below 256"],
    one_value: ["expected at least two values, got only 0", "check the masks"],
    cut_a_image: ["photo 0.jpg: expected a whole image", "download or copy the file again"],
    cut_a_mask: ["1 of 10 masks cannot be read", "photo 0.png: expected an image, got an empty file"],
    two_kinds: ["expected masks of one kind, got", "numbers (such as", "save all as 8-bit numbers"],
    two_folders_of_masks: ["expected one folder of masks, got 2 that fit: labels, masks", "--masks labels"],
    no_masks: ["expected images and masks, got 10 images in images", "NAME_mask.png"],
    other_names: ["expected images and masks with equal names", "10 images in images", "same name"],
    arrays: [
        "expected images and masks as .bmp",
        "unsupported files: 10 .npy",
        "save images and masks as PNG",
    ],
    polygons: ["got COCO's polygons in instances.json", "segmi data convert", "--output DIR"],
    broken_panoptic: ["masks.json: expected COCO's panoptic JSON", "download the file again"],
    empty: ["expected images (.bmp,", "got notes.txt", "give the folder that holds"],
    gone: ["expected a folder of images and masks, got nothing"],
    too_few_names: ["classes.txt: expected a name for every value, got 2 names", "hold also", "add the missing names"],
    same_image_in_two_splits: ["this image of val is also in train", "remove one of the two files and its mask"],
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda spoil: spoil.__name__)
def test_refused_with_reasons(make, spoil):
    root = make("parallel")
    spoil(root)
    with pytest.raises(SegmiError) as caught:
        propose(root)
    assert isinstance(caught.value, UsageError if spoil is two_folders_of_masks else DataError)
    assert caught.value.remedy
    for words in REFUSALS[spoil]:
        assert words in str(caught.value)


def test_unnamed_colors(make):
    root = make("both_suffixes")
    table = root / "class_dict.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith("c3,")))
    with pytest.raises(DataError, match=r"class_dict.csv: expected a name for every color, .* 128 64 128 \(\d"):
        propose(root)


def test_frames_of_one_video_are_noted(make):
    root = make("parallel")
    for folder in ("images", "masks"):
        for number, path in enumerate(sorted((root / folder).iterdir())):
            path.rename(path.with_name(f"frame_{number:04d}{path.suffix}"))
    proposal = propose(root)
    assert any(
        note.startswith("the images are numbered like the frames of a video: the last") for note in proposal.notes
    )
    assert [sample.name for sample in proposal.dataset.split("val")] == ["frame_0008", "frame_0009"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": "nowhere"}, "nowhere: expected images, got none"),
        ({"masks": "images", "images": "images"}, "got too few matching names"),
        ({"val": 0.7, "test": 0.4}, "val + test < 1, got val = 0.7 and test = 0.4"),
    ],
)
def test_invalid_options(make, options, message):
    with pytest.raises(SegmiError) as caught:
        propose(make("parallel"), **options)
    assert message in str(caught.value)
    assert caught.value.remedy
