import numpy as np

from segmi.datasets.reader import IGNORE_INDEX
from segmi.datasets.scenes import StreetScenes


def test_every_class_is_frequent(class_shares):
    dataset = StreetScenes(train=60, height=64, width=128)
    pixels, images = class_shares(dataset, "train")
    for label, name in enumerate(dataset.info.classes):
        assert images[label] > 0.6, f"{name} is in only {images[label]:.0%} of the images"
        assert pixels[label] > 0.003, f"{name} fills only {pixels[label]:.2%} of the pixels"
    assert pixels[: len(dataset.info.classes)].max() < 0.45, "one class fills nearly everything"
    assert 0 < pixels[IGNORE_INDEX] < 0.06


def test_ten_images_show_the_same_street():
    samples = StreetScenes(train=25, val=10).split("train")
    groups = [sample.group for sample in samples]
    assert groups[:10] == groups[:1] * 10
    assert [groups.count(group) for group in dict.fromkeys(groups)] == [10, 10, 5]


def test_sky_is_above_and_road_below():
    dataset = StreetScenes(train=10, height=64, width=128)
    masks = np.stack([dataset.read_mask(sample) for sample in dataset.split("train")])
    sky, road = dataset.info.classes.index("sky"), dataset.info.classes.index("road")
    assert (masks[:, :20] == sky).mean() > 0.15
    assert not (masks[:, 40:] == sky).any()
    assert (masks[:, 44:60] == road).mean() > 0.4
    assert not (masks[:, :20] == road).any()


def test_defaults():
    dataset = StreetScenes()
    assert (dataset.height, dataset.width) == (240, 320)
    assert len(dataset.info.classes) == 11
    assert len(dataset.split("train")) == 400
    assert len(dataset.split("val")) == 100
