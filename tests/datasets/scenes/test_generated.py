"""Common properties of the two generated datasets."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from segmi.datasets.reader import GeneratedImage
from segmi.datasets.scenes import ObjectScenes, StreetScenes
from segmi.errors import UsageError
from segmi.types import IGNORE_INDEX

SIZES = {StreetScenes: (64, 128), ObjectScenes: (60, 80)}
both = pytest.mark.parametrize("kind", [StreetScenes, ObjectScenes])


def small(kind, **options):
    height, width = SIZES[kind]
    return kind(**{"train": 30, "val": 12, "height": height, "width": width, **options})


@both
def test_image_and_mask_agree_in_size_and_type(kind):
    dataset = small(kind)
    for split in dataset.splits:
        for sample in dataset.split(split)[:6]:
            image, mask = dataset.read(sample)
            assert image.shape == (*SIZES[kind], 3)
            assert mask.shape == SIZES[kind]
            assert image.dtype == mask.dtype == np.uint8
            assert set(np.unique(mask)) <= {*range(len(dataset.info.classes)), IGNORE_INDEX}
            assert image.std() > 10, "the image is empty"


@both
def test_drawing_does_not_depend_on_what_was_drawn_before(kind, digest):
    samples = small(kind).split("train")
    forwards = [(digest(s.image.draw()), digest(s.mask.draw())) for s in samples[:8]]
    backwards = [(digest(s.image.draw()), digest(s.mask.draw())) for s in reversed(small(kind).split("train")[:8])]
    masks_first = [(digest(s.mask.draw()), digest(s.image.draw()))[::-1] for s in samples[:8]]
    assert forwards == backwards[::-1] == masks_first
    assert len(set(forwards)) == 8


@both
def test_another_process_draws_the_same(kind, digest):
    sample = small(kind).split("val")[5]
    code = (
        "import sys, pickle, hashlib\n"
        "for source in pickle.load(sys.stdin.buffer): print(hashlib.sha256(source.draw().tobytes()).hexdigest())"
    )
    source_folder = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps([sample.image, sample.mask]),
        env={**os.environ, "PYTHONPATH": source_folder, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    here = [hashlib.sha256(source.draw().tobytes()).hexdigest() for source in (sample.image, sample.mask)]
    assert result.stdout.decode().split() == here
    assert here[0] == digest(sample.image.draw())


@both
def test_length_of_a_split_changes_no_image(kind):
    few, many = small(kind, train=3), small(kind, train=30)
    for first, second in zip(few.split("train"), many.split("train"), strict=False):
        assert first == second


@both
def test_seeds_and_splits_differ(kind, digest):
    images = [
        digest(small(kind, seed=seed).split(split)[index].image.draw())
        for seed in (0, 1)
        for split in ("train", "val")
        for index in (0, 1)
    ]
    assert len(set(images)) == len(images)


@both
def test_names_are_unique_and_images_pickle_small(kind):
    dataset = small(kind)
    samples = [sample for split in dataset.splits for sample in dataset.split(split)]
    assert len({sample.name for sample in samples}) == len(samples) == 42
    assert not {s.group for s in dataset.split("train")} & {s.group for s in dataset.split("val")}
    for source in (samples[0].image, samples[0].mask):
        assert isinstance(source, GeneratedImage)
        assert len(pickle.dumps(source)) < 500
        assert pickle.loads(pickle.dumps(source)) == source


@both
def test_changing_an_image_in_place_changes_no_later_reading(kind):
    dataset = small(kind)
    sample = dataset.split("train")[0]
    image, mask = dataset.read(sample)
    first = image.copy(), mask.copy()
    if image.flags.writeable:
        image[:] = 0
    if mask.flags.writeable:
        mask[:] = 0
    again = dataset.read(sample)
    np.testing.assert_array_equal(again[0], first[0])
    np.testing.assert_array_equal(again[1], first[1])


@both
def test_odd_and_tiny_sizes(kind):
    for height, width in ((16, 16), (33, 57), (97, 31)):
        dataset = kind(train=2, val=1, height=height, width=width)
        image, mask = dataset.read(dataset.split("train")[1])
        assert image.shape == (height, width, 3)
        assert mask.shape == (height, width)


@both
def test_edges_of_the_mask_are_edges_of_the_image(kind):
    """Colors change more at edges of the mask than elsewhere."""
    dataset = small(kind)
    at_edges, elsewhere = [], []
    for sample in dataset.split("train")[:10]:
        image, _ = dataset.read(sample)
        native = sample.mask.draw()
        jump = np.abs(np.diff(image.astype(float), axis=1)).sum(-1)
        edge = np.diff(native.astype(int), axis=1) != 0
        at_edges.append(jump[edge].mean())
        elsewhere.append(jump[~edge].mean())
    assert np.mean(at_edges) > 1.4 * np.mean(elsewhere)


@both
def test_palette_colors_differ(kind):
    info = small(kind).info
    used = [*info.palette[: len(info.classes)], info.palette[IGNORE_INDEX]]
    assert len(info.palette) == 256
    distances = [np.abs(np.subtract(first, second)).sum() for i, first in enumerate(used) for second in used[:i]]
    assert min(distances) >= 40, "two classes have similar colors"


@both
@pytest.mark.parametrize(("argument", "value"), [("train", 0), ("val", -1), ("height", 8), ("width", 3)])
def test_rejects_too_small_options(kind, argument, value):
    with pytest.raises(UsageError, match=f"expected {argument} of at least .* got {value}"):
        kind(**{argument: value})


@both
def test_rejects_a_root(kind, tmp_path):
    with pytest.raises(UsageError, match="leave the root out"):
        kind(tmp_path)
