"""Whatever changes a pixel changes the name of the entry, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.cache import IMAGES, LABELS, entry_key, identity
from segmi.datasets.reader import Sample


def of(dataset, *columns, split="train", **options):
    return entry_key(dataset, split, dataset.split(split), *columns, **options)


def test_folder_name(camvid):
    folder = of(camvid, resize=24).folder
    assert folder.parent.name.startswith("camvid-train-24-")
    assert of(camvid, LABELS).folder.parent.name.startswith("camvid-train-labels-")
    assert of(camvid).folder.parent.name.startswith("camvid-train-original-")


def test_other_processing_gives_another_slot(camvid):
    keys = [
        of(camvid, resize=24),
        of(camvid, resize=25),
        of(camvid, resize=24, resize_mode="shorter"),
        of(camvid),
        of(camvid, LABELS),
        of(camvid, split="val", resize=24),
        entry_key(camvid, "train", camvid.split("train")[:1], IMAGES, resize=24),
    ]
    assert len({one.slot for one in keys}) == len({one.digest for one in keys}) == len(keys)


def test_mode_and_scale_do_not_matter_without_resizing(camvid):
    assert of(camvid, resize_mode="shorter") == of(camvid)
    assert of(camvid, LABELS, resize=24) == of(camvid, LABELS)


@pytest.mark.parametrize("which", ["image", "mask"])
def test_a_changed_file_gives_another_digest_in_the_same_slot(camvid, which):
    before = of(camvid, resize=24)
    assert of(camvid, resize=24) == before
    path = getattr(camvid.split("train")[1], which)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    touched = of(camvid, resize=24)
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(1, 1))
    longer = of(camvid, resize=24)
    assert before.slot == touched.slot == longer.slot
    assert len({before.digest, touched.digest, longer.digest}) == 3


def test_mask_options_change_the_slot(make):
    root = make("folder")
    options = {"root": root, "classes": ["a", "b", "c"], "colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "ignored": 255}
    slots = {of(open_dataset("folder", **options, masks=masks), resize=8).slot for masks in ("index", "color", "auto")}
    assert len(slots) == 3
    assert of(open_dataset("folder", **{**options, "ignored": 254}, masks="index"), resize=8).slot not in slots


def test_library_versions_change_the_slot(camvid, monkeypatch):
    before = of(camvid, resize=24)
    monkeypatch.setattr(identity, "version", lambda name: "another")
    assert of(camvid, resize=24).slot != before.slot


def test_generated_images_are_identified_by_their_key(monkeypatch):
    options = {"train": 2, "val": 1, "height": 32, "width": 48}
    first = of(open_dataset("street-scenes", **options), resize=24)
    assert of(open_dataset("street-scenes", **options), resize=24) == first
    assert of(open_dataset("street-scenes", seed=1, **options), resize=24).slot != first.slot
    assert of(open_dataset("street-scenes", **{**options, "width": 49}), resize=24).slot != first.slot
    monkeypatch.setattr("segmi.datasets.scenes.generated.generator_version", lambda: "another")
    assert of(open_dataset("street-scenes", **options), resize=24).slot != first.slot


def test_images_without_key_are_not_cached():
    class Anything:
        def draw(self):
            raise AssertionError

    scenes = open_dataset("street-scenes", train=1, val=1, height=32, width=32)
    assert entry_key(scenes, "train", [Sample(Anything(), Anything(), "a", "a")]) is None


def test_the_key_is_the_same_in_another_process(camvid):
    code = (
        "import sys; from segmi.datasets import open_dataset; from segmi.datasets.cache import entry_key\n"
        "d = open_dataset('camvid', sys.argv[1]); print(entry_key(d, 'train', d.split('train'), resize=24).digest)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "5"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(camvid.root)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == of(camvid, resize=24).digest


def test_a_missing_file_is_reported_by_the_reader(camvid):
    sample = camvid.split("train")[0]
    gone = sample._replace(image=sample.image.with_name("gone.png"))
    assert entry_key(camvid, "train", [gone], resize=24) is not None
